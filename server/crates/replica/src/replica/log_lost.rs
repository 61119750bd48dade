//! Detects that the leader's entries conflict with this member's log. There are two possible causes. If the data directory was
//! emptied or replaced, leaders count acknowledgments for entries that the log lacks. If the history has forked, a committed
//! entry differs from the entry in the leader's log. In both cases, this member must neither vote nor lead; it halts.
//!
//! If a quorum does not need this member, messages alone never halt it. A faulty member, or an impostor on a connection without
//! TLS, can send any message. The leader must confirm that it leads: this member sends it a ReadIndex request, which the leader
//! answers with the help of a quorum. Only the leader sees the context of that request.
//!
//! In `copied`, a member that starts from a copy waits for the same confirmation.

use raft::eraftpb::{Entry, Message, MessageType};

use super::{Halt, Replica, append_context::AppendContext};
use crate::{host::Lane, wire::PeerMessage};
use witan_machine::member::MemberId;

/// A leader's claim that contradicts this member's log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contradiction {
    leader: u64,
    term: u64,
    claim: LogClaim,
    /// Tick of the first claim that no later message has refuted.
    first: u64,
    /// Tick of the last claim.
    last: u64,
    /// The number of the first ReadIndex request after the first claim.
    asked: Option<u64>,
    /// Whether the leader has answered such a request.
    confirmed: bool,
}

/// A leader's claim about this member's log.
#[derive(Clone, Copy, Debug)]
enum LogClaim {
    /// The leader claims that this member acknowledged entries up to this commit index, the largest that it has sent.
    Acknowledged { commit: u64 },
    /// The leader's log differs at an index that this member has committed, or in the data of an entry with the same index and
    /// term.
    Forked {
        index: u64,
        own_term: u64,
        leader_term: u64,
    },
}

impl LogClaim {
    /// Returns the claim `self`; if it is about acknowledged entries, it gets the larger of the two commit indexes. Returns
    /// `None` if the claims are of different kinds.
    fn merged_with(self, before: Self) -> Option<Self> {
        match (self, before) {
            (Self::Acknowledged { commit: a }, Self::Acknowledged { commit: b }) => {
                Some(Self::Acknowledged { commit: a.max(b) })
            }
            (Self::Forked { .. }, Self::Forked { .. }) => Some(self),
            (Self::Acknowledged { .. }, Self::Forked { .. })
            | (Self::Forked { .. }, Self::Acknowledged { .. }) => None,
        }
    }

    /// Returns the lowest index in a leader's ReadIndex response that confirms this claim. Any response confirms a fork.
    fn confirmed_from(self) -> u64 {
        match self {
            Self::Acknowledged { commit } => commit,
            Self::Forked { .. } => 0,
        }
    }
}

/// Number of election timeouts for which this member does not vote after the leader's last claim. An ordinary election happens
/// one to two election timeouts after the claim.
pub(super) const NO_VOTE_TIMEOUTS: u64 = 3;

/// Minimum number of voters with which a leader can have a quorum without this member.
pub(super) const CONFIRMING_VOTERS: usize = 3;

impl Replica {
    /// Returns whether raft must not see a message, because it contradicts this log or confirms that its sender leads. Raft
    /// would panic at a commit index beyond `last`, the log's last index, and would acknowledge entries that contradict
    /// committed entries. Halts this member once a leader that is confirmed, or needs no confirmation, has repeated its claim
    /// for an election timeout.
    pub(super) fn record_or_refute_claim(&mut self, message: &Message, last: u64) -> bool {
        if message.get_msg_type() == MessageType::MsgReadIndexResp {
            return self.confirms_leader(message);
        }
        let Some(claim) = self.contradiction_in(message, last) else {
            self.doubt_contradiction(message, last);
            return false;
        };
        if message.term >= self.raft.raft.term && self.may_lead(message) {
            self.record_contradiction(message, claim, last);
        }
        message.term >= self.raft.raft.term
    }

    /// Returns how a leader's message contradicts this log, or `None` if there is no contradiction. A heartbeat contradicts the
    /// log if its commit index is beyond `last`, the log's last index. An append or a snapshot contradicts the log if an entry
    /// differs from an entry here that is committed or has the same term. It also contradicts the log if an entry before this
    /// log has a later term than this log's first known entry.
    fn contradiction_in(&self, message: &Message, last: u64) -> Option<LogClaim> {
        let (kind, commit) = (message.get_msg_type(), message.commit);
        if kind == MessageType::MsgHeartbeat {
            return (commit > last).then_some(LogClaim::Acknowledged { commit });
        }
        if kind != MessageType::MsgAppend && kind != MessageType::MsgSnapshot {
            return None;
        }
        let snapshot = message.get_snapshot().get_metadata();
        let first = match kind == MessageType::MsgSnapshot {
            true => (snapshot.index, snapshot.term),
            false => (message.index, message.log_term),
        };
        if let Some(forked) = self.forked_in_term(message) {
            return Some(forked);
        }
        let entries = message.entries.iter();
        let log = &self.raft.raft.raft_log;
        // Index of the first entry whose term this log knows.
        let base = log.first_index() - 1;
        std::iter::once(first)
            .chain(entries.map(|entry| (entry.index, entry.term)))
            .take_while(|(index, _)| *index <= log.committed)
            .find_map(|(index, leader_term)| {
                // The base of a member that has just joined has term 0.
                let own_term = log.term(index.max(base)).ok().filter(|term| *term > 0)?;
                let forked = LogClaim::Forked { index, own_term, leader_term };
                // Terms never decrease in a log, so no entry before the base has a later term.
                let differs = own_term < leader_term || (index >= base && own_term > leader_term);
                differs.then_some(forked)
            })
    }

    /// Returns the fork if an entry has the same term here and in the message, but different data. Raft compares terms alone,
    /// but a term has two leaders if a voter has lost its vote with its disk. Compares the entry before the message's entries
    /// by checksum, and each entry in the message that this log already has by its data.
    fn forked_in_term(&self, message: &Message) -> Option<LogClaim> {
        let (index, term) = (message.index, message.log_term);
        let forked = |index, term| LogClaim::Forked { index, own_term: term, leader_term: term };
        let log = &self.raft.raft.raft_log;
        if let Some(of_leader) = AppendContext::of(message).and_then(|context| context.previous)
            && log.match_term(index, term)
            && self
                .entry_checksum(index)
                .is_some_and(|own| own != of_leader)
        {
            return Some(forked(index, term));
        }
        let last = log.last_index();
        let mut known = message
            .entries
            .iter()
            .take_while(|entry| entry.index <= last);
        let differs = |entry: &&Entry| {
            let own = self.own_entry(entry.index);
            own.is_some_and(|own| own.term == entry.term && own.data != entry.data)
        };
        known
            .find(differs)
            .map(|entry| forked(entry.index, entry.term))
    }

    /// Returns whether the sender of a message may lead the message's term: this member knows no other leader of that term.
    pub(super) fn may_lead(&self, message: &Message) -> bool {
        let raft = &self.raft.raft;
        raft.term != message.term || [0, message.from].contains(&raft.leader_id)
    }

    /// Records a leader's claim that contradicts this log. Asks the leader for confirmation at most once per tick. Halts this
    /// member if the claim has been repeated for an election timeout and is confirmed or needs no confirmation. `last` is the
    /// log's last index.
    fn record_contradiction(&mut self, message: &Message, claim: LogClaim, last: u64) {
        let patience = self.config.election_ticks as u64;
        let (leader, term) = (message.from, message.term);
        let known = self.contradiction.filter(|known| {
            (known.leader, known.term) == (leader, term)
                && claim.merged_with(known.claim).is_some()
                && self.ticks <= known.last + patience
        });
        let asks = known.is_none_or(|known| known.last < self.ticks);
        let number = asks.then(|| self.ask_whether_it_leads(leader));
        let noted = Contradiction {
            leader,
            term,
            claim: known
                .and_then(|known| claim.merged_with(known.claim))
                .unwrap_or(claim),
            first: known.map_or(self.ticks, |known| known.first),
            last: self.ticks,
            asked: known.and_then(|known| known.asked).or(number),
            confirmed: known.is_some_and(|known| known.confirmed),
        };
        self.contradiction = Some(noted);
        let believed = noted.confirmed || !self.is_leader_confirmable(leader);
        if believed && self.ticks >= noted.first + patience {
            self.halt = Some(match claim {
                LogClaim::Acknowledged { commit } => Halt::LogLost { committed: commit, last },
                LogClaim::Forked { index, own_term, leader_term } => {
                    Halt::Forked { index, own_term, leader_term }
                }
            });
        }
    }

    /// Returns whether a claim of this leader needs confirmation. This is the case if the leader is not in this member's
    /// registry, or if the registry has a quorum without this member.
    fn is_leader_confirmable(&self, leader: u64) -> bool {
        let members = &self.machine.members;
        if !members.by_id.contains_key(&MemberId(leader)) {
            return true;
        }
        let voters = members.by_id.values().filter(|member| !member.learner);
        !members.is_voter(MemberId(self.config.id)) || voters.count() >= CONFIRMING_VOTERS
    }

    /// Sends a leader a ReadIndex request and returns the request's number. Bypasses raft, which might not know this leader and
    /// must not see its response.
    pub(super) fn ask_whether_it_leads(&mut self, leader: u64) -> u64 {
        let (number, context) = self.read_index.question();
        let mut question = Message::default();
        question.set_msg_type(MessageType::MsgReadIndex);
        (question.from, question.to) = (self.config.id, leader);
        let entry = Entry { data: context.into(), ..Entry::default() };
        question.set_entries(vec![entry].into());
        self.post(leader, Lane::Control, &PeerMessage::Raft(question));
        number
    }

    /// Returns whether a message is the leader's response to a ReadIndex request of `copied` or of this module. The response
    /// confirms a contradiction if the request followed the leader's first claim and the response's index covers the claim.
    fn confirms_leader(&mut self, message: &Message) -> bool {
        let context = message.entries.first().map(|entry| &entry.data[..]);
        let Some(number) = context.and_then(|context| self.read_index.own_number(context)) else {
            return false;
        };
        let answers_copy = self.confirm_leader_for_copy(message, number);
        let Some(known) = self.contradiction.as_mut() else {
            return answers_copy;
        };
        let answers = (message.from, message.term) == (known.leader, known.term)
            && known.asked.is_some_and(|asked| asked <= number)
            && message.index >= known.claim.confirmed_from();
        known.confirmed |= answers;
        answers || answers_copy
    }

    /// Handles a leader's message that does not contradict this log while an earlier claim is recorded.
    ///
    /// A heartbeat or append from the same leader and term may refute the claim, which is then dropped. The claim is refuted if
    /// the log now has the claimed entries, or an append follows this log at or after the fork. A heartbeat also refutes a fork
    /// that its commit index reaches. That index is at most the index that this member has acknowledged. This member
    /// acknowledges no index beyond the end of a leader's message.
    ///
    /// Other current messages only restart the confirmation: messages from another leader or term, and heartbeats that do not
    /// repeat a claim about acknowledged entries. The claim must then be confirmed again and be repeated for another election
    /// timeout before this member halts.
    fn doubt_contradiction(&mut self, message: &Message, last: u64) {
        let kind = message.get_msg_type();
        let leads = kind == MessageType::MsgHeartbeat || kind == MessageType::MsgAppend;
        let Some(known) = self.contradiction.filter(|_| leads) else {
            return;
        };
        let same = (known.leader, known.term) == (message.from, message.term);
        let (refuted, contradicts) = match known.claim {
            // Appends from the same leader prove nothing about missing entries before them, so this member still does not vote.
            LogClaim::Acknowledged { commit } => {
                (commit <= last, kind == MessageType::MsgHeartbeat)
            }
            LogClaim::Forked { index, .. } => match kind == MessageType::MsgHeartbeat {
                true => (index <= message.commit, false),
                false => (self.agrees_from(message, index), false),
            },
        };
        if same && refuted {
            self.contradiction = None;
        } else if message.term >= self.raft.raft.term && (!same || contradicts) {
            self.contradiction =
                Some(Contradiction { first: self.ticks, asked: None, confirmed: false, ..known });
        }
    }

    /// Returns whether an append follows an entry of this log at or after `index`, so that both logs are equal up to there.
    fn agrees_from(&self, append: &Message, index: u64) -> bool {
        let log = &self.raft.raft.raft_log;
        append.index >= index && log.match_term(append.index, append.log_term)
    }

    /// Returns whether a leader has contradicted this log in the last [`NO_VOTE_TIMEOUTS`] election timeouts. This member must
    /// then not vote, because its vote could elect a leader that lacks acknowledged entries.
    pub(super) fn is_contradicted(&self) -> bool {
        let patience = NO_VOTE_TIMEOUTS * self.config.election_ticks as u64;
        self.contradiction
            .is_some_and(|known| self.ticks <= known.last + patience)
    }
}

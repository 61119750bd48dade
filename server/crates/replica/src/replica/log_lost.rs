//! Detects a leader whose entries contradict this member's log, for one of two reasons. The data directory was emptied or
//! replaced: leaders count acknowledgments for entries that the log lacks. Or the history has forked: a committed entry of
//! the log differs from the entry in the leader's log. Such a member must neither vote nor lead, and halts.
//!
//! Messages alone never halt a member, even if many arrive: a faulty member, or an impostor on a connection without TLS, can
//! send any message. The leader must confirm that it leads. This member sends it a ReadIndex request, which the leader
//! answers with the help of a quorum. Only the leader sees the context of that request.
//!
//! `copied` makes a member that starts from a copy wait for the same confirmation.

use raft::eraftpb::{Entry, Message, MessageType};

use super::{Halt, Replica};
use crate::{host::Lane, wire::PeerMessage};
use witan_machine::member::MemberId;

/// A leader's claim that this log contradicts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contradiction {
    leader: u64,
    term: u64,
    said: Said,
    /// Ticks of the first claim that no later message has refuted, and of the last claim.
    first: u64,
    last: u64,
    /// Number of the first ReadIndex request after that claim.
    asked: Option<u64>,
    /// Whether the leader has answered such a request.
    confirmed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Said {
    /// This member acknowledged entries up to this commit index, the largest that the leader sent.
    Acknowledged { commit: u64 },
    /// The entry at an index that this member has committed has another term.
    Forked {
        index: u64,
        own_term: u64,
        leader_term: u64,
    },
}

impl Said {
    /// Returns the latest claim, with the larger of the two commit indexes. Returns `None` if the claims are of different
    /// kinds.
    fn again(self, before: Self) -> Option<Self> {
        match (self, before) {
            (Self::Acknowledged { commit: a }, Self::Acknowledged { commit: b }) => {
                Some(Self::Acknowledged { commit: a.max(b) })
            }
            (Self::Forked { .. }, Self::Forked { .. }) => Some(self),
            (Self::Acknowledged { .. }, Self::Forked { .. })
            | (Self::Forked { .. }, Self::Acknowledged { .. }) => None,
        }
    }

    /// Returns the lowest index at which a leader's answer confirms this claim: the claimed commit index. Any index confirms
    /// a fork.
    fn confirmed_from(self) -> u64 {
        match self {
            Self::Acknowledged { commit } => commit,
            Self::Forked { .. } => 0,
        }
    }
}

/// Number of election timeouts after the leader's last claim in which this member does not vote. An ordinary election happens
/// one to two timeouts after it.
pub(super) const NO_VOTE_TIMEOUTS: u64 = 3;

/// Minimum number of voters with which a leader has a quorum without one voter.
pub(super) const CONFIRMING_VOTERS: usize = 3;

impl Replica {
    /// Returns whether raft must not see a message. It must not see a message that contradicts this log, or an answer that
    /// confirms its leader. Raft would panic at a commit index beyond `last`, the log's last index, and would acknowledge
    /// entries that contradict committed entries. If the leader repeats its claim for an election timeout, this member halts.
    pub(super) fn check_contradiction(&mut self, message: &Message, last: u64) -> bool {
        if message.get_msg_type() == MessageType::MsgReadIndexResp {
            return self.confirms_leader(message);
        }
        let Some(said) = self.contradiction_in(message, last) else {
            self.doubt_contradiction(message, last);
            return false;
        };
        if message.term >= self.raft.raft.term && self.may_lead(message) {
            self.note_contradiction(message, said, last);
        }
        message.term >= self.raft.raft.term
    }

    /// Returns how a leader's message contradicts this log: its commit index is beyond `last` (the log's last index), or an
    /// entry at a committed index has another term. Returns `None` without a contradiction.
    fn contradiction_in(&self, message: &Message, last: u64) -> Option<Said> {
        let (kind, commit) = (message.get_msg_type(), message.commit);
        if kind == MessageType::MsgHeartbeat {
            return (commit > last).then_some(Said::Acknowledged { commit });
        }
        if kind != MessageType::MsgAppend && kind != MessageType::MsgSnapshot {
            return None;
        }
        let snapshot = message.get_snapshot().get_metadata();
        let first = match kind == MessageType::MsgSnapshot {
            true => (snapshot.index, snapshot.term),
            false => (message.index, message.log_term),
        };
        let entries = message.entries.iter();
        let log = &self.raft.raft.raft_log;
        std::iter::once(first)
            .chain(entries.map(|entry| (entry.index, entry.term)))
            .take_while(|(index, _)| *index <= log.committed)
            .find_map(|(index, leader_term)| {
                // Raft-rs returns term 0 for an entry that the log no longer has.
                let own_term = log.term(index).ok().filter(|term| *term > 0)?;
                let forked = Said::Forked { index, own_term, leader_term };
                (own_term != leader_term).then_some(forked)
            })
    }

    /// Returns whether no other member is known to lead the message's term. If the disk is an older copy, the sender may have
    /// become a member after this state.
    pub(super) fn may_lead(&self, message: &Message) -> bool {
        let raft = &self.raft.raft;
        raft.term != message.term || [0, message.from].contains(&raft.leader_id)
    }

    /// Records a leader's claim that contradicts this log, and asks the leader for confirmation at most once per tick. Halts
    /// this member if the leader has repeated the claim for an election timeout and the claim is confirmed.
    fn note_contradiction(&mut self, message: &Message, said: Said, last: u64) {
        let patience = self.config.election_ticks as u64;
        let (leader, term) = (message.from, message.term);
        let known = self.contradiction.filter(|known| {
            (known.leader, known.term) == (leader, term)
                && said.again(known.said).is_some()
                && self.ticks <= known.last + patience
        });
        let asks = known.is_none_or(|known| known.last < self.ticks);
        let number = asks.then(|| self.ask_whether_it_leads(leader));
        let noted = Contradiction {
            leader,
            term,
            said: known
                .and_then(|known| said.again(known.said))
                .unwrap_or(said),
            first: known.map_or(self.ticks, |known| known.first),
            last: self.ticks,
            asked: known.and_then(|known| known.asked).or(number),
            confirmed: known.is_some_and(|known| known.confirmed),
        };
        self.contradiction = Some(noted);
        let believed = noted.confirmed || !self.is_leader_confirmable(leader);
        if believed && self.ticks >= noted.first + patience {
            self.halt = Some(match said {
                Said::Acknowledged { commit } => Halt::LogLost { committed: commit, last },
                Said::Forked { index, own_term, leader_term } => {
                    Halt::Forked { index, own_term, leader_term }
                }
            });
        }
    }

    /// Returns whether this member requires the leader's confirmation. It does if, as far as it knows, the leader has a
    /// quorum without this member, or if the leader is unknown.
    fn is_leader_confirmable(&self, leader: u64) -> bool {
        let members = &self.machine.members;
        if !members.by_id.contains_key(&MemberId(leader)) {
            return true;
        }
        let voters = members.by_id.values().filter(|member| !member.learner);
        !members.is_voter(MemberId(self.config.id)) || voters.count() >= CONFIRMING_VOTERS
    }

    /// Sends a leader a ReadIndex request and returns its number. This bypasses raft, which may not know this leader and must
    /// not see its answer.
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

    /// Returns whether a message is the leader's answer to this member's ReadIndex request. The answer confirms a
    /// contradiction if the request was sent after the leader's first claim, and if the answer covers the claim.
    fn confirms_leader(&mut self, message: &Message) -> bool {
        let context = message.entries.first().map(|entry| &entry.data[..]);
        let Some(number) = context.and_then(|context| self.read_index.own_number(context)) else {
            return false;
        };
        let answers_copy = self.confirms_for_copy(message, number);
        let Some(said) = self.contradiction.as_mut() else {
            return answers_copy;
        };
        let answers = (message.from, message.term) == (said.leader, said.term)
            && said.asked.is_some_and(|asked| asked <= number)
            && message.index >= said.said.confirmed_from();
        said.confirmed |= answers;
        answers || answers_copy
    }

    /// Handles a leader's message that does not contradict this log, while an earlier claim is recorded. A heartbeat or
    /// append of the same leader and term drops the claim if it refutes it. This is the case if the log now has the claimed
    /// entries, if an append follows an entry of this log at or after the fork, or if a heartbeat's commit index reaches the
    /// fork. (A heartbeat's commit index is at most what this member has acknowledged.) Other messages only restart the
    /// confirmation: messages of another leader or term that are not outdated, and heartbeats that do not repeat a claim
    /// about acknowledged entries. The claim must then be confirmed again and be repeated for an election timeout from now
    /// on, before this member halts.
    fn doubt_contradiction(&mut self, message: &Message, last: u64) {
        let kind = message.get_msg_type();
        let leads = kind == MessageType::MsgHeartbeat || kind == MessageType::MsgAppend;
        let Some(known) = self.contradiction.filter(|_| leads) else {
            return;
        };
        let same = (known.leader, known.term) == (message.from, message.term);
        let (refuted, contradicts) = match known.said {
            // An append of the same leader proves nothing about the missing entries before it. This member still does not
            // vote for a while, because both are possible.
            Said::Acknowledged { commit } => (commit <= last, kind == MessageType::MsgHeartbeat),
            Said::Forked { index, .. } => match kind == MessageType::MsgHeartbeat {
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

    /// Returns whether a leader has contradicted this log in the last [`NO_VOTE_TIMEOUTS`] election timeouts. This member's
    /// vote could then elect a leader that lacks acknowledged entries.
    pub(super) fn is_contradicted(&self) -> bool {
        let patience = NO_VOTE_TIMEOUTS * self.config.election_ticks as u64;
        self.contradiction
            .is_some_and(|said| self.ticks <= said.last + patience)
    }
}

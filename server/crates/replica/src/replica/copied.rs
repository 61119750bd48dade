//! A member that starts from a copy of its data directory. The member may have acknowledged entries and voted after the copy
//! was taken, and nobody can tell: the original may be gone, or run elsewhere. Until a confirmed leader has brought it up to
//! date, the member neither votes nor campaigns, and until a leader is confirmed, it answers none.
//!
//! A leader is confirmed by the rule of `log_lost`: a quorum helps it to answer a ReadIndex. This member does not count
//! there, because raft does not see what leaders send before. The member is up to date once it has taken an append of
//! that leader and has executed or may execute all that was committed when the leader answered.
//!
//! If so many voters are copies that the others are no quorum, no leader can be confirmed. Then all voters must run: a copy
//! votes only for a candidate whose log is at least as long as the log of each voter, and takes that one for
//! confirmed if it wins. So what any disk of a voter still holds is not lost.
//!
//! Where fewer than [`CONFIRMING_VOTERS`] vote there is nothing to wait for: each election needs all of them.

use std::collections::BTreeMap;

use raft::{
    StateRole,
    eraftpb::{Message, MessageType},
};
use serde::{Deserialize, Serialize};

use super::{
    Replica,
    log_lost::{CONFIRMING_VOTERS, NO_VOTE_TIMEOUTS},
};
use crate::{host::Lane, wire::PeerMessage};

/// The state of a member whose data directory is a copy.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct CopiedDisk {
    /// The leader that is asked whether it leads.
    asked: Option<AskedLeader>,
    /// The leader that leads for certain.
    confirmed: Option<ConfirmedLeader>,
    /// The last request for a vote of each voter.
    log_ends: BTreeMap<u64, LogEnd>,
}

/// A leader that is asked whether it leads.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct AskedLeader {
    leader: u64,
    term: u64,
    /// Number of the first question.
    first: u64,
    /// Tick of the last question.
    last: u64,
}

/// A leader that has confirmed that it leads, or that was elected by the longest log of all voters.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct ConfirmedLeader {
    leader: u64,
    term: u64,
    /// All that was acknowledged before is up to this index in its log.
    index: u64,
    /// Whether this member has taken entries or a snapshot of it. Before, the leader may count acknowledgments of the
    /// original.
    has_appended: bool,
}

/// The end of a voter's log.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct LogEnd {
    /// Tick at which the voter named it.
    tick: u64,
    /// Term and index of the last entry.
    last: (u64, u64),
}

/// Whether leaders send messages of this kind.
fn is_of_leader(kind: MessageType) -> bool {
    matches!(
        kind,
        MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot
    )
}

impl Replica {
    /// Whether the data directory is a copy that no confirmed leader has brought up to date yet.
    pub fn is_copied(&self) -> bool {
        self.copied.is_some()
    }

    /// Election timeouts in which what the original has sent arrives, and in which what voters say counts, in ticks.
    fn copy_patience(&self) -> u64 {
        NO_VOTE_TIMEOUTS * self.config.election_ticks as u64
    }

    /// Whether raft must not see a message of a leader, because the leader is not confirmed; it is asked then. Takes the
    /// commit index out of heartbeats of a confirmed one that may count acknowledgments of the original.
    pub(super) fn waits_for_confirmation(&mut self, message: &mut Message) -> bool {
        let (kind, leader, term) = (message.get_msg_type(), message.from, message.term);
        let raft = &self.raft.raft;
        let Some(copied) = self.copied.as_ref().filter(|_| term >= raft.term) else {
            return false;
        };
        if !is_of_leader(kind) {
            return false;
        }
        let (confirmed, committed) = (copied.confirmed, raft.raft_log.committed);
        if let Some(confirmed) = confirmed.filter(|it| (it.leader, it.term) == (leader, term)) {
            if kind == MessageType::MsgHeartbeat && !confirmed.has_appended {
                message.commit = message.commit.min(committed);
            }
            return false;
        }
        let known = copied
            .asked
            .filter(|it| (it.leader, it.term) == (leader, term));
        let asks = known.is_none_or(|asked| asked.last < self.ticks);
        if asks && self.may_lead(message) {
            let number = self.ask_whether_it_leads(leader);
            let first = known.map_or(number, |asked| asked.first);
            let asked = AskedLeader { leader, term, first, last: self.ticks };
            self.copied.iter_mut().for_each(|it| it.asked = Some(asked));
        }
        true
    }

    /// Takes a leader for confirmed if a message is its answer to question `number` of this member. Whether it is one.
    pub(super) fn confirms_for_copy(&mut self, message: &Message, number: u64) -> bool {
        let Some(copied) = &mut self.copied else {
            return false;
        };
        let (leader, term) = (message.from, message.term);
        let answers = copied.asked.is_some_and(|asked| {
            (asked.leader, asked.term) == (leader, term) && asked.first <= number
        });
        if answers {
            copied.asked = None;
            copied.confirmed =
                Some(ConfirmedLeader { leader, term, index: message.index, has_appended: false });
        }
        answers
    }

    /// Whether this member may vote for the sender of a request. Notes how far the sender's log goes.
    pub(super) fn may_vote_for(&mut self, request: &Message) -> bool {
        let (tick, last) = (self.ticks, (request.log_term, request.index));
        if let Some(copied) = &mut self.copied {
            copied.log_ends.insert(request.from, LogEnd { tick, last });
        }
        !self.is_contradicted() && self.is_longest_log(request.from, last)
    }

    /// Whether this member may campaign as far as its disk is concerned.
    pub(super) fn may_lead_with_disk(&self) -> bool {
        let log = &self.raft.raft.raft_log;
        let last = (log.last_term(), log.last_index());
        !self.is_contradicted() && self.is_longest_log(self.config.id, last)
    }

    /// Whether a log that ends at `last` is as long as the logs of all other voters but this one, of each of which this
    /// member has heard lately. True if this member is no copy: then a quorum suffices, and raft compares the logs.
    fn is_longest_log(&self, candidate: u64, last: (u64, u64)) -> bool {
        let Some(copied) = &self.copied else {
            return true;
        };
        let patience = self.copy_patience();
        let is_shorter = |voter: u64| {
            let end = copied.log_ends.get(&voter);
            end.is_some_and(|end| self.ticks <= end.tick + patience && end.last <= last)
        };
        let mut others = self.other_voters();
        self.ticks >= patience && others.all(|voter| voter == candidate || is_shorter(voter))
    }

    fn other_voters(&self) -> impl Iterator<Item = u64> {
        let place = self.raft.store().position();
        let voters = place.voters.iter().chain(&place.voters_outgoing);
        voters.copied().filter(|voter| *voter != self.config.id)
    }

    /// Counts a tick of a copy that may not campaign. Where raft would campaign, it forgets the leader, and tells all
    /// voters how far its log goes by a request for a pre-vote, whose answers raft does not heed.
    pub(super) fn tick_as_copy(&mut self) {
        if self.copied.is_none() {
            return;
        }
        let raft = &mut self.raft.raft;
        raft.election_elapsed += 1;
        if !raft.pass_election_timeout() {
            return;
        }
        (raft.election_elapsed, raft.leader_id) = (0, 0);
        let mut request = Message {
            from: self.config.id,
            term: raft.term + 1,
            index: raft.raft_log.last_index(),
            log_term: raft.raft_log.last_term(),
            ..Message::default()
        };
        request.set_msg_type(MessageType::MsgRequestPreVote);
        for voter in self.other_voters().collect::<Vec<_>>() {
            let request = Message { to: voter, ..request.clone() };
            self.post(voter, Lane::Control, &PeerMessage::Raft(request));
        }
    }

    /// Notes what follows of a message that raft has taken: a candidate that gets this vote has the longest log of
    /// all voters, and a leader whose entries follow this log knows how far it goes.
    pub(super) fn note_for_copy(&mut self, message: &Message) {
        let raft = &self.raft.raft;
        let Some(copied) = self.copied.as_mut().filter(|_| raft.term == message.term) else {
            return;
        };
        let (kind, log) = (message.get_msg_type(), &raft.raft_log);
        let (leader, term) = (message.from, message.term);
        let is_longer = (message.log_term, message.index) >= (log.last_term(), log.last_index());
        if kind == MessageType::MsgRequestVote && raft.vote == leader && is_longer {
            copied.confirmed =
                Some(ConfirmedLeader { leader, term, index: message.index, has_appended: false });
        }
        let metadata = message.get_snapshot().get_metadata();
        let follows = match kind == MessageType::MsgSnapshot {
            true => metadata.index <= log.committed,
            false => log.match_term(message.index, message.log_term),
        };
        let appends = is_of_leader(kind) && kind != MessageType::MsgHeartbeat;
        if let Some(confirmed) = &mut copied.confirmed
            && (confirmed.leader, confirmed.term) == (leader, term)
        {
            confirmed.has_appended |= appends && follows;
        }
    }

    /// Ends the waiting once a confirmed leader has brought this member up to date, it leads, or has nothing to wait for.
    /// What the original has sent has arrived by then.
    pub(super) fn settle_copy(&mut self) {
        let Some(copied) = &self.copied else { return };
        let raft = &self.raft.raft;
        let is_up_to_date = copied.confirmed.is_some_and(|it| {
            it.has_appended
                && (it.leader, it.term) == (raft.leader_id, raft.term)
                && raft.raft_log.committed >= it.index
        });
        let place = self.raft.store().position();
        let needs_all = place.voters.contains(&self.config.id)
            && self.other_voters().count() + 1 < CONFIRMING_VOTERS;
        let leads = raft.state == StateRole::Leader;
        if leads || needs_all || (is_up_to_date && self.ticks >= self.copy_patience()) {
            self.copied = None;
        }
    }
}

//! The checks of a leader before it takes a change of membership, the end of a removed member, and how a member
//! asks for the state of the others.
//!
//! What does not live here: whether the registry accepts a change (`witan_machine::member`), and what the dialects
//! check beforehand.

use raft::{
    GetEntriesContext, INVALID_INDEX, StateRole,
    eraftpb::{ConfChange, ConfChangeType, EntryType, Message, MessageType},
};

use super::{Halt, Replica};
use crate::{
    host::ProposalRejected,
    limits::{HANDOVER_ATTEMPTS, LEAVING_TICKS},
    wire,
};
use witan_machine::member::MemberId;

/// A learner may vote when it has this share of the leader's log, in percent, as in etcd.
const LEARNER_READY_PERCENT: u64 = 90;

/// The member whose removal is in the log of this leader and not executed, looked up once.
#[derive(Clone, Debug, Default)]
pub(super) struct PendingRemoval {
    /// Term and index up to which changes of membership can be in the log.
    until: (u64, u64),
    member: Option<u64>,
}

/// The state that decides when this member ends after its own removal.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnRemoval {
    /// The highest commit index that this process has received from another member that leads.
    leader_commit: u64,
    /// The tick since which this removed member waits for the voter that it leaves.
    leaving_since: Option<u64>,
}

/// Returns the index up to which a leader's message says that the log is committed; 0 for other messages.
pub(super) fn told_commit(message: &Message) -> u64 {
    let kind = message.get_msg_type();
    if kind == MessageType::MsgSnapshot {
        return message.get_snapshot().get_metadata().index;
    }
    let tells = matches!(kind, MessageType::MsgAppend | MessageType::MsgHeartbeat);
    if tells { message.commit } else { 0 }
}

impl Replica {
    /// Whether this leader hands over instead of taking its own removal now. The removal is proposed to the
    /// next leader. If nobody takes over, it is taken all the same, unless only one voter would be left: that one
    /// could not learn from anyone that the removal was committed, and would always wait for the other's vote.
    pub(super) fn hands_over_before(&mut self, change: &ConfChange) -> bool {
        let own = change.get_change_type() == ConfChangeType::RemoveNode
            && change.node_id == self.config.id;
        let leaves_one = self.raft.store().position().voters.len() == 2;
        if !own || (self.handovers >= HANDOVER_ATTEMPTS && !leaves_one) {
            return false;
        }
        self.handovers = self.handovers.saturating_add(1);
        self.hand_over(None).is_ok() || leaves_one
    }

    /// Refuses to promote a learner with less than [`LEARNER_READY_PERCENT`] percent of the leader's log: it
    /// would count for the quorum at once.
    pub(super) fn check_change(&self, change: &ConfChange) -> Result<(), ProposalRejected> {
        let raft = &self.raft.raft;
        let id = change.node_id;
        let promotes = change.get_change_type() == ConfChangeType::AddNode
            && self.raft.store().position().learners.contains(&id);
        let last = raft.raft_log.last_index();
        match raft.prs().get(id).filter(|_| promotes) {
            Some(peer) if peer.matched * 100 < last * LEARNER_READY_PERCENT => {
                Err(ProposalRejected::LearnerNotReady)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the removal of a member is in the log and not executed here yet.
    pub(super) fn is_removing(&mut self, member: u64) -> bool {
        let raft = &self.raft.raft;
        if !raft.has_pending_conf() {
            return false;
        }
        let until = (raft.term, raft.pending_conf_index);
        if self.pending_removal.until != until {
            let member = self.find_pending_removal();
            self.pending_removal = PendingRemoval { until, member };
        }
        self.pending_removal.member == Some(member)
    }

    /// The member whose removal is in the log and not executed here yet, if any. At most one change of
    /// membership is pending.
    fn find_pending_removal(&self) -> Option<u64> {
        let raft = &self.raft.raft;
        let from = self.raft.store().position().index + 1;
        let until = raft.pending_conf_index.min(raft.raft_log.last_index()) + 1;
        if from >= until {
            return None;
        }
        let context = GetEntriesContext::empty(false);
        let entries = raft.raft_log.slice(from, until, None, context);
        let entries = entries.expect("what is not executed is in the log");
        entries
            .iter()
            .filter(|entry| entry.get_entry_type() != EntryType::EntryNormal)
            .filter_map(|entry| wire::decode_raft_entry(entry).ok()?.1)
            .find(|change| change.get_change_type() == ConfChangeType::RemoveNode)
            .map(|change| change.node_id)
    }

    /// Records that another member permanently refuses this one. Halts this member for the reason `why` once more than
    /// half of the others refuse it, so that a single one cannot end it. The entry of a removal may never arrive here,
    /// because a leader sends nothing more to a removed member. A member whose removal leaves a single voter halts when
    /// that voter knows.
    pub(super) fn refused_at(&mut self, member: u64, why: Halt) {
        let members = &self.machine.members.by_id;
        if member == self.config.id || !members.contains_key(&MemberId(member)) {
            return;
        }
        if why == Halt::Removed && self.own_removal.leaving_since.is_some() {
            // learners know of it before the voter that needs this member's vote
            if self.raft.store().position().voters.contains(&member) {
                self.halt = Some(Halt::Removed);
            }
            return;
        }
        self.refused_at.insert(member);
        let others = members.keys().filter(|id| id.0 != self.config.id).count();
        if self.refused_at.len() > others / 2 {
            self.halt = Some(why);
        }
    }

    /// Notes the commit index of a message that raft has taken, given as `(sender, term, index)`, if the sender leads.
    pub(super) fn note_leader_commit(&mut self, (from, term, index): (u64, u64, u64)) {
        let raft = &self.raft.raft;
        if from != self.config.id && raft.leader_id == from && raft.term == term {
            self.own_removal.leader_commit = self.own_removal.leader_commit.max(index);
        }
    }

    /// If this member was removed: steps down, also as a candidate, and halts after its messages have gone out. If it
    /// leaves a single voter from which it has not received the commit, it stays until that voter refuses it: the voter may
    /// need its vote to learn of the removal. Another leader alone is no proof that it knows: this member can have
    /// committed its removal as the leader of an earlier term, and have read it from its log after a restart.
    pub(super) fn notice_own_removal(&mut self) {
        if !self
            .machine
            .members
            .removed_ids
            .contains(&MemberId(self.config.id))
        {
            return;
        }
        let position = self.raft.store().position();
        let learned = self.own_removal.leader_commit >= position.index;
        let leaves_one = !learned && position.voters.len() == 1;
        if leaves_one {
            self.own_removal.leaving_since = Some(self.ticks);
        } else {
            self.halt = Some(Halt::Removed);
        }
        let raft = &mut self.raft.raft;
        if raft.state != StateRole::Follower {
            // Raft goes on to lead without a vote of its own, and panics when such a candidate wins.
            let term = raft.term;
            raft.become_follower(term, 0);
        }
    }

    /// Halts this removed member if the voter that it leaves has not refused it for [`LEAVING_TICKS`]
    /// ticks.
    pub(super) fn continue_leaving(&mut self) {
        let since = self.own_removal.leaving_since;
        if since.is_some_and(|since| self.ticks >= since + LEAVING_TICKS) {
            self.halt = Some(Halt::Removed);
        }
    }

    /// Replaces this member's state by the leader's, because the two differ. The member takes no entries
    /// until it has that state. A leader must hand over first.
    pub(crate) fn rebuild(&mut self) {
        self.rebuilds = true;
        self.request_snapshot();
    }

    /// Asks the leader for its state if that must replace this member's, and if no request is pending.
    ///
    /// The leader's state must reach the end of this log, whose entries this member has acknowledged, and a member that
    /// has asked takes no entries: the leader may need it to commit them. It therefore asks only in a term in which its
    /// whole log is committed, and takes entries again when another term begins.
    pub(super) fn request_snapshot(&mut self) {
        if !self.awaits_leaders_state() {
            return;
        }
        if !self.leader_reaches_own_log() {
            self.raft.raft.pending_request_snapshot = INVALID_INDEX;
            return;
        }
        // An error says that there is no leader, or that its first entry has not arrived: the next
        // tick tries again.
        if self.raft.request_snapshot().is_ok() {
            self.state_asked_at = self.ticks;
        }
    }

    /// Whether a message with entries was on its way when this member asked for the leader's state: raft would ask again, and
    /// the leader would send its state twice. The caller drops it. After an election timeout the request may be lost.
    pub(super) fn asks_twice(&mut self, message: &Message) -> bool {
        let raft = &self.raft.raft;
        let asks = message.get_msg_type() == MessageType::MsgAppend
            && message.term == raft.term
            && raft.pending_request_snapshot != INVALID_INDEX;
        if !asks {
            return false;
        }
        let twice = self.ticks < self.state_asked_at + self.config.election_ticks as u64;
        if !twice {
            self.state_asked_at = self.ticks;
        }
        twice
    }

    /// Whether a snapshot is an earlier one than this member has asked for: raft would install it, and with it forget
    /// entries that this member has acknowledged. The caller drops it.
    pub(super) fn falls_short(&self, message: &Message) -> bool {
        let asked = self.raft.raft.pending_request_snapshot;
        message.get_msg_type() == MessageType::MsgSnapshot
            && message.get_snapshot().get_metadata().index < asked
    }

    /// Whether the leader commits this member's whole log without another entry: its last one is committed and of the
    /// leader's term.
    fn leader_reaches_own_log(&self) -> bool {
        let raft = &self.raft.raft;
        let last = raft.raft_log.last_index();
        let is_of_term = raft.raft_log.term(last).is_ok_and(|term| term == raft.term);
        raft.raft_log.committed == last && is_of_term
    }
}

//! Membership: the leader's checks before a change, how a removed member stops, and how a member requests the leader's state.
//!
//! `witan_machine::member` checks changes of the registry, and each dialect checks the requests of its API.

use raft::{
    GetEntriesContext, INVALID_INDEX, StateRole,
    eraftpb::{ConfChange, ConfChangeType, EntryType, Message, MessageType},
};

use super::{Halt, Replica, copied::is_of_leader};
use crate::{
    host::ProposalRejected,
    limits::{HANDOVER_ATTEMPTS, LEAVING_TICKS},
    wire,
};
use witan_machine::member::{MemberId, MemberRegistry};

/// Percentage of the leader's log that a learner must have before its promotion, as in etcd.
const LEARNER_READY_PERCENT: u64 = 90;

/// The member whose removal is in this leader's log but not applied, cached so that the log is searched once.
#[derive(Debug, Default)]
pub(super) struct PendingRemoval {
    /// Term and index up to which the log was searched.
    until: (u64, u64),
    member: Option<u64>,
}

/// The state that decides when this member stops after its own removal.
#[derive(Debug, Default)]
pub(super) struct OwnRemoval {
    /// The highest commit index that this process has received from another leader.
    leader_commit: u64,
    /// The tick since which this removed member has waited for the only remaining voter.
    leaving_since: Option<u64>,
}

/// The commit index that a message contains, with its sender and term.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceivedCommit {
    pub(super) from: u64,
    pub(super) term: u64,
    /// The commit index of an append or a heartbeat, or the index of a snapshot; 0 for any other message.
    pub(super) index: u64,
}

impl ReceivedCommit {
    /// Returns the commit index in a leader's message, or index 0 for any other message.
    pub(super) fn of(message: &Message) -> Self {
        let kind = message.get_msg_type();
        let index = if kind == MessageType::MsgSnapshot {
            message.get_snapshot().get_metadata().index
        } else if matches!(kind, MessageType::MsgAppend | MessageType::MsgHeartbeat) {
            message.commit
        } else {
            0
        };
        Self { from: message.from, term: message.term, index }
    }
}

impl Replica {
    /// Returns whether this leader must transfer leadership before its own removal. If so, tries to start a transfer. The next
    /// leader then proposes the removal. After [`HANDOVER_ATTEMPTS`] attempts, or if no transfer can start, this leader accepts
    /// its removal, unless only one voter would remain. That voter could not learn that the removal was committed and would
    /// wait forever for this member's vote.
    pub(super) fn transfers_leadership_first(&mut self, change: &ConfChange) -> bool {
        let own = wire::is_removal(change) && change.node_id == self.config.id;
        let leaves_one = self.raft.store().position().voters.len() == 2;
        if !own || (self.handovers >= HANDOVER_ATTEMPTS && !leaves_one) {
            return false;
        }
        self.handovers = self.handovers.saturating_add(1);
        self.hand_over(None).is_ok() || leaves_one
    }

    /// Checks a configuration change. Fails with `LearnerNotReady` if it promotes a learner with less than
    /// [`LEARNER_READY_PERCENT`] percent of the leader's log. A promoted learner counts toward the quorum immediately.
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

    /// Returns the member registry with the data directories that unapplied log entries register. Streams are checked against
    /// this registry: a member with an emptied directory must not vote for a member that has not applied its registration.
    pub fn members_in_log(&self) -> MemberRegistry {
        let mut members = self.machine.members.clone();
        for publish in self.raft.store().unapplied_registrations() {
            members.register_store(&publish);
        }
        members
    }

    /// Returns a counter that changes whenever [`Self::members_in_log`] may have changed without an applied entry.
    pub fn registrations_in_log(&self) -> u64 {
        self.raft.store().registrations()
    }

    /// Returns whether the log contains an unapplied removal of `member`. Caches the result of the search.
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

    /// Returns the member whose removal is in the log but not applied, or `None`. At most one membership change is pending.
    fn find_pending_removal(&self) -> Option<u64> {
        let raft = &self.raft.raft;
        let from = self.raft.store().position().index + 1;
        let until = raft.pending_conf_index.min(raft.raft_log.last_index()) + 1;
        if from >= until {
            return None;
        }
        let context = GetEntriesContext::empty(false);
        let entries = raft.raft_log.slice(from, until, None, context);
        let entries = entries.expect("the log has all unapplied entries");
        entries
            .iter()
            .filter(|entry| entry.get_entry_type() != EntryType::EntryNormal)
            .filter_map(|entry| wire::decode_raft_entry(entry).ok()?.1)
            .find(wire::is_removal)
            .map(|change| change.node_id)
    }

    /// Records that `member` permanently rejects this member. Ignores members that are not in the registry. Halts this member
    /// with `why` once more than half of the other members reject it, so that no single member can halt it. One rejection of
    /// the data directory suffices if this member's state has no registered directory. The directory was then emptied, and this
    /// member's vote could elect a leader that lacks acknowledged entries. If only one voter remains after this member's
    /// removal, that voter's rejection suffices.
    pub(super) fn record_rejection(&mut self, member: u64, why: Halt) {
        let members = &self.machine.members.by_id;
        if member == self.config.id || !members.contains_key(&MemberId(member)) {
            return;
        }
        if why == Halt::Removed && self.own_removal.leaving_since.is_some() {
            // Learners may know of the removal before the voter that needs this member's vote.
            if self.raft.store().position().voters.contains(&member) {
                self.halt = Some(Halt::Removed);
            }
            return;
        }
        let own = members.get(&MemberId(self.config.id));
        let is_new = own.is_some_and(|own| own.store_id == 0);
        self.refused_at.insert(member);
        let others = members.keys().filter(|id| id.0 != self.config.id).count();
        if self.refused_at.len() > others / 2 || (is_new && why == Halt::Replaced) {
            self.halt = Some(why);
        }
    }

    /// Records the commit index of an accepted message if its sender leads.
    pub(super) fn record_leader_commit(&mut self, commit: ReceivedCommit) {
        let raft = &self.raft.raft;
        let leads = raft.leader_id == commit.from && raft.term == commit.term;
        if commit.from != self.config.id && leads {
            self.own_removal.leader_commit = self.own_removal.leader_commit.max(commit.index);
        }
    }

    /// If this member has applied its own removal, stops leading or campaigning and halts after its messages are sent. A single
    /// remaining voter that has not sent this member the commit index may need this member's vote to learn of the removal. This
    /// member then first waits until that voter rejects it.
    pub(super) fn notice_own_removal(&mut self) {
        if !self.has_applied_own_removal() {
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
            // Raft would let a removed leader continue to lead, and would panic if a removed candidate won.
            let term = raft.term;
            raft.become_follower(term, 0);
        }
    }

    /// Returns whether the applied state lists this member as removed.
    pub(super) fn has_applied_own_removal(&self) -> bool {
        let removed = &self.machine.members.removed_ids;
        removed.contains(&MemberId(self.config.id))
    }

    /// Halts this removed member if the remaining voter has not rejected it within [`LEAVING_TICKS`] ticks.
    pub(super) fn continue_leaving(&mut self) {
        let since = self.own_removal.leaving_since;
        if since.is_some_and(|since| self.ticks >= since + LEAVING_TICKS) {
            self.halt = Some(Halt::Removed);
        }
    }

    /// Requests that the leader's state replace this member's state, because the states differ or the checkpoint on disk is
    /// damaged. The request is repeated until a snapshot is installed. The member accepts no entries while a request is
    /// pending. On a leader, nothing happens until another member leads.
    pub(crate) fn rebuild(&mut self) {
        self.rebuilds = true;
        self.request_snapshot();
    }

    /// Requests the leader's state if it must replace this member's state. While a request is pending, this member accepts no
    /// entries, although the leader may need its acknowledgment to commit them. The request is therefore sent only in a term in
    /// which this entire log is committed. It is canceled in the next term.
    pub(super) fn request_snapshot(&mut self) {
        if !self.awaits_leaders_state() || !self.leader_reaches_own_log() {
            self.raft.raft.pending_request_snapshot = INVALID_INDEX;
            return;
        }
        // An error means that there is no leader, or that the leader's first entry has not arrived. The next tick retries.
        if self.raft.request_snapshot().is_ok() {
            self.state_asked_at = self.ticks;
        }
    }

    /// Returns whether to drop an append message, because raft would answer it with another request for the leader's state. The
    /// request may be lost, so one message per election timeout passes, and its tick is recorded.
    pub(super) fn record_snapshot_request_and_check_repeat(&mut self, message: &Message) -> bool {
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

    /// Cancels the request for the leader's state before raft sees the first message of the next leader. Raft would repeat the
    /// request to that leader, which might not have applied the requested index.
    pub(super) fn cancel_snapshot_request_before(&mut self, message: &Message) {
        let raft = &mut self.raft.raft;
        if is_of_leader(message.get_msg_type()) && message.term > raft.term {
            raft.pending_request_snapshot = INVALID_INDEX;
        }
    }

    /// Returns whether a snapshot is older than the requested snapshot, so that the caller must drop it. Raft would install it
    /// and forget entries that this member has acknowledged.
    pub(super) fn is_outdated_snapshot(&self, message: &Message) -> bool {
        let asked = self.raft.raft.pending_request_snapshot;
        message.get_msg_type() == MessageType::MsgSnapshot
            && message.get_snapshot().get_metadata().index < asked
    }

    /// Returns whether this member's entire log is committed and its last entry is from the current term. The leader's state
    /// then includes the entire log without another entry.
    fn leader_reaches_own_log(&self) -> bool {
        let raft = &self.raft.raft;
        let last = raft.raft_log.last_index();
        let is_of_term = raft.raft_log.term(last).is_ok_and(|term| term == raft.term);
        raft.raft_log.committed == last && is_of_term
    }
}

//! What a leader looks at before it takes a change of membership, what a removed member does, and how a member
//! asks for the state of the others.
//!
//! What does not live here: whether the registry accepts a change (`machine/member.rs`), and what the dialects
//! check beforehand.

use raft::{
    GetEntriesContext, StateRole,
    eraftpb::{ConfChange, ConfChangeType},
};

use super::{Halt, Replica};
use crate::{host::ProposalRejected, limits::HANDOVERS_MAX, wire};

/// A learner may vote when it has this share of the leader's log, in percent, as in etcd.
const LEARNER_READY_PERCENT: u64 = 90;

impl Replica {
    /// Whether this leader hands over instead of taking its own removal now. The removal is proposed to the
    /// next leader. If nobody takes over, it is taken all the same.
    pub(super) fn hands_over_before(&mut self, change: &ConfChange) -> bool {
        let own = change.get_change_type() == ConfChangeType::RemoveNode
            && change.node_id == self.config.id;
        if !own || self.handovers >= HANDOVERS_MAX {
            return false;
        }
        self.handovers += 1;
        self.transfer_leadership(None).is_ok()
    }

    /// Refuses to promote a learner that is far behind: it would count for the quorum at once.
    pub(super) fn admit_change(&self, change: &ConfChange) -> Result<(), ProposalRejected> {
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
    pub(super) fn is_removing(&self, member: u64) -> bool {
        let raft = &self.raft.raft;
        if !raft.has_pending_conf() {
            return false;
        }
        let log = &raft.raft_log;
        let from = self.raft.store().position().index + 1;
        let context = GetEntriesContext::empty(false);
        let Ok(entries) = log.slice(from, log.last_index() + 1, None, context) else {
            return false;
        };
        let mut changes = entries.iter().filter_map(|entry| {
            let (_, change) = wire::decode_raft_entry(entry).ok()?;
            change
        });
        changes.any(|change| {
            change.get_change_type() == ConfChangeType::RemoveNode && change.node_id == member
        })
    }

    /// Another member knows of this one's removal, whose entry may never arrive here: a leader sends nothing
    /// more to a removed member. Most of the others must say so, so that a single one cannot end this member.
    pub(super) fn removed_at(&mut self, member: u64) {
        let members = &self.machine.members.by_id;
        if member == self.config.id || !members.contains_key(&member) {
            return;
        }
        self.removed_at.insert(member);
        let others = members.keys().filter(|id| **id != self.config.id).count();
        if self.removed_at.len() > others / 2 {
            self.halt = Some(Halt::Removed);
        }
    }

    /// A removed member leads no more, and ends after its messages have gone out.
    pub(super) fn notice_own_removal(&mut self) {
        if !self.machine.members.removed_ids.contains(&self.config.id) {
            return;
        }
        self.halt = Some(Halt::Removed);
        let raft = &mut self.raft.raft;
        if raft.state == StateRole::Leader {
            // raft goes on to lead without a vote of its own
            let term = raft.term;
            raft.become_follower(term, 0);
        }
    }

    /// Replaces this member's state by the leader's, because it has become another one. It takes no entries
    /// until it has that state. A leader must hand over first.
    pub fn rebuild(&mut self) {
        self.rebuilds = true;
        self.request_snapshot();
    }

    /// Asks the leader for its state, if this member needs it and has not asked yet.
    pub(super) fn request_snapshot(&mut self) {
        if self.rebuilds {
            // An error says that there is no leader, or that its first entry has not arrived: the next
            // tick tries again.
            let _ = self.raft.request_snapshot();
        }
    }
}

//! Linearizable reads: when they are accepted, and when their ReadIndex round can start.

use raft::StateRole;

use super::Replica;
use crate::host::{ProposalRejected, Ticket};

impl Replica {
    /// Queues a linearizable read. Fails with `TooMany` if the queue is full.
    pub(crate) fn read(&mut self, ticket: Ticket) -> Result<(), ProposalRejected> {
        if self.read_index.is_full() {
            return Err(ProposalRejected::TooMany);
        }
        self.read_index.enqueue(ticket, self.ticks);
        Ok(())
    }

    /// Returns whether a ReadIndex request would be answered. Raft silently drops it on a member without a leader, and on a
    /// leader that has committed nothing in its term.
    pub(super) fn can_read_index(&self) -> bool {
        let raft = &self.raft.raft;
        match raft.state {
            StateRole::Leader => raft.commit_to_current_term(),
            StateRole::Follower | StateRole::Candidate | StateRole::PreCandidate => {
                raft.leader_id != 0
            }
        }
    }

    /// Returns the monotonic time in nanoseconds at which held reads are due, if nothing changes before. Returns `None` without
    /// held reads, or if a ReadIndex request would not be answered now.
    pub(super) fn reads_due_ns(&self) -> Option<u64> {
        self.read_index.deadline().filter(|_| self.can_read_index())
    }
}

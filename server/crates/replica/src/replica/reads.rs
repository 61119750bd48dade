//! Linearizable reads: their admission, and the conditions for a ReadIndex round.

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

    /// Returns whether raft would answer a ReadIndex request. Raft silently drops such a request on a member without a leader
    /// and on a leader that has committed nothing in its term.
    pub(super) fn can_read_index(&self) -> bool {
        let raft = &self.raft.raft;
        match raft.state {
            StateRole::Leader => raft.commit_to_current_term(),
            StateRole::Follower | StateRole::Candidate | StateRole::PreCandidate => {
                raft.leader_id != 0
            }
        }
    }

    /// Returns the monotonic time in nanoseconds at which held reads are due. Returns `None` if no reads are held, or if raft
    /// would not answer a ReadIndex request now.
    pub(super) fn reads_due_ns(&self) -> Option<u64> {
        self.read_index.deadline().filter(|_| self.can_read_index())
    }
}

//! The requests of clients with their times and answers: the external view against which the core is checked.
//!
//! The oracle never inspects a replica. It keeps *floors*: the result of an operation must include everything that was
//! completed before its invocation.

use std::collections::BTreeMap;

use witan_machine::{Outcome, Reply, command::Command, lease::LeaseId, revision::Revision};
use witan_replica::{host::Applied, replica::ProposalRejected};

use crate::workload::{self, Read};

/// Number of leases that clients remember.
const LEASES: usize = 4;

/// A request of a client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ask {
    /// A command for the log.
    Write(Command),
    /// A linearizable read.
    Read(Read),
}

/// The status of an operation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// The operation was accepted and is not answered yet.
    Pending,
    /// The operation was not accepted.
    Refused(ProposalRejected),
    /// The operation was not accepted, because the member's disk is full.
    NoSpace,
    /// The operation was not proposed, because the member was removed.
    Removed,
    /// A write was answered.
    Applied {
        at: u64,
        /// Raft index of its entry.
        index: u64,
        outcome: Outcome,
    },
    /// A read was answered.
    Answered { at: u64 },
    /// There was no answer: the member was down, crashed, did not know the outcome, or took too long.
    Crashed,
}

/// The minimum state that an operation must return, because earlier operations were completed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Floor {
    pub(crate) revision: Revision,
    pub(crate) tree_index: u64,
    /// Raft index of an acknowledged write.
    pub(crate) index: u64,
    /// For each v3 key, the revision of its last completed write or read.
    pub(crate) keys: BTreeMap<Vec<u8>, Revision>,
    /// The last leases that were granted.
    pub(crate) leases: Vec<LeaseId>,
}

impl Floor {
    /// Raises the floor to the state that an answered write created.
    fn rise(&mut self, ask: &Ask, index: u64, outcome: &Outcome) {
        self.index = self.index.max(index);
        self.revision = self.revision.max(outcome.revision);
        if let Reply::Tree(reply) = &outcome.reply {
            self.tree_index = self.tree_index.max(tree_index(reply));
        }
        if let Some(lease) = workload::granted(ask, outcome) {
            self.leases.push(lease);
            let old = self.leases.len().saturating_sub(LEASES);
            self.leases.drain(..old);
        }
        if let Ask::Write(command) = ask {
            for key in workload::keys_written(command, outcome) {
                let least = self.keys.entry(key).or_default();
                *least = (*least).max(outcome.revision);
            }
        }
    }
}

/// One request of a client.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    /// The number of the operation in the run. Every value that the operation writes contains it.
    pub(crate) id: u64,
    /// The member that received it.
    pub(crate) member: u64,
    /// Time of the invocation.
    pub(crate) invoked: u64,
    /// The floor of the operations completed before the invocation.
    pub(crate) floor: Floor,
    pub(crate) ask: Ask,
    pub(crate) end: End,
    /// The deadline of the operation, if it has one.
    pub(crate) deadline: Option<u64>,
}

/// All operations of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle {
    ops: Vec<Op>,
    floor: Floor,
}

impl Oracle {
    /// Returns the number of the next operation.
    pub(crate) fn next_id(&self) -> u64 {
        self.ops.len() as u64
    }

    /// Records a new operation and returns its number.
    pub(crate) fn invoke(&mut self, member: u64, invoked: u64, ask: Ask, end: End) -> u64 {
        let id = self.next_id();
        let floor = self.floor.clone();
        self.ops
            .push(Op { id, member, invoked, floor, ask, end, deadline: None });
        id
    }

    /// Requires that an operation ends by `deadline`.
    pub(crate) fn promise(&mut self, id: u64, deadline: u64) {
        if let Some(op) = self.ops.get_mut(id as usize) {
            op.deadline = Some(deadline);
        }
    }

    /// Requires that every pending read at one of `members` is answered by `deadline`.
    pub(crate) fn promise_reads(&mut self, deadline: u64, members: &[u64]) {
        for op in &mut self.ops {
            let waits = op.end == End::Pending && members.contains(&op.member);
            if waits && matches!(op.ask, Ask::Read(_)) {
                op.deadline = Some(deadline);
            }
        }
    }

    /// Records the answer to a write.
    pub(crate) fn acknowledge(&mut self, id: u64, at: u64, applied: &Applied) {
        let Some(op) = self.ops.get_mut(id as usize) else {
            return;
        };
        let Applied { index, outcome, .. } = applied;
        op.end = End::Applied { at, index: *index, outcome: outcome.clone() };
        self.floor.rise(&op.ask, *index, outcome);
    }

    /// Forks the history after the entry at `kept`. The outcomes of later operations become unknown, like the outcomes of
    /// pending requests. The floor is recomputed from the earlier operations.
    pub(crate) fn fork(&mut self, kept: u64) {
        self.floor = Floor::default();
        for op in &mut self.ops {
            match &op.end {
                End::Applied { index, outcome, .. } if *index <= kept => {
                    self.floor.rise(&op.ask, *index, outcome);
                }
                End::Applied { .. } | End::Pending => op.end = End::Crashed,
                End::Refused(_)
                | End::NoSpace
                | End::Removed
                | End::Answered { .. }
                | End::Crashed => {}
            }
        }
    }

    /// Records the answer to a read. `seen` is the revision and v2 index of the state, and the revision of the last put of the
    /// key that was read.
    pub(crate) fn answer(&mut self, id: u64, at: u64, seen: (Revision, u64, Option<Revision>)) {
        let Some(op) = self.ops.get_mut(id as usize) else {
            return;
        };
        op.end = End::Answered { at };
        let (revision, index, key_revision) = seen;
        self.floor.revision = self.floor.revision.max(revision);
        self.floor.tree_index = self.floor.tree_index.max(index);
        if let (Ask::Read(read), Some(key_revision)) = (&op.ask, key_revision) {
            let least = self.floor.keys.entry(read.key.to_vec()).or_default();
            *least = (*least).max(key_revision);
        }
    }

    /// Ends a request that was refused or gets no reply.
    pub(crate) fn unanswered(&mut self, id: u64, end: End) {
        if let Some(op) = self.ops.get_mut(id as usize) {
            op.end = end;
        }
    }

    /// Ends the pending operations of a member whose process has ended.
    pub(crate) fn crashed(&mut self, member: u64) {
        for op in &mut self.ops {
            if op.member == member && op.end == End::Pending {
                op.end = End::Crashed;
            }
        }
    }

    /// Returns all operations in the order of invocation.
    pub(crate) fn ops(&self) -> &[Op] {
        &self.ops
    }

    pub(crate) fn op(&self, id: u64) -> Option<&Op> {
        self.ops.get(id as usize)
    }

    /// Returns the floor of the operations completed so far.
    pub(crate) fn floor(&self) -> &Floor {
        &self.floor
    }
}

/// Returns the v2 index of an answer, or 0 for an expiration.
fn tree_index(reply: &Result<witan_tree::TreeReply, witan_tree::TreeError>) -> u64 {
    match reply {
        Ok(witan_tree::TreeReply::Event(event)) => event.index,
        Ok(witan_tree::TreeReply::Expired(_)) => 0,
        Err(error) => error.index,
    }
}

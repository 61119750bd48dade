//! [`Node`]: the clonable handle through which every dialect reaches the replica. Dialects see no
//! raft, no disk and no thread, only these verbs.

pub mod fault;

use std::sync::Arc;

use witan_replica::{
    machine::{Outcome, command::Command, tree::Watch, view::View},
    replica::Status,
};

pub use fault::Fault;

/// Clonable handle to the running member.
#[derive(Clone, Debug)]
pub struct Node {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {}

/// Identity of this process, fixed at start.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Own member id.
    pub member_id: u64,
    /// Cluster id.
    pub cluster_id: u64,
    /// `--name`.
    pub name: String,
    /// Unix time of the process start, nanoseconds.
    pub started_ns: i64,
}

/// An applied command.
#[derive(Clone, Debug)]
pub struct Done {
    /// What the state machine answered, and the v3 revision after it.
    pub outcome: Outcome,
    /// Raft index of the command's entry.
    pub index: u64,
    /// Raft term when it was applied.
    pub term: u64,
}

impl Node {
    /// Replicates a command and waits until it is applied here. Times out after the request timeout.
    pub async fn propose(&self, _command: Command) -> Result<Done, Fault> {
        Err(Fault::Stopped)
    }

    /// A linearizable view: holds everything that was committed before the call.
    pub async fn read(&self) -> Result<Arc<View>, Fault> {
        Err(Fault::Stopped)
    }

    /// This member's present state, without asking anyone (serializable).
    pub async fn view(&self) -> Result<Arc<View>, Fault> {
        Err(Fault::Stopped)
    }

    /// Registers for wake-ups: the returned handle wakes after every applied change that `watch`
    /// may match. Take a view after registering, so that no event falls between.
    pub fn watch(&self, _watch: Watch) -> Result<Waiter, Fault> {
        Err(Fault::Stopped)
    }

    /// What raft says now, without waiting: a published copy.
    pub fn status(&self) -> Status {
        Status::default()
    }

    /// Who this process is.
    pub fn identity(&self) -> &Identity {
        todo!()
    }

    /// When the present leader was first seen, Unix nanoseconds; 0 when there is none.
    pub fn leader_since_ns(&self) -> i64 {
        0
    }

    /// Present wall clock, Unix nanoseconds.
    pub fn now_ns(&self) -> i64 {
        0
    }

    /// Resolves when the process has begun to stop: long answers end themselves then.
    pub async fn stopping(&self) {
        let _ = &self.shared;
    }

    /// Number of registered watchers.
    pub fn watchers(&self) -> usize {
        0
    }
}

/// A registered watcher; dropping it unregisters.
#[derive(Debug)]
pub struct Waiter {}

impl Waiter {
    /// Resolves after a change that the watch may match (spurious wake-ups are possible), at once if
    /// one happened since the last call.
    pub async fn woken(&mut self) {}
}

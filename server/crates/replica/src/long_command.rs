//! Commands that take long: executed on a copy of the state by the host, while the replica goes on
//! with raft. Nothing else is applied until it ends, so the states that follow each other are the same.
//!
//! What does *not* live here: how many keys a command works on (`witan_machine`), and when its
//! outcome is applied (`replica/turn.rs`).

use witan_machine::{Outcome, StateMachine, command::Entry, kv::ReadResults};

/// A command with the state that it is to change. The host may execute it on another thread.
#[derive(Debug)]
pub struct LongCommand {
    pub(crate) index: u64,
    pub(crate) entry: Entry,
    pub(crate) results: ReadResults,
    pub(crate) machine: StateMachine,
}

/// The end of a [`LongCommand`].
#[derive(Debug)]
pub struct ExecutedCommand {
    pub(crate) index: u64,
    pub(crate) entry: Entry,
    pub(crate) outcome: Outcome,
    pub(crate) machine: StateMachine,
}

impl ExecutedCommand {
    /// Raft index of its entry.
    pub fn index(&self) -> u64 {
        self.index
    }
}

impl LongCommand {
    /// Raft index of its entry.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Executes the command on its state; returns the outcome and the new state.
    pub fn execute(self) -> ExecutedCommand {
        let Self { index, entry, results, mut machine } = self;
        let outcome = machine.apply_with(&entry, results);
        ExecutedCommand { index, entry, outcome, machine }
    }
}

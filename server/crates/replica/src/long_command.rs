//! Long commands, which the host executes on a copy of the state while the replica keeps running raft. Nothing else is applied
//! until a long command ends, so all members have the same sequence of states.
//!
//! `witan_machine` counts the keys that a command touches, and `replica/turn.rs` applies the outcome.

use witan_machine::{Outcome, StateMachine, command::Entry, kv::ReadResults};

/// A command and the state to execute it on. The host may execute it on another thread.
#[derive(Debug)]
pub struct LongCommand {
    pub(crate) index: u64,
    pub(crate) entry: Entry,
    pub(crate) results: ReadResults,
    pub(crate) machine: StateMachine,
}

/// The result of a [`LongCommand`].
#[derive(Debug)]
pub struct ExecutedCommand {
    pub(crate) index: u64,
    pub(crate) entry: Entry,
    pub(crate) outcome: Outcome,
    pub(crate) machine: StateMachine,
}

impl ExecutedCommand {
    /// Returns the raft index of the command's entry.
    pub fn index(&self) -> u64 {
        self.index
    }
}

impl LongCommand {
    /// Returns the raft index of the command's entry.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Executes the command on its state. Returns the outcome and the new state.
    pub fn execute(self) -> ExecutedCommand {
        let Self { index, entry, results, mut machine } = self;
        let outcome = machine.apply_with(&entry, results);
        ExecutedCommand { index, entry, outcome, machine }
    }
}

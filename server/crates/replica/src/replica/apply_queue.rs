//! Committed entries that wait to be applied.

use std::collections::VecDeque;

use raft::eraftpb::{ConfChange, Entry as RaftEntry};

use crate::long_command::ExecutedCommand;
use witan_machine::{StateMachine, command::Entry, kv::ValueSource};

/// Committed but unapplied entries. The queue is empty between turns unless the host executes a command.
#[derive(Debug, Default)]
pub(super) struct ApplyQueue {
    entries: VecDeque<RaftEntry>,
    pub(super) bytes: usize,
    /// Position of the command that the host executes; `None` if the host executes no command.
    pub(super) executing: Option<ExecutingCommand>,
    /// Result of that command, once the host has delivered it.
    pub(super) executed: Option<Box<ExecutedCommand>>,
    /// Number of keys that this turn's commands touched.
    pub(super) turn_keys: u64,
}

/// The log position of a long command, and its membership change if it has one.
#[derive(Debug)]
pub(super) struct ExecutingCommand {
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) change: Option<ConfChange>,
}

impl ApplyQueue {
    /// Stores the result of a long command. Drops the result if a snapshot has replaced the state since.
    pub(super) fn executed(&mut self, command: Box<ExecutedCommand>) {
        let executing = self.executing.as_ref();
        if executing.is_some_and(|executing| executing.index == command.index) {
            self.executed = Some(command);
        }
    }

    pub(super) fn push(&mut self, entries: Vec<RaftEntry>) {
        self.bytes += entries.iter().map(|entry| entry.data.len()).sum::<usize>();
        self.entries.extend(entries);
    }

    pub(super) fn pop(&mut self) -> Option<RaftEntry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.data.len();
        Some(entry)
    }

    /// Drops all queued entries and the long command, because an installed snapshot contains them.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Adds the keys that a command touches to the keys of this turn. Returns whether the sum reaches `keys_max`, so that the
    /// host must execute the command. A command that touches no keys is long only if `keys_max` is 0.
    pub(super) fn charge(
        &mut self,
        machine: &StateMachine,
        command: &Entry,
        keys_max: u64,
        source: ValueSource,
    ) -> bool {
        let keys = machine.work(command, keys_max, source);
        self.turn_keys = self.turn_keys.saturating_add(keys);
        self.turn_keys >= keys_max && (keys > 0 || keys_max == 0)
    }
}

//! Behavior of a member whose disk has little or no space for the log, or whose memory is used up. A failed write to the log
//! would stop the process.
//!
//! A follower accepts the entries that fit, as if the leader had sent no further entries, and lags until there is more space. A
//! leader without space proposes nothing itself and transfers leadership to a member that may have space. Entries that
//! elections and startup need are accepted anyway: the first entry of a term and the attributes of members. Without them, no
//! leader could serve linearizable reads.
//!
//! A member without memory accepts entries up to the first entry that adds data. If all members have used up their memory,
//! deletions, compactions and expirations can therefore still free memory.

use raft::{
    StateRole,
    eraftpb::{Entry as RaftEntry, Message, MessageType},
};

use super::Replica;
use crate::wire;
use witan_machine::{command::Command, kv::ValueSource};

/// Number of election timeouts between two attempts to transfer leadership. Raft drops proposals during a transfer.
const HANDOVER_TIMEOUTS: u64 = 3;

/// Maximum size in bytes of an entry on disk, without its data.
const ENTRY_BYTES: u64 = 64;

/// The space in bytes that the host measured for the log, minus the space that has been used since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    left_bytes: u64,
    full: bool,
    /// Whether the memory is used up.
    lacks_memory: bool,
    /// Where commands find the values that they read.
    pub(super) values: ValueSource,
    /// Tick and target of this leader's last transfer because of a full disk or used-up memory.
    handed_over: Option<(u64, u64)>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            left_bytes: u64::MAX,
            full: false,
            lacks_memory: false,
            values: ValueSource::Memory,
            handed_over: None,
        }
    }
}

impl Room {
    /// Reserves space for an entry with `data` bytes of data. If there is not enough space, reserves none and returns `false`.
    fn take(&mut self, data: usize) -> bool {
        let left = self.left_bytes.checked_sub(data as u64 + ENTRY_BYTES);
        self.left_bytes = left.unwrap_or(self.left_bytes);
        left.is_some()
    }

    /// Returns whether a command can be accepted: memory is free, or the command does not add data.
    fn has_memory_for(&self, command: Option<&Command>) -> bool {
        !self.lacks_memory || command.is_none_or(|command| command.growth() == 0)
    }

    /// Reserves space for an entry of the leader. Returns `false` if there is not enough space or memory.
    fn take_entry(&mut self, entry: &RaftEntry) -> bool {
        // The entry is decoded only while the memory is used up.
        let has_memory = !self.lacks_memory || self.has_memory_for(command_of(entry).as_ref());
        has_memory && self.take(entry.data.len())
    }
}

impl Replica {
    /// Sets the number of bytes by which the log may grow until the next call. 0 means that the disk is full.
    pub(crate) fn set_log_room(&mut self, bytes: u64) {
        self.disk_room.left_bytes = bytes;
        self.disk_room.full = bytes == 0;
    }

    /// Records whether commands that add data must be rejected for lack of memory.
    pub(crate) fn set_lacks_memory(&mut self, lacks_memory: bool) {
        self.disk_room.lacks_memory = lacks_memory;
    }

    /// Records where commands find the values that they read.
    pub(crate) fn set_value_source(&mut self, values: ValueSource) {
        self.disk_room.values = values;
    }

    /// Returns whether the disk has no space for another entry.
    pub(super) fn has_full_disk(&self) -> bool {
        self.disk_room.full
    }

    /// Returns whether the disk is full or the memory is used up. Another member should then lead, because this member cannot
    /// accept commands that add data.
    pub(super) fn lacks_room(&self) -> bool {
        self.disk_room.full || self.disk_room.lacks_memory
    }

    /// Reserves space for another member's command with `data` bytes of data. Returns `false` if there is not enough space or
    /// memory. Commands that members need at startup always fit and reserve nothing.
    pub(super) fn take_room_for(&mut self, command: Option<&Command>, data: usize) -> bool {
        command.is_some_and(Command::is_required_at_start)
            || self.disk_room.has_memory_for(command) && self.disk_room.take(data)
    }

    /// Removes the entries that do not fit on the disk or in memory, and all later entries, from a leader's append message.
    /// Reserves space for the other entries. Entries that elections or startup need always fit. Committed entries need no
    /// space, because raft drops them.
    pub(super) fn cut_to_room(&mut self, message: &mut Message) {
        if message.get_msg_type() != MessageType::MsgAppend {
            return;
        }
        let committed = self.raft.raft.raft_log.committed;
        let (entries, room) = (message.entries.iter(), &mut self.disk_room);
        let taken = entries
            .take_while(|entry| {
                entry.index <= committed || room.take_entry(entry) || is_needed_by_elections(entry)
            })
            .count();
        message.entries.truncate(taken);
    }

    /// Transfers leadership to another voter if the disk is full or the memory is used up. After [`HANDOVER_TIMEOUTS`] election
    /// timeouts, tries a different voter. Keeps leading if no other voter is active or has room.
    pub(super) fn hand_over_if_full(&mut self) {
        if self.raft.raft.state != StateRole::Leader {
            self.disk_room.handed_over = None;
        }
        let pause = HANDOVER_TIMEOUTS * self.config.election_ticks as u64;
        let last = self.disk_room.handed_over;
        let waits = last.is_some_and(|(at, _)| self.ticks < at + pause);
        if !self.lacks_room() || waits {
            return;
        }
        let before = last.map(|(_, to)| to);
        let to = self.transferee(before).or_else(|_| self.transferee(None));
        // The transfer fails if this member does not lead or no other voter is active.
        if let Ok(to) = to.and_then(|to| self.hand_over(Some(to))) {
            self.disk_room.handed_over = Some((self.ticks, to));
        }
    }
}

/// Returns whether an entry must be accepted on a full disk, because elections or startup need it.
fn is_needed_by_elections(entry: &RaftEntry) -> bool {
    entry.data.is_empty()
        || command_of(entry)
            .as_ref()
            .is_some_and(Command::is_required_at_start)
}

/// Decodes the command in an entry. Returns `None` if the entry has no command or cannot be decoded.
fn command_of(entry: &RaftEntry) -> Option<Command> {
    wire::decode_raft_entry(entry).ok()?.0.command
}

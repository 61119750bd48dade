//! Behavior of a member whose disk has little or no space for the log, where a failed write would end it.
//!
//! A follower takes the entries that fit, as if the leader had sent no others, and lags until there is more space. A leader
//! without space transfers leadership to a member that may have some, and proposes nothing itself. Entries that elections and
//! starts need are taken anyway: the first entry of a term and the attributes of members. Without them no leader could serve
//! linearizable reads.

use raft::{
    StateRole,
    eraftpb::{Entry as RaftEntry, Message, MessageType},
};

use super::Replica;
use crate::wire;
use witan_machine::command::Command;

/// Election timeouts between two attempts of a leader to transfer leadership; raft drops proposals for one of them.
const HANDOVER_TIMEOUTS: u64 = 3;

/// Maximum bytes of an entry on disk in addition to its data.
const ENTRY_BYTES: u64 = 64;

/// The room for the log, as the host measured it, without what was taken since.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiskRoom {
    left_bytes: u64,
    full: bool,
    /// When and to whom this leader last transferred leadership because of its full disk.
    handed_over: Option<(u64, u64)>,
}

impl Default for DiskRoom {
    fn default() -> Self {
        Self { left_bytes: u64::MAX, full: false, handed_over: None }
    }
}

impl DiskRoom {
    /// Takes space for an entry with this many bytes of data; `false` if there is none.
    fn take(&mut self, data: usize) -> bool {
        let left = self.left_bytes.checked_sub(data as u64 + ENTRY_BYTES);
        self.left_bytes = left.unwrap_or(self.left_bytes);
        left.is_some()
    }
}

impl Replica {
    /// Sets the bytes by which the log may grow until the next call. With 0 the disk is full.
    pub(crate) fn set_log_room(&mut self, bytes: u64) {
        self.disk_room.left_bytes = bytes;
        self.disk_room.full = bytes == 0;
    }

    /// Returns whether the disk has no space for the log.
    pub(super) fn has_full_disk(&self) -> bool {
        self.disk_room.full
    }

    /// Takes space for another member's command with this many bytes; `false` if there is none.
    pub(super) fn take_room_for(&mut self, command: Option<&Command>, data: usize) -> bool {
        command.is_some_and(Command::is_required_at_start) || self.disk_room.take(data)
    }

    /// Removes the entries that do not fit, and later ones, from a leader's message. The leader might have sent the resulting
    /// message itself.
    pub(super) fn cut_to_room(&mut self, message: &mut Message) {
        if message.get_msg_type() != MessageType::MsgAppend {
            return;
        }
        let entries = message.entries.iter();
        let taken = entries.take_while(|entry| {
            self.disk_room.take(entry.data.len()) || is_needed_by_elections(entry)
        });
        let taken = taken.count();
        message.entries.truncate(taken);
    }

    /// Transfers leadership to another voter if the disk is full, and tries a different one later. Without another active
    /// voter, or if all their disks are full, this member keeps leading.
    pub(super) fn hand_over_if_full(&mut self) {
        if self.raft.raft.state != StateRole::Leader {
            self.disk_room.handed_over = None;
        }
        let pause = HANDOVER_TIMEOUTS * self.config.election_ticks as u64;
        let last = self.disk_room.handed_over;
        let waits = last.is_some_and(|(at, _)| self.ticks < at + pause);
        if !self.disk_room.full || waits {
            return;
        }
        let before = last.map(|(_, to)| to);
        let to = self.transferee(before).or_else(|_| self.transferee(None));
        // refused because this member does not lead or no other voter is active
        if let Ok(to) = to.and_then(|to| self.hand_over(Some(to))) {
            self.disk_room.handed_over = Some((self.ticks, to));
        }
    }
}

fn is_needed_by_elections(entry: &RaftEntry) -> bool {
    let command = || wire::decode_raft_entry(entry).ok()?.0.command;
    entry.data.is_empty()
        || command()
            .as_ref()
            .is_some_and(Command::is_required_at_start)
}

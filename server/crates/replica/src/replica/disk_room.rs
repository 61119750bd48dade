//! Behavior of a member whose disk has little or no space for the log, where a failed write would stop the process. The host
//! also reports no space if the memory budget is used up, where further entries could end the process.
//!
//! A follower accepts the entries that fit, as if the leader had sent no others, and lags until there is more space. A leader
//! without space transfers leadership to a member that may have space, and proposes nothing itself. Entries that elections and
//! startup need are accepted anyway: the first entry of a term and the attributes of members. Without them no leader could
//! serve linearizable reads.

use raft::{
    StateRole,
    eraftpb::{Entry as RaftEntry, Message, MessageType},
};

use super::Replica;
use crate::wire;
use witan_machine::command::Command;

/// Number of election timeouts between two attempts to transfer leadership, during which raft drops proposals.
const HANDOVER_TIMEOUTS: u64 = 3;

/// Maximum size of an entry on disk in bytes, without its data.
const ENTRY_BYTES: u64 = 64;

/// The space in bytes that the host measured for the log, minus the space used since.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiskRoom {
    left_bytes: u64,
    full: bool,
    /// Tick and target of this leader's last transfer because of a full disk.
    handed_over: Option<(u64, u64)>,
}

impl Default for DiskRoom {
    fn default() -> Self {
        Self { left_bytes: u64::MAX, full: false, handed_over: None }
    }
}

impl DiskRoom {
    /// Reserves space for an entry with `data` bytes of data. Returns `false` if there is not enough.
    fn take(&mut self, data: usize) -> bool {
        let left = self.left_bytes.checked_sub(data as u64 + ENTRY_BYTES);
        self.left_bytes = left.unwrap_or(self.left_bytes);
        left.is_some()
    }
}

impl Replica {
    /// Sets the number of bytes by which the log may grow until the next call. 0 means that the disk or the memory is full.
    pub(crate) fn set_log_room(&mut self, bytes: u64) {
        self.disk_room.left_bytes = bytes;
        self.disk_room.full = bytes == 0;
    }

    pub(super) fn has_full_disk(&self) -> bool {
        self.disk_room.full
    }

    /// Reserves space for another member's command with `data` bytes of data. Returns `false` if there is not enough. Commands
    /// that startup needs always fit.
    pub(super) fn take_room_for(&mut self, command: Option<&Command>, data: usize) -> bool {
        command.is_some_and(Command::is_required_at_start) || self.disk_room.take(data)
    }

    /// Removes the entries that do not fit on the disk, and all later ones, from a leader's append message.
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

    /// Transfers leadership to another voter if the disk is full. After a while, tries a different voter. Keeps leading if no
    /// other voter is active or all their disks are full.
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
        // The transfer fails if this member does not lead or no other voter is active.
        if let Ok(to) = to.and_then(|to| self.hand_over(Some(to))) {
            self.disk_room.handed_over = Some((self.ticks, to));
        }
    }
}

/// Returns whether an entry must be accepted on a full disk, because elections or startup need it.
fn is_needed_by_elections(entry: &RaftEntry) -> bool {
    let command = || wire::decode_raft_entry(entry).ok()?.0.command;
    entry.data.is_empty()
        || command()
            .as_ref()
            .is_some_and(Command::is_required_at_start)
}

//! Behaviour of a member whose disk has little or no room for the log: a write that fails would end it.
//!
//! A follower takes the entries for which there is room, as if the leader had sent no others, and so lags until
//! there is more. A leader without room hands over to a member that may have some, and proposes nothing of its
//! own. What elections and starts need is taken all the same: the first entry of a term and the attributes of
//! members, without which no leader could serve linearizable reads.

use raft::{
    StateRole,
    eraftpb::{Entry as RaftEntry, Message, MessageType},
};

use super::Replica;
use crate::wire;
use witan_machine::command::Command;

/// Election timeouts between two attempts of a leader to hand over: raft drops proposals for one of them.
const HANDOVER_TIMEOUTS: u64 = 3;

/// The most bytes that an entry takes on disk beside its data.
const ENTRY_BYTES: u64 = 64;

/// The room for the log, as the host measured it, without what was taken since.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiskRoom {
    left_bytes: u64,
    full: bool,
    /// When and to whom this leader handed over last because its disk is full.
    handed_over: Option<(u64, u64)>,
}

impl Default for DiskRoom {
    fn default() -> Self {
        Self { left_bytes: u64::MAX, full: false, handed_over: None }
    }
}

impl DiskRoom {
    /// Whether there is room for an entry with so many bytes of data; if so, takes it.
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

    /// Whether the disk has no room for the log.
    pub(super) fn has_full_disk(&self) -> bool {
        self.disk_room.full
    }

    /// Takes room for a command of another member with so many bytes; `false` if there is none.
    pub(super) fn take_room_for(&mut self, command: Option<&Command>, data: usize) -> bool {
        command.is_some_and(Command::is_required_at_start) || self.disk_room.take(data)
    }

    /// Removes the entries for which there is no room, and those behind them, from a leader's message. It is
    /// then one that the leader might have sent.
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

    /// Hands leadership to another voter if the disk is full, and tries another one later. Without another
    /// voter that was heard of, or if all of their disks are full, this member leads on.
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
        // refused by who does not lead, or without another active voter
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

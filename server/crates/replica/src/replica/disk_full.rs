//! What a member does while its disk has no room for the log: a write that fails would end it.
//!
//! It takes no entries, as if their messages were lost: the leader sends them again when the member answers
//! heartbeats and lacks them. A leader hands over to a member that has room, and proposes nothing of its own.

use raft::{
    StateRole,
    eraftpb::{Message, MessageType},
};

use super::Replica;

/// Election timeouts between two attempts of a leader to hand over: raft drops proposals for one of them.
const HANDOVER_TIMEOUTS: u64 = 3;

impl Replica {
    /// Says whether the disk has no room for entries of the log. A leader without room hands over.
    pub fn set_disk_full(&mut self, full: bool) {
        self.disk_full = full;
        self.hand_over_if_full();
    }

    /// Whether a message carries entries that the disk has no room for.
    pub(super) fn has_no_room_for(&self, message: &Message) -> bool {
        let appends = message.get_msg_type() == MessageType::MsgAppend;
        self.disk_full && appends && !message.entries.is_empty()
    }

    /// Hands leadership to another voter if the disk is full, and tries again later. Without another voter
    /// that was heard of, or if all of their disks are full, this member leads on.
    pub(super) fn hand_over_if_full(&mut self) {
        if !self.disk_full || self.raft.raft.state != StateRole::Leader {
            self.relieved_at = None;
            return;
        }
        let pause = HANDOVER_TIMEOUTS * self.config.election_ticks as u64;
        if self.relieved_at.is_none_or(|at| self.ticks >= at + pause) {
            self.relieved_at = Some(self.ticks);
            // refused without another active voter
            let _ = self.transfer_leadership(None);
        }
    }
}

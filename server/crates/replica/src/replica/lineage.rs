//! Members whose logs agree, and whose states do not: etcd 3.4 salts passwords on each member by itself, and a compaction
//! that was going on left other blocks on each, so `witan adopt` makes another state of each member's data.
//!
//! A state has a lineage, which `witan adopt` makes of all of its records, and which a snapshot carries along. Two members
//! with the same lineage have had the same state at the same entry. A leader says with its entries which lineage its state
//! has, and a follower of another lineage replaces its own state by the leader's. So the state of any leader counts, and
//! adopted members elect as others do: a leader that ends before all members have its state is followed by another, whose
//! state replaces that of those as well.

use raft::{
    StateRole,
    eraftpb::{Message, MessageType},
};

use super::Replica;

impl Replica {
    /// Adds the lineage of this leader's state to a message with entries. States of clusters that were never adopted have none,
    /// and add nothing.
    pub(super) fn tell_lineage(&self, message: &mut Message) {
        let lineage = self.raft.store().position().lineage;
        if lineage != 0 && message.get_msg_type() == MessageType::MsgAppend {
            message.context = lineage.to_be_bytes().to_vec().into();
        }
    }

    /// Compares the lineage of the leader's state with that of this member's, at each message with entries.
    pub(super) fn compare_lineage(&mut self, message: &Message) {
        if message.get_msg_type() != MessageType::MsgAppend || message.term < self.raft.raft.term {
            return;
        }
        let differs = lineage_told(message) != Some(self.raft.store().position().lineage);
        self.other_lineage_term = differs.then_some(message.term);
    }

    /// Whether the leader's state is to replace this member's: the two differ.
    pub(super) fn awaits_leaders_state(&self) -> bool {
        let raft = &self.raft.raft;
        let is_of_other_lineage =
            raft.state == StateRole::Follower && self.other_lineage_term == Some(raft.term);
        self.rebuilds || is_of_other_lineage
    }

    /// Removes the entries behind the leader's first one from its message, if its state is to replace this member's. The
    /// leader may need the others to commit what its predecessors have left, but a member that took more of them would have
    /// to wait for a pause in which its whole log is committed before it could ask for the state.
    pub(super) fn cut_behind_first_of_term(&self, message: &mut Message) {
        let differs = self.other_lineage_term == Some(message.term);
        if message.get_msg_type() != MessageType::MsgAppend || !(differs || self.rebuilds) {
            return;
        }
        let log = &self.raft.raft.raft_log;
        let mut has_first = log.last_term() == message.term;
        let last = if has_first { log.last_index() } else { 0 };
        message.entries.retain(|entry| {
            let is_taken = !has_first || entry.index <= last;
            has_first |= entry.term == message.term;
            is_taken
        });
    }
}

/// Returns the lineage that a leader has told; `None` if these are not the bytes of one.
pub(super) fn lineage_told(message: &Message) -> Option<u64> {
    if message.context.is_empty() {
        return Some(0);
    }
    let bytes = <[u8; 8]>::try_from(&message.context[..]).ok()?;
    Some(u64::from_be_bytes(bytes))
}

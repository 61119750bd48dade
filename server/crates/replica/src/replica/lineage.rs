//! Handles members whose logs agree but whose states differ. After `witan adopt`, states can differ for two reasons: etcd 3.4
//! salts passwords on each member separately, and an unfinished compaction leaves different blocks.
//!
//! `witan adopt` computes the lineage of a state from all of its records, and snapshots include the lineage. Members of the
//! same lineage have the same state at the same index. A leader sends its lineage with its entries, and a follower of another
//! lineage replaces its state with the leader's state. Any leader's state can serve as the reference, so elections need no
//! special rule. If a leader stops before all members have its state, the next leader's state replaces theirs.

use raft::{
    StateRole,
    eraftpb::{Message, MessageType},
};

use witan_machine::view::{RESTORED, View};

use super::{Halt, Replica, append_context::AppendContext, boot::GENESIS_INDEX};

impl Replica {
    /// Returns whether to drop a leader's message, because this member and the leader have different lineages and at least one
    /// state was restored. In that case, also halts this member unless it has committed an entry after its first state. A
    /// joining member accepts any lineage. `state` is the state of a snapshot message.
    pub(super) fn started_from_another_state(
        &mut self,
        message: &Message,
        state: Option<&View>,
    ) -> bool {
        let (position, raft) = (self.raft.store().position(), &self.raft.raft);
        let own = position.lineage;
        let appended = || {
            (message.get_msg_type() == MessageType::MsgAppend).then(|| AppendContext::of(message))
        };
        let lineage = match state {
            Some(state) => Some(state.position.lineage),
            None => appended().flatten().map(|context| context.lineage),
        };
        let is_other = |lineage: u64| lineage != own && (lineage | own) & RESTORED != 0;
        let joins = position.voters.is_empty();
        if joins || !lineage.is_some_and(is_other) || message.term < raft.term {
            return false;
        }
        if raft.raft_log.committed <= GENESIS_INDEX {
            self.halt = Some(Halt::OtherState);
        }
        true
    }

    /// Records whether the lineage in a leader's append message differs from this member's lineage. If so, the leader's state
    /// must replace this member's state. A context that cannot be decoded is treated as a different lineage.
    pub(super) fn compare_lineage(&mut self, message: &Message) {
        if message.get_msg_type() != MessageType::MsgAppend || message.term < self.raft.raft.term {
            return;
        }
        let lineage = AppendContext::of(message).map(|context| context.lineage);
        let differs = lineage != Some(self.raft.store().position().lineage);
        self.other_lineage_term = differs.then_some(message.term);
    }

    /// Returns whether the leader's state must replace this member's state, because the lineages differ or this member is being
    /// rebuilt.
    pub(super) fn awaits_leaders_state(&self) -> bool {
        let raft = &self.raft.raft;
        let is_of_other_lineage =
            raft.state == StateRole::Follower && self.other_lineage_term == Some(raft.term);
        self.rebuilds || is_of_other_lineage
    }

    /// If the leader's state must replace this member's state, removes the entries after the first entry of the leader's term
    /// from an append message. If the log already has an entry of that term, removes all new entries. The leader may need that
    /// first entry acknowledged to commit earlier entries. Accepting later entries would delay the request for the leader's
    /// state, which needs a fully committed log.
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

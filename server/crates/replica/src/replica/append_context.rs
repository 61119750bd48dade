//! The context of append messages: bytes that a leader adds in raft's `context` field.

use bytes::Bytes;
use raft::{
    GetEntriesContext, ProgressState, StateRole,
    eraftpb::{Entry, Message, MessageType},
};

use super::Replica;

/// The decoded context of an append message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AppendContext {
    /// The lineage of the leader's state; 0 if it has none.
    pub(super) lineage: u64,
    /// Checksum of the entry before the message's first entry. Omitted once the follower has accepted a message.
    pub(super) previous: Option<u32>,
}

impl AppendContext {
    /// Encodes the context. The encoding is empty if there is no lineage and no checksum.
    fn encode(self) -> Bytes {
        let lineage = self.lineage.to_be_bytes();
        match self.previous {
            Some(previous) => [&lineage[..], &previous.to_be_bytes()].concat().into(),
            None if self.lineage != 0 => lineage.to_vec().into(),
            None => Bytes::new(),
        }
    }

    /// Removes the checksum from a message, for recordings, which replace the data of entries.
    pub(crate) fn forget_checksum(message: &mut Message) {
        if let Some(context) = Self::of(message) {
            message.context = Self { previous: None, ..context }.encode();
        }
    }

    /// Decodes the context of a message. An empty context has neither lineage nor checksum. Returns `None` if the bytes are not
    /// a context.
    pub(super) fn of(message: &Message) -> Option<Self> {
        let Some((lineage, previous)) = message.context.split_first_chunk() else {
            return message.context.is_empty().then(Self::default);
        };
        // A later release may append bytes.
        let previous = match previous.is_empty() {
            true => None,
            false => Some(u32::from_be_bytes(*previous.first_chunk()?)),
        };
        Some(Self { lineage: u64::from_be_bytes(*lineage), previous })
    }
}

impl Replica {
    /// Adds the [`AppendContext`] to an append message and ignores any other message. Only a leader's probe gets a checksum.
    pub(super) fn attach_append_context(&self, message: &mut Message) {
        if message.get_msg_type() != MessageType::MsgAppend {
            return;
        }
        let raft = &self.raft.raft;
        let peer = raft.prs().get(message.to);
        let probes = peer.is_some_and(|peer| peer.state == ProgressState::Probe);
        // Since the message was created, another leader's entries may have replaced the entry.
        let has_previous = raft.state == StateRole::Leader
            && raft.term == message.term
            && raft.raft_log.match_term(message.index, message.log_term);
        let previous = (probes && has_previous).then(|| self.entry_checksum(message.index));
        let lineage = self.raft.store().position().lineage;
        message.context = AppendContext { lineage, previous: previous.flatten() }.encode();
    }

    /// Returns the checksum of an entry's data. Returns `None` if the log in memory does not contain the entry.
    pub(super) fn entry_checksum(&self, index: u64) -> Option<u32> {
        Some(crc32fast::hash(&self.own_entry(index)?.data))
    }

    /// Returns the entry at `index`, or `None` if the log in memory does not contain it.
    pub(super) fn own_entry(&self, index: u64) -> Option<Entry> {
        let log = &self.raft.raft.raft_log;
        if !(log.first_index()..=log.last_index()).contains(&index) {
            return None;
        }
        let context = GetEntriesContext::empty(false);
        let entries = log.slice(index, index + 1, None, context).ok()?;
        entries.into_iter().next()
    }
}

//! Accessors for the simulator and for recordings.

use bytes::Bytes;
use witan_machine::member::MemberId;

use super::{Replica, copied::is_of_leader};
use crate::{
    message_head::MessageHead,
    wire::{self, PeerMessage},
};

impl Replica {
    /// Returns the index of the first entry in the log in memory, or of the next entry if that log is empty.
    pub fn log_begins(&self) -> u64 {
        use raft::Storage as _;
        self.raft.store().first_index().unwrap_or_default()
    }

    /// Returns the term that the sender of an encoded message claims to lead. Returns `None` if the message makes no such claim
    /// or cannot be decoded.
    pub fn led_term(message: &Bytes) -> Option<u64> {
        let Ok(PeerMessage::Raft(message)) = PeerMessage::decode(message) else {
            return None;
        };
        is_of_leader(message.get_msg_type()).then_some(message.term)
    }

    /// Formats the hard state of a [`crate::host::LogBatch`] for recordings. If it cannot be decoded, returns the error
    /// message.
    pub fn describe_hard_state(bytes: &Bytes) -> String {
        match wire::decode_hard_state(bytes) {
            Ok(state) => {
                let vote = MemberId(state.vote);
                format!("term {} vote {vote} commit {}", state.term, state.commit)
            }
            Err(error) => error.to_string(),
        }
    }

    /// Formats an encoded message for recordings and for traces of the simulator. If it cannot be decoded, returns the error
    /// message.
    pub fn describe(message: &Bytes) -> String {
        if let Some(head) = MessageHead::of(message) {
            return head.to_string();
        }
        match PeerMessage::decode(message) {
            Ok(PeerMessage::Raft(_)) => "message of raft".into(),
            Ok(PeerMessage::Proposals(m) | PeerMessage::ProposalsAgain(m)) => {
                format!("Proposals term={} entries={}", m.term, m.entries.len())
            }
            Ok(
                other @ (PeerMessage::Refused(_)
                | PeerMessage::LeaseRequests(_)
                | PeerMessage::LeaseAnswer(_)),
            ) => format!("{other:?}"),
            Err(error) => error.to_string(),
        }
    }
}

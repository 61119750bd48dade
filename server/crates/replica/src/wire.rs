//! Encodings of log payloads, hard state and messages between members. No other file uses raft's protobuf codec. Layouts never
//! change; `tests/wire.rs` checks them against golden bytes.

use bytes::{BufMut as _, Bytes};
use prost::{Message as _, encoding};
use protobuf::{Message as _, ProtobufEnum as _};
use raft::eraftpb::{
    ConfChange, ConfChangeType, Entry as RaftEntry, EntryType, HardState, Message, MessageType,
};

use crate::{
    forward::{ForwardedLeaseAnswer, ForwardedLeaseRequests, ForwardedProposals, RefusedProposals},
    host::LogRecord,
    replica::append_context::AppendContext,
};
use witan_machine::{
    command::{Command, Entry, Stamp},
    member::PublishAttributes,
    record::{self, CorruptRecord},
};

/// Version byte of a command payload.
pub const COMMAND_V1: u8 = 1;

/// Tags of the first two fields of an [`Entry`] with a registration: the stamp and the registration.
const STAMP_TAG: u32 = 1;
const PUBLISH_TAG: u32 = 4;

/// The kinds of raft entries, encoded as the first byte of a [`LogRecord`]'s payload.
const KIND_NORMAL: u8 = 0;
const KIND_CONF_CHANGE: u8 = 1;
const KIND_CONF_CHANGE_V2: u8 = 2;

/// The kinds of messages between members, encoded as their first byte.
pub const MESSAGE_RAFT: u8 = 0;
const MESSAGE_PROPOSALS: u8 = 1;
const MESSAGE_REFUSED: u8 = 2;
const MESSAGE_LEASE_REQUESTS: u8 = 3;
const MESSAGE_LEASE_ANSWER: u8 = 4;
/// Resent proposals. They have their own kind, because a release that cannot detect duplicates would accept them twice.
const MESSAGE_PROPOSALS_AGAIN: u8 = 5;

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct StoredHardState {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(fixed64, tag = "2")]
    vote: u64,
    #[prost(uint64, tag = "3")]
    commit: u64,
}

/// Returns the length of a raft entry's data in bytes, from the length of the encoded command entry.
pub(crate) fn data_bytes(encoded_bytes: usize) -> usize {
    1 + encoded_bytes
}

/// Encodes a command entry as data of a raft entry: a version byte, then the command entry.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    encode_entry_of(entry, data_bytes(entry.encoded_len()))
}

/// Encodes an entry whose encoding has `bytes` bytes ([`data_bytes`]). Computing that length takes half as long as encoding, so
/// the caller passes it.
pub(crate) fn encode_entry_of(entry: &Entry, bytes: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(bytes);
    data.push(COMMAND_V1);
    entry.encode_raw(&mut data);
    data
}

/// The reason why an entry cannot be executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// A later release wrote the entry, and this release does not support all of it.
    #[error("log entry from a later release")]
    Unknown,
    /// The entry cannot be decoded.
    #[error(transparent)]
    Corrupt(#[from] CorruptRecord),
}

/// Decodes a raft entry's data. Empty data, which raft appends at the start of a term, yields an entry without a command. Fails
/// with `Unknown` for an entry from a later release, and with `Corrupt` for malformed data.
pub fn decode_entry(data: &Bytes) -> Result<Entry, EntryError> {
    decode(data, |_| false)
}

/// Like [`decode_entry`], but skips the check for unknown fields and values if `is_own` is true for the entry's stamp. Only an
/// entry of another process can have such fields or values.
fn decode(data: &Bytes, is_own: impl Fn(&Stamp) -> bool) -> Result<Entry, EntryError> {
    match data.first() {
        None => return Ok(Entry::default()),
        Some(&COMMAND_V1) => {}
        Some(_) => return Err(EntryError::Unknown),
    }
    let entry = Entry::decode(data.slice(1..))
        .map_err(|e| CorruptRecord::new(format!("log entry: {e}")))?;
    if entry.stamp.as_ref().is_some_and(is_own) {
        return Ok(entry);
    }
    // A decoder skips unknown fields at any depth, so re-encoding yields fewer bytes.
    let skipped = 1 + entry.encoded_len() != data.len();
    let known = entry.command.as_ref().is_none_or(Command::is_known);
    if skipped || !known {
        return Err(EntryError::Unknown);
    }
    Ok(entry)
}

/// Returns the raft configuration change for a membership command, with the encoded command as context. Returns `None` for any
/// other command.
pub(crate) fn conf_change(entry: &Entry, encoded: &Bytes) -> Option<ConfChange> {
    let Some(Command::Members(asked)) = &entry.command else {
        return None;
    };
    let mut change = ConfChange::default();
    match &asked.add {
        Some(member) => {
            change.node_id = member.id;
            change.set_change_type(if member.learner {
                ConfChangeType::AddLearnerNode
            } else {
                ConfChangeType::AddNode
            });
        }
        None if asked.promote != 0 => {
            change.node_id = asked.promote;
            change.set_change_type(ConfChangeType::AddNode);
        }
        None => {
            change.node_id = asked.remove;
            change.set_change_type(ConfChangeType::RemoveNode);
        }
    }
    change.context = encoded.clone();
    Some(change)
}

/// Returns whether a change removes a member.
pub(crate) fn is_removal(change: &ConfChange) -> bool {
    change.get_change_type() == ConfChangeType::RemoveNode
}

pub(crate) fn encode_conf_change(change: &ConfChange) -> Bytes {
    let bytes = change.write_to_bytes();
    bytes.expect("a change has no required fields").into()
}

/// Decodes a raft entry into its command and its configuration change, if it has one. Fails if the configuration change does
/// not match the command.
pub(crate) fn decode_raft_entry(
    entry: &RaftEntry,
) -> Result<(Entry, Option<ConfChange>), EntryError> {
    decode_committed_entry(entry, |_| false)
}

/// Returns the registration in an entry. Returns `None` for any other entry, and for an entry that cannot be decoded. Fully
/// decodes only registrations, because this function runs for each appended entry.
pub(crate) fn registration(entry: &RaftEntry) -> Option<PublishAttributes> {
    let mut fields = entry.data.strip_prefix(&[COMMAND_V1])?;
    let (mut tag, _) = encoding::decode_key(&mut fields).ok()?;
    if tag == STAMP_TAG {
        let bytes = encoding::decode_varint(&mut fields).ok()?;
        fields = fields.get(usize::try_from(bytes).ok()?..)?;
        (tag, _) = encoding::decode_key(&mut fields).ok()?;
    }
    if tag != PUBLISH_TAG {
        return None;
    }
    match decode_entry(&entry.data).ok()?.command {
        Some(Command::Publish(publish)) => Some(publish),
        Some(_) | None => None,
    }
}

/// Like [`decode_raft_entry`], for an entry to apply. If `is_own` is true for the stamp, this process encoded the command.
/// Except in membership changes, the check for unknown fields and values is then skipped, because it costs as much as encoding.
pub(crate) fn decode_committed_entry(
    entry: &RaftEntry,
    is_own: impl Fn(&Stamp) -> bool,
) -> Result<(Entry, Option<ConfChange>), EntryError> {
    let kind = entry.get_entry_type();
    match kind {
        EntryType::EntryNormal => Ok((decode(&entry.data, is_own)?, None)),
        EntryType::EntryConfChange => {
            let mut change = ConfChange::default();
            change
                .merge_from_bytes(&entry.data)
                .map_err(|e| CorruptRecord::new(format!("configuration change: {e}")))?;
            let command = decode_entry(&change.context)?;
            // Reject foreign entries, which could change raft's configuration without changing the registry.
            if conf_change(&command, &change.context).as_ref() != Some(&change) {
                return Err(foreign_change(entry).into());
            }
            Ok((command, Some(change)))
        }
        EntryType::EntryConfChangeV2 => Err(foreign_change(entry).into()),
    }
}

/// Creates the raft entry of a command at this index and term. A membership command also becomes a configuration change.
pub(crate) fn raft_entry(index: u64, term: u64, command: &Entry) -> RaftEntry {
    let encoded = encode_entry(command).into();
    let mut entry = RaftEntry { index, term, ..RaftEntry::default() };
    match conf_change(command, &encoded) {
        Some(change) => {
            entry.data = encode_conf_change(&change);
            entry.set_entry_type(EntryType::EntryConfChange);
        }
        // Raft's own entries have no data.
        None if command.command.is_none() => {}
        None => entry.data = encoded,
    }
    entry
}

/// Creates the log record of a command that another program logged at this index and term.
pub fn log_record(index: u64, term: u64, command: &Entry) -> LogRecord {
    encode_record(&raft_entry(index, term, command))
}

/// Creates the encoded hard state of a member that another program ran.
pub fn hard_state(term: u64, vote: u64, commit: u64) -> Bytes {
    encode_hard_state(&HardState { term, vote, commit, ..HardState::default() })
}

/// Returns the error for a configuration change that does not match its command.
fn foreign_change(entry: &RaftEntry) -> CorruptRecord {
    CorruptRecord::new(format!(
        "entry {} changes the configuration without a matching command",
        entry.index
    ))
}

/// Encodes a raft entry for the log on disk: a byte for its kind, then its data.
pub(crate) fn encode_record(entry: &RaftEntry) -> LogRecord {
    let kind = match entry.get_entry_type() {
        EntryType::EntryNormal => KIND_NORMAL,
        EntryType::EntryConfChange => KIND_CONF_CHANGE,
        EntryType::EntryConfChangeV2 => KIND_CONF_CHANGE_V2,
    };
    let mut payload = Vec::with_capacity(1 + entry.data.len());
    payload.put_u8(kind);
    payload.extend_from_slice(&entry.data);
    LogRecord {
        index: entry.index,
        term: entry.term,
        payload: payload.into(),
    }
}

/// Decodes a raft entry from the log on disk but leaves the command in its data encoded. Fails for an unknown kind or an empty
/// payload.
pub(crate) fn decode_record(record: &LogRecord) -> Result<RaftEntry, CorruptRecord> {
    let kind = match record.payload.first() {
        Some(&KIND_NORMAL) => EntryType::EntryNormal,
        Some(&KIND_CONF_CHANGE) => EntryType::EntryConfChange,
        Some(&KIND_CONF_CHANGE_V2) => EntryType::EntryConfChangeV2,
        Some(other) => {
            return Err(CorruptRecord::later(format!(
                "log record {} has the unknown kind {other}",
                record.index
            )));
        }
        None => {
            let what = format!("log record {} is empty", record.index);
            return Err(CorruptRecord::new(what));
        }
    };
    let mut entry = RaftEntry {
        index: record.index,
        term: record.term,
        ..RaftEntry::default()
    };
    entry.set_entry_type(kind);
    entry.data = record.payload.slice(1..);
    Ok(entry)
}

/// Encodes raft's term, vote and commit index for the log, as a protobuf message.
pub(crate) fn encode_hard_state(state: &HardState) -> Bytes {
    let stored = StoredHardState { term: state.term, vote: state.vote, commit: state.commit };
    stored.encode_to_vec().into()
}

/// Decodes a stored hard state. Fails if it is malformed or contains fields from a later release.
pub(crate) fn decode_hard_state(bytes: &Bytes) -> Result<HardState, CorruptRecord> {
    let stored: StoredHardState = record::decode("hard state", bytes)?;
    Ok(HardState {
        term: stored.term,
        vote: stored.vote,
        commit: stored.commit,
        ..HardState::default()
    })
}

/// Returns raft's message type with this number, or `None` if no type has it.
pub(crate) fn kind_of_message(kind: i32) -> Option<MessageType> {
    MessageType::from_i32(kind)
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PeerMessage {
    Raft(Message),
    Proposals(ForwardedProposals),
    Refused(RefusedProposals),
    LeaseRequests(ForwardedLeaseRequests),
    LeaseAnswer(ForwardedLeaseAnswer),
    ProposalsAgain(ForwardedProposals),
}

impl PeerMessage {
    /// Encodes the message: a byte for its kind, then its body.
    pub(crate) fn encode(&self) -> Bytes {
        let (kind, body) = match self {
            Self::Raft(message) => return encode_message(message),
            Self::Proposals(message) => (MESSAGE_PROPOSALS, message.encode_to_vec()),
            Self::Refused(message) => (MESSAGE_REFUSED, message.encode_to_vec()),
            Self::LeaseRequests(message) => (MESSAGE_LEASE_REQUESTS, message.encode_to_vec()),
            Self::LeaseAnswer(message) => (MESSAGE_LEASE_ANSWER, message.encode_to_vec()),
            Self::ProposalsAgain(message) => (MESSAGE_PROPOSALS_AGAIN, message.encode_to_vec()),
        };
        let mut bytes = Vec::with_capacity(1 + body.len());
        bytes.push(kind);
        bytes.extend_from_slice(&body);
        bytes.into()
    }

    /// Decodes a message. Fails for malformed bytes, and for an unknown kind, which a later release may send.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, CorruptRecord> {
        let Some(kind) = bytes.first() else {
            return Err(CorruptRecord::new("empty message"));
        };
        let body = bytes.slice(1..);
        let decoded = match *kind {
            MESSAGE_RAFT => {
                let mut message = Message::default();
                message
                    .merge_from_bytes(&body)
                    .map_err(|e| CorruptRecord::new(format!("raft message: {e}")))?;
                return Ok(Self::Raft(message));
            }
            MESSAGE_PROPOSALS => ForwardedProposals::decode(body).map(Self::Proposals),
            MESSAGE_REFUSED => RefusedProposals::decode(body).map(Self::Refused),
            MESSAGE_LEASE_REQUESTS => ForwardedLeaseRequests::decode(body).map(Self::LeaseRequests),
            MESSAGE_LEASE_ANSWER => ForwardedLeaseAnswer::decode(body).map(Self::LeaseAnswer),
            MESSAGE_PROPOSALS_AGAIN => ForwardedProposals::decode(body).map(Self::ProposalsAgain),
            other => {
                return Err(CorruptRecord::new(format!(
                    "message of unknown kind {other}"
                )));
            }
        };
        decoded.map_err(|e| CorruptRecord::new(format!("message of kind {kind}: {e}")))
    }
}

/// Returns a peer message with each encoded command replaced by the result of `map`, or `None` for an invalid message. Keeps
/// the commands of membership changes. Removes the checksums of append messages, which would no longer match.
pub fn map_commands(message: &Bytes, map: &mut dyn FnMut(Bytes) -> Bytes) -> Option<Bytes> {
    let mut mapped = PeerMessage::decode(message).ok()?;
    match &mut mapped {
        PeerMessage::Raft(raft) if raft.get_msg_type() == MessageType::MsgAppend => {
            let entries = raft.entries.iter_mut();
            let commands = entries.filter(|entry| {
                entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty()
            });
            for entry in commands {
                entry.data = map(std::mem::take(&mut entry.data));
            }
            AppendContext::forget_checksum(raft);
        }
        PeerMessage::Proposals(proposals) | PeerMessage::ProposalsAgain(proposals) => {
            for entry in &mut proposals.entries {
                *entry = map(std::mem::take(entry));
            }
        }
        PeerMessage::Raft(_)
        | PeerMessage::Refused(_)
        | PeerMessage::LeaseRequests(_)
        | PeerMessage::LeaseAnswer(_) => return Some(message.clone()),
    }
    Some(mapped.encode())
}

/// Returns the payload of a record in the log on disk, with its command replaced by the result of `map`. Returns the payload
/// unchanged unless the record is a normal entry with a command.
pub fn map_record(payload: &Bytes, map: &mut dyn FnMut(Bytes) -> Bytes) -> Bytes {
    if payload.len() < 2 || payload[0] != KIND_NORMAL {
        return payload.clone();
    }
    let mut mapped = vec![KIND_NORMAL];
    mapped.extend_from_slice(&map(payload.slice(1..)));
    mapped.into()
}

/// Encodes a raft message like [`PeerMessage::encode`].
pub(crate) fn encode_message(message: &Message) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + message.compute_size() as usize);
    bytes.push(MESSAGE_RAFT);
    message
        .write_to_vec(&mut bytes)
        .expect("a message of raft has all required fields");
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Start and end of a group with number 100, a field that no message has.
    const GROUP: [u8; 2] = [0xa3, 0x06];
    const GROUP_END: [u8; 2] = [0xa4, 0x06];

    /// Encodes a field with this number and body.
    fn field(number: u8, body: &[u8]) -> Vec<u8> {
        let mut field = vec![(number << 3) | 2];
        encoding::encode_varint(body.len() as u64, &mut field);
        field.extend_from_slice(body);
        field
    }

    /// Encodes raft messages that contain `body` in a message of each level: message, entry, snapshot, its metadata and its
    /// configuration.
    fn messages(body: &[u8]) -> [Bytes; 5] {
        let bodies = [
            body.to_vec(),
            field(7, body),
            field(9, body),
            field(9, &field(2, body)),
            field(9, &field(2, &field(1, body))),
        ];
        bodies.map(|body| [vec![MESSAGE_RAFT], body].concat().into())
    }

    /// RUSTSEC-2024-0437: a later release of protobuf calls a function for each nested group. Such a call for each of these
    /// groups would overflow the stack and abort the test.
    #[test]
    fn nested_groups_are_refused_without_recursion() {
        let nested = GROUP.repeat(1 << 20);
        for message in messages(&nested) {
            assert!(PeerMessage::decode(&message).is_err());
        }
        let mut entry = RaftEntry { data: nested.into(), ..RaftEntry::default() };
        entry.set_entry_type(EntryType::EntryConfChange);
        assert!(decode_raft_entry(&entry).is_err());
        // The messages above reach the groups: with a group that is not nested, they are valid.
        for message in messages(&[GROUP, GROUP_END].concat()) {
            assert!(PeerMessage::decode(&message).is_ok());
        }
    }
}

//! The core's own encodings: log payloads, hard state, raft messages. The only file that uses
//! raft's protobuf codec. Layouts never change; `tests/wire.rs` holds golden bytes.

use bytes::{BufMut as _, Bytes};
use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::{
    ConfChange, ConfChangeType, Entry as RaftEntry, EntryType, HardState, Message,
};

use crate::{
    host::LogRecord,
    machine::{
        command::{Command, Entry},
        record::CorruptRecord,
    },
};

/// Version byte of a command payload.
const COMMAND_V1: u8 = 1;

/// Kinds of raft entries, the first byte of a [`LogRecord`]'s payload.
const KIND_NORMAL: u8 = 0;
const KIND_CONF_CHANGE: u8 = 1;
const KIND_CONF_CHANGE_V2: u8 = 2;

/// Kinds of messages between members, their first byte.
const MESSAGE_RAFT: u8 = 0;

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct StoredHardState {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(fixed64, tag = "2")]
    vote: u64,
    #[prost(uint64, tag = "3")]
    commit: u64,
}

/// Command entry to raft data: version byte, then the entry.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    let mut data = Vec::with_capacity(1 + entry.encoded_len());
    data.push(COMMAND_V1);
    entry.encode(&mut data).expect("a vector grows as needed");
    data
}

/// Raft data back to the command entry. Empty data is raft's own first entry of a term.
pub fn decode_entry(data: &Bytes) -> Result<Entry, CorruptRecord> {
    match data.first() {
        None => Ok(Entry::default()),
        Some(&COMMAND_V1) => Entry::decode(data.slice(1..))
            .map_err(|e| CorruptRecord::new(format!("log entry: {e}"))),
        Some(version) => Err(CorruptRecord::new(format!(
            "log entry of version {version}, this program knows up to {COMMAND_V1}"
        ))),
    }
}

/// The change of raft's configuration that a command implies, with the command as its context.
/// `None` for other commands.
pub(crate) fn conf_change(entry: &Entry) -> Option<ConfChange> {
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
        None => {
            change.node_id = asked.remove;
            change.set_change_type(ConfChangeType::RemoveNode);
        }
    }
    change.context = encode_entry(entry).into();
    Some(change)
}

/// Decodes a raft entry: its command and, if it has one, the change of configuration.
pub(crate) fn decode_raft_entry(
    entry: &RaftEntry,
) -> Result<(Entry, Option<ConfChange>), CorruptRecord> {
    let kind = entry.get_entry_type();
    match kind {
        EntryType::EntryNormal => Ok((decode_entry(&entry.data)?, None)),
        EntryType::EntryConfChange => {
            let mut change = ConfChange::default();
            change
                .merge_from_bytes(&entry.data)
                .map_err(|e| CorruptRecord::new(format!("change of configuration: {e}")))?;
            let command = decode_entry(&change.context)?;
            // refuse foreign entries, which could change raft's configuration without the registry
            if conf_change(&command).as_ref() != Some(&change) {
                return Err(CorruptRecord::new(format!(
                    "entry {} changes the configuration as this program never does",
                    entry.index
                )));
            }
            Ok((command, Some(change)))
        }
        EntryType::EntryConfChangeV2 => Err(CorruptRecord::new(format!(
            "entry {} changes the configuration as this program never does",
            entry.index
        ))),
    }
}

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

pub(crate) fn decode_record(record: &LogRecord) -> Result<RaftEntry, CorruptRecord> {
    let kind = match record.payload.first() {
        Some(&KIND_NORMAL) => EntryType::EntryNormal,
        Some(&KIND_CONF_CHANGE) => EntryType::EntryConfChange,
        Some(&KIND_CONF_CHANGE_V2) => EntryType::EntryConfChangeV2,
        other => {
            return Err(CorruptRecord::new(format!(
                "log record {} has kind {other:?}",
                record.index
            )));
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

pub(crate) fn encode_hard_state(state: &HardState) -> Bytes {
    let stored = StoredHardState {
        term: state.term,
        vote: state.vote,
        commit: state.commit,
    };
    stored.encode_to_vec().into()
}

pub(crate) fn decode_hard_state(bytes: &Bytes) -> Result<HardState, CorruptRecord> {
    let stored = StoredHardState::decode(bytes.clone())
        .map_err(|e| CorruptRecord::new(format!("hard state: {e}")))?;
    Ok(HardState {
        term: stored.term,
        vote: stored.vote,
        commit: stored.commit,
        ..HardState::default()
    })
}

pub(crate) fn encode_message(message: &Message) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + message.compute_size() as usize);
    bytes.push(MESSAGE_RAFT);
    message
        .write_to_vec(&mut bytes)
        .expect("a message that raft made is complete");
    bytes.into()
}

pub(crate) fn decode_message(bytes: &Bytes) -> Result<Message, CorruptRecord> {
    match bytes.first() {
        Some(&MESSAGE_RAFT) => {}
        kind => {
            return Err(CorruptRecord::new(format!(
                "message of unknown kind {kind:?}"
            )));
        }
    }
    let mut message = Message::default();
    message
        .merge_from_bytes(&bytes[1..])
        .map_err(|e| CorruptRecord::new(format!("raft message: {e}")))?;
    Ok(message)
}

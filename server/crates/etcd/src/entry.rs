//! Decodes log entries as etcd does when it applies them.

use bytes::{Buf as _, Bytes};
use prost::{
    DecodeError, Message as _,
    encoding::{DecodeContext, decode_key, skip_field},
};

use super::{
    EtcdError,
    raft_internal::{self, InternalRaftRequest, RequestV2},
    raft_messages::{ConfChange, ConfChangeKind, RaftEntry, RaftEntryKind},
};

/// A decoded entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    /// The entry's index.
    pub index: u64,
    /// The entry's term.
    pub term: u64,
    /// The decoded data.
    pub payload: EntryPayload,
}

/// The decoded data of an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum EntryPayload {
    /// No data, as in the first entry of a leader's term.
    Empty,
    /// A v3 request, or a request that sets the cluster version or a member's attributes.
    Request(Box<InternalRaftRequest>),
    /// A v2 request.
    RequestV2(Box<RequestV2>),
    /// A change of a single member.
    ConfChange(ConfChange),
    /// A change of several members, which is not decoded.
    ConfChangeV2,
}

/// Removes the data of a v3 request for keys from an entry that the backend has applied, because the backend contains the
/// effect. Copies all other data, because a slice would keep the segment in memory.
pub(crate) fn without_keys(entry: RaftEntry) -> RaftEntry {
    let is_normal = entry.kind == RaftEntryKind::Normal as i32;
    let request = is_normal.then(|| InternalRaftRequest::decode(entry.data.clone()).ok());
    let changes_keys = request.flatten().is_some_and(|request| {
        request.put.is_some()
            || request.delete_range.is_some()
            || request.txn.is_some()
            || request.compaction.is_some()
    });
    let data = match changes_keys {
        true => Bytes::new(),
        false => Bytes::copy_from_slice(&entry.data),
    };
    RaftEntry { data, ..entry }
}

/// Decodes an entry. The decoded values are slices of the segment. Fails if the entry's type, request or membership change is
/// unknown.
pub(crate) fn decode(entry: RaftEntry) -> Result<LogEntry, EtcdError> {
    let RaftEntry { kind, term, index, data } = entry;
    let refused = |what: String| EtcdError::Entry { index, what };
    let payload = match RaftEntryKind::try_from(kind) {
        Ok(RaftEntryKind::Normal) if data.is_empty() => EntryPayload::Empty,
        Ok(RaftEntryKind::Normal) => decode_request(data).map_err(refused)?,
        Ok(RaftEntryKind::ConfChange) => {
            let change = ConfChange::decode(data).map_err(|error| refused(error.to_string()))?;
            if ConfChangeKind::try_from(change.kind).is_err() {
                let kind = change.kind;
                return Err(refused(format!(
                    "its membership change has the unknown type {kind}"
                )));
            }
            EntryPayload::ConfChange(change)
        }
        Ok(RaftEntryKind::ConfChangeV2) => EntryPayload::ConfChangeV2,
        Err(_) => return Err(refused(format!("it has the unknown type {kind}"))),
    };
    Ok(LogEntry { index, term, payload })
}

/// Decodes the data of a normal entry: an `InternalRaftRequest` or a v2 `Request`. A `Request` can never be decoded as an
/// `InternalRaftRequest`: its field 5, which is always encoded, is a boolean, and field 5 of an `InternalRaftRequest` is a
/// message. Fails if the data has neither type, contains no request, or has an unknown field, which protobuf would ignore.
fn decode_request(data: Bytes) -> Result<EntryPayload, String> {
    let Ok(mut request) = InternalRaftRequest::decode(data.clone()) else {
        let request = RequestV2::decode(data)
            .map_err(|error| format!("it is neither a v3 request nor a v2 request: {error}"))?;
        return Ok(EntryPayload::RequestV2(Box::new(request)));
    };
    if let Some(request) = request.v2.take() {
        return Ok(EntryPayload::RequestV2(request));
    }
    let tags = tags(data).map_err(|error| error.to_string())?;
    if let Some(tag) = tags.iter().find(|tag| !raft_internal::is_known(**tag)) {
        return Err(format!(
            "it contains a request of an unknown kind (field {tag})"
        ));
    }
    let envelope = [raft_internal::ID_TAG, raft_internal::HEADER_TAG];
    if tags.iter().all(|tag| envelope.contains(tag)) {
        return Err("it contains no request".into());
    }
    Ok(EntryPayload::Request(Box::new(request)))
}

/// Returns the field numbers of a protobuf message, in the order of its bytes. Fails if a field is malformed.
fn tags(mut data: Bytes) -> Result<Vec<u32>, DecodeError> {
    let mut tags = Vec::new();
    while data.has_remaining() {
        let (tag, wire_type) = decode_key(&mut data)?;
        skip_field(wire_type, tag, &mut data, DecodeContext::default())?;
        tags.push(tag);
    }
    Ok(tags)
}

//! V3 requests as JSON and as protobuf: each is decoded to the public message, checked, and converted to the core's command.

use std::fmt::Debug;

use bytes::Bytes;
use prost::Message;
use serde::Serialize;
use witan_api::v3::{etcdserverpb as pb, shape::Shaped};
use witan_machine::{
    Reply, StateMachine,
    command::{Command, Entry},
    kv,
};
use witan_replica::wire;
use witan_v3::{
    fuzz::{answer, delete_range, put, range, txn},
    gateway::{self, GatewayVersion, JsonFormat, encoding::Encoding},
};

use crate::input::{Input, split_at};

/// The default of `--max-txn-ops`.
const OPS_MAX: usize = 128;
/// Factor by which a message may be longer than its JSON: etcd 3.4 replaces an invalid UTF-8 byte with a replacement character.
const MESSAGE_BYTES_TIMES: usize = 3;
/// Bytes by which a message with very short fields may be longer than its JSON.
const MESSAGE_BYTES_MORE: usize = 16;

/// The formats of bodies: of etcd 3.6, of etcd 3.4, and with bytes as text.
const FORMATS: [JsonFormat; 3] = [
    JsonFormat {
        gateway_version: GatewayVersion::V3_6,
        encoding: Encoding::Base64,
    },
    JsonFormat {
        gateway_version: GatewayVersion::V3_4,
        encoding: Encoding::Base64,
    },
    JsonFormat {
        gateway_version: GatewayVersion::V3_6,
        encoding: Encoding::Utf8,
    },
];

/// A request for the core.
enum Request {
    Range(pb::RangeRequest),
    Put(pb::PutRequest),
    Delete(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
    Other,
}

/// The input is the call's path, a line feed and the body.
pub(super) fn json(request: &[u8]) {
    let (call, body) = split_at(request, b'\n');
    let request = match call {
        b"kv/range" => read(body).map(Request::Range),
        b"kv/put" => read(body).map(Request::Put),
        b"kv/deleterange" => read(body).map(Request::Delete),
        b"kv/txn" => read(body).map(Request::Txn),
        b"kv/compaction" => read::<pb::CompactionRequest>(body).map(other),
        b"cluster/member/list" => read::<pb::MemberListRequest>(body).map(other),
        b"cluster/member/add" => read::<pb::MemberAddRequest>(body).map(other),
        b"cluster/member/remove" => read::<pb::MemberRemoveRequest>(body).map(other),
        b"cluster/member/update" => read::<pb::MemberUpdateRequest>(body).map(other),
        b"cluster/member/promote" => read::<pb::MemberPromoteRequest>(body).map(other),
        b"maintenance/status" => read::<pb::StatusRequest>(body).map(other),
        b"maintenance/alarm" => read::<pb::AlarmRequest>(body).map(other),
        b"watch" => read::<pb::WatchCreateRequest>(body).map(other),
        _ => read::<pb::TxnResponse>(body).map(other),
    };
    request.into_iter().for_each(serve);
}

fn other<Q>(_: Q) -> Request {
    Request::Other
}

/// Decodes a body in all formats. Returns the first decoded message, or `None` if the body is invalid in each format.
fn read<Q>(body: &[u8]) -> Option<Q>
where
    Q: Message + Serialize + Shaped + Default + PartialEq + Debug,
{
    let [present, v34, plain] = FORMATS.map(|format| {
        let message: Q = gateway::decode(body, format).ok()?;
        let length = message.encoded_len();
        let bound = body.len() * MESSAGE_BYTES_TIMES + MESSAGE_BYTES_MORE;
        assert!(length <= bound, "{length} bytes");
        both_ways(&message);
        Some(message)
    });
    present.or(v34).or(plain)
}

/// Checks that all encodings decode to the same message.
fn both_ways<Q>(message: &Q)
where
    Q: Message + Serialize + Shaped + Default + PartialEq + Debug,
{
    for format in FORMATS {
        let mut json = Vec::new();
        let written = format.encoding.write(message, &mut json);
        written.expect("messages are always JSON");
        let read = gateway::decode::<Q>(&json, format);
        assert_eq!(read.as_ref(), Ok(message), "{format:?}");
    }
    let bytes = message.encode_to_vec();
    assert_eq!(
        Q::decode(bytes.as_slice()).as_ref(),
        Ok(message),
        "protobuf"
    );
}

/// The input is a byte that selects the message type, and the message's bytes.
pub(super) fn protobuf(request: &[u8]) {
    let mut input = Input::new(request);
    let kind = input.byte();
    let body = input.rest();
    let request = match kind {
        b'r' => message(body).map(Request::Range),
        b'p' => message(body).map(Request::Put),
        b'd' => message(body).map(Request::Delete),
        b't' => message(body).map(Request::Txn),
        b'c' => message::<pb::CompactionRequest>(body).map(other),
        b'm' => message::<pb::MemberAddRequest>(body).map(other),
        b'a' => message::<pb::AlarmRequest>(body).map(other),
        b'l' => message::<pb::LeaseGrantRequest>(body).map(other),
        b'w' => message::<pb::WatchRequest>(body).map(other),
        _ => message::<pb::RangeResponse>(body).map(other),
    };
    request.into_iter().for_each(serve);
}

fn message<Q>(body: &[u8]) -> Option<Q>
where
    Q: Message + Serialize + Shaped + Default + PartialEq + Debug,
{
    let message = Q::decode(body).ok()?;
    let bytes = message.encode_to_vec();
    assert_eq!(Q::decode(bytes.as_slice()).as_ref(), Ok(&message));
    let json = serde_json::to_vec(&message).expect("memory does not fail");
    // JSON permits less nesting than protobuf.
    let base64 = |format: &JsonFormat| format.encoding == Encoding::Base64;
    for format in FORMATS.into_iter().filter(base64) {
        if let Ok(read) = gateway::decode::<Q>(&json, format) {
            assert_eq!(read, message, "{format:?}");
        }
    }
    Some(message)
}

/// Checks that a request that passes the checks fits in the log and can be executed by the machine.
fn serve(request: Request) {
    let verb = match request {
        Request::Range(request) => {
            if let Ok(range) = range(request) {
                // An error is a valid answer.
                let _ = StateMachine::default()
                    .kv
                    .range(&range, kv::ValueSource::Disk);
            }
            None
        }
        Request::Put(request) => put(request).ok().map(kv::KvOperation::Put),
        Request::Delete(request) => delete_range(request).ok().map(kv::KvOperation::Delete),
        Request::Txn(request) => txn(request, OPS_MAX).ok().map(kv::KvOperation::Txn),
        Request::Other => None,
    };
    let Some(verb) = verb else {
        return;
    };
    let entry = Entry {
        stamp: None,
        command: Some(Command::Kv(kv::KvCommand { operation: Some(verb) })),
        caller: None,
    };
    let read = wire::decode_entry(&Bytes::from(wire::encode_entry(&entry)));
    assert_eq!(read.as_ref(), Ok(&entry), "decode(encode(x))");
    let mut machine = StateMachine::default();
    // Run the request again on the resulting data.
    for _ in 0..2 {
        if let Reply::Kv(Ok(reply)) = machine.apply(&entry).reply {
            let answer = answer(reply);
            let bytes = answer.encode_to_vec();
            if let Ok(read) = pb::TxnResponse::decode(bytes.as_slice()) {
                assert_eq!(read, answer, "decode(encode(x))");
            }
        }
    }
}

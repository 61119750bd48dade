//! The requests of the benchmarks, encoded for their protocols.

use std::io::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use prost::Message as _;
use witan_api::v3::etcdserverpb::{
    Compare, RangeRequest, TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
};
use witan_e2e::{Kind, requests};

use crate::load::KEYS;

/// Default size of a value in bytes. It is typical of users like Kubernetes.
pub const VALUE_BYTES: usize = 256;

/// Number of keys in a long range.
const LISTED: u64 = 10_000;

static VALUE: [u8; VALUE_BYTES] = [b'v'; VALUE_BYTES];
static LARGE_VALUE: [u8; Verb::LARGE_BYTES] = [b'v'; Verb::LARGE_BYTES];

/// A type of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// gRPC: a put of 16 + 256 bytes.
    Put,
    /// gRPC: a put of 16 bytes + 15 KiB, which fills a member quickly.
    LargePut,
    /// gRPC: a linearizable range of one key.
    Get,
    /// gRPC: a serializable range of one key.
    SerializableGet,
    /// gRPC: a transaction that compares a key's version and puts 16 + 256 bytes.
    TxnPut,
    /// gRPC: a serializable range of 10,000 keys.
    List,
    /// v2: a PUT of 16 + 256 bytes.
    V2Put,
    /// v2: a GET of one key.
    V2Get,
    /// JSON gateway: a put of 16 + 256 bytes.
    JsonPut,
}

impl Verb {
    /// Size of the value of [`Verb::LargePut`] in bytes. A message must fit in one frame, for which servers accept 16 KiB.
    pub const LARGE_BYTES: usize = 15 << 10;

    /// The requests of the table, in order.
    pub const ALL: [Verb; 8] = [
        Verb::Put,
        Verb::Get,
        Verb::SerializableGet,
        Verb::TxnPut,
        Verb::List,
        Verb::V2Put,
        Verb::V2Get,
        Verb::JsonPut,
    ];

    /// Parses a load such as `put:64`: a request and its number of clients. Fails if the text is not a load.
    pub fn with_clients(text: &str) -> Result<(Self, usize), String> {
        let wrong = || format!("no such load: {text}");
        let (name, clients) = text.split_once(':').ok_or_else(wrong)?;
        let verb = Self::ALL.into_iter().find(|verb| verb.name() == name);
        let clients = clients.parse().map_err(|_| wrong())?;
        Ok((verb.ok_or_else(wrong)?, clients))
    }

    /// Returns the name on the command line, the name in the table, and the path. The path is a gRPC method or an HTTP resource.
    /// It is a prefix if the key follows it.
    fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Verb::Put => ("put", "gRPC put", "/etcdserverpb.KV/Put"),
            Verb::LargePut => ("large", "gRPC put of 15 KiB", "/etcdserverpb.KV/Put"),
            Verb::Get => ("get", "gRPC get, linearizable", "/etcdserverpb.KV/Range"),
            Verb::SerializableGet => ("sget", "gRPC get, serializable", "/etcdserverpb.KV/Range"),
            Verb::TxnPut => ("txn", "gRPC txn, compare and put", "/etcdserverpb.KV/Txn"),
            Verb::List => (
                "list",
                "gRPC range of 10,000 keys",
                "/etcdserverpb.KV/Range",
            ),
            Verb::V2Put => ("v2put", "v2 PUT", "/v2/keys/"),
            Verb::V2Get => ("v2get", "v2 GET", "/v2/keys/"),
            Verb::JsonPut => ("json", "JSON put", "/v3/kv/put"),
        }
    }

    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Returns the name in the table.
    pub fn label(self) -> &'static str {
        self.row().1
    }

    pub(crate) fn target(self) -> &'static str {
        self.row().2
    }

    /// Returns whether the request uses gRPC.
    pub fn grpc(self) -> bool {
        self.target().starts_with("/etcdserverpb.")
    }

    /// Returns whether this server supports the request: etcd 3.6 and later have no v2.
    pub fn served_by(self, kind: Kind) -> bool {
        !self.target().starts_with("/v2/") || matches!(kind, Kind::Witan | Kind::Etcd34)
    }

    /// Returns the gRPC message for `key`. Panics for a request over HTTP/1.
    pub(crate) fn message(self, key: u64) -> Vec<u8> {
        let from = key;
        let key = Bytes::from(key_text(key));
        let put = |key: Bytes, value| requests::put(key, Bytes::from_static(value));
        match self {
            Verb::Put => put(key, &VALUE).encode_to_vec(),
            Verb::LargePut => put(key, &LARGE_VALUE).encode_to_vec(),
            Verb::TxnPut => TxnRequest {
                compare: vec![Compare {
                    result: CompareResult::Greater as i32,
                    target: CompareTarget::Version as i32,
                    key: key.clone(),
                    target_union: Some(TargetUnion::Version(-1)),
                    ..Compare::default()
                }],
                success: vec![requests::op(Request::RequestPut(put(key, &VALUE)))],
                failure: Vec::new(),
            }
            .encode_to_vec(),
            Verb::List => {
                let first = from % (KEYS - LISTED);
                let range = requests::range(key_text(first), key_text(first + LISTED));
                RangeRequest { serializable: true, ..range }.encode_to_vec()
            }
            Verb::Get | Verb::SerializableGet => {
                let serializable = self == Verb::SerializableGet;
                RangeRequest { serializable, ..requests::range(key, "") }.encode_to_vec()
            }
            Verb::V2Put | Verb::V2Get | Verb::JsonPut => panic!("{} is not gRPC", self.name()),
        }
    }

    /// Appends the HTTP/1.1 request for `key` to `out`.
    pub(crate) fn http1(self, key: u64, host: &str, out: &mut Vec<u8>) {
        let key = key_text(key);
        let target = self.target();
        let value = std::str::from_utf8(&VALUE).expect("the value is ASCII");
        let (method, key_in_path, kind, body) = match self {
            Verb::V2Put => (
                "PUT",
                key.as_str(),
                "application/x-www-form-urlencoded",
                format!("value={value}"),
            ),
            Verb::JsonPut => {
                let (key, value) = (BASE64_STANDARD.encode(&key), BASE64_STANDARD.encode(VALUE));
                let body = format!(r#"{{"key":"{key}","value":"{value}"}}"#);
                ("POST", "", "application/json", body)
            }
            Verb::V2Get
            | Verb::Put
            | Verb::LargePut
            | Verb::Get
            | Verb::SerializableGet
            | Verb::TxnPut
            | Verb::List => ("GET", key.as_str(), "", String::new()),
        };
        let mut head = format!("{method} {target}{key_in_path} HTTP/1.1\r\nHost: {host}\r\n");
        if !kind.is_empty() {
            head += &format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
        }
        write!(out, "{head}\r\n{body}").expect("writes to memory succeed");
    }
}

/// Returns the key as 16 bytes of text.
pub(crate) fn key_text(key: u64) -> String {
    format!("key-{key:012}")
}

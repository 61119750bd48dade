//! The dialects' parsers for `tests/fuzz`; built with the feature `fuzz` alone. Private types are
//! returned as public ones or as text.

use bytes::Bytes;
use prost::Message;
use serde::Serialize;
use witan_api::{
    access::GrpcRoute,
    v3::{etcdserverpb as pb, shape::Shaped},
};
use witan_replica::machine::{kv, tree};

use super::{
    v1::request::{self, V1Request, V1RequestError},
    v2::{
        form::{self, V2Fields},
        members::{body, peer_url},
        operation::{self, WriteMethod},
        parse::{self, WaitParameter},
    },
    v3::{
        gateway::{self, JsonFormat, encoding::Encoding, error::GatewayError},
        kv as kv_calls,
    },
};
use crate::api::v3::error::RpcError;

/// The parameters of a form or query, in the order of their table, and the parse error.
pub fn fields(text: &[u8]) -> (Vec<(&'static str, Bytes)>, Option<String>) {
    let mut fields = V2Fields::default();
    let fault = fields.read(text).err();
    let given = form::NAMES
        .iter()
        .filter_map(|(name, field)| Some((*name, fields.get(*field)?.clone())));
    (given.collect(), fault)
}

/// Parses a v1 request; returns its key (the root, if it has none) and the request as text. The error
/// has a body if a rule of the dialect was broken.
pub fn v1_request(
    method: &str,
    path: &[u8],
    query: &[u8],
    form: Option<&[u8]>,
) -> Result<(Bytes, String), Option<Vec<u8>>> {
    let request = request::parse(method, path, query, form).map_err(|refusal| match refusal {
        V1RequestError::Path | V1RequestError::Method => None,
        V1RequestError::Rule(error) => {
            let mut body = Vec::new();
            error.write(&mut body);
            Some(body)
        }
    })?;
    let text = format!("{request:?}");
    let key = match request {
        V1Request::Get { key } | V1Request::Delete { key } | V1Request::Watch { key, .. } => key,
        V1Request::Put(put) => put.key,
        V1Request::MachineRecords { .. }
        | V1Request::Leader
        | V1Request::Machines
        | V1Request::Stats(_) => Bytes::from_static(b"/"),
    };
    Ok((key, text))
}

/// Parses a v2 write to its operation; the error is code and cause.
pub fn v2_write(
    method: &[u8],
    path: Bytes,
    query: &[u8],
    form: Option<&[u8]>,
    now_ns: i64,
) -> Result<tree::TreeOperation, (u16, Bytes)> {
    let write = match method {
        b"POST" => WriteMethod::Post,
        b"DELETE" => WriteMethod::Delete,
        _ => WriteMethod::Put,
    };
    let params = parse::params(WaitParameter::Refused, query, form)
        .map_err(|error| (error.code.code(), error.cause.concat().into()))?;
    Ok(operation::mutation(write, path, params, now_ns).into())
}

/// Parses the parameters of a v2 read and returns them as text; the error is code and cause.
pub fn v2_read(query: &[u8]) -> Result<String, (u16, Bytes)> {
    parse::params(WaitParameter::Allowed, query, None)
        .map(|params| format!("{params:?}"))
        .map_err(|error| (error.code.code(), error.cause.concat().into()))
}

/// Parses the body of a membership change to its peer URLs, unchecked.
pub fn members_body(body: &[u8]) -> Result<Vec<String>, String> {
    body::decode(body)
}

/// Parses a peer URL as etcd does.
pub fn peer_url(text: &str) -> Result<String, String> {
    peer_url::peer_url(text)
}

/// Whether the gateway serves a cleaned path, which includes the prefix.
pub fn gateway_path(path: &[u8]) -> bool {
    gateway::split(path).is_some_and(|(_, call)| GrpcRoute::of_path(call).is_some())
}

/// Decodes a gateway body whose bytes are base64, as etcd 3.4 does if `v34`, else as 3.6 does.
pub fn gateway_body<Q: Shaped + Default + Message>(body: &[u8], v34: bool) -> Result<Q, String> {
    let gateway_version = if v34 {
        gateway::GatewayVersion::V3_4
    } else {
        gateway::GatewayVersion::V3_6
    };
    gateway_read(body, gateway_version, Encoding::Base64)
}

/// Decodes a gateway body with `encoding=utf8`, where bytes are plain strings.
pub fn gateway_plain_body<Q: Shaped + Default + Message>(body: &[u8]) -> Result<Q, String> {
    gateway_read(body, gateway::GatewayVersion::V3_6, Encoding::Utf8)
}

/// Encodes an answer with `encoding=utf8`, where bytes are plain strings.
pub fn gateway_plain_answer<A: Shaped + Serialize>(answer: &A) -> Vec<u8> {
    let mut out = Vec::new();
    let written = Encoding::Utf8.write(answer, &mut out);
    written.expect("messages are always JSON");
    out
}

/// Decodes a JSON body as the gateway of that version does.
fn gateway_read<Q: Shaped + Default + Message>(
    body: &[u8],
    gateway_version: gateway::GatewayVersion,
    encoding: Encoding,
) -> Result<Q, String> {
    let form = JsonFormat { gateway_version, encoding };
    gateway::decode(body, form).map_err(|failure| match failure {
        GatewayError::Status { text, .. } => text,
        GatewayError::NotFound | GatewayError::NotPost => format!("{failure:?}"),
    })
}

/// Checks a range and converts it to the core's type.
pub fn range(request: pb::RangeRequest) -> Result<kv::Range, RpcError> {
    kv_calls::range::check(&request)?;
    Ok(kv_calls::range::operation(request))
}

/// Checks a put and converts it to the core's type.
pub fn put(request: pb::PutRequest) -> Result<kv::Put, RpcError> {
    kv_calls::put::check(&request)?;
    Ok(kv_calls::put::operation(request))
}

/// Checks a deletion and converts it to the core's type.
pub fn delete_range(request: pb::DeleteRangeRequest) -> Result<kv::DeleteRange, RpcError> {
    kv_calls::delete_range::check(&request)?;
    Ok(kv_calls::delete_range::operation(request))
}

/// Checks a transaction and converts it to the core's type.
pub fn txn(request: pb::TxnRequest, ops_max: usize) -> Result<kv::Txn, RpcError> {
    kv_calls::txn::check(&request, ops_max)?;
    Ok(kv_calls::txn::operation(request))
}

/// Wraps a reply in the response of a transaction with this one operation; the reply to a compaction
/// gives the default response.
pub fn answer(reply: kv::KvReply) -> pb::TxnResponse {
    let reply = match reply {
        kv::KvReply::Compact => return pb::TxnResponse::default(),
        kv::KvReply::Op(reply) => reply,
    };
    let reply = kv::TxnReply { succeeded: true, replies: vec![(reply, 1)] };
    kv_calls::txn::response(None, reply)
}

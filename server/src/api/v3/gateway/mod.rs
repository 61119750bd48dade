//! The v3 dialect as JSON over HTTP/1: the same verbs under `/v3` (answers as etcd 3.6 gives them),
//! `/v3beta` and `/v3alpha` (as 3.4 does).
//!
//! Reading order: this file (from request to answer) → `table` (path to verb) → `failure`.

mod failure;
mod table;

use actix_web::{HttpRequest, HttpResponse, http::Method, http::header::CONTENT_TYPE, web};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};
use witan_api::v3::error::Error;

use self::failure::Failure;
use super::{Answer, cluster, kv, maintenance};
use crate::api::{
    Context, go_json,
    reply::{self, Unread},
};
use table::Verb;

/// What etcd lets a gRPC message exceed `--max-request-bytes` by.
const MESSAGE_ALLOWANCE_BYTES: usize = 512 << 10;
/// With this header a client asks to be refused while no leader is known.
const REQUIRE_LEADER: &str = "grpc-metadata-hasleader";

/// In whose manner a prefix answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// etcd 3.6.
    Present,
    /// etcd 3.4.
    Former,
}

/// Answers one request whose decoded and cleaned path begins with one of the three prefixes.
pub(crate) async fn handle(
    ctx: &Context,
    request: &HttpRequest,
    mut payload: web::Payload,
    path: &[u8],
) -> HttpResponse {
    let Some((manner, call)) = split(path).filter(|_| ctx.settings.enable_grpc_gateway) else {
        reply::drain(&mut payload).await;
        return reply::not_found();
    };
    match serve(ctx, request, &mut payload, call).await {
        Ok(json) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, reply::JSON))
            .insert_header(("Grpc-Metadata-Content-Type", "application/grpc"))
            .body(reply::framed(request, json)),
        Err(failure) => {
            reply::drain(&mut payload).await;
            failure.answer(manner)
        }
    }
}

/// Whose manner, and the path of the call.
fn split(path: &[u8]) -> Option<(Manner, &str)> {
    let path = std::str::from_utf8(path).ok()?.strip_prefix('/')?;
    let (prefix, call) = path.split_once('/')?;
    match prefix {
        "v3" => Some((Manner::Present, call)),
        "v3beta" | "v3alpha" => Some((Manner::Former, call)),
        _ => None,
    }
}

async fn serve(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
    call: &str,
) -> Result<Vec<u8>, Failure> {
    let verb = table::verb(call).ok_or(Failure::NotFound)?;
    if *request.method() != Method::POST {
        return Err(Failure::NotPost);
    }
    if let Verb::Unserved(name) = verb {
        return Err(Error::Unimplemented(name).into());
    }
    let wants_leader = request
        .headers()
        .get(REQUIRE_LEADER)
        .is_some_and(|value| value == "true");
    if wants_leader && ctx.node.status().leader == 0 {
        return Err(Error::NoLeader.into());
    }
    let message_max = ctx.settings.max_request_bytes + MESSAGE_ALLOWANCE_BYTES;
    // base64 makes four bytes of three, and some JSON stands around it
    let body = match reply::read(payload, message_max * 2).await {
        Ok(body) => body,
        Err(Unread::TooLarge) => return Err(Failure::body_too_large(message_max)),
        Err(Unread::Broken) => return Err(Failure::invalid("unexpected EOF".into())),
    };
    let call = Call {
        ctx,
        body: &body,
        message_max,
    };
    match verb {
        Verb::Range => call.run(kv::range).await,
        Verb::Put => call.run(kv::put).await,
        Verb::DeleteRange => call.run(kv::delete_range).await,
        Verb::Txn => call.run(kv::txn).await,
        Verb::Compact => call.run(kv::compact).await,
        Verb::MemberList => call.run(cluster::list).await,
        Verb::MemberAdd => call.run(cluster::add).await,
        Verb::MemberRemove => call.run(cluster::remove).await,
        Verb::MemberUpdate => call.run(cluster::update).await,
        Verb::MemberPromote => call.run(cluster::promote).await,
        Verb::Status => call.run(maintenance::status).await,
        Verb::Alarm => call.run(maintenance::alarm).await,
        Verb::Unserved(name) => Err(Error::Unimplemented(name).into()),
    }
}

/// A body on its way through a verb.
struct Call<'a> {
    ctx: &'a Context,
    body: &'a [u8],
    message_max: usize,
}

impl Call<'_> {
    async fn run<Q, A>(
        self,
        verb: impl AsyncFnOnce(&Context, Q) -> Answer<A>,
    ) -> Result<Vec<u8>, Failure>
    where
        Q: DeserializeOwned + Default + Message,
        A: Serialize,
    {
        let request: Q = decode(self.body)?;
        let length = request.encoded_len();
        if length > self.message_max {
            return Err(Failure::message_too_large(length, self.message_max));
        }
        let answer = verb(self.ctx, request).await?;
        serde_json::to_vec(&answer).map_err(|error| Failure::unknown(error.to_string()))
    }
}

/// One JSON value; nothing at all is an empty one, and what follows it is ignored, as in etcd.
/// What is no JSON is refused in etcd's words, what is no such message in our own.
fn decode<Q: DeserializeOwned + Default>(body: &[u8]) -> Result<Q, Failure> {
    if body.trim_ascii().is_empty() {
        return Ok(Q::default());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    Q::deserialize(&mut deserializer).map_err(|error| {
        let text = go_json::check_first(body).err();
        Failure::invalid(text.unwrap_or_else(|| reason(&error)))
    })
}

/// What serde says, without the place.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let told = text
        .rsplit_once(" at line ")
        .map(|(told, _)| told.to_owned());
    told.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use witan_api::v3::etcdserverpb::RangeRequest;

    use super::*;

    #[test]
    fn prefixes_choose_the_manner() {
        assert_eq!(split(b"/v3/kv/put"), Some((Manner::Present, "kv/put")));
        assert_eq!(split(b"/v3beta/kv/put"), Some((Manner::Former, "kv/put")));
        assert_eq!(split(b"/v3alpha/kv/put"), Some((Manner::Former, "kv/put")));
        assert_eq!(split(b"/v3/"), Some((Manner::Present, "")));
        assert_eq!(split(b"/v3gamma/kv/put"), None);
        assert_eq!(split(b"/v3"), None);
    }

    fn refused(body: &str) -> String {
        match decode::<RangeRequest>(body.as_bytes()) {
            Err(Failure::Status { text, .. }) => text,
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn bodies() {
        for body in ["", " \n", "{}", "{} trailing", "{\"nonsense\":1}"] {
            assert_eq!(
                decode(body.as_bytes()),
                Ok(RangeRequest::default()),
                "{body:?}"
            );
        }
        assert_eq!(
            refused(r#"{"key":"!!!!"}"#),
            "illegal base64 data at input byte 0"
        );
        assert_eq!(refused(r#"{"key":"Zm9v""#), "unexpected EOF");
        assert!(refused(r#"{"key":"Zm9v","key":"Zm9v"}"#).starts_with("duplicate field"));
        assert_eq!(
            refused("not json"),
            "invalid character 'o' in literal null (expecting 'u')"
        );
    }
}

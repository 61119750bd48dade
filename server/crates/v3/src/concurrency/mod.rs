//! The Lock and Election services, built from transactions, leases and watches, for clients whose library lacks locks and
//! elections.
//!
//! A caller puts its key `name/LEASE` and waits until its key is the oldest key below the name. The key is deleted with the
//! lease, or if the caller disconnects while it waits. As in etcd, all errors have the code `Unknown`.

pub(super) mod election;
pub(super) mod lock;

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::oneshot;
use tonic::Status;
use witan_api::v3::{
    etcdserverpb::{
        Compare, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, ResponseHeader,
        TxnRequest, WatchCreateRequest, WatchRequest, WatchResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        range_request::{SortOrder, SortTarget},
        request_op::Request,
        response_op::Response,
        watch_request::RequestUnion,
    },
    mvccpb::{Event, KeyValue, event::EventType},
};
use witan_base::panics::{self, PanicMetrics, PanicSource};
use witan_dialect::Context;
use witan_machine::lease::LeaseId;

use super::{RpcResult, kv, lease, watch};
use crate::error::RpcError;

/// TTL in seconds of the lease that the server grants if the request names no lease, as in etcd's session.
const SESSION_TTL_S: i64 = 60;

type WatchResponses = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

/// Returns the caller's lease, or a new lease of `SESSION_TTL_S` seconds if `lease` is `LeaseId::NONE`. Does not check whether
/// the caller's lease exists.
async fn session_lease(ctx: &Context, lease: LeaseId) -> RpcResult<LeaseId> {
    if lease != LeaseId::NONE {
        return Ok(lease);
    }
    let request = LeaseGrantRequest { ttl: SESSION_TTL_S, id: LeaseId::NONE.0 };
    let granted = lease::lease_grant(ctx, request).await?;
    Ok(LeaseId(granted.id))
}

/// Returns the prefix of all keys below a name.
fn prefix(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

/// Returns the key of a lease below a name. Formats the lease in hexadecimal, with a sign if it is negative, like Go.
fn session_key(name: &[u8], lease: LeaseId) -> Bytes {
    let sign: &[u8] = if lease.0 < 0 { b"-" } else { b"" };
    let digits = format!("{:x}", lease.0.unsigned_abs());
    [name, b"/", sign, digits.as_bytes()].concat().into()
}

/// Builds a request for one key below a name: the one created first (`Ascend`) or last (`Descend`).
fn first_or_last_key(name: &[u8], order: SortOrder) -> RangeRequest {
    RangeRequest {
        key: prefix(name),
        range_end: range_end(name),
        limit: 1,
        sort_order: order as i32,
        sort_target: SortTarget::Create as i32,
        ..RangeRequest::default()
    }
}

/// Returns the range end for the keys below a name. In ASCII, `0` follows `/`.
fn range_end(name: &[u8]) -> Bytes {
    [name, b"0"].concat().into()
}

fn get(key: &Bytes) -> RangeRequest {
    RangeRequest { key: key.clone(), ..RangeRequest::default() }
}

fn put(key: &Bytes, value: &Bytes, lease: LeaseId) -> RequestOp {
    op(Request::RequestPut(PutRequest {
        key: key.clone(),
        value: value.clone(),
        lease: lease.0,
        ..PutRequest::default()
    }))
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

/// Builds a transaction that executes `success` if the key's create revision is `revision`, which is 0 for a missing key.
/// Otherwise, the transaction does nothing.
fn if_created(key: &Bytes, revision: i64, success: Vec<RequestOp>) -> TxnRequest {
    let compare = Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Create as i32,
        key: key.clone(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Compare::default()
    };
    TxnRequest { compare: vec![compare], success, failure: Vec::new() }
}

/// Returns the revision in a response header, or 0 if there is no header.
fn revision(header: Option<&ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

/// The caller's key below a name.
struct SessionKey {
    header: Option<ResponseHeader>,
    /// The key-value pair; `None` if the key did not exist before.
    existing: Option<KeyValue>,
    /// The create revision of the key.
    created: i64,
    /// Whether the key is the oldest key; false if the oldest key was not requested.
    first: bool,
}

/// Puts the caller's key, unless the key exists. If `oldest` requests the oldest key, the same transaction reads that key, so
/// that the result shows whether the caller's key is the oldest.
async fn put_key(
    ctx: &Context,
    key: &Bytes,
    (value, lease): (&Bytes, LeaseId),
    oldest: Option<RangeRequest>,
) -> RpcResult<SessionKey> {
    let oldest = oldest.map(|request| op(Request::RequestRange(request)));
    let operations = |operation: RequestOp| -> Vec<RequestOp> {
        [operation].into_iter().chain(oldest.clone()).collect()
    };
    let mut txn = if_created(key, 0, operations(put(key, value, lease)));
    txn.failure = operations(op(Request::RequestRange(get(key))));
    let response = kv::txn(ctx, txn).await?.response;
    let mut pairs = response.responses.into_iter().map(|reply| {
        let Some(Response::ResponseRange(range)) = reply.response else {
            return None;
        };
        range.kvs.into_iter().next()
    });
    let (existing, oldest) = (pairs.next().flatten(), pairs.next().flatten());
    let created = match &existing {
        Some(existing) => existing.create_revision,
        None => revision(response.header.as_ref()),
    };
    let first = oldest.is_some_and(|oldest| oldest.create_revision == created);
    Ok(SessionKey { header: response.header, existing, created, first })
}

/// Waits until no key below the name has a lower create revision than `created`. Fails if a range or a watch fails.
async fn wait_until_first(ctx: &Context, name: &[u8], created: i64) -> RpcResult<()> {
    loop {
        let older = RangeRequest {
            max_create_revision: created - 1,
            ..first_or_last_key(name, SortOrder::Descend)
        };
        let response = kv::range(ctx, older).await?.response;
        let Some(last) = response.kvs.first() else {
            return Ok(());
        };
        wait_until_deleted(ctx, &last.key, revision(response.header.as_ref())).await?;
    }
}

/// Waits until a key is deleted at revision `from` or later. Fails with the watch's error if the watch is canceled, for example
/// because `from` has been compacted. Fails with `Stopped` if the watch stream ends or fails.
async fn wait_until_deleted(ctx: &Context, key: &Bytes, from: i64) -> RpcResult<()> {
    let create = WatchCreateRequest {
        key: key.clone(),
        start_revision: from,
        ..WatchCreateRequest::default()
    };
    let mut answers = open_watch(ctx, create, false);
    while let Some(Ok(answer)) = answers.next().await {
        let deletes = |event: &Event| event.r#type() == EventType::Delete;
        if answer.events.iter().any(deletes) {
            return Ok(());
        }
        // The watch sends nothing after its cancellation.
        if answer.canceled {
            return Err(cancellation(&answer));
        }
    }
    // A valid watch ends only with the process.
    Err(RpcError::Stopped)
}

/// Returns the error of a canceled watch: `Compacted`, the error in the cancel reason, or `Stopped` for an unknown reason.
fn cancellation(answer: &WatchResponse) -> RpcError {
    if answer.compact_revision != 0 {
        return RpcError::Compacted;
    }
    let reason = &answer.cancel_reason;
    let mut errors = RpcError::ALL.iter().copied();
    let error = errors.find(|error| reason.ends_with(error.text()));
    error.unwrap_or(RpcError::Stopped)
}

/// Opens a watch stream with one watcher in this process, without a connection. With `needs_leader`, the stream fails if the
/// cluster has no leader for too long.
fn open_watch(ctx: &Context, create: WatchCreateRequest, needs_leader: bool) -> WatchResponses {
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let requests = stream::iter([Ok(create)]).chain(stream::pending());
    Box::pin(watch::watch_events(ctx, requests, needs_leader))
}

/// Resolves to an error when the caller disconnects.
type CallerGone = oneshot::Receiver<()>;

/// Runs `work` to its end, even if the caller disconnects. Signals a disconnect with `CallerGone`. Panics if `work` panics;
/// after a disconnect, counts the panic in `metrics` instead. Fails with `Stopped` if the worker ends first. All errors have
/// the code `Unknown`.
async fn run_to_completion<T: 'static, F: Future<Output = RpcResult<T>> + 'static>(
    metrics: &PanicMetrics,
    work: impl FnOnce(CallerGone) -> F,
) -> RpcResult<T> {
    let (here, gone) = oneshot::channel();
    let (result_sender, result) = oneshot::channel();
    let work = panics::catch_in(PanicSource::Job, work(gone));
    let metrics = metrics.clone();
    actix_web::rt::spawn(async move {
        if let Err(Err(_)) = result_sender.send(work.await) {
            // The caller has disconnected, so nothing else reports the panic.
            metrics.panicked(PanicSource::Job);
        }
    });
    let answer = match result.await {
        Ok(done) => done.unwrap_or_else(|panicked| panics::rethrow(panicked)),
        Err(_) => Err(RpcError::Stopped),
    };
    drop::<oneshot::Sender<()>>(here);
    answer.map_err(RpcError::plain)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use witan_base::account::Resource;
    use witan_machine::kv::Kv;
    use witan_node::testing::NodeOfStates;

    use super::*;
    use crate::test_context::context;

    #[test]
    fn a_canceled_watch_ends_the_wait() {
        actix_rt::System::new().block_on(async {
            let member = NodeOfStates::begin(&Kv::default());
            let ctx = context(member.node.clone());
            let what = Resource::Watchers;
            let _all = ctx
                .account()
                .hold(what, what.limit())
                .expect("no watcher exists");
            let waited = wait_until_deleted(&ctx, &"k".into(), 1).now_or_never();
            assert_eq!(waited, Some(Err(RpcError::TooManyRequests)));
        });
    }

    #[test]
    fn the_cancel_reason_names_the_error() {
        let canceled = |cancel_reason: &str, compact_revision| {
            let cancel_reason = cancel_reason.to_owned();
            cancellation(&WatchResponse { cancel_reason, compact_revision, ..Default::default() })
        };
        let denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
        assert_eq!(canceled(denied, 0), RpcError::PermissionDenied);
        assert_eq!(canceled("", 5), RpcError::Compacted);
    }
}

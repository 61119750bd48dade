//! The calls of the Lock service.

use bytes::Bytes;
use witan_api::v3::{
    etcdserverpb::{
        DeleteRangeRequest, ResponseHeader, range_request::SortOrder, request_op::Request,
        response_op::Response,
    },
    mvccpb::KeyValue,
    v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse},
};
use witan_dialect::Context;
use witan_machine::lease::LeaseId;

use super::{
    CallerGone, first_or_last_key, get, if_created, op, put, revision, run_to_completion,
    session_key, session_lease, wait_until_first,
};
use crate::error::RpcError;
use crate::{RpcResult, kv};

/// Error text for a waiting caller whose key was deleted with its lease.
const EXPIRED: &str = "mutex: session is expired";

/// Waits until the caller holds the lock. If the caller disconnects first, deletes its key.
pub(crate) async fn lock(ctx: &Context, request: LockRequest) -> RpcResult<LockResponse> {
    let (ctx, metrics) = (ctx.clone(), &ctx.panics);
    run_to_completion(metrics, move |gone| acquire(ctx, request, gone)).await
}

/// Releases a lock by deleting the key that `lock` returned.
pub(crate) async fn unlock(ctx: &Context, request: UnlockRequest) -> RpcResult<UnlockResponse> {
    let header = delete_key(ctx, request.key)
        .await
        .map_err(RpcError::plain)?;
    Ok(UnlockResponse { header })
}

/// Puts the caller's key below the lock's name, waits until it is the oldest key, and returns it. Fails with `EXPIRED` if the
/// key is deleted with its lease while the caller waits. Deletes the key after any other error or a disconnect.
async fn acquire(ctx: Context, request: LockRequest, gone: CallerGone) -> RpcResult<LockResponse> {
    let lease = session_lease(&ctx, LeaseId(request.lease)).await?;
    let key = session_key(&request.name, lease);
    let entered = put_key(&ctx, &request.name, &key, lease).await?;
    if entered.first {
        let header = entered.header;
        return Ok(LockResponse { header, key });
    }
    let waited = tokio::select! {
        waited = wait_until_first(&ctx, &request.name, entered.created) => waited,
        _ = gone => Err(RpcError::Stopped),
    };
    let there = match waited {
        Ok(()) => kv::range(&ctx, get(&key))
            .await
            .map(|with_permit| with_permit.response),
        Err(error) => Err(error),
    };
    match there {
        Ok(there) if there.kvs.is_empty() => Err(RpcError::Plain(EXPIRED)),
        Ok(there) => Ok(LockResponse { header: there.header, key }),
        Err(error) => {
            // Ignore a failure: the expiration of the lease also deletes the key.
            let _ = delete_key(&ctx, key).await;
            Err(error)
        }
    }
}

/// The caller's key after the put.
struct LockKey {
    header: Option<ResponseHeader>,
    created: i64,
    /// Whether the key is the oldest one below the name.
    first: bool,
}

/// Puts the caller's key unless it exists. Finds out its create revision and whether it is the oldest key.
async fn put_key(ctx: &Context, name: &[u8], key: &Bytes, lease: LeaseId) -> RpcResult<LockKey> {
    let oldest = || {
        op(Request::RequestRange(first_or_last_key(
            name,
            SortOrder::Ascend,
        )))
    };
    let mut txn = if_created(key, 0, vec![put(key, &Bytes::new(), lease), oldest()]);
    txn.failure = vec![op(Request::RequestRange(get(key))), oldest()];
    let response = kv::txn(ctx, txn).await?.response;
    let mut found = response
        .responses
        .into_iter()
        .map(|response| match response.response {
            Some(Response::ResponseRange(range)) => range.kvs.into_iter().next(),
            Some(
                Response::ResponsePut(_)
                | Response::ResponseDeleteRange(_)
                | Response::ResponseTxn(_),
            )
            | None => None,
        });
    let (own, oldest): (Option<KeyValue>, _) = (found.next().flatten(), found.next().flatten());
    let created = own.map_or(revision(response.header.as_ref()), |own| {
        own.create_revision
    });
    let first = oldest.is_none_or(|oldest| oldest.create_revision == created);
    Ok(LockKey { header: response.header, created, first })
}

async fn delete_key(ctx: &Context, key: Bytes) -> RpcResult<Option<ResponseHeader>> {
    let request = DeleteRangeRequest { key, ..DeleteRangeRequest::default() };
    Ok(kv::delete_range(ctx, request).await?.response.header)
}

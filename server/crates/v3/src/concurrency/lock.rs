//! The calls of the Lock service.

use bytes::Bytes;
use witan_api::v3::{
    etcdserverpb::{DeleteRangeRequest, ResponseHeader, range_request::SortOrder},
    v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse},
};
use witan_dialect::Context;
use witan_machine::lease::LeaseId;

use super::{
    CallerGone, first_or_last_key, get, put_key, run_to_completion, session_key, session_lease,
    wait_until_first,
};
use crate::error::RpcError;
use crate::{RpcResult, kv};

/// Error text for a waiting caller whose key was deleted, usually with its lease.
const EXPIRED: &str = "mutex: session is expired";

/// Waits until the caller holds the lock. If the caller disconnects first, deletes the caller's key. If the request names no
/// lease, grants one.
pub(crate) async fn lock(ctx: &Context, request: LockRequest) -> RpcResult<LockResponse> {
    let (ctx, metrics) = (ctx.clone(), &ctx.panics);
    run_to_completion(metrics, move |gone| acquire(ctx, request, gone)).await
}

/// Releases a lock by deleting the key that `lock` returned. Succeeds even if the key does not exist.
pub(crate) async fn unlock(ctx: &Context, request: UnlockRequest) -> RpcResult<UnlockResponse> {
    let header = delete_key(ctx, request.key)
        .await
        .map_err(RpcError::plain)?;
    Ok(UnlockResponse { header })
}

/// Puts the caller's key below the lock's name, waits until it is the oldest key, and returns the key. Fails with `EXPIRED` if
/// the key is deleted while the caller waits. If the wait fails for another reason or the caller disconnects, deletes the key.
async fn acquire(ctx: Context, request: LockRequest, gone: CallerGone) -> RpcResult<LockResponse> {
    let lease = session_lease(&ctx, LeaseId(request.lease)).await?;
    let key = session_key(&request.name, lease);
    let oldest = first_or_last_key(&request.name, SortOrder::Ascend);
    let entered = put_key(&ctx, &key, (&Bytes::new(), lease), Some(oldest)).await?;
    if entered.first {
        let header = entered.header;
        return Ok(LockResponse { header, key });
    }
    let waited = tokio::select! {
        waited = wait_until_first(&ctx, &request.name, entered.created) => waited,
        _ = gone => Err(RpcError::Stopped),
    };
    let response = match waited {
        Ok(()) => kv::range(&ctx, get(&key))
            .await
            .map(|with_permit| with_permit.response),
        Err(error) => Err(error),
    };
    match response {
        Ok(response) if response.kvs.is_empty() => Err(RpcError::Plain(EXPIRED)),
        Ok(response) => Ok(LockResponse { header: response.header, key }),
        Err(error) => {
            // Ignore a failure, because the expiration of the lease also deletes the key.
            let _ = delete_key(&ctx, key).await;
            Err(error)
        }
    }
}

/// Deletes a key, if it exists. Returns the header of the response.
async fn delete_key(ctx: &Context, key: Bytes) -> RpcResult<Option<ResponseHeader>> {
    let request = DeleteRangeRequest { key, ..DeleteRangeRequest::default() };
    Ok(kv::delete_range(ctx, request).await?.response.header)
}

//! The calls of the Election service.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tonic::Status;
use witan_api::v3::{
    etcdserverpb::{
        DeleteRangeRequest, ResponseHeader, WatchCreateRequest, range_request::SortOrder,
        request_op::Request,
    },
    mvccpb::{KeyValue, event::EventType},
    v3electionpb::{
        CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse,
        ProclaimRequest, ProclaimResponse, ResignRequest, ResignResponse,
    },
};
use witan_dialect::Context;
use witan_machine::lease::LeaseId;

use super::{
    CallerGone, WatchResponses, first_or_last_key, get, if_created, op, open_watch, prefix, put,
    put_key, range_end, revision, run_to_completion, session_key, session_lease, wait_until_first,
};
use crate::error::RpcError;
use crate::{RpcResult, kv};

const NO_LEADER: &str = "election: no leader";
const NOT_LEADER: &str = "election: not leader";
const NO_KEY: &str = "\"leader\" field must be provided";

/// Waits until the caller leads the election. Fails with `NOT_LEADER` if the caller's key is deleted first. If the caller
/// disconnects, deletes the key. If the key already exists, sets its value. If the request names no lease, grants one.
pub(crate) async fn campaign(
    ctx: &Context,
    request: CampaignRequest,
) -> RpcResult<CampaignResponse> {
    let (ctx, metrics) = (ctx.clone(), &ctx.panics);
    run_to_completion(metrics, move |gone| win_election(ctx, request, gone)).await
}

/// Puts the caller's key, or updates its value, and waits until it is the election's oldest key. Deletes the key when `gone`
/// completes, or if its value cannot be updated. Fails with `NOT_LEADER` if the key no longer exists after the wait.
async fn win_election(
    ctx: Context,
    request: CampaignRequest,
    gone: CallerGone,
) -> RpcResult<CampaignResponse> {
    let CampaignRequest { name, lease, value } = request;
    let lease = session_lease(&ctx, LeaseId(lease)).await?;
    let key = session_key(&name, lease);
    let entered = put_key(&ctx, &key, (&value, lease), None).await?;
    let rev = entered.created;
    if entered.existing.is_some_and(|pair| pair.value != value)
        && let Err(error) = put_value(&ctx, &key, rev, (&value, lease)).await
    {
        // Ignore a failure, because the expiration of the lease also deletes the key.
        let _ = delete_key(&ctx, &key, rev).await;
        return Err(error);
    }
    tokio::select! {
        waited = wait_until_first(&ctx, &name, rev) => waited?,
        _ = gone => {
            let _ = delete_key(&ctx, &key, rev).await;
            return Err(RpcError::Stopped);
        }
    }
    // The key is deleted if its lease ends while the caller waits.
    let pairs = kv::range(&ctx, get(&key)).await?.response.kvs;
    if pairs.first().is_none_or(|own| own.create_revision != rev) {
        return Err(RpcError::Plain(NOT_LEADER));
    }
    Ok(CampaignResponse {
        header: entered.header,
        leader: Some(LeaderKey { name, key, rev, lease: lease.0 }),
    })
}

/// Sets the value of the leader's key and attaches the leader's lease, or a new lease if the request names none. Fails with
/// `NOT_LEADER` if the key's create revision differs from the request's, and with `NO_KEY` if the request has no leader key.
pub(crate) async fn proclaim(
    ctx: &Context,
    request: ProclaimRequest,
) -> RpcResult<ProclaimResponse> {
    let leader = request.leader.ok_or(RpcError::Plain(NO_KEY))?;
    let proclaimed = async {
        let lease = session_lease(ctx, LeaseId(leader.lease)).await?;
        put_value(ctx, &leader.key, leader.rev, (&request.value, lease)).await
    };
    let header = proclaimed.await.map_err(RpcError::plain)?;
    Ok(ProclaimResponse { header })
}

/// Returns the leader's pair, whose key is the oldest key of the election. Fails with `NO_LEADER` if there is no leader.
pub(crate) async fn leader(ctx: &Context, request: LeaderRequest) -> RpcResult<LeaderResponse> {
    let first = first_or_last_key(&request.name, SortOrder::Ascend);
    let response = kv::range(ctx, first)
        .await
        .map_err(RpcError::plain)?
        .response;
    let kv = response.kvs.into_iter().next();
    Ok(LeaderResponse {
        header: response.header,
        kv: Some(kv.ok_or(RpcError::Plain(NO_LEADER))?),
    })
}

/// Deletes the leader's key if its create revision equals the request's. Succeeds even if the key is not deleted. Fails if the
/// request has no leader key. As in etcd, if the request names no lease, grants a new lease, although nothing uses it.
pub(crate) async fn resign(ctx: &Context, request: ResignRequest) -> RpcResult<ResignResponse> {
    let leader = request.leader.ok_or(RpcError::Plain(NO_KEY))?;
    let resigned = async {
        session_lease(ctx, LeaseId(leader.lease)).await?;
        delete_key(ctx, &leader.key, leader.rev).await
    };
    let header = resigned.await.map_err(RpcError::plain)?;
    Ok(ResignResponse { header })
}

/// Sets the value and the lease of a leader's key. Fails with `NOT_LEADER` unless the key's create revision is `created`.
async fn put_value(
    ctx: &Context,
    key: &Bytes,
    created: i64,
    (value, lease): (&Bytes, LeaseId),
) -> RpcResult<Option<ResponseHeader>> {
    let txn = if_created(key, created, vec![put(key, value, lease)]);
    let response = kv::txn(ctx, txn).await?.response;
    if response.succeeded {
        Ok(response.header)
    } else {
        Err(RpcError::Plain(NOT_LEADER))
    }
}

/// Deletes a leader's key if its create revision is `created`. Otherwise, deletes nothing. Returns the response header in both
/// cases.
async fn delete_key(ctx: &Context, key: &Bytes, created: i64) -> RpcResult<Option<ResponseHeader>> {
    let delete = DeleteRangeRequest { key: key.clone(), ..DeleteRangeRequest::default() };
    let txn = if_created(key, created, vec![op(Request::RequestDeleteRange(delete))]);
    Ok(kv::txn(ctx, txn).await?.response.header)
}

/// Streams the current leader of an election with its value, and then every later leader or value. If the leader cannot be
/// read, the error is the last item. As in etcd, ends without an error if its watch fails or is canceled, for example by a
/// compaction. With `needs_leader`, the watch fails if the cluster has no Raft leader for too long.
pub(crate) async fn observe(
    ctx: &Context,
    request: LeaderRequest,
    needs_leader: bool,
) -> RpcResult<impl Stream<Item = Result<LeaderResponse, Status>> + Send + use<>> {
    let observer = Observer {
        ctx: ctx.clone(),
        name: request.name,
        needs_leader,
        followed: None,
        ready: VecDeque::new(),
    };
    Ok(stream::try_unfold(observer, |mut observer| async {
        let response = observer.next().await.transpose();
        let response = response.map_err(RpcError::plain)?;
        Ok(response.map(|response| (response, observer)))
    }))
}

/// Streams the leaders of the election named in the first request. If the stream ends without a request, observes the election
/// with the empty name. If that request cannot be read, the error is the only item. Ignores later requests. With
/// `needs_leader`, the stream ends if the cluster has no Raft leader for too long.
pub(crate) fn observe_first<R>(
    ctx: &Context,
    mut requests: R,
    needs_leader: bool,
) -> impl Stream<Item = Result<LeaderResponse, Status>> + use<R>
where
    R: Stream<Item = Result<LeaderRequest, Status>> + Unpin,
{
    let ctx = ctx.clone();
    let first = async move {
        let request = requests.next().await;
        let request = request.unwrap_or_else(|| Ok(LeaderRequest::default()))?;
        let leaders = observe(&ctx, request, needs_leader).await;
        leaders.map_err(Status::from)
    };
    stream::once(first).try_flatten()
}

struct Observer {
    ctx: Context,
    name: Bytes,
    needs_leader: bool,
    /// The watch on the current leader's key; `None` while no leader is known.
    followed: Option<WatchResponses>,
    /// Leaders and values not returned yet.
    ready: VecDeque<LeaderResponse>,
}

impl Observer {
    /// Waits for the next leader or value. Returns `None` if the watch ends, fails or is canceled. Fails if the leader cannot
    /// be read.
    async fn next(&mut self) -> Option<RpcResult<LeaderResponse>> {
        loop {
            if let Some(response) = self.ready.pop_front() {
                return Some(Ok(response));
            }
            let Some(followed) = &mut self.followed else {
                return self.find().await.transpose();
            };
            // As in etcd, a watch that fails or is canceled ends the stream without an error.
            let answer = followed
                .next()
                .await?
                .ok()
                .filter(|answer| !answer.canceled)?;
            for event in answer.events {
                if event.r#type() == EventType::Delete {
                    self.followed = None;
                    break;
                }
                self.ready
                    .push_back(LeaderResponse { header: answer.header, kv: event.kv });
            }
        }
    }

    /// Finds the leader, or waits for one, and starts watching its key. Returns `None` if the watch for a first leader ends or
    /// fails.
    async fn find(&mut self) -> RpcResult<Option<LeaderResponse>> {
        let request = first_or_last_key(&self.name, SortOrder::Ascend);
        let response = kv::range(&self.ctx, request).await?.response;
        let (header, kv) = match response.kvs.into_iter().next() {
            Some(kv) => (response.header, kv),
            None => {
                let from = revision(response.header.as_ref());
                match first_put(&self.ctx, &self.name, from, self.needs_leader).await {
                    Some(found) => found,
                    None => return Ok(None),
                }
            }
        };
        let follow = WatchCreateRequest {
            key: kv.key.clone(),
            start_revision: revision(header.as_ref()) + 1,
            ..WatchCreateRequest::default()
        };
        self.followed = Some(open_watch(&self.ctx, follow, self.needs_leader));
        Ok(Some(LeaderResponse { header, kv: Some(kv) }))
    }
}

/// Waits for the first put below `name` at revision `from` or later. Returns the new pair and a header with the put's revision.
/// The caller can watch the changes after this revision. Returns `None` if the watch ends or fails first. With `needs_leader`,
/// the watch fails if the cluster has no Raft leader for too long.
async fn first_put(
    ctx: &Context,
    name: &[u8],
    from: i64,
    needs_leader: bool,
) -> Option<(Option<ResponseHeader>, KeyValue)> {
    let all = WatchCreateRequest {
        key: prefix(name),
        range_end: range_end(name),
        start_revision: from,
        ..WatchCreateRequest::default()
    };
    let mut answers = open_watch(ctx, all, needs_leader);
    loop {
        let answer = answers
            .next()
            .await?
            .ok()
            .filter(|answer| !answer.canceled)?;
        let mut puts = answer
            .events
            .into_iter()
            .filter(|event| event.r#type() == EventType::Put);
        if let Some(kv) = puts.next().and_then(|event| event.kv) {
            let header = answer
                .header
                .map(|header| ResponseHeader { revision: kv.mod_revision, ..header });
            return Some((header, kv));
        }
    }
}

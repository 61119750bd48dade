//! Lease calls. A keep-alive stream answers in order and buffers few requests. A client that sends many requests or reads
//! slowly therefore delays only its own stream.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tonic::Status;
use witan_api::v3::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use witan_dialect::{Context, blocking::INLINE_ITEMS, jobs::WithPermit};
use witan_machine::{
    StateMachine,
    auth::{AccessCheck, AuthError, Caller},
    kv::Kv,
    lease::{self, LeaseGrant, LeaseId, LeaseRevoke, RemainingTtl},
    view::View,
};
use witan_node::{LeaseDeadlines, NodeError, Renewal, now_ns};

use super::{
    RpcResult, authorize, header,
    kv::{self, ReadBounds, ReadReply, ReadSize},
    stream_end::StreamEnd,
};
use crate::error::RpcError;

/// Interval between checks of whether an expired lease has been removed.
const EXPIRING_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Number of checks before the keep-alive of an expired lease fails.
const EXPIRING_CHECKS: u32 = 200;

/// Maximum number of concurrent keep-alives on one stream; further keep-alives wait.
const KEEP_ALIVES_CONCURRENT_MAX: usize = 64;

const SECOND_NS: i64 = 1_000_000_000;

/// Grants a lease with the requested ID, or with a random ID if the requested ID is 0. The TTL is at least `lease_ttl_min_s`
/// seconds. Fails with `LeaseExists` if the requested ID is in use.
pub(super) async fn lease_grant(
    ctx: &Context,
    request: LeaseGrantRequest,
) -> RpcResult<LeaseGrantResponse> {
    let id = if LeaseId(request.id) == LeaseId::NONE {
        generate_id().0
    } else {
        request.id
    };
    let ttl_s = request.ttl.max(ctx.settings.lease_ttl_min_s);
    let done = authorize::propose(ctx, LeaseGrant { id, ttl_s }).await?;
    Ok(LeaseGrantResponse {
        header: header::at(&ctx.node, done.revision),
        id,
        ttl: done.output.ttl_s,
        error: String::new(),
    })
}

/// Revokes a lease, which deletes its keys. Fails with `LeaseNotFound` for an unknown ID.
pub(super) async fn lease_revoke(
    ctx: &Context,
    request: LeaseRevokeRequest,
) -> RpcResult<LeaseRevokeResponse> {
    let done = authorize::propose(ctx, LeaseRevoke { id: request.id }).await?;
    Ok(LeaseRevokeResponse { header: header::at(&ctx.node, done.revision) })
}

/// Returns a lease's remaining and granted TTL in seconds and, if requested, its keys. The TTL of an unknown lease is -1. Reads
/// a linearizable state and asks the leader for the remaining TTL. Only listing keys requires permissions.
pub(super) async fn lease_time_to_live(
    ctx: &Context,
    request: LeaseTimeToLiveRequest,
) -> RpcResult<WithPermit<LeaseTimeToLiveResponse>> {
    let id = LeaseId(request.id);
    let check = |caller: AccessCheck<'_>, id: &LeaseId| caller.list_lease(*id);
    let (revision, granted_ttl) = {
        let view = ctx.node.read().await?;
        if request.keys {
            authorize::check_on(ctx, &view.machine, |caller| check(caller, &id))?;
        }
        let kv = &view.machine.kv;
        (kv.revision(), kv.leases().get(id).map(|lease| lease.ttl_s))
    };
    let mut response = LeaseTimeToLiveResponse {
        header: header::at(&ctx.node, revision),
        id: id.0,
        ttl: -1,
        ..LeaseTimeToLiveResponse::default()
    };
    let Some(granted_ttl) = granted_ttl else {
        return Ok(WithPermit::without(response));
    };
    // The lease may have been removed since the first lookup.
    let Some(left_ns) = ctx.node.lease_left_ns(id).await? else {
        return Ok(WithPermit::without(response));
    };
    // As in etcd, the TTL is always below the granted TTL, even if the lease clock has not ticked.
    response.ttl = left_ns.saturating_sub(1) / SECOND_NS;
    response.granted_ttl = granted_ttl;
    if !request.keys {
        return Ok(WithPermit::without(response));
    }
    let view = {
        let view = ctx.node.view().await?;
        authorize::check_on(ctx, &view.machine, |caller| check(caller, &id))?;
        view
    };
    let size = |kv: &Kv, id: &LeaseId| {
        let more_than = |keys: u64| {
            let keys = usize::try_from(keys).unwrap_or(usize::MAX);
            kv.leases().keys(*id).nth(keys).is_some()
        };
        ReadSize::by(more_than, more_than)
    };
    // The keys are always in memory.
    let keys = |view: &View, id: &LeaseId, _: ReadBounds| {
        let keys = view.machine.kv.leases().keys(*id);
        Ok(keys.cloned().collect::<Vec<Bytes>>())
    };
    let (keys, permit) = kv::read(ctx, (view, u64::MAX), id, size, check, keys).await?;
    response.keys = keys?;
    Ok(WithPermit::new(response, permit))
}

impl ReadReply for Vec<Bytes> {
    /// Returns the total size of the attached keys in bytes.
    fn bytes(&self) -> usize {
        self.iter().map(Bytes::len).sum()
    }
}

/// Lists all leases in this member's state. As in etcd, only the leader lists the leases in order of expiration. Fails unless
/// the caller can list the keys of all leases.
pub(super) async fn lease_leases(
    ctx: &Context,
    _: LeaseLeasesRequest,
) -> RpcResult<LeaseLeasesResponse> {
    let large = ctx.node.view().await?.machine.kv.leases().len() > INLINE_ITEMS;
    let deadlines = match ctx.node.deadlines().await {
        Ok(deadlines) => Some(deadlines),
        Err(NodeError::NoLeader) => None,
        Err(error) => return Err(error.into()),
    };
    let own = ctx.clone();
    let list = move |view: &View| {
        let caller = authorize::caller(&own)?;
        let leases = list(&view.machine, caller.as_ref(), deadlines)?;
        Ok::<_, RpcError>((leases, view.machine.kv.revision()))
    };
    let (leases, revision) = if large {
        ctx.large_read().await?.run(list).await?.0?
    } else {
        let view = ctx.node.view().await?;
        list(&view)?
    };
    let header = header::at(&ctx.node, revision);
    Ok(LeaseLeasesResponse { header, leases })
}

/// Lists the leases in `deadlines` in order of expiration or, without `deadlines`, all leases of the state. Fails unless the
/// caller can list the keys of all leases.
fn list(
    machine: &StateMachine,
    caller: Option<&Caller>,
    deadlines: Option<LeaseDeadlines>,
) -> Result<Vec<LeaseStatus>, AuthError> {
    machine.check(caller).list_leases()?;
    let ids = match deadlines {
        Some(deadlines) => deadlines.in_order(),
        None => machine.kv.leases().iter().map(|(id, _)| id).collect(),
    };
    Ok(ids.into_iter().map(|id| LeaseStatus { id: id.0 }).collect())
}

/// Renews a lease. Fails unless the caller may revoke the lease. Returns the TTL in seconds, or 0 if the lease does not exist.
/// Reads the header's revision first, so that no response reports a lease as alive at the revision of its removal.
async fn keep_alive(
    ctx: &Context,
    request: LeaseKeepAliveRequest,
) -> RpcResult<LeaseKeepAliveResponse> {
    let id = LeaseId(request.id);
    authorize::renew_lease(ctx, id).await?;
    let header = header::at(&ctx.node, ctx.node.revision());
    let ttl = renew(ctx, id).await?.unwrap_or_default();
    Ok(LeaseKeepAliveResponse { header, id: id.0, ttl })
}

/// Renews a lease and returns its TTL in seconds, or `None` if the lease does not exist. If the log records a shorter remaining
/// TTL, first proposes a lease checkpoint that clears this TTL. Fails with `Timeout` if an expired lease still exists after
/// `EXPIRING_CHECKS` checks.
async fn renew(ctx: &Context, id: LeaseId) -> RpcResult<Option<i64>> {
    for _ in 0..EXPIRING_CHECKS {
        match ctx.node.renew(id).await? {
            Renewal::Renewed { ttl_s } => {
                ctx.v3_metrics.leases_renewed.inc();
                return Ok(Some(ttl_s));
            }
            Renewal::Unknown => return Ok(None),
            Renewal::Expiring => tokio::time::sleep(EXPIRING_CHECK_INTERVAL).await,
            Renewal::NeedsCheckpoint => {
                let left = vec![RemainingTtl { id: id.0, seconds: 0 }];
                authorize::propose(ctx, lease::LeaseCheckpoint { remaining: left }).await?;
            }
        }
    }
    Err(RpcError::Timeout)
}

/// Answers keep-alives in order, and runs up to `KEEP_ALIVES_CONCURRENT_MAX` of them concurrently. The stream ends after the
/// client's last request or at an error. The stream also fails when the process stops or, with `needs_leader`, when this member
/// has known no leader for too long.
pub(super) fn lease_keep_alive<R>(
    ctx: &Context,
    requests: R,
    needs_leader: bool,
) -> impl Stream<Item = Result<LeaseKeepAliveResponse, Status>> + use<R>
where
    R: Stream<Item = Result<LeaseKeepAliveRequest, Status>> + Unpin,
{
    let (ending, ctx) = (StreamEnd::new(ctx, needs_leader), Arc::new(ctx.clone()));
    let answers = requests.map(move |request| {
        let ctx = Arc::clone(&ctx);
        async move { keep_alive(&ctx, request?).await.map_err(Status::from) }
    });
    // Each renewal passes through the replica's thread, so send all pending renewals concurrently.
    let answers = Box::pin(answers.buffered(KEEP_ALIVES_CONCURRENT_MAX));
    stream::try_unfold((answers, ending), |(mut answers, mut ending)| async {
        let answer = tokio::select! {
            answer = answers.next() => answer.transpose()?,
            error = ending.wait() => return Err(error.into()),
        };
        Ok(answer.map(|answer| (answer, (answers, ending))))
    })
}

/// Returns a random positive ID with sixteen hexadecimal digits. Two IDs collide with probability 2^-62.
fn generate_id() -> LeaseId {
    LeaseId(((RandomState::new().hash_one(now_ns()) >> 1) | 1 << 62).cast_signed())
}

//! Authorizes calls. [`admit`] checks the access that `witan_api::access` requires for a method. The check runs before the
//! message is read, so that unauthorized calls cost little. The functions of the calls do not repeat the check.
//!
//! Permissions that depend on the message follow the rules of `witan_machine::auth`. Such permissions are checked here, when a
//! command is applied, or both.

use witan_api::{
    access::{Access, CallType, GrpcRoute},
    v3::etcdserverpb::ResponseHeader,
};
use witan_dialect::Context;
use witan_machine::{
    StateMachine,
    auth::{self, AccessCheck, Caller},
    lease::LeaseId,
    operation::Operation,
};
use witan_node::Applied;

use super::{RpcResult, header};
use crate::error::RpcError;

/// Methods that a learner serves from its own state. etcd's learners serve only the first three methods. Linearizable reads on
/// a learner fail later.
const LEARNER_METHODS: [&str; 7] = [
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.Maintenance/Status",
    "/etcdserverpb.Maintenance/Snapshot",
    "/etcdserverpb.Maintenance/Defragment",
    "/etcdserverpb.Maintenance/Hash",
    "/etcdserverpb.Maintenance/HashKV",
    "/etcdserverpb.Cluster/MemberList",
];

/// Methods that change the cluster with commands that are not checked again when they are applied. `maintenance::alarm` checks
/// its requests itself.
const CLUSTER_CHANGES: [&str; 5] = [
    "/etcdserverpb.Cluster/MemberAdd",
    "/etcdserverpb.Cluster/MemberRemove",
    "/etcdserverpb.Cluster/MemberUpdate",
    "/etcdserverpb.Cluster/MemberPromote",
    "/etcdserverpb.Maintenance/Downgrade",
];

/// Fails with `NotSupportedForLearner` on a learner that does not serve the method. Methods outside the table of calls pass.
pub(super) fn refuse_learner(ctx: &Context, method: &str) -> RpcResult<()> {
    let refusal = ctx.node.refuse_learner();
    if refusal.is_err() && (LEARNER_METHODS.contains(&method) || GrpcRoute::of(method).is_none()) {
        return Ok(());
    }
    Ok(refusal?)
}

/// Checks that this member serves a method and, while v2 or v3 authentication is enabled, that the caller has the required
/// access.
pub(super) async fn admit(ctx: &Context, method: &str) -> RpcResult<()> {
    refuse_learner(ctx, method)?;
    match ctx.node.any_auth_enabled() {
        true => check_access(ctx, method).await,
        false => Ok(()),
    }
}

/// Returns whether a method belongs to the Lock or the Election service.
pub(super) fn is_lock_or_election(method: &str) -> bool {
    method.starts_with("/v3lockpb.") || method.starts_with("/v3electionpb.")
}

/// Fails unless the caller has the access that a method requires. For calls on keys, checks at most the credentials; methods
/// outside the table of calls require the root role. Call this only while v2 or v3 authentication is enabled, or for calls on
/// keys. First waits for earlier commits if another member may have issued the caller's token.
pub(super) async fn check_access(ctx: &Context, method: &str) -> RpcResult<()> {
    ctx.authenticator.await_token(&ctx.node, &ctx.caller).await;
    let route = GrpcRoute::of(method);
    let streams = route.is_some_and(|route| route.call_type == CallType::BidiStream);
    match route.map_or(Access::Root, |route| route.access) {
        Access::Public | Access::V2Keys => Ok(()),
        // As in etcd, the stream is admitted, and each of its requests is checked.
        Access::V3Keys if streams => Ok(()),
        // As in etcd, all errors of these services have the code `Unknown`.
        Access::V3Keys if is_lock_or_election(method) => {
            require_credentials(ctx).map_err(RpcError::plain)
        }
        Access::V3Keys | Access::V3User => require_credentials(ctx),
        Access::V3Root if !ctx.node.auth_enabled() => Ok(()),
        Access::Root if CLUSTER_CHANGES.contains(&method) => {
            Box::pin(require_current_admin(ctx)).await
        }
        Access::V3Root | Access::Root => require_admin(ctx).await,
        Access::OwnUser => match admin_caller(ctx)? {
            Some(_) => Ok(()),
            None => Err(RpcError::UserEmpty),
        },
    }
}

/// Returns the caller, or `None` if there are no credentials or while v3 authentication is disabled. Fails with
/// `InvalidAuthToken` for an invalid token. For a permission check, take the view first, so that the caller's auth revision is
/// not older than the view.
pub(super) fn caller(ctx: &Context) -> RpcResult<Option<Caller>> {
    if !ctx.node.auth_enabled() {
        return Ok(None);
    }
    authenticated_caller(ctx)
}

/// Like [`caller`], but for administrative calls: `None` only without credentials or while both v2 and v3 authentication are
/// disabled.
pub(super) fn admin_caller(ctx: &Context) -> RpcResult<Option<Caller>> {
    if !ctx.node.any_auth_enabled() {
        return Ok(None);
    }
    authenticated_caller(ctx)
}

/// Returns the caller that the credentials identify, even while authentication is disabled, or `None` without credentials.
/// Fails with `InvalidAuthToken` for an invalid token.
pub(super) fn authenticated_caller(ctx: &Context) -> RpcResult<Option<Caller>> {
    let caller = ctx.authenticator.recognize(&ctx.node, &ctx.caller);
    caller.map_err(|_| RpcError::InvalidAuthToken)
}

/// While v3 authentication is enabled, fails with `UserEmpty` if the call has no credentials, and with `InvalidAuthToken` for
/// an invalid token.
fn require_credentials(ctx: &Context) -> RpcResult<()> {
    if ctx.node.auth_enabled() && caller(ctx)?.is_none() {
        return Err(RpcError::UserEmpty);
    }
    Ok(())
}

/// Fails if v2 or v3 authentication is enabled and the caller lacks the root role in this member's state.
pub(super) async fn require_admin(ctx: &Context) -> RpcResult<()> {
    if !ctx.node.any_auth_enabled() {
        return Ok(());
    }
    let view = ctx.node.view().await?;
    check_admin_on(ctx, &view.machine)
}

/// Like [`require_admin`], but also checks against a linearizable state, because this member's state can lag behind. Use this
/// for commands that are not checked again when they are applied. Fails without a quorum.
pub(super) async fn require_current_admin(ctx: &Context) -> RpcResult<()> {
    if !ctx.node.any_auth_enabled() {
        return Ok(());
    }
    // Refuse callers without the root role before the linearizable read, which needs a quorum.
    require_admin(ctx).await?;
    let view = ctx.node.read().await?;
    check_admin_on(ctx, &view.machine)
}

/// Like [`require_admin`], but checks against `machine`, the state that the call is about to read.
pub(super) fn check_admin_on(ctx: &Context, machine: &StateMachine) -> RpcResult<()> {
    let caller = admin_caller(ctx)?;
    Ok(machine.auth.check_admin(caller.as_ref())?)
}

/// Runs the permission check against `machine`, without a caller if the request has no credentials. While v3 authentication is
/// disabled in the node's latest state, skips the check. Returns the caller, or `None` if there are no credentials or the check
/// was skipped.
pub(super) fn check_on(
    ctx: &Context,
    machine: &StateMachine,
    check: impl FnOnce(AccessCheck<'_>) -> Result<(), auth::AuthError>,
) -> RpcResult<Option<Caller>> {
    if !ctx.node.auth_enabled() {
        return Ok(None);
    }
    let caller = caller(ctx)?;
    check(machine.check(caller.as_ref()))?;
    Ok(caller)
}

/// Runs the permission check before a proposal, so that a refused operation does not add a log entry or raise a quota alarm.
/// Returns the caller for the proposal, or `None` as [`check_on`] does. The check is repeated when the operation is applied.
pub(super) async fn before_proposal(
    ctx: &Context,
    check: impl FnOnce(AccessCheck<'_>) -> Result<(), auth::AuthError>,
) -> RpcResult<Option<Caller>> {
    if !ctx.node.auth_enabled() {
        return Ok(None);
    }
    let view = ctx.node.view().await?;
    check_on(ctx, &view.machine, check)
}

/// Checks permission to keep a lease alive, which is permission to revoke it, in this member's state. Succeeds while v3
/// authentication is disabled. Otherwise, fails with `UserEmpty` if there are no credentials.
pub(super) async fn renew_lease(ctx: &Context, lease: LeaseId) -> RpcResult<()> {
    if !ctx.node.auth_enabled() {
        return Ok(());
    }
    let view = ctx.node.view().await?;
    let caller = caller(ctx)?.ok_or(RpcError::UserEmpty)?;
    Ok(view.machine.check(Some(&caller)).end_lease(lease)?)
}

/// Proposes an operation on keys or leases on behalf of the caller. Use [`propose_auth`] for operations on users.
pub(super) async fn propose<O: Operation<Error: Into<RpcError>>>(
    ctx: &Context,
    operation: O,
) -> RpcResult<Applied<O::Output>> {
    let caller = caller(ctx)?;
    Ok(ctx.node.propose_for(operation, caller).await?)
}

/// Proposes an operation on users or roles on behalf of the caller. Returns the response header.
pub(super) async fn propose_auth(
    ctx: &Context,
    operation: impl Operation<Output = (), Error = auth::AuthError>,
) -> RpcResult<Option<ResponseHeader>> {
    let caller = admin_caller(ctx)?;
    let done = ctx.node.propose_for(operation, caller).await?;
    Ok(header::at(&ctx.node, done.revision))
}

//! Authorizes calls. `witan_api::access` lists the access that each method requires. [`admit`] checks it before the message is
//! read, so that unauthorized calls cost nothing. The calls themselves do not check it again.
//!
//! The rules of `witan_machine::auth` decide permissions that depend on the message: when a command is applied, or here.
//!
//! While authentication is disabled, each check costs one or two atomic loads.

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

/// As in etcd, all errors of these packages have the code `Unknown`.
const PACKAGES_WITHOUT_CODES: [&str; 2] = ["/v3lockpb.", "/v3electionpb."];

/// Calls that a learner serves from its own state, the first three as in etcd. Linearizable reads are refused later.
const OF_LEARNERS: [&str; 7] = [
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.Maintenance/Status",
    "/etcdserverpb.Maintenance/Snapshot",
    "/etcdserverpb.Maintenance/Defragment",
    "/etcdserverpb.Maintenance/Hash",
    "/etcdserverpb.Maintenance/HashKV",
    "/etcdserverpb.Cluster/MemberList",
];

/// Fails with `NotSupportedForLearner` if this member is a learner that does not serve the method. As in etcd, this check comes
/// first. A learner also serves methods that are not in the table of calls, with `Unimplemented`.
pub(super) fn refuse_learner(ctx: &Context, method: &str) -> RpcResult<()> {
    let refusal = ctx.node.refuse_learner();
    // The cheap condition comes first, because nearly all members are voters.
    if refusal.is_err() && (OF_LEARNERS.contains(&method) || GrpcRoute::of(method).is_none()) {
        return Ok(());
    }
    Ok(refusal?)
}

/// Checks that this member serves a method and that the caller has the required access.
pub(super) async fn admit(ctx: &Context, method: &str) -> RpcResult<()> {
    refuse_learner(ctx, method)?;
    match ctx.node.any_auth_enabled() {
        true => call(ctx, method).await,
        false => Ok(()),
    }
}

/// Checks the access that a method requires, if v2 or v3 authentication is enabled. Each call checks permissions on keys.
pub(super) async fn call(ctx: &Context, method: &str) -> RpcResult<()> {
    ctx.authenticator.await_token(&ctx.node, &ctx.caller).await;
    let route = GrpcRoute::of(method);
    let streams = route.is_some_and(|route| route.call_type == CallType::BidiStream);
    // Unlisted methods require an administrator.
    match route.map_or(Access::Root, |route| route.access) {
        Access::Public | Access::V2Keys => Ok(()),
        // As in etcd, the stream is admitted, and each of its requests is checked.
        Access::V3Keys if streams => Ok(()),
        Access::V3Keys
            if PACKAGES_WITHOUT_CODES
                .iter()
                .any(|of| method.starts_with(of)) =>
        {
            require_credentials(ctx).map_err(RpcError::plain)
        }
        Access::V3Keys | Access::V3User => require_credentials(ctx),
        Access::V3Root if !ctx.node.auth_enabled() => Ok(()),
        Access::V3Root | Access::Root => require_admin(ctx).await,
        Access::OwnUser => match admin_caller(ctx)? {
            Some(_) => Ok(()),
            None => Err(RpcError::UserEmpty),
        },
    }
}

/// Returns the caller, or `None` while v3 authentication is disabled. Take the view for a permission check before this call, so
/// that the caller's auth revision is not older than the view.
pub(super) fn caller(ctx: &Context) -> RpcResult<Option<Caller>> {
    if !ctx.node.auth_enabled() {
        return Ok(None);
    }
    authenticated_caller(ctx)
}

/// Returns the caller of an administrative call, or `None` while v2 and v3 authentication are both disabled.
pub(super) fn admin_caller(ctx: &Context) -> RpcResult<Option<Caller>> {
    if !ctx.node.any_auth_enabled() {
        return Ok(None);
    }
    authenticated_caller(ctx)
}

/// Returns the caller of the credentials, or `None` without any. Fails with `InvalidAuthToken` for an invalid token.
fn authenticated_caller(ctx: &Context) -> RpcResult<Option<Caller>> {
    let caller = ctx.authenticator.recognize(&ctx.node, &ctx.caller);
    caller.map_err(|_| RpcError::InvalidAuthToken)
}

/// Fails with `UserEmpty` if v3 authentication is enabled and the call has no credentials.
fn require_credentials(ctx: &Context) -> RpcResult<()> {
    if ctx.node.auth_enabled() && caller(ctx)?.is_none() {
        return Err(RpcError::UserEmpty);
    }
    Ok(())
}

/// Fails if v2 or v3 authentication is enabled and the caller lacks the root role.
pub(super) async fn require_admin(ctx: &Context) -> RpcResult<()> {
    if !ctx.node.any_auth_enabled() {
        return Ok(());
    }
    let view = ctx.node.view().await?;
    admin_on(ctx, &view.machine)
}

/// Like [`require_admin`], but checks against `machine`, the state that the call is about to read.
pub(super) fn admin_on(ctx: &Context, machine: &StateMachine) -> RpcResult<()> {
    let caller = admin_caller(ctx)?;
    Ok(machine.auth.check_admin(caller.as_ref())?)
}

/// Runs the permission check `may` on `machine`, the state that the call is about to read. Returns the caller, or `None` while
/// v3 authentication is disabled.
pub(super) fn on(
    ctx: &Context,
    machine: &StateMachine,
    may: impl FnOnce(AccessCheck<'_>) -> Result<(), auth::AuthError>,
) -> RpcResult<Option<Caller>> {
    if !ctx.node.auth_enabled() {
        return Ok(None);
    }
    let caller = caller(ctx)?;
    may(machine.check(caller.as_ref()))?;
    Ok(caller)
}

/// Runs the permission check `may` before a proposal, so that a refused operation adds no log entry and raises no quota alarm.
/// Returns the caller for the proposal. The check is repeated when the operation is applied.
pub(super) async fn before_proposal(
    ctx: &Context,
    may: impl FnOnce(AccessCheck<'_>) -> Result<(), auth::AuthError>,
) -> RpcResult<Option<Caller>> {
    if !ctx.node.auth_enabled() {
        return Ok(None);
    }
    let view = ctx.node.view().await?;
    on(ctx, &view.machine, may)
}

/// Checks permission to keep a lease alive, which is permission to revoke it. Succeeds while v3 authentication is disabled.
pub(super) async fn renew_lease(ctx: &Context, lease: LeaseId) -> RpcResult<()> {
    if !ctx.node.auth_enabled() {
        return Ok(());
    }
    let view = ctx.node.view().await?;
    let caller = caller(ctx)?.ok_or(RpcError::UserEmpty)?;
    Ok(view.machine.check(Some(&caller)).end_lease(lease)?)
}

/// Proposes an operation on keys or leases, with its caller. Use [`propose_auth`] for operations on users.
pub(super) async fn propose<O: Operation<Error: Into<RpcError>>>(
    ctx: &Context,
    operation: O,
) -> RpcResult<Applied<O::Output>> {
    let caller = caller(ctx)?;
    Ok(ctx.node.propose_for(operation, caller).await?)
}

/// Proposes an operation on users or roles. Returns the header of the response.
pub(super) async fn propose_auth(
    ctx: &Context,
    operation: impl Operation<Output = (), Error = auth::AuthError>,
) -> RpcResult<Option<ResponseHeader>> {
    let caller = admin_caller(ctx)?;
    let done = ctx.node.propose_for(operation, caller).await?;
    Ok(header::at(&ctx.node, done.revision))
}

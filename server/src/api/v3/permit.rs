//! Authorization of calls. `witan_api::access` lists the access that each method requires;
//! [`enter`] enforces it before the message is read, so that unauthorized calls cost nothing.
//! Permissions that depend on the message are rules of the state machine
//! (`witan_replica::machine::auth`): commands in the log are checked when they are applied, all
//! others here.
//!
//! While authentication is off, each check costs one or two atomic loads.

use std::sync::Arc;

use witan_api::{
    access::{Access, CallType, GrpcRoute},
    v3::error::RpcError,
};
use witan_replica::machine::{
    StateMachine,
    auth::{self, AccessCheck, Caller},
    operation::Operation,
    view::View,
};

use super::{Answer, fault::Refusal};
use crate::{
    api::{Context, blocking::INLINE_ITEMS_MAX},
    node::Applied,
};

/// Methods of these packages have no codes of their own, as in etcd.
const WITHOUT_CODES: [&str; 2] = ["/v3lockpb.", "/v3electionpb."];

/// Checks that a caller may call a method.
pub(super) async fn enter(ctx: &Context, method: &str) -> Answer<()> {
    if !ctx.node.any_auth_enabled() {
        return Ok(());
    }
    let route = GrpcRoute::of(method);
    let streams = route.is_some_and(|route| route.call_type == CallType::BidiStream);
    // unlisted methods are for administrators
    match route.map_or(Access::Root, |route| route.access) {
        Access::Public | Access::V2Keys => Ok(()),
        // these begin, and each of their requests is judged and answered, as in etcd
        Access::V3Keys if streams => Ok(()),
        Access::V3Keys if WITHOUT_CODES.iter().any(|of| method.starts_with(of)) => {
            anybody(ctx).map_err(RpcError::plain)
        }
        Access::V3Keys | Access::V3User => anybody(ctx),
        Access::V3Root if !ctx.node.auth_enabled() => Ok(()),
        Access::V3Root | Access::Root => admin(ctx).await,
        Access::OwnUser => match manager(ctx)? {
            Some(_) => Ok(()),
            None => Err(RpcError::UserEmpty),
        },
    }
}

/// The caller, if v3's authentication is on. Call it after taking the view that permissions are
/// checked in, so that the caller's revision is not older.
pub(super) fn who(ctx: &Context) -> Answer<Option<Caller>> {
    if !ctx.node.auth_enabled() {
        return Ok(None);
    }
    recognized(ctx)
}

/// The caller of an administrative call, if the authentication of either key space is on.
pub(super) fn manager(ctx: &Context) -> Answer<Option<Caller>> {
    if !ctx.node.any_auth_enabled() {
        return Ok(None);
    }
    recognized(ctx)
}

fn recognized(ctx: &Context) -> Answer<Option<Caller>> {
    let caller = ctx.guard.recognize(&ctx.node, &ctx.caller);
    caller.map_err(|_| RpcError::InvalidAuthToken)
}

/// Requires some authenticated caller.
pub(super) fn anybody(ctx: &Context) -> Answer<()> {
    if ctx.node.auth_enabled() && who(ctx)?.is_none() {
        return Err(RpcError::UserEmpty);
    }
    Ok(())
}

/// Whether the caller has the role root.
pub(super) async fn admin(ctx: &Context) -> Answer<()> {
    if !ctx.node.any_auth_enabled() {
        return Ok(());
    }
    let view = ctx.node.view().await?;
    let caller = manager(ctx)?;
    let admitted = view.machine.auth.check_admin(caller.as_ref());
    admitted.map_err(|error| error.in_v3())
}

/// Whether the caller may do something by a state that is about to be read.
pub(super) fn on(
    ctx: &Context,
    machine: &StateMachine,
    may: impl FnOnce(AccessCheck<'_>) -> Result<(), auth::AuthError>,
) -> Answer<()> {
    if !ctx.node.auth_enabled() {
        return Ok(());
    }
    let caller = who(ctx)?;
    may(machine.check(caller.as_ref())).map_err(|error| error.in_v3())
}

/// Whether the caller may do what is about to be proposed. It is looked at again when it is applied;
/// here so that a refusal leaves no entry in the log, and raises no alarm about the quota.
pub(super) async fn before(
    ctx: &Context,
    may: impl FnOnce(AccessCheck<'_>) -> Result<(), auth::AuthError>,
) -> Answer<()> {
    if !ctx.node.auth_enabled() {
        return Ok(());
    }
    let view = ctx.node.view().await?;
    on(ctx, &view.machine, may)
}

/// Whether the caller may list the keys of all leases. The check runs on another thread if
/// leases are many.
pub(super) async fn list_leases(ctx: &Context, view: &Arc<View>) -> Answer<()> {
    if !ctx.node.auth_enabled() {
        return Ok(());
    }
    let (caller, view) = (who(ctx)?, view.clone());
    let large = view.machine.kv.leases().len() > INLINE_ITEMS_MAX;
    let work = move || view.machine.check(caller.as_ref()).list_leases();
    let permitted = ctx.blocking.run_if(large, work).await?;
    permitted.map_err(|error| error.in_v3())
}

/// Checks that the caller may keep a lease alive, which requires permission to revoke it.
pub(super) async fn renew_lease(ctx: &Context, lease: i64) -> Answer<()> {
    if !ctx.node.auth_enabled() {
        return Ok(());
    }
    let view = ctx.node.view().await?;
    let caller = who(ctx)?.ok_or(RpcError::UserEmpty)?;
    let permitted = view.machine.check(Some(&caller)).end_lease(lease);
    permitted.map_err(|error| error.in_v3())
}

/// Replicates an operation on the caller's behalf.
pub(super) async fn propose<O: Operation<Error: Refusal>>(
    ctx: &Context,
    operation: O,
) -> Answer<Applied<O::Output>> {
    let caller = who(ctx)?;
    Ok(ctx.node.propose_for(operation, caller).await?)
}

/// Replicates an operation about users. Its answer is the revision after it.
pub(super) async fn manage(
    ctx: &Context,
    operation: impl Operation<Output = (), Error = auth::AuthError>,
) -> Answer<i64> {
    let caller = manager(ctx)?;
    Ok(ctx.node.propose_for(operation, caller).await?.revision)
}

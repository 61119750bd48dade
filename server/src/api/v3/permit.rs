//! Who asks, and whether that caller may. What a method asks for is listed in `witan_api::access`, and
//! [`enter`] holds every call to it before its message is read, so that who is unknown costs nothing.
//! What depends on the message is judged by the rules of the state (`witan_replica::machine::auth`):
//! here stands which of them a verb that does not go through the log looks at. What goes through it
//! is judged when it is applied.
//!
//! While nobody is asked, each of these is one load or two.

use std::sync::Arc;

use witan_api::{
    access::{Access, CallType, GrpcRoute},
    v3::error::Error,
};
use witan_replica::machine::{
    Machine,
    auth::{self, Caller, Check},
    operation::Operation,
    view::View,
};

use super::{Answer, fault::Refusal};
use crate::{
    api::{Context, aside::INLINE_ITEMS_MAX},
    node::Applied,
};

/// Methods of these packages have no codes of their own, as in etcd.
const WITHOUT_CODES: [&str; 2] = ["/v3lockpb.", "/v3electionpb."];

/// Whether a caller may call a method at all.
pub(super) async fn enter(ctx: &Context, method: &str) -> Answer<()> {
    if !ctx.node.any_auth_enabled() {
        return Ok(());
    }
    let route = GrpcRoute::of(method);
    let streams = route.is_some_and(|route| route.call_type == CallType::BidiStream);
    // what is listed nowhere is for administrators
    match route.map_or(Access::Root, |route| route.access) {
        Access::Public | Access::V2Keys => Ok(()),
        // these begin, and each of their requests is judged and answered, as in etcd
        Access::V3Keys if streams => Ok(()),
        Access::V3Keys if WITHOUT_CODES.iter().any(|of| method.starts_with(of)) => {
            anybody(ctx).map_err(Error::plain)
        }
        Access::V3Keys | Access::V3User => anybody(ctx),
        Access::V3Root if !ctx.node.auth_enabled() => Ok(()),
        Access::V3Root | Access::Root => admin(ctx).await,
        Access::Own => match manager(ctx)? {
            Some(_) => Ok(()),
            None => Err(Error::UserEmpty),
        },
    }
}

/// Who asks, if auth of v3 is on and anybody is named. To be called after the view was taken that the
/// caller is judged by, so that its revision is not the older one.
pub(super) fn who(ctx: &Context) -> Answer<Option<Caller>> {
    if !ctx.node.auth_enabled() {
        return Ok(None);
    }
    recognized(ctx)
}

/// Who asks for what both dialects protect: the auth of either makes it a question.
pub(super) fn manager(ctx: &Context) -> Answer<Option<Caller>> {
    if !ctx.node.any_auth_enabled() {
        return Ok(None);
    }
    recognized(ctx)
}

fn recognized(ctx: &Context) -> Answer<Option<Caller>> {
    let caller = ctx.guard.recognize(&ctx.node, &ctx.caller);
    caller.map_err(|_| Error::InvalidAuthToken)
}

/// Whether anybody is named, whoever it is.
pub(super) fn anybody(ctx: &Context) -> Answer<()> {
    if ctx.node.auth_enabled() && who(ctx)?.is_none() {
        return Err(Error::UserEmpty);
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
    let admitted = view.machine.auth.admin(caller.as_ref());
    admitted.map_err(|error| error.in_v3())
}

/// Whether the caller may do something by a state that is about to be read.
pub(super) fn on(
    ctx: &Context,
    machine: &Machine,
    may: impl FnOnce(Check<'_>) -> Result<(), auth::Error>,
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
    may: impl FnOnce(Check<'_>) -> Result<(), auth::Error>,
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
    let permitted = ctx.aside.run_if(large, work).await?;
    permitted.map_err(|error| error.in_v3())
}

/// Whether the caller may keep a lease alive: who may end it.
pub(super) async fn renew_lease(ctx: &Context, lease: i64) -> Answer<()> {
    if !ctx.node.auth_enabled() {
        return Ok(());
    }
    let view = ctx.node.view().await?;
    let caller = who(ctx)?.ok_or(Error::UserEmpty)?;
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
    operation: impl Operation<Output = (), Error = auth::Error>,
) -> Answer<i64> {
    let caller = manager(ctx)?;
    Ok(ctx.node.propose_for(operation, caller).await?.revision)
}

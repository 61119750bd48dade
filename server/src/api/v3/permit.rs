//! Who asks, and whether that caller may. The rules are the state's (`witan_replica::machine::auth`);
//! here stands which of them a verb that does not go through the log looks at. What goes through it
//! is judged when it is applied.
//!
//! While auth is off, each of these is one load.

use witan_api::v3::error::Error;
use witan_replica::machine::{
    Machine, Reply,
    auth::{self, Caller},
    command::Command,
    kv,
};

use super::{Answer, fault};
use crate::{api::Context, node::Done};

/// Who asks, if auth is on and anybody is named. To be called after the view was taken that the
/// caller is judged by, so that its revision is not the older one.
pub(super) fn who(ctx: &Context) -> Answer<Option<Caller>> {
    if !ctx.node.auth_enabled() {
        return Ok(None);
    }
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
    if !ctx.node.auth_enabled() {
        return Ok(());
    }
    let view = ctx.node.view().await?;
    let caller = who(ctx)?;
    let admitted = view.machine.auth.admin(caller.as_ref());
    admitted.map_err(|error| fault::of_auth(&error))
}

/// Whether the caller may read a range of the state that is about to be read.
pub(super) fn read(ctx: &Context, machine: &Machine, key: &[u8], range_end: &[u8]) -> Answer<()> {
    if !ctx.node.auth_enabled() {
        return Ok(());
    }
    let caller = who(ctx)?;
    let permitted = machine.check(caller.as_ref()).read(key, range_end);
    permitted.map_err(|error| fault::of_auth(&error))
}

/// Whether the caller may be told the names of what is attached to these leases.
pub(super) fn list_leases(
    ctx: &Context,
    machine: &Machine,
    mut leases: impl Iterator<Item = i64>,
) -> Answer<()> {
    if !ctx.node.auth_enabled() {
        return Ok(());
    }
    let caller = who(ctx)?;
    let check = machine.check(caller.as_ref());
    let permitted = leases.try_for_each(|lease| check.list_lease(lease));
    permitted.map_err(|error| fault::of_auth(&error))
}

/// Whether the caller may keep a lease alive: who may end it.
pub(super) async fn renew_lease(ctx: &Context, lease: i64) -> Answer<()> {
    if !ctx.node.auth_enabled() {
        return Ok(());
    }
    let view = ctx.node.view().await?;
    let caller = who(ctx)?.ok_or(Error::UserEmpty)?;
    let permitted = view.machine.check(Some(&caller)).end_lease(lease);
    permitted.map_err(|error| fault::of_auth(&error))
}

/// Whether the caller may do on a frozen copy what goes through the log otherwise.
pub(super) fn command(ctx: &Context, machine: &Machine, command: &kv::Command) -> Answer<()> {
    if !ctx.node.auth_enabled() {
        return Ok(());
    }
    let caller = who(ctx)?;
    let permitted = machine.check(caller.as_ref()).command(command);
    permitted.map_err(|error| fault::of_auth(&error))
}

/// Replicates a command on the caller's behalf. What the caller may not do comes back as an error.
pub(super) async fn propose(ctx: &Context, command: Command) -> Answer<Done> {
    let caller = who(ctx)?;
    let done = ctx.node.propose_for(command, caller).await?;
    judge(&done)?;
    Ok(done)
}

/// Whether a command was refused because of users.
pub(super) fn judge(done: &Done) -> Answer<()> {
    if let Reply::Denied(error) | Reply::Auth(Err(error)) = &done.outcome.reply {
        return Err(fault::of_auth(error));
    }
    Ok(())
}

/// Replicates a command about users.
pub(super) async fn manage(ctx: &Context, verb: auth::Verb) -> Answer<Done> {
    let command = auth::Command { verb: Some(verb) };
    propose(ctx, Command::Auth(command)).await
}

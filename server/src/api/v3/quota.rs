//! `--quota-backend-bytes`: what would make the key space outgrow it is refused, and the alarm is raised
//! that makes every member refuse what grows. A request comes here once it is known to be one that
//! could be done, by somebody who may: others raise no alarm.
//!
//! What the alarm stops is decided by the core (`machine/alarm.rs`). Both key spaces, users and roles
//! count together; what v1 and v2 add, and what is added about users and members, is looked at in
//! `node/room.rs`.

use super::Answer;
use crate::api::Context;
use witan_api::v3::error::Error;

/// Whether there is room for a request that takes `cost` bytes. One that takes nothing always passes.
pub(super) async fn admit(ctx: &Context, cost: u64) -> Answer<()> {
    let Some(quota) = ctx.settings.quota_bytes else {
        return Ok(());
    };
    let size = ctx.node.quota_used_bytes();
    if cost == 0 || size.saturating_add(cost) < quota {
        return Ok(());
    }
    ctx.node.raise_no_space().await;
    Err(Error::NoSpace)
}

//! `--quota-backend-bytes`: refuses requests that would exceed it, and raises the alarm that makes
//! every member refuse writes that add data. Invalid and unauthorized requests are refused before,
//! so they raise no alarm.
//!
//! The core decides what the alarm stops (`witan_machine::alarm`). Both key spaces, users and roles count together;
//! `witan_node` checks requests of v1 and v2 and changes of users and members.

use witan_dialect::Context;

use super::RpcResult;
use crate::error::RpcError;

/// Refuses (`NoSpace`) a request that would add `cost` bytes beyond the quota, and raises the alarm. A
/// cost of 0 always passes.
pub(super) async fn admit(ctx: &Context, cost: u64) -> RpcResult<()> {
    let Some(quota) = ctx.settings.quota_bytes else {
        return Ok(());
    };
    let size = ctx.node.quota_used_bytes();
    if cost == 0 || size.saturating_add(cost) < quota {
        return Ok(());
    }
    ctx.node.raise_no_space().await;
    Err(RpcError::NoSpace)
}

//! Compact drops superseded versions of keys.

use witan_api::v3::etcdserverpb::{CompactionRequest, CompactionResponse};
use witan_machine::kv;

use super::{Context, RpcResult, authorize, header};

/// Compacts the history up to a revision. Completes once the compaction has been applied. With `physical`, also proposes sweeps
/// until this member has freed the memory.
pub(crate) async fn compact(
    ctx: &Context,
    request: CompactionRequest,
) -> RpcResult<CompactionResponse> {
    let revision = request.revision;
    let done = authorize::propose(ctx, kv::Compact { revision }).await?;
    while request.physical && ctx.node.view().await?.machine.kv.is_sweeping() {
        authorize::propose(ctx, kv::Sweep {}).await?;
    }
    Ok(CompactionResponse { header: header::at(&ctx.node, done.revision) })
}

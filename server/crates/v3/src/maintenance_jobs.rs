//! Calls that read the whole store, on other threads and from a frozen view. Only a few run at once.

use std::time::Instant;

use witan_api::v3::etcdserverpb::{
    DefragmentRequest, DefragmentResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse,
};
use witan_dialect::Context;
use witan_snapshot as snapshot;

use super::{RpcResult, header};
use crate::error::RpcError;

/// Returns the hash of the whole store, including members and cluster settings; equal to etcd's for
/// equal data.
pub(super) async fn hash(ctx: &Context, _request: HashRequest) -> RpcResult<HashResponse> {
    let begun = Instant::now();
    let view = ctx.node.view().await?;
    let header = header::at(&ctx.node, view.machine.kv.revision());
    let work = move || snapshot::of_store(&view);
    let hash = ctx.job_limits.run(ctx.node.client(), work).await?;
    ctx.v3_metrics.hash.observe(begun.elapsed().as_secs_f64());
    let hash = hash.map_err(|_| RpcError::Corrupt)?;
    Ok(HashResponse { header, hash })
}

/// Returns the hash of the key space at a revision; equal to etcd's for equal data.
pub(super) async fn hash_kv(ctx: &Context, request: HashKvRequest) -> RpcResult<HashKvResponse> {
    let begun = Instant::now();
    let view = ctx.node.view().await?;
    let kv = &view.machine.kv;
    let hash_revision = kv.hash_revision(request.revision)?;
    let (header, compact_revision) = (header::at(&ctx.node, kv.revision()), kv.compacted());
    let work = move || snapshot::of_keys(&view.machine.kv, hash_revision);
    let hash = ctx.job_limits.run(ctx.node.client(), work).await?;
    ctx.v3_metrics
        .hash_rev
        .observe(begun.elapsed().as_secs_f64());
    Ok(HashKvResponse { header, hash, compact_revision, hash_revision })
}

/// Rewrites the checkpoint and waits for its end, while reads and writes continue. Memory is never
/// fragmented as etcd's file is.
pub(super) async fn defragment(
    ctx: &Context,
    _request: DefragmentRequest,
) -> RpcResult<DefragmentResponse> {
    let begun = Instant::now();
    let _permit = ctx.job_limits.scans.take(ctx.node.client()).await?;
    tracing::info!("starting defragment");
    let inflight = ctx.v3_metrics.one_defrag();
    ctx.node.rewrite().await?;
    drop(inflight);
    let took = begun.elapsed();
    ctx.v3_metrics.defrag.observe(took.as_secs_f64());
    tracing::info!(?took, "finished defragment");
    // etcd's has no header
    Ok(DefragmentResponse { header: None })
}

//! Calls that read the whole store, on other threads and from a frozen view. Only a few run at once.

use std::time::Instant;

use witan_api::v3::etcdserverpb::{
    DefragmentRequest, DefragmentResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse,
};
use witan_base::{client_network::ClientNetwork, panics::planted};
use witan_snapshot as snapshot;

use super::{
    RpcResult,
    error_map::Refusal as _,
    fair_semaphore::{FairPermit, FairSemaphore},
    header,
};
use crate::api::v3::error::RpcError;
use crate::api::{Context, blocking::run_in};

/// Hash and defragment jobs that run at once; others wait.
const SCANS_MAX: usize = 4;

/// Large ranges and transactions that run at once; others wait.
const LARGE_READS_MAX: usize = 4;

/// Snapshots that are sent at once; more are refused.
const SNAPSHOTS_MAX: usize = 8;

/// Limits how many hash and defragment jobs, large reads and snapshots run at once. Clones share
/// the limits.
#[derive(Clone, Debug)]
pub struct JobLimits {
    scans: FairSemaphore,
    reads: FairSemaphore,
    snapshots: FairSemaphore,
}

impl Default for JobLimits {
    fn default() -> Self {
        Self {
            scans: FairSemaphore::new(SCANS_MAX),
            reads: FairSemaphore::new(LARGE_READS_MAX),
            snapshots: FairSemaphore::new(SNAPSHOTS_MAX),
        }
    }
}

impl JobLimits {
    /// Takes a permit for a client's snapshot; `None` if all permits, or those of the client's network, are taken.
    pub(super) fn snapshot(&self, client: ClientNetwork) -> Option<FairPermit> {
        self.snapshots.try_take(client)
    }

    /// Waits for a permit for a client's request that reads many keys.
    pub(super) async fn large_read(&self, client: ClientNetwork) -> RpcResult<FairPermit> {
        self.reads.take(client).await
    }

    /// Runs `work` on another thread as soon as the client has a permit for a scan.
    async fn run<T: Send + 'static>(
        &self,
        client: ClientNetwork,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> RpcResult<T> {
        let permit = self.scans.take(client).await?;
        let done = run_in(permit, move || {
            planted::here("job");
            work()
        });
        Ok(done.await?)
    }
}

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
    let hash_revision = kv
        .hash_revision(request.revision)
        .map_err(|error| error.in_v3())?;
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

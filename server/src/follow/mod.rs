//! Follows a cluster of etcd: a new cluster begins with its snapshot, copies every revision that it writes, and takes its
//! place at the cut-over. Until then the cluster serves reads and refuses writes of clients (`witan_machine::follow`).
//!
//! One member follows, the one that was started with `--from`; what it proposes reaches the others through the log. A
//! source that is not reached, or a member that is restarted, goes on from the revision that the cluster has.
//!
//! Reading order: `seed` (the first state) → `source` (what etcd is asked) → `copier` (revisions become entries) → `sync`
//! (leases, users) → `compare` (compactions, hashes) → `cut_over` → `status` (what is shown of it) →
//! `command` (`witan follow status` and `cut-over`).

pub(crate) mod command;
mod compare;
pub(crate) mod copier;
mod cut_over;
mod metrics;
mod seed;
mod source;
mod status;
mod sync;

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};
use witan_machine::follow::FollowedRevision;
use witan_node::Node;

pub use command::FollowCommandError;
pub(crate) use cut_over::CutOverRefused;
pub(crate) use metrics::FollowMetrics;
pub use seed::SeedError;
pub(crate) use seed::seed;
pub(crate) use source::Source;
pub(crate) use status::FollowHandle;

use copier::{Copier, CopyError};
use cut_over::CutOverRequest;

/// Delay before the next endpoint is tried.
const RETRY: Duration = Duration::from_secs(1);

/// Interval between two looks at leases and users.
const SYNC_INTERVAL: Duration = Duration::from_secs(2);

/// Copies the source until the cut-over, or until the process ends. Failures are logged and tried again.
pub(crate) async fn run(
    node: Node,
    source: Source,
    handle: FollowHandle,
    mut requests: mpsc::Receiver<CutOverRequest>,
) {
    loop {
        match node.view().await {
            Ok(view) if !view.machine.members.follows => {
                tracing::info!("this cluster follows no other one: --from has no effect any more");
                handle.update(|status| status.following = false);
                return;
            }
            Ok(_) => {}
            Err(_) => return,
        }
        if let Err(error) = follow(&node, &source, &handle, &mut requests).await {
            handle.failed(&error);
            // nobody waits for a cut-over at a later time
            while let Ok(request) = requests.try_recv() {
                let _ = request.send(Err(CutOverRefused::Failed(error.to_string())));
            }
        }
        sleep(RETRY).await;
    }
}

/// Follows through one connection, until it fails or the cut-over is done.
async fn follow(
    node: &Node,
    source: &Source,
    handle: &FollowHandle,
    requests: &mut mpsc::Receiver<CutOverRequest>,
) -> Result<(), CopyError> {
    let mut copier = Copier::begin(node, source, handle).await?;
    let mut syncs = interval(SYNC_INTERVAL);
    syncs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let next = tokio::select! {
            revisions = copier.next_revisions() => Next::Revisions(revisions?),
            _ = syncs.tick() => Next::Sync,
            Some(request) = requests.recv() => Next::CutOver(request),
        };
        match next {
            Next::Revisions(revisions) => copier.write(revisions).await?,
            Next::Sync => {
                copier.sync().await?;
                copier.compare_if_due().await?;
                handle.update(|status| status.error = None);
            }
            Next::CutOver(request) => {
                if copier.answer_cut_over(request).await? {
                    return Ok(());
                }
            }
        }
    }
}

/// What is done next. It is chosen first: what is chosen must not be dropped half done.
enum Next {
    Revisions(Vec<FollowedRevision>),
    Sync,
    CutOver(CutOverRequest),
}

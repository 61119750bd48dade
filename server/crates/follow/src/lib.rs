//! Follows an etcd cluster. A new cluster starts from a snapshot of the etcd cluster, copies every revision, and replaces the
//! etcd cluster at the cut-over. Until then, the new cluster serves reads and refuses client writes (`witan_machine::follow`).
//!
//! Only the member that was started with `--from` follows the source; its proposals reach the other members through the log.
//! After a restart or an outage of the source, that member continues from its cluster's revision. After the cut-over, the
//! member checks the source's fence until an operator declares the source gone.
//!
//! Not here: the commands in the log and the state that they change (`witan_machine::follow`), connections (`witan_client`),
//! and the `/follow` endpoints (`server/src/api/follow.rs`).
//!
//! Reading order: this file (the loop) → `seed` (the first state) → `source` (requests to etcd) → `received`, `copier`
//! (revisions become entries) → `sync` (leases, users) → `compare` (compactions, hashes) → `fence` (stops writes at the
//! source), `calls` → `cut_over` → `status`, `metrics`, `error` → `command` (`witan follow status` and related commands).

mod calls;
pub mod command;
mod compare;
mod copier;
mod cut_over;
mod error;
mod fence;
mod metrics;
mod received;
mod seed;
mod source;
mod status;
mod sync;
#[cfg(test)]
mod world;

use std::time::{Duration, Instant};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};
use witan_base::metrics::Register;
use witan_config::Config;
use witan_machine::{follow::FollowedRevision, member::MemberRegistry};
use witan_node::{Node, NodeError};

pub use received::add_event;
pub use seed::{Seed, SeedError, seed};
pub use source::Source;
pub use status::{CutOverRefused, CutOverReport, FollowHandle, FollowStatus};

use calls::Calls;
use copier::Copier;
use error::CopyError;
use fence::Guarded;
use metrics::FollowMetrics;
use seed::SnapshotFolder;
use status::CutOverRequest;

/// First delay before the next endpoint is tried. The delay doubles after each session that lasts at most [`LAST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// The delay at which the doubling stops.
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Interval at which leases and users are copied and, after the cut-over, the fence is checked.
const SYNC_INTERVAL: Duration = Duration::from_secs(2);

/// Starts the task that copies the source. Returns its handle, or `None` if there is no source. Registers the metrics even
/// without a source, because alerts use them.
pub fn start(
    config: &Config,
    source: Option<Source>,
    node: &Node,
    on: &Register,
) -> Option<FollowHandle> {
    let metrics = FollowMetrics::register(on);
    let source = source?;
    let folder = SnapshotFolder::of(config);
    let (handle, requests) = FollowHandle::new(source.endpoints(), folder, metrics);
    actix_rt::spawn(run(node.clone(), source, handle.clone(), requests));
    Some(handle)
}

/// Copies the source until the cut-over, then checks its fence until the source is declared gone. Rejects waiting requests for
/// a cut-over when a session ends. Returns early only if this member stops or was removed.
async fn run(
    node: Node,
    source: Source,
    handle: FollowHandle,
    mut requests: mpsc::Receiver<CutOverRequest>,
) {
    let mut pause = FIRST_RETRY;
    loop {
        let begun = Instant::now();
        let outcome = match members(&node).await {
            Err(NodeError::Stopped | NodeError::Removed) => return,
            Err(error) => Err(CopyError::Node(error)),
            Ok(members) if members.follows => follow(&node, &source, &handle, &mut requests).await,
            Ok(members) if members.fenced_at == 0 => {
                tracing::info!(
                    "this cluster no longer follows another cluster; --from has no effect"
                );
                handle.update(|status| {
                    status.following = false;
                    status.guarding = false;
                });
                return;
            }
            Ok(members) => guard(&node, &source, &handle, &members).await,
        };
        let refusal = match outcome {
            Ok(()) => "this cluster has taken over".to_owned(),
            Err(error) => {
                handle.failed(&error);
                error.to_string()
            }
        };
        // Answer waiting requesters immediately.
        while let Ok(request) = requests.try_recv() {
            let _ = request.send(Err(CutOverRefused::Failed(refusal.clone())));
        }
        if begun.elapsed() > LAST_RETRY {
            pause = FIRST_RETRY;
        }
        sleep(pause).await;
        pause = LAST_RETRY.min(pause * 2);
    }
}

/// Returns the cluster's members from this member's state, which may be behind the leader's.
async fn members(node: &Node) -> Result<MemberRegistry, NodeError> {
    let view = node.view().await?;
    Ok(view.machine.members.clone())
}

/// Logs a warning if this cluster must check the source's fence. Logs nothing if the state cannot be read. The caller must be a
/// member that was started without `--from` and therefore does not check the fence.
pub async fn warn_if_unguarded(node: &Node) {
    if members(node)
        .await
        .is_ok_and(|members| members.fenced_at != 0)
    {
        tracing::warn!(
            "this cluster has replaced another cluster; a member started with --from must check that the other cluster \
             accepts no writes, until you declare that cluster gone (witan follow source-gone)"
        );
    }
}

/// Follows through one connection until the connection fails or the cut-over is done.
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
                let fenced_by = copier.fenced_by.as_ref().map(ToString::to_string);
                handle.update(|status| status.error = fenced_by);
            }
            Next::CutOver(request) => {
                if copier.answer_cut_over(request).await? {
                    return Ok(());
                }
            }
        }
    }
}

/// Checks the fence through one connection until the connection fails or an operator declares the source gone. `members` must
/// already include the cut-over.
async fn guard(
    node: &Node,
    source: &Source,
    handle: &FollowHandle,
    members: &MemberRegistry,
) -> Result<(), CopyError> {
    handle.update(|status| {
        status.following = false;
        status.guarding = true;
    });
    let calls = Calls::open(node, source, handle, members.source_cluster_id).await?;
    handle.update(|status| status.endpoint = Some(calls.session.endpoint.to_owned()));
    let mut looks = interval(SYNC_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = None;
    loop {
        looks.tick().await;
        let found = fence::guard(&calls, seen).await?;
        handle.guarded(members.fenced_at, found);
        seen = match found {
            (Guarded::Holds, revision) => Some(revision),
            // Test the new fence at the next check.
            (Guarded::RaisedAgain, _) => None,
            (Guarded::Ended, _) => return Ok(()),
        };
    }
}

/// The copier's next action. It runs outside the `select!` that chooses it, because `select!` could cancel it.
enum Next {
    Revisions(Vec<FollowedRevision>),
    Sync,
    CutOver(CutOverRequest),
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;
    use witan_config::{ClientSettings, FollowSource};
    use witan_machine::kv::Kv;
    use witan_node::testing::NodeOfStates;

    use super::*;

    fn source() -> Source {
        let timeout = Duration::from_secs(1);
        let client = ClientSettings {
            dial_timeout: timeout,
            request_timeout: timeout,
            ..ClientSettings::default()
        };
        let endpoints = vec!["http://127.0.0.1:1".to_owned()];
        Source::new(&FollowSource { endpoints, client }).unwrap()
    }

    #[test]
    fn a_busy_member_continues_to_follow() {
        actix_rt::System::new().block_on(async {
            let states = NodeOfStates::begin(&Kv::default());
            states.withdraw();
            // Fill the queue of the member, whose replica's thread is not running.
            while states.node.view().now_or_never().is_none() {}
            let (source, folder) = (source(), SnapshotFolder::of(&Config::default()));
            let metrics = FollowMetrics::register(&Register::default());
            let (handle, requests) = FollowHandle::new(source.endpoints(), folder, metrics);
            let mut task = pin!(run(states.node.clone(), source, handle.clone(), requests));
            assert!(
                task.as_mut().now_or_never().is_none(),
                "the task tries again"
            );
            let error = handle.status().error;
            assert_eq!(error.as_deref(), Some("this cluster: too many requests"));
        });
    }
}

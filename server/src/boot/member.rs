//! Starts and stops a member without its client port: the replica's thread, the checkpointer and the peer streams.

use std::{
    collections::hash_map::RandomState, hash::BuildHasher as _, io, sync::Arc, thread::JoinHandle,
    time::Duration,
};

use tokio::sync::watch;
use witan_base::account::Totals;
use witan_config::{AutoCompaction, Config};
use witan_corruption::{self as corruption, InconsistentState};
use witan_machine::{levels, member::MemberId, view::View};
use witan_node::{
    self as node, FrozenStates, MemoryBudget, Node, NodeMetrics, NodeParts, ProcessIdentity,
    SharedParts, TransferError, now_ns,
};
use witan_peer::{self as peer, PeerDialer, PeerMetrics, Peers};
use witan_replica::replica;
use witan_storage::{self as storage, Checkpoint, Checkpointer, DataIdentity, StorageMetrics};
use witan_transport::{BoundPeer, RunningServer, Signal};

use super::{disk::OpenedDisk, error::BootError, recorder};

/// The request timeout is this time plus two election timeouts, as in etcd.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Interval at which the number of revisions is checked, as in etcd.
const REVISIONS_LOOK: Duration = Duration::from_secs(5 * 60);

/// The reason why a member stops.
pub(super) enum End {
    Signal(Signal),
    Removed,
    Inconsistent(InconsistentState),
}

/// The running parts of a member without its client port.
pub(super) struct RunningMember {
    pub(super) node: Node,
    replica: JoinHandle<()>,
    pub(super) peers: Peers,
}

impl RunningMember {
    /// Transfers leadership, unless the member was removed. Then stops the member and its client `port`. Returns success after
    /// a signal, otherwise the error of `end`.
    pub(super) async fn end(
        self,
        end: End,
        port: Option<RunningServer>,
        stop: &watch::Sender<bool>,
    ) -> Result<(), BootError> {
        let outcome = match end {
            End::Signal(signal) => {
                tracing::info!(signal = signal.name(), "received signal; shutting down");
                Ok(())
            }
            End::Removed => Err(BootError::Removed),
            End::Inconsistent(state) => Err(state.into()),
        };
        if !matches!(outcome, Err(BootError::Removed)) {
            self.hand_over().await;
        }
        self.stop(port, stop).await;
        tracing::info!("stopped");
        outcome
    }

    /// Transfers leadership if this member leads, so that clients need not wait for an election. Only logs a failure, because
    /// the member stops anyway.
    async fn hand_over(&self) {
        match self.node.transfer_leadership(None).await {
            Ok(leader) => {
                let leader = leader.to_string();
                tracing::info!(leader, "transferred leadership");
            }
            // This member does not lead, or no other voter is active.
            Err(TransferError::Refused(_)) => {}
            Err(error @ TransferError::Fault(_)) => {
                tracing::warn!(%error, "failed to transfer leadership");
            }
        }
    }

    /// Ends long responses by setting `stop`, drains in-flight requests, and stops the replica's thread and the peer streams.
    async fn stop(self, port: Option<RunningServer>, stop: &watch::Sender<bool>) {
        stop.send_replace(true);
        if let Some(port) = port {
            port.stop().await;
        }
        self.node.stop();
        if self.replica.join().is_err() {
            tracing::error!("the replica's thread panicked");
        }
        self.peers.stop().await;
    }
}

pub(super) type PeerParts = (Vec<BoundPeer>, PeerDialer, PeerMetrics);

/// Starts the replica's thread, the checkpointer and the peer streams on the opened data directory. Also starts the task that
/// hashes states at compactions. Watches and other long responses end when `stopping` becomes true.
pub(super) fn start(
    config: &Config,
    (disk, links, memory): (OpenedDisk, PeerParts, Arc<MemoryBudget>),
    (metrics, totals): (NodeMetrics, &Totals),
    stopping: watch::Receiver<bool>,
) -> Result<RunningMember, BootError> {
    let OpenedDisk {
        storage,
        mut space,
        recovered,
        checkpoint,
        identity,
        forced,
        metrics: storage_metrics,
    } = disk;
    let (bound_peers, dialer, peer_metrics) = links;
    let copied = storage.copy.is_some();
    let settings = replica_config(config, identity.member_id, copied, memory.bytes());
    let replica = recorder::start_recorded(config, (settings, recovered), &mut space)?;
    let members = forced.unwrap_or_else(|| replica.members_in_log());
    let (frozen, to_hash) = FrozenStates::new(config.corruption.compactions.is_some());
    let shared = shared_parts(
        config,
        (&identity, &storage),
        (metrics, totals),
        memory,
        stopping,
    );
    let parts = NodeParts {
        replica,
        log: storage.log,
        checkpoint_log_bytes: storage.checkpoint_log_bytes,
        space,
        shared,
        tick: config.heartbeat_interval,
        slow_apply: config.warning_apply_duration,
        frozen,
        lock: storage.lock,
        copy: storage.copy,
    };
    let checkpoints = storage.checkpoint;
    let mut peers = None;
    let started = node::start(
        parts,
        |node| start_checkpointer((checkpoints, checkpoint), storage_metrics, node),
        |node, receiver| {
            let (running, post) = peer::start(
                node,
                bound_peers,
                &members,
                (config.peers, dialer, peer_metrics),
                receiver,
            )?;
            peers = Some(running);
            Ok(Box::new(post))
        },
    );
    let (node, replica) = started.map_err(BootError::io("start the replica's thread"))?;
    node.memory().started();
    actix_rt::spawn(corruption::hash_states(node.clone(), to_hash));
    Ok(RunningMember {
        node,
        replica,
        peers: peers.expect("the node has started the streams"),
    })
}

/// Starts the checkpointer and the scrub. `base` is the state of the last checkpoint. The node learns the index of each durable
/// checkpoint.
fn start_checkpointer(
    (checkpoint, base): (Checkpoint, View),
    metrics: StorageMetrics,
    node: Node,
) -> io::Result<Checkpointer> {
    let durable = move |index| node.durable(index);
    let mut checkpointer = Checkpointer::start(checkpoint, Some(base), metrics.clone(), durable)?;
    checkpointer.start_scrub(metrics)?;
    Ok(checkpointer)
}

/// Collects the data that the handles of the node share. Opens this member's memory account in `totals`.
fn shared_parts(
    config: &Config,
    (identity, storage): (&DataIdentity, &storage::Storage),
    (metrics, totals): (NodeMetrics, &Totals),
    memory: Arc<MemoryBudget>,
    stopping: watch::Receiver<bool>,
) -> SharedParts {
    SharedParts {
        identity: ProcessIdentity {
            member_id: identity.member_id,
            cluster_id: identity.cluster_id,
            store: storage.store.clone(),
            name: config.name.clone(),
            started_ns: now_ns(),
        },
        election_timeout: config.election_timeout,
        request_timeout: request_timeout(config),
        token_ttl: config.settings.auth.token_ttl,
        stopping,
        metrics,
        account: totals.open(),
        quota_bytes: config.settings.quota_bytes,
        memory,
    }
}

/// Returns the time after which a request without a response fails: [`REQUEST_TIMEOUT`] and two election timeouts.
fn request_timeout(config: &Config) -> Duration {
    REQUEST_TIMEOUT + 2 * config.election_timeout
}

/// Builds the replica's settings. One tick is a heartbeat interval. `copied` says whether the data directory is a copy that a
/// leader has not brought up to date yet.
fn replica_config(
    config: &Config,
    id: MemberId,
    copied: bool,
    memory_bytes: u64,
) -> replica::Config {
    let ticks = |time: Duration| {
        let ticks = time.as_nanos() / config.heartbeat_interval.as_nanos();
        u64::try_from(ticks).unwrap_or(u64::MAX)
    };
    let compaction = |wanted: AutoCompaction| match wanted {
        AutoCompaction::Periodic(period) => replica::AutoCompaction::Periodic {
            period: ticks(period).max(1),
            hour: ticks(HOUR).max(1),
        },
        AutoCompaction::Revisions(keep) => replica::AutoCompaction::Revisions {
            keep,
            check_interval_ticks: ticks(REVISIONS_LOOK).max(1),
        },
    };
    replica::Config {
        id: id.0,
        election_ticks: usize::try_from(ticks(config.election_timeout)).unwrap_or(usize::MAX),
        heartbeat_ticks: 1,
        election_ns: u64::try_from(config.election_timeout.as_nanos()).unwrap_or(u64::MAX),
        seed: RandomState::new().hash_one(now_ns()),
        pre_vote: config.pre_vote,
        compaction: config.auto_compaction.map(compaction),
        request_ticks: ticks(request_timeout(config)),
        copied,
        level: levels::OWN,
        tuning: replica::Tuning { memory_bytes, ..replica::Tuning::default() },
    }
}

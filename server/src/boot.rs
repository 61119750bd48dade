//! The composition root: opens the disk, decides how to start, starts the replica's thread and the listeners, waits for a
//! signal, drains and stops.

mod disk;
mod error;
mod recorder;

use std::{
    collections::hash_map::RandomState, hash::BuildHasher as _, sync::Arc, thread::JoinHandle,
    time::Duration,
};

use tokio::{sync::watch, time::timeout};
use witan_adopt::{self as adopt, Adopted, Progress};
use witan_auth::Authenticator;
use witan_base::{
    account::Totals,
    metrics::{MetricsPage, Register},
    panics::{self, PanicMetrics},
};
use witan_bootstrap::{
    self as bootstrap,
    join::{self, JoinedCluster},
};
use witan_config::{AutoCompaction, ClusterState, Config, ConfigError, PortTls, ServerCertificate};
use witan_corruption::{
    self as corruption, CorruptionChecker, CorruptionMetrics, InconsistentState,
};
use witan_dialect::{Context, HealthMetrics, SharedContext, V2Metrics, V3Metrics};
use witan_follow::{self as follow, FollowHandle, SeedError, Source};
use witan_logging::LogLevelHandle;
use witan_machine::{StateMachine, command::PublishAttributes, member::MemberId};
use witan_node::{
    self as node, FrozenStates, Node, NodeMetrics, NodeParts, ProcessIdentity, SharedParts,
    TransferError, now_ns,
};
use witan_peer::{self as peer, PeerDialer, PeerMetrics, Peers, SnapshotMetrics};
use witan_replica::replica;
use witan_storage::{self as storage, Checkpointer, DataIdentity, OpenError, StorageMetrics};
use witan_transport::{
    self as transport, Bound, BoundPeer, Handlers, PeerTls, RunningServer, ServerTls, Signal,
    TransportMetrics,
};

use disk::OpenedDisk;
pub use error::BootError;

use crate::{api::http::HttpFrontend, systemd};

/// A request times out after this plus two election timeouts, as in etcd.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A larger `--quota-backend-bytes` logs a warning, as in etcd.
const QUOTA_BYTES_ADVISED: u64 = 8 << 30;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// How often the number of revisions is checked, as in etcd.
const REVISIONS_LOOK: Duration = Duration::from_secs(5 * 60);

/// Delay before a failed publication is retried.
const PUBLISH_RETRY: Duration = Duration::from_millis(100);

/// Interval at which a new member checks whether the cluster has a version.
const VERSION_POLL: Duration = Duration::from_millis(20);

/// Runs a member until a signal stops it. Must be called inside an actix system.
pub async fn run(config: Config, log_level: LogLevelHandle) -> Result<(), BootError> {
    // A member can also be stopped while it waits for the others.
    let signal = transport::first_signal().map_err(BootError::io("install the signal handlers"))?;
    let mut signal = std::pin::pin!(signal);
    // Bind before touching the disk: a port in use is the most common mistake.
    let bound = transport::bind(&config)?;
    let bound_peers = transport::bind_peers(&config)?;
    let on = Register::default();
    let metrics = Arc::new(TransportMetrics::register(&on, config.extensive_metrics));
    // TLS files are checked next; self-signed certificates are created later, in the data directory.
    let (security, peer_tls) = open_tls(&config, &metrics, false)?;
    let authenticator = authenticator(&config)?;
    let (stop, stopping) = watch::channel(false);
    let Prepared { config, joined, followed } = tokio::select! {
        signal = &mut signal => {
            tracing::info!(signal = signal.name(), "received signal; no member was started");
            return Ok(());
        }
        prepared = prepare(config, peer_tls.as_ref(), &metrics) => prepared?,
    };
    let (source, seeded) = followed.map_or((None, None), |(source, state)| (Some(source), state));
    let disk = disk::open(&config, joined, seeded, StorageMetrics::register(&on))?;
    let (own_security, own_peer_tls) = open_tls(&config, &metrics, true)?;
    let (security, peer_tls) = (security.or(own_security), peer_tls.or(own_peer_tls));
    warn_of_quota(config.settings.quota_bytes);
    let totals = Totals::register(&on);
    let fed = (NodeMetrics::register(&on), &totals);
    let peer_metrics = (PeerMetrics::register(&on), SnapshotMetrics::register(&on));
    let dialer = PeerDialer { tls: peer_tls, local_address: config.peers.local_address };
    let links = (bound_peers, dialer.clone(), peer_metrics);
    let member = start_node(&config, (disk, links), fed, stopping)?;
    let checker = CorruptionChecker {
        node: member.node.clone(),
        dialer,
        checks: config.corruption,
        metrics: CorruptionMetrics::register(&on),
    };
    let follow = source.map(|source| follow::start(&config, source, &member.node, &on));
    let (published, publishing) = watch::channel(false);
    actix_rt::spawn(publish(member.node.clone(), config.clone(), published));
    // Monitors the versions and clocks of the other members.
    actix_rt::spawn(member.peers.monitor());
    let early = tokio::select! {
        first = &mut signal => Some(End::Signal(first)),
        () = member.node.removed() => Some(End::Removed),
        ready = cluster_ready(publishing.clone(), config.peers.ready_timeout, checker) => match ready {
            Ok(()) => None,
            Err(inconsistent) => Some(End::Inconsistent(inconsistent)),
        },
    };
    let (end, port) = match early {
        Some(end) => (end, None),
        None => {
            let port = serve(
                &config,
                (bound, security),
                (&member.node, authenticator),
                (on, metrics, totals),
                (log_level, follow),
            )?;
            let ready = report_ready(member.node.clone(), config.clone(), publishing);
            actix_rt::spawn(ready);
            let end = tokio::select! {
                signal = signal => End::Signal(signal),
                () = member.node.removed() => End::Removed,
            };
            (end, Some(port))
        }
    };
    systemd::notify(config.notify_socket.as_deref(), systemd::STOPPING);
    member.end(end, port, &stop).await
}

/// Why a member ends.
enum End {
    Signal(Signal),
    Removed,
    Inconsistent(InconsistentState),
}

/// The running parts of a member without its client port.
struct RunningMember {
    node: Node,
    replica: JoinHandle<()>,
    peers: Peers,
}

impl RunningMember {
    /// Stops the member and returns the result of the process: `Ok` after a signal, else the error of `end`.
    async fn end(
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

    /// If this member leads, transfers leadership before the stop, so that clients need not wait for an election. A failure is
    /// logged unless no other voter is active.
    async fn hand_over(&self) {
        match self.node.transfer_leadership(None).await {
            Ok(leader) => {
                let leader = leader.to_string();
                tracing::info!(leader, "transferred leadership");
            }
            // There is no leader or no other voter.
            Err(TransferError::Refused(_)) => {}
            Err(error @ TransferError::Fault(_)) => {
                tracing::warn!(%error, "failed to transfer leadership");
            }
        }
    }

    /// Drains in-flight requests, then stops the replica's thread and the peer streams.
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

/// Opens the TLS of the client ports and of peers, for self-signed certificates if `self_signed`, else for certificates from
/// files.
fn open_tls(
    config: &Config,
    metrics: &TransportMetrics,
    self_signed: bool,
) -> Result<(Option<ServerTls>, Option<PeerTls>), BootError> {
    let wanted = |port: &PortTls| {
        let own = matches!(port.certificate, Some(ServerCertificate::SelfSigned { .. }));
        own == self_signed
    };
    let server = match wanted(&config.tls) {
        true => ServerTls::open(config, metrics)?,
        false => None,
    };
    let peer = match wanted(&config.peer_tls.port) {
        true => PeerTls::open(config, metrics)?,
        false => None,
    };
    Ok((server, peer))
}

/// Reads the token keys, before the disk is touched.
fn authenticator(config: &Config) -> Result<Arc<Authenticator>, BootError> {
    let flag = "auth-token";
    let made = Authenticator::new(&config.settings.auth);
    let authenticator = made.map_err(|reason| ConfigError::Value {
        flag,
        value: config.settings.auth.token.clone(),
        reason,
    })?;
    Ok(Arc::new(authenticator))
}

/// Warns about a very large quota, because all keys are in memory.
fn warn_of_quota(quota_bytes: Option<u64>) {
    if let Some(quota_bytes) = quota_bytes.filter(|bytes| *bytes > QUOTA_BYTES_ADVISED) {
        let advised_bytes = QUOTA_BYTES_ADVISED;
        tracing::warn!(
            quota_bytes,
            advised_bytes,
            "quota exceeds the recommended maximum"
        );
    }
}

/// The results of the startup steps before the disk is opened.
struct Prepared {
    /// Includes the first members of the cluster.
    config: Config,
    /// The running cluster that this member joins.
    joined: Option<JoinedCluster>,
    /// The cluster that this one follows, with its state if the data directory has none.
    followed: Option<(Source, Option<StateMachine>)>,
}

/// Finds the first members of the cluster and asks them whether this member joins them. Returns no cluster to join if the
/// directory has a state. `tls` is from files; a self-signed certificate is created before the members are asked.
async fn prepare(
    config: Config,
    tls: Option<&PeerTls>,
    metrics: &TransportMetrics,
) -> Result<Prepared, BootError> {
    let found = match storage::identity(&config.data_dir) {
        Err(OpenError::Etcd { .. }) if config.adopt_etcd => Some(adopt_etcd(&config).await?),
        found => found?,
    };
    let config = bootstrap::discover::complete(config, found).await?;
    let source = config.follow.as_ref().map(Source::new).transpose();
    let source = source.map_err(SeedError::from)?;
    if found.is_some() && storage::has_state(&config.data_dir) {
        let followed = source.map(|source| (source, None));
        return Ok(Prepared { config, joined: None, followed });
    }
    let is_alone =
        config.initial_cluster.len() == 1 && config.initial_cluster_state == ClusterState::New;
    if source.is_some() && !is_alone {
        return Err(SeedError::NotAlone.into());
    }
    config.bootstrap()?;
    if let Some(source) = source {
        tracing::info!(
            source = source.endpoints().join(","),
            "starting from a snapshot of the source"
        );
        let state = follow::seed(&source, &config).await?;
        let followed = Some((source, Some(state)));
        return Ok(Prepared { config, joined: None, followed });
    }
    let own = match tls {
        Some(_) => None,
        None => PeerTls::open(&config, metrics)?,
    };
    let dialer = PeerDialer {
        tls: tls.cloned().or(own),
        local_address: config.peers.local_address,
    };
    let joined = join::ask(&config, &dialer).await?;
    Ok(Prepared { config, joined, followed: None })
}

/// Adopts the etcd data in the data directory.
async fn adopt_etcd(config: &Config) -> Result<DataIdentity, BootError> {
    let (dir, wal_dir) = (config.data_dir.clone(), config.wal_dir.clone());
    tracing::info!(data_dir = %dir.display(), "adopting the data of etcd");
    let adopting = move || {
        let mut log_step = |progress| {
            if let Progress::Step(step, bytes) = progress {
                tracing::info!(step, bytes, "adopting the data of etcd");
            }
        };
        adopt::adopt(&dir, wal_dir.as_deref(), &mut log_step)
    };
    let adopted = panics::run_blocking(adopting).await;
    let adopted =
        adopted.map_err(|error| BootError::io("adopt the data of etcd")(error.into()))??;
    let Adopted {
        identity,
        index,
        undecided,
        revision,
        keys,
        members,
        torn_bytes,
        shared_names,
    } = adopted;
    if !shared_names.is_empty() {
        tracing::warn!(
            ?shared_names,
            "merged v2 and v3 users and roles of the same name"
        );
    }
    tracing::info!(
        index,
        undecided,
        revision,
        keys,
        members,
        torn_bytes,
        "adopted the data of etcd"
    );
    Ok(identity)
}

/// Parts of the peer streams: sockets, dialer, metrics.
type PeerParts = (Vec<BoundPeer>, PeerDialer, (PeerMetrics, SnapshotMetrics));

/// Starts the replica's thread, the checkpointer and the peer streams on the opened data directory.
fn start_node(
    config: &Config,
    (disk, (bound_peers, dialer, (peer_metrics, snapshot_metrics))): (OpenedDisk, PeerParts),
    (metrics, totals): (NodeMetrics, &Totals),
    stopping: watch::Receiver<bool>,
) -> Result<RunningMember, BootError> {
    let OpenedDisk {
        storage,
        mut space,
        recovered,
        checkpoint,
        identity,
        members,
        metrics: storage_metrics,
    } = disk;
    let copied = storage.copy.is_some();
    let settings = replica_config(config, identity.member_id, copied);
    let replica = recorder::start_recorded(config, (settings, recovered), &mut space)?;
    let (frozen, to_hash) = FrozenStates::new(config.corruption.compactions.is_some());
    let shared = shared_parts(config, (&identity, &storage), (metrics, totals), stopping);
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
        |node| {
            Checkpointer::start(
                checkpoints,
                Some(checkpoint),
                storage_metrics,
                move |index| node.durable(index),
            )
        },
        |node, receiver| {
            let (running, post) = peer::start(
                node,
                bound_peers,
                &members,
                (config.peers, dialer, peer_metrics),
                (receiver, snapshot_metrics),
            )?;
            peers = Some(running);
            Ok(Box::new(post))
        },
    );
    let (node, replica) = started.map_err(BootError::io("start the replica's thread"))?;
    actix_rt::spawn(corruption::hash_states(node.clone(), to_hash));
    Ok(RunningMember {
        node,
        replica,
        peers: peers.expect("the node has started them"),
    })
}

/// Collects the settings and the identity that all node handles share.
fn shared_parts(
    config: &Config,
    (identity, storage): (&DataIdentity, &storage::Storage),
    (metrics, totals): (NodeMetrics, &Totals),
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
    }
}

fn request_timeout(config: &Config) -> Duration {
    REQUEST_TIMEOUT + 2 * config.election_timeout
}

/// Builds the replica's settings. Times are in ticks of one heartbeat interval.
fn replica_config(config: &Config, id: MemberId, copied: bool) -> replica::Config {
    let in_ticks = |time: Duration| time.as_nanos() / config.heartbeat_interval.as_nanos().max(1);
    replica::Config {
        id: id.0,
        election_ticks: usize::try_from(in_ticks(config.election_timeout)).unwrap_or(usize::MAX),
        heartbeat_ticks: 1,
        election_ns: u64::try_from(config.election_timeout.as_nanos()).unwrap_or(u64::MAX),
        seed: RandomState::new().hash_one(now_ns()),
        pre_vote: config.pre_vote,
        compaction: config
            .auto_compaction
            .map(|wanted| compaction_in_ticks(wanted, config)),
        request_ticks: u64::try_from(in_ticks(request_timeout(config))).unwrap_or(u64::MAX),
        copied,
        tuning: replica::Tuning::default(),
    }
}

/// Converts the times of automatic compaction into ticks, at least one.
fn compaction_in_ticks(wanted: AutoCompaction, config: &Config) -> replica::AutoCompaction {
    let ticks = |time: Duration| {
        let ticks = time.as_nanos() / config.heartbeat_interval.as_nanos().max(1);
        u64::try_from(ticks).unwrap_or(u64::MAX).max(1)
    };
    match wanted {
        AutoCompaction::Periodic(period) => {
            replica::AutoCompaction::Periodic { period: ticks(period), hour: ticks(HOUR) }
        }
        AutoCompaction::Revisions(keep) => {
            replica::AutoCompaction::Revisions { keep, check_interval_ticks: ticks(REVISIONS_LOOK) }
        }
    }
}

/// Waits up to `limit` for this member's publication, then compares its state with the other members'. Starts the regular
/// comparison afterward.
async fn cluster_ready(
    mut published: watch::Receiver<bool>,
    limit: Duration,
    checker: CorruptionChecker,
) -> Result<(), InconsistentState> {
    let ready = published.wait_for(|published| *published);
    if timeout(limit, ready).await.is_err() {
        tracing::warn!("timed out waiting for a leader; serving clients without one");
    }
    checker.check_at_start().await?;
    actix_rt::spawn(checker.run());
    Ok(())
}

/// Once the member is published, logs that it is ready and tells systemd.
async fn report_ready(node: Node, config: Config, mut published: watch::Receiver<bool>) {
    if published.wait_for(|published| *published).await.is_err() {
        return;
    }
    tracing::info!(
        member_id = node.identity().member_id.to_string(),
        cluster_id = format!("{:x}", node.identity().cluster_id),
        name = config.name,
        "ready to serve client requests"
    );
    if config.follow.is_none() {
        follow::warn_if_unguarded(&node).await;
    }
    systemd::notify(config.notify_socket.as_deref(), systemd::READY);
}

/// Publishes this member's name and URLs. The member is ready once that is committed and the leader has decided the cluster
/// version.
async fn publish(node: Node, config: Config, published: watch::Sender<bool>) {
    let client_urls = config
        .advertise_client_urls
        .iter()
        .map(ToString::to_string)
        .collect();
    let (id, store) = (node.identity().member_id, node.identity().store.clone());
    let publish = PublishAttributes::new(id, config.name.clone(), client_urls, store);
    let mut warned = false;
    while let Err(error) = node.propose(publish.clone()).await {
        if !std::mem::replace(&mut warned, true) {
            tracing::warn!(%error, "failed to publish this member to the cluster; retrying");
        }
        tokio::time::sleep(PUBLISH_RETRY).await;
    }
    while !has_cluster_version(&node).await {
        tokio::time::sleep(VERSION_POLL).await;
    }
    published.send_replace(true);
}

async fn has_cluster_version(node: &Node) -> bool {
    let view = node.view().await;
    view.is_ok_and(|view| !view.machine.members.cluster_version.is_empty())
}

/// Starts serving all dialects on the bound client URLs.
fn serve(
    config: &Config,
    (bound, security): (Vec<Bound>, Option<ServerTls>),
    (node, authenticator): (&Node, Arc<Authenticator>),
    (on, metrics, totals): (Register, Arc<TransportMetrics>, Totals),
    (log_level, follow): (LogLevelHandle, Option<FollowHandle>),
) -> Result<RunningServer, BootError> {
    let panics = PanicMetrics::register(&on);
    let shared = SharedContext {
        panics: panics.clone(),
        health_metrics: HealthMetrics::register(&on),
        v2_metrics: V2Metrics::register(&on),
        v3_metrics: V3Metrics::register(&on),
        reads: witan_dialect::read_counters::ReadCounters::default(),
        metrics_page: MetricsPage::new(on),
        settings: config.settings.clone(),
        log_level,
        authenticator,
        sampler: witan_dialect::sampling::Sampler::default(),
    };
    let ctx = Context::new(node.clone(), shared);
    let calls = witan_v3::Services::new(ctx.clone());
    let front = Arc::new(HttpFrontend::new(ctx, follow, recorder::folder(config)));
    let served = Handlers {
        http: move |surface, request, payload| {
            let front = front.clone();
            async move { front.answer(surface, request, payload).await }
        },
        calls,
        metrics,
        panics,
        totals,
        connections: config.connections,
        security,
    };
    transport::serve(bound, served).map_err(BootError::io("start the listeners"))
}

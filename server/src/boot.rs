//! The composition root. Opens the disk, decides how the member starts, starts the replica's thread and the listeners, waits
//! for a signal, drains requests and stops.
//!
//! Reading order: this file (the life of a member) → `prepare` (before the disk is opened) → `disk` → `memory` (the budget) →
//! `recorder` → `member` (the replica's thread and the peer streams) → `error` (exit codes).

mod disk;
mod error;
mod member;
mod memory;
mod prepare;
mod recorder;

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};
use witan_auth::Authenticator;
use witan_base::{
    account::Totals,
    metrics::{MetricsPage, Register},
    panics::PanicMetrics,
};
use witan_config::{Config, ConfigError, PortTls, ServerCertificate};
use witan_corruption::{CorruptionChecker, CorruptionMetrics, InconsistentState};
use witan_dialect::{Context, HealthMetrics, SharedContext, V2Metrics, V3Metrics};
use witan_discovery::DiscoveryService;
use witan_follow::{self as follow, FollowHandle};
use witan_logging::LogLevelHandle;
use witan_machine::command::PublishAttributes;
use witan_node::{Node, NodeMetrics};
use witan_peer::{FeatureLevels, PeerDialer, PeerMetrics};
use witan_storage::StorageMetrics;
use witan_transport::{
    self as transport, Bound, Handlers, PeerTls, RunningServer, ServerTls, TransportMetrics,
};

use member::End;
use prepare::{Prepared, prepare};

pub use error::BootError;

use crate::{api::http::HttpFrontend, systemd};

/// Delay before a failed publication is retried.
const PUBLISH_RETRY: Duration = Duration::from_millis(100);

/// Interval at which a starting member checks whether the cluster has a version.
const VERSION_POLL: Duration = Duration::from_millis(20);

/// Runs a member until a signal stops it or it must end, for example because it was removed. Requires an actix system.
pub async fn run(config: Config, log_level: LogLevelHandle) -> Result<(), BootError> {
    // A signal can stop a member that is still waiting for the other members.
    let signal = transport::first_signal().map_err(BootError::io("install the signal handlers"))?;
    let mut signal = std::pin::pin!(signal);
    // Bind before the disk is touched, because a port in use is the most common mistake.
    let bound = transport::bind(&config)?;
    let bound_peers = transport::bind_peers(&config)?;
    let on = Register::default();
    let metrics = Arc::new(TransportMetrics::register(&on, config.extensive_metrics));
    // Check the TLS files next. Self-signed certificates are created later, in the data directory.
    let (security, peer_tls) = open_tls(&config, &metrics, false)?;
    let authenticator = authenticator(&config)?;
    let (stop, stopping) = watch::channel(false);
    let memory = memory::budget(&config, stopping.clone())?;
    let Prepared { config, joined, followed } = tokio::select! {
        signal = &mut signal => {
            tracing::info!(signal = signal.name(), "received signal; no member was started");
            return Ok(());
        }
        prepared = prepare(config, peer_tls.as_ref(), &metrics, memory.cache()) => prepared?,
    };
    let (source, seed) = followed.map_or((None, None), |(source, seed)| (Some(source), seed));
    let dialer = peer_dialer(&config, dialing_tls(&config, peer_tls.as_ref(), &metrics)?);
    let storage = (StorageMetrics::register(&on), memory.cache());
    let disk = disk::open((&config, &dialer), (joined, seed), storage).await?;
    let (own_security, own_peer_tls) = open_tls(&config, &metrics, true)?;
    let (security, peer_tls) = (security.or(own_security), peer_tls.or(own_peer_tls));
    let totals = Totals::register(&on, memory.bytes());
    let fed = (NodeMetrics::register(&on), &totals);
    let panics = PanicMetrics::register(&on);
    let dialer = peer_dialer(&config, peer_tls.clone());
    let peer_metrics = PeerMetrics::register(&on, panics.clone());
    let links = (bound_peers, dialer.clone(), peer_metrics);
    let member = member::start(&config, (disk, links, memory), fed, stopping)?;
    let checker = corruption_checker(&config, &member.node, dialer, &on);
    let follow = follow::start(&config, source, &member.node, &on);
    let (published, publishing) = watch::channel(false);
    actix_rt::spawn(publish(member.node.clone(), config.clone(), published));
    let (levels, monitor) = member.peers.monitor();
    actix_rt::spawn(monitor);
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
                (bound, security, peer_tls),
                (&member.node, authenticator),
                (on, metrics, panics, totals),
                (log_level, follow, levels),
            )?;
            actix_rt::spawn(report_ready(
                member.node.clone(),
                config.clone(),
                publishing,
            ));
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

/// Creates the checker of the members' states and registers its metrics.
fn corruption_checker(
    config: &Config,
    node: &Node,
    dialer: PeerDialer,
    on: &Register,
) -> CorruptionChecker {
    CorruptionChecker {
        node: node.clone(),
        dialer,
        checks: config.corruption,
        metrics: CorruptionMetrics::register(on),
    }
}

/// Returns the TLS settings with which `--force-new-cluster` queries the other members. Without certificate files, opens the
/// self-signed certificates, and creates missing ones. Without the flag, returns `from_files`. `None` means that peers use
/// plaintext.
fn dialing_tls(
    config: &Config,
    from_files: Option<&PeerTls>,
    metrics: &TransportMetrics,
) -> Result<Option<PeerTls>, BootError> {
    match from_files {
        None if config.force_new_cluster => Ok(PeerTls::open(config, metrics)?),
        known => Ok(known.cloned()),
    }
}

fn peer_dialer(config: &Config, tls: Option<PeerTls>) -> PeerDialer {
    PeerDialer { tls, local_address: config.peers.local_address }
}

/// Opens TLS for the client ports and for peers: from self-signed certificates if `self_signed` is true, otherwise from
/// certificate files. Skips ports that use the other kind.
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

/// Creates the authenticator. Fails if `--auth-token` is invalid.
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

/// Waits until this member is published; after `limit`, logs a warning and continues. Then compares its state with the other
/// members' states if the settings require it, and starts regular comparisons. Fails if no majority agrees or a corrupt state
/// cannot be replaced.
async fn cluster_ready(
    mut published: watch::Receiver<bool>,
    limit: Duration,
    checker: CorruptionChecker,
) -> Result<(), InconsistentState> {
    let ready = published.wait_for(|published| *published);
    if timeout(limit, ready).await.is_err() {
        tracing::warn!("timed out waiting for the cluster to be ready; serving clients anyway");
    }
    let differed = checker.check_at_start().await?;
    actix_rt::spawn(checker.run(differed));
    Ok(())
}

/// Waits until the member is published, then logs that it is ready and notifies systemd. Without `--from`, warns if another
/// member must check the source's fence.
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

/// Publishes this member's name and URLs, retrying until this succeeds, and waits until the leader has decided the cluster
/// version. Then sets `published`.
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

/// Returns whether a cluster version is decided. Returns `false` if the state cannot be read.
async fn has_cluster_version(node: &Node) -> bool {
    let view = node.view().await;
    view.is_ok_and(|view| !view.machine.members.cluster_version.is_empty())
}

/// Registers the metrics of the APIs and starts the workers, which serve each bound socket with the APIs of its surface.
fn serve(
    config: &Config,
    (bound, security, peer_tls): (Vec<Bound>, Option<ServerTls>, Option<PeerTls>),
    (node, authenticator): (&Node, Arc<Authenticator>),
    (register, metrics, panics, totals): (Register, Arc<TransportMetrics>, PanicMetrics, Totals),
    (log_level, follow, levels): (LogLevelHandle, Option<FollowHandle>, FeatureLevels),
) -> Result<RunningServer, BootError> {
    let shared = SharedContext {
        panics: panics.clone(),
        health_metrics: HealthMetrics::register(&register),
        v2_metrics: V2Metrics::register(&register),
        v3_metrics: V3Metrics::register(&register),
        metrics_page: MetricsPage::new(register),
        settings: config.settings.clone(),
        log_level,
        authenticator,
        sampler: witan_dialect::sampling::Sampler::default(),
    };
    let ctx = Context::new(node.clone(), shared);
    let calls = witan_v3::Services::new(ctx.clone());
    let peer_port = peer_tls.as_ref().map(PeerTls::server);
    let tls = security.iter().chain(peer_port).cloned().collect();
    let front = Arc::new(HttpFrontend {
        ctx,
        tls,
        discovery: DiscoveryService::default(),
        follow,
        levels,
        recordings: recorder::folder(config),
    });
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

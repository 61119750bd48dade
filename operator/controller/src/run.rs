//! Runs the operator: its servers, the election, and the passes over all kinds.

use std::{
    error::Error,
    hash::{BuildHasher, Hasher, RandomState},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use witan_members::{GrpcMembers, Members};

use crate::{
    backups::Backups, clusters, election::Election, metrics::Metrics, operations::Operations,
    operator::Operator, options::Options, serve,
};

/// The read timeout of a connection to the API server. kube does not set a timeout, and a watch ends after 295 s.
const READ_TIMEOUT: Duration = Duration::from_secs(300);
/// Maximum time for running passes to finish after a stop signal. This time is less than a pod's grace period.
const LAST_PASSES: Duration = Duration::from_secs(5);

/// Runs the operator until SIGTERM or SIGINT.
///
/// # Errors
/// Returns an error if an address cannot be bound, the API server does not answer at startup, the lease is lost, or the
/// watches end.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    // rustls needs one provider for the process. An error means that the process already has one.
    drop(rustls::crypto::ring::default_provider().install_default());
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(run_elected(options))
}

/// Serves metrics and probes, waits for the lease, and then runs the passes. Releases the lease after a stop signal.
async fn run_elected(options: &Options) -> Result<(), Box<dyn Error>> {
    let metrics = Arc::new(Metrics::new());
    let readiness = Arc::new(AtomicBool::default());
    serve(options, &metrics, &readiness)?;
    let (client, namespace) = connect(options).await?;
    let identity = options.identity.clone().unwrap_or_else(identity);
    let (lease, elects) = (&options.lease_name, options.leader_elect);
    let election = elects.then(|| Election::new(client.clone(), &namespace, lease, &identity));
    let mut end = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut taken = Instant::now();
    if let Some(election) = &election {
        // A standby replica is also ready, because a rolling update of the operator waits for readiness.
        readiness.store(true, Ordering::Relaxed);
        tokio::select! {
            at = election.won() => taken = at,
            _ = end.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
    metrics.acts(true);
    let members = GrpcMembers::default();
    let operator = Operator::new(client, members, metrics.clone(), options, &identity);
    let operator = Arc::new(operator);
    let lost = async {
        match &election {
            Some(election) => election.lost(taken).await,
            None => std::future::pending().await,
        }
    };
    let ended = async {
        tokio::select! {
            _ = end.recv() => true,
            _ = interrupt.recv() => true,
            () = lost => false,
        }
    };
    let is_stopped = work(operator, options.scopes(), readiness, ended).await;
    metrics.acts(false);
    if !is_stopped {
        return Err(
            "the lease was lost, or the watches ended: another replica may be active now".into(),
        );
    }
    if let Some(election) = &election {
        election.release().await;
    }
    Ok(())
}

/// Returns a client of the API server, and the namespace of the Lease. Fails if the API server does not answer.
async fn connect(options: &Options) -> Result<(Client, String), Box<dyn Error>> {
    let mut config = Config::infer().await?;
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    let namespace = options.lease_namespace.clone();
    let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config)?;
    let version = client.apiserver_version().await?;
    tracing::info!(
        kubernetes = version.git_version,
        namespaces = options.watch_namespaces.join(","),
        "the API server answers"
    );
    Ok((client, namespace))
}

/// Runs the passes in all `scopes` until `end` completes. If `end` returns `true`, running passes over clusters get
/// [`LAST_PASSES`] to finish, so that the next leader acts alone. Returns the value of `end`, or `false` if the watches ended
/// first. Sets `readiness` once the watches have started.
async fn work<M: Members>(
    operator: Arc<Operator<M>>,
    scopes: Vec<Option<String>>,
    readiness: Arc<AtomicBool>,
    end: impl Future<Output = bool>,
) -> bool {
    let mut ready = Vec::new();
    let mut queues = Vec::new();
    let backups = Arc::new(Backups::new(operator.clone()));
    let operations = Arc::new(Operations::new(operator.clone()));
    for scope in scopes {
        let (stores, queue) = clusters::watch(operator.clone(), scope.as_deref());
        ready.push(stores);
        queues.push(queue);
        queues.push(backups.clone().stream(scope.as_deref()));
        queues.push(operations.clone().stream(scope.as_deref()));
    }
    let begun = async {
        for (clusters, pods) in &ready {
            if clusters.wait_until_ready().await.is_err() || pods.wait_until_ready().await.is_err()
            {
                return;
            }
        }
        readiness.store(true, Ordering::Relaxed);
        tracing::info!("the watches have started");
    };
    let work = stream::select_all(queues).for_each(async |()| ());
    let mut end = pin!(end);
    let mut both = pin!(async { futures_util::join!(begun, work) });
    let is_stopped = tokio::select! {
        is_stopped = &mut end => is_stopped,
        _ = &mut both => {
            tracing::error!("the watches have ended; stopping the operator");
            false
        }
    };
    operator.stopping.store(true, Ordering::Relaxed);
    if is_stopped {
        // Each pass over a cluster holds a permit, so all permits are free once the last pass has finished.
        let last = async {
            tokio::select! {
                _ = operator.passes.acquire_many(operator.limit) => {}
                _ = &mut both => {}
            }
        };
        if tokio::time::timeout(LAST_PASSES, last).await.is_err() {
            tracing::warn!(
                "aborting a pass that did not finish within {} s after the stop signal",
                LAST_PASSES.as_secs()
            );
        }
    }
    is_stopped
}

/// Returns a unique identity: the host name and a random number. Process ids are not unique across containers.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    let host = host.unwrap_or_else(|_| "witan-operator".to_owned());
    // The standard library seeds its hashers randomly.
    let random = RandomState::new().build_hasher().finish();
    format!("{}-{random:x}", host.trim())
}

/// Binds both addresses, and serves metrics and probes in the background.
fn serve(
    options: &Options,
    metrics: &Arc<Metrics>,
    readiness: &Arc<AtomicBool>,
) -> Result<(), String> {
    let (on, health) = (options.metrics_addr, options.health_addr);
    let pages = serve::metrics(on, metrics.clone())
        .map_err(|error| format!("--metrics-addr {on}: {error}"))?;
    let probes = serve::health(health, readiness.clone())
        .map_err(|error| format!("--health-addr {health}: {error}"))?;
    tokio::spawn(pages);
    tokio::spawn(probes);
    Ok(())
}

//! The operator `witan-operator` runs etcd clusters of Witan members on Kubernetes.
//!
//! A pass over a cluster observes, plans, acts and reports. `plan` is a pure function from the observed state to one step,
//! without Kubernetes or the network. `resources` builds Kubernetes objects but does not apply them. `controller` runs the
//! passes. `backups` runs jobs for EtcdBackups and creates EtcdBackups on schedule. `operations` carries out EtcdOperations.
//! `api_server` has the requests that all of them use.

mod act;
mod api_server;
mod backups;
mod controller;
mod discovery;
mod election;
mod logging;
mod metrics;
mod observe;
mod operations;
mod options;
mod report;
mod requests;
mod resources;
mod serve;
#[cfg(test)]
mod testing;
mod tried;
mod warnings;

use std::{
    error::Error,
    hash::{BuildHasher, Hasher, RandomState},
    io::{IsTerminal as _, Write},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use witan_backup::BackupCommand;
use witan_members::GrpcMembers;

use self::{
    controller::{Limits, Operator},
    election::Election,
    metrics::Metrics,
    options::{Command, CommandLine, LogFormat, Options},
};

/// One thread hashes what the members send; the other signs and encrypts what the store receives.
const BACKUP_THREADS: usize = 2;
/// The read timeout of a connection to the API server, for which kube has no bound. A watch ends after 295 s.
const READ_TIMEOUT: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(code) = witan_kubectl::run_by_name(&arguments) {
        return code;
    }
    let ended = match CommandLine::parse().command() {
        Command::Crd => print_definition().map(|()| ExitCode::SUCCESS),
        Command::Kubectl { arguments } => Ok(witan_kubectl::run(&arguments)),
        Command::Run(options) => start(&options).map(|()| ExitCode::SUCCESS),
        Command::Backup { command, log_level, log_format } => {
            let on_terminal = std::io::stderr().is_terminal();
            let default = if on_terminal {
                LogFormat::Text
            } else {
                LogFormat::Json
            };
            backup(&command, &log_level, log_format.unwrap_or(default))
        }
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "witan-operator: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn print_definition() -> Result<(), Box<dyn Error>> {
    let text = witan_crd::as_yaml()?;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Runs a backup command. The command prints its own errors.
fn backup(
    command: &BackupCommand,
    log_level: &str,
    log_format: LogFormat,
) -> Result<ExitCode, Box<dyn Error>> {
    logging::start(log_level, log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(BACKUP_THREADS)
        .enable_all()
        .build()?;
    Ok(runtime.block_on(witan_backup::run(command)))
}

fn start(options: &Options) -> Result<(), Box<dyn Error>> {
    logging::start(&options.log_level, options.log_format)?;
    // rustls needs one provider for the process, and the dependencies only include this one
    let installed = rustls::crypto::ring::default_provider().install_default();
    tracing::debug!(
        installed = installed.is_ok(),
        "installed ring as the TLS provider"
    );
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(run(options))
}

/// Runs the operator until SIGTERM or SIGINT, with leader election only while it holds the lease. Losing the lease is an error.
async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let metrics = Arc::new(Metrics::new()?);
    let readiness = Arc::new(AtomicBool::default());
    serve(options, &metrics, &readiness)?;
    let mut config = Config::infer().await?;
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    let namespace = options
        .lease_namespace
        .clone()
        .unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config)?;
    let version = client.apiserver_version().await?;
    tracing::info!(
        kubernetes = version.git_version,
        namespaces = options.watch_namespaces.join(","),
        "the API server answers"
    );
    let identity = options.identity.clone().unwrap_or_else(identity);
    let election = options
        .leader_elect
        .then(|| Election::new(client.clone(), &namespace, &options.lease_name, &identity));
    let mut end = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut taken = Instant::now();
    if let Some(election) = &election {
        // a standby replica is also ready: a rolling update of the operator waits for that
        readiness.store(true, Ordering::Relaxed);
        tokio::select! {
            at = election.won() => taken = at,
            _ = end.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
    metrics.acts(true);
    let operator = Operator::new(
        client,
        GrpcMembers::default(),
        metrics.clone(),
        options.environment.clone(),
        &identity,
        Limits {
            passes: options.max_concurrent_reconciles,
            rollouts: options.max_concurrent_rollouts,
        },
    );
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
    let asked = operator.run(options.scopes(), readiness, ended).await;
    metrics.acts(false);
    if !asked {
        return Err(
            "the lease was lost, or the watches ended: another replica may be active now".into(),
        );
    }
    if let Some(election) = &election {
        election.release().await;
    }
    Ok(())
}

/// Returns a unique identity. Process ids are not unique across containers.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    let host = host.unwrap_or_else(|_| "witan-operator".to_owned());
    // the standard library seeds its hashers randomly
    let random = RandomState::new().build_hasher().finish();
    format!("{}-{random:x}", host.trim())
}

/// Starts to serve metrics and probes. Fails if an address cannot be bound.
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

/// Locks shared state. No code panics while holding a lock.
fn lock<T>(state: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    state
        .lock()
        .expect("no code panics while it holds this lock")
}

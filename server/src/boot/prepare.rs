//! The startup steps before the data directory is opened: adopting etcd's data, and finding the cluster to start, join or
//! follow.

use std::sync::Arc;

use witan_adopt::{self as adopt, Progress};
use witan_base::panics;
use witan_bootstrap::{FirstState, discover, join};
use witan_config::{ClusterState, Config};
use witan_follow::{self as follow, Seed, SeedError, Source};
use witan_machine::values::BlockCache;
use witan_storage::{self as storage, DataIdentity, OpenError};
use witan_transport::{PeerTls, TransportMetrics};

use super::error::BootError;

pub(super) struct Prepared {
    /// The configuration with the discovered members.
    pub(super) config: Config,
    /// The identity and the first state of a member that joins a running cluster; `None` for any other member.
    pub(super) joined: Option<FirstState>,
    /// The cluster to follow, with its snapshot if the data directory has no state.
    pub(super) followed: Option<(Source, Option<Seed>)>,
}

/// Adopts etcd's data if `--adopt-etcd` is set, and discovers the initial members of the cluster. A member without a state then
/// queries the initial members to find out whether it joins them. A member that follows a source downloads the source's
/// snapshot instead, and must be the only initial member. Without a state, fails if `--initial-cluster` does not match this
/// member. `tls` is the TLS from certificate files. If `tls` is `None`, the queries use self-signed certificates or no TLS, as
/// configured.
pub(super) async fn prepare(
    config: Config,
    tls: Option<&PeerTls>,
    metrics: &TransportMetrics,
    cache: &Arc<BlockCache>,
) -> Result<Prepared, BootError> {
    let found = match storage::identity(&config.data_dir) {
        Err(OpenError::Etcd(_)) if config.adopt_etcd => Some(adopt_etcd(&config, cache).await?),
        found => found?,
    };
    let has_state = found.is_some() && storage::has_state(&config.data_dir)?;
    let config = discover::complete(config, found, has_state).await?;
    let source = config.follow.as_ref().map(Source::new).transpose();
    let source = source.map_err(SeedError::from)?;
    if has_state {
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
        let seed = follow::seed(&source, &config).await?;
        let followed = Some((source, Some(seed)));
        return Ok(Prepared { config, joined: None, followed });
    }
    let tls = match tls {
        Some(tls) => Some(tls.clone()),
        None => PeerTls::open(&config, metrics)?,
    };
    let dialer = super::peer_dialer(&config, tls);
    let joined = join::query_members(&config, &dialer).await?;
    Ok(Prepared { config, joined, followed: None })
}

/// Adopts etcd's data in the data directory and returns the identity of the member. Logs each step.
async fn adopt_etcd(config: &Config, cache: &Arc<BlockCache>) -> Result<DataIdentity, BootError> {
    let (dir, wal_dir) = (config.data_dir.clone(), config.wal_dir.clone());
    let cache = cache.clone();
    tracing::info!(data_dir = %dir.display(), "adopting the data of etcd");
    let adopting = move || {
        let mut log_step = |progress| {
            if let Progress::Step(step, bytes) = progress {
                tracing::info!(step, bytes, "adopting the data of etcd");
            }
        };
        adopt::adopt(&dir, wal_dir.as_deref(), &cache, &mut log_step)
    };
    let adopted = panics::run_blocking(adopting).await;
    let adopted =
        adopted.map_err(|error| BootError::io("adopt the data of etcd")(error.into()))??;
    if !adopted.shared_names.is_empty() {
        tracing::warn!(
            shared_names = ?adopted.shared_names,
            "merged v2 and v3 users and roles of the same name"
        );
    }
    tracing::info!(
        index = adopted.index,
        undecided = adopted.undecided,
        revision = adopted.revision.0,
        keys = adopted.keys,
        members = adopted.members,
        torn_bytes = adopted.torn_bytes,
        "adopted the data of etcd"
    );
    Ok(adopted.identity)
}

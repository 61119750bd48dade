//! Opens the data directory of a starting member, chooses the first state, and removes all other members if
//! `--force-new-cluster` is set.

use std::{path::Path, sync::Arc};

use witan_bootstrap::{self as bootstrap, FirstState, join};
use witan_config::{ClusterState, Config};
use witan_follow::Seed;
use witan_machine::{
    StateMachine, levels, member::MemberRegistry, record::CorruptRecord, values::BlockCache,
    view::View,
};
use witan_peer::PeerDialer;
use witan_replica::{
    host::Recovered,
    replica::{ForceError, Replica},
};
use witan_storage::{self as storage, SpaceMonitor, Storage, StorageMetrics};

use super::error::BootError;

pub(super) struct OpenedDisk {
    pub(super) storage: Storage,
    pub(super) space: SpaceMonitor,
    pub(super) recovered: Recovered,
    pub(super) checkpoint: View,
    pub(super) identity: storage::DataIdentity,
    /// The registry with this member alone, if `--force-new-cluster` has removed all other members.
    pub(super) forced: Option<MemberRegistry>,
    pub(super) metrics: StorageMetrics,
}

/// Builds the first state of a cluster that follows: this cluster's id and members, and the source's v3 data and feature level.
fn following(first: Box<View>, cluster_id: u64, seeded: StateMachine) -> Box<View> {
    let members = MemberRegistry {
        cluster_id,
        follows: true,
        source_cluster_id: seeded.members.source_cluster_id,
        raised_level: seeded.members.raised_level,
        ..first.machine.members
    };
    let machine = StateMachine { tree: first.machine.tree, members, ..seeded };
    Box::new(View { machine, position: first.position })
}

/// Opens the data directory. If it has no state, initializes it for a new cluster, for the running cluster in `joined`, or from
/// the source's snapshot `seed`. With `--force-new-cluster`, removes all other members from the state. Places the log in
/// `--wal-dir` first. Without a state, fails if the log contains data or the identity differs from the one that the flags give.
/// With a state, such an identity causes only a warning, if the flags determine the ids.
pub(super) async fn open(
    (config, dialer): (&Config, &PeerDialer),
    (joined, seed): (Option<FirstState>, Option<Seed>),
    (metrics, cache): (StorageMetrics, &Arc<BlockCache>),
) -> Result<OpenedDisk, BootError> {
    let dir = &config.data_dir;
    let (mut begun, first_state) = joined.unwrap_or_else(|| bootstrap::new_cluster(config));
    let found = storage::identity(dir)?;
    if seed.is_some() {
        begun.cluster_id = bootstrap::followed_cluster_id(begun, found);
    }
    // As in etcd, the data directory has priority over flags about the initial cluster.
    let identity = found.unwrap_or(begun);
    let differs = identity != begun;
    if let Some(wal_dir) = &config.wal_dir {
        storage::place_log(dir, wal_dir, &identity)?;
    }
    let space = SpaceMonitor::open(dir, config.disk);
    let (mut storage, mut recovered) =
        storage::open(dir, &identity, space.ledger(), cache, &metrics)?;
    if config.unsafe_no_fsync {
        storage.log.disable_fsync();
    }
    let checkpoint = match recovered.checkpoint.take() {
        Some(checkpoint) => checkpoint,
        None => {
            if differs {
                let what = "it has an identity but no state, and the flags give another identity";
                return Err(BootError::corrupt(dir, CorruptRecord::new(what)));
            }
            let of = (dir.as_path(), identity.cluster_id);
            write_first_state(of, &mut storage, &recovered, first_state, seed)?
        }
    };
    // The flags do not determine the id of a member that joined a cluster, or of a cluster that followed another cluster. With
    // discovery, the flags do not name the members, and a member with data skips discovery.
    let flags_name_ids = config.initial_cluster_state == ClusterState::New
        && config.discovery.is_none()
        && checkpoint.machine.members.source_cluster_id == 0;
    if differs && flags_name_ids {
        tracing::warn!(
            data_dir = %dir.display(),
            "the data directory was created with other initial flags; \
             using the values in the directory"
        );
    }
    tracing::info!(
        data_dir = %dir.display(),
        checkpoint_index = checkpoint.position.index,
        log_entries = recovered.records.len(),
        "opened the data directory"
    );
    recovered.checkpoint = Some(checkpoint.clone());
    let forced = match config.force_new_cluster {
        true => force_new_cluster(dir, (&mut storage, &mut recovered), &identity, dialer).await?,
        false => None,
    };
    Ok(OpenedDisk {
        storage,
        space,
        recovered,
        checkpoint,
        identity,
        forced,
        metrics,
    })
}

/// Writes the first checkpoint of a directory that has never had a complete one. Returns its state: `first`, or the data in
/// `seed` with the members of `first`. Fails if the directory has lost its checkpoint.
fn write_first_state(
    (dir, cluster_id): (&Path, u64),
    storage: &mut Storage,
    recovered: &Recovered,
    first: Box<View>,
    seed: Option<Seed>,
) -> Result<View, BootError> {
    if recovered.hard_state.is_some() || !recovered.records.is_empty() {
        let what =
            "its log contains data, but the directory member/checkpoint was emptied or removed";
        return Err(BootError::corrupt(dir, CorruptRecord::new(what)));
    }
    let state = match seed {
        Some(seed) => following(first, cluster_id, seed.read(&mut storage.checkpoint)?),
        None => first,
    };
    let written = storage.checkpoint.write(None, &state);
    let what = || format!("write the first checkpoint in {}", dir.display());
    written.map_err(|error| BootError::io(what())(error))?;
    Ok(*state)
}

/// Removes all other members from the recovered state and appends their removal to the log on disk. Fails if another member is
/// still running. Returns the new registry, or `None` if there are no other members.
async fn force_new_cluster(
    dir: &Path,
    (storage, recovered): (&mut Storage, &mut Recovered),
    identity: &storage::DataIdentity,
    dialer: &PeerDialer,
) -> Result<Option<MemberRegistry>, BootError> {
    let forced = Replica::force_new_cluster(recovered, identity.member_id, levels::OWN);
    let forced = forced.map_err(|error| match error {
        ForceError::Corrupt(source) => BootError::corrupt(dir, source),
        ForceError::NoState => BootError::ForcedWithoutState { dir: dir.display().to_string() },
    })?;
    let Some(forced) = forced else {
        return Ok(None);
    };
    join::refuse_running(identity.cluster_id, &forced.peer_urls, dialer).await?;
    storage.log.append(&forced.batch);
    let removed: Vec<String> = forced.removed.iter().map(ToString::to_string).collect();
    tracing::warn!(?removed, "--force-new-cluster: removed all other members");
    Ok(Some(forced.members))
}

//! The init containers by which a first member begins from a backup: one reads the snapshot from its store, the other makes
//! the data directory of it. Both do nothing if the member has data.

use k8s_openapi::api::core::v1::{Container, Volume, VolumeMount};

use super::{
    backup,
    flags::{self, VOLUME},
    names::Cluster,
    store,
};
use crate::{crd::BackupStore, model::PodPlan};

/// Name of the container that makes the data directory.
pub const RESTORE: &str = "restore";

/// A snapshot in a store.
#[derive(Clone, Debug, PartialEq)]
pub struct RestoreFrom {
    /// The store.
    pub store: BackupStore,
    /// The URL of the folder of the snapshot.
    pub location: String,
    /// The name of the backup, or of the file.
    pub name: String,
    /// Number to add to all revisions.
    pub bump_revision: i64,
    /// The image of `witan-operator`.
    pub image: String,
}

impl RestoreFrom {
    /// Returns the URL of the snapshot, as the status records it.
    pub fn url(&self) -> String {
        format!("{}/{}", self.location, self.name)
    }
}

/// Makes the init containers of a first member, and the volumes that they need besides the member's own.
pub(super) fn containers(
    cluster: &Cluster<'_>,
    plan: &PodPlan,
    from: &RestoreFrom,
) -> (Vec<Container>, Vec<Volume>) {
    let data = VolumeMount {
        name: "data".to_owned(),
        mount_path: VOLUME.to_owned(),
        ..VolumeMount::default()
    };
    let access = store::access(&from.store, true);
    let file = format!("{VOLUME}/restore.db");
    let mut fetch = vec![
        "backup".to_owned(),
        "fetch".to_owned(),
        format!("--from={}", from.location),
        format!("--name={}", from.name),
        format!("--file={file}"),
        format!("--unless-exists={VOLUME}/data"),
        "--result=/dev/termination-log".to_owned(),
    ];
    fetch.extend(access.flags);
    let mut restore = vec![
        "snapshot".to_owned(),
        "restore".to_owned(),
        file,
        "--skip-existing".to_owned(),
        "--remove-snapshot".to_owned(),
    ];
    if from.bump_revision > 0 {
        restore.push(format!("--bump-revision={}", from.bump_revision));
        restore.push("--mark-compacted".to_owned());
    }
    restore.extend(flags::restore(cluster, plan));
    let containers = vec![
        Container {
            args: Some(fetch),
            env: Some(access.env),
            volume_mounts: Some([vec![data.clone()], access.mounts].concat()),
            ..backup::container("fetch", &from.image)
        },
        Container {
            args: Some(restore),
            volume_mounts: Some(vec![data]),
            ..backup::container(RESTORE, &cluster.image)
        },
    ];
    (containers, access.volumes)
}

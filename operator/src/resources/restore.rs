//! The init containers by which a first member begins from a backup: one reads the snapshot from its store, the other makes
//! the data directory of it. Both do nothing if the member has data.

use std::fmt;

use k8s_openapi::{
    api::core::v1::{Container, Volume, VolumeMount},
    jiff::Timestamp,
};
use witan_crd::BackupStore;
use witan_plan::model::PodPlan;

use super::{
    backup,
    flags::{self, VOLUME},
    names::Cluster,
    store,
};

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
    /// How far the changes after it are restored.
    pub to: Option<RestoreTo>,
    /// Number to add to all revisions.
    pub bump_revision: i64,
    /// The image of `witan-operator`.
    pub image: String,
}

/// The end of the changes that are restored.
#[derive(Clone, Debug, PartialEq)]
pub enum RestoreTo {
    /// A revision.
    Revision(i64),
    /// A time.
    Time(Timestamp),
}

impl fmt::Display for RestoreTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revision(revision) => revision.fmt(f),
            Self::Time(time) => time.fmt(f),
        }
    }
}

impl RestoreFrom {
    /// Returns the URL of the snapshot and the end of the changes, as the status records them.
    pub fn url(&self) -> String {
        let url = format!("{}/{}", self.location, self.name);
        match &self.to {
            Some(to) => format!("{url}@{to}"),
            None => url,
        }
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
    let changes = format!("--changes={VOLUME}/restore.changes");
    if let Some(to) = &from.to {
        fetch.push(changes.clone());
        fetch.push(match to {
            RestoreTo::Revision(_) => format!("--to-revision={to}"),
            RestoreTo::Time(_) => format!("--to-time={to}"),
        });
    }
    let mut restore = vec![
        "snapshot".to_owned(),
        "restore".to_owned(),
        file,
        "--skip-existing".to_owned(),
        "--remove-snapshot".to_owned(),
    ];
    restore.extend(from.to.as_ref().map(|_| changes));
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

//! Reads the objects that `status` and `report` show.

use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, api::ListParams};
use serde::{Deserialize, Serialize};
use witan_crd::{
    CLUSTER, EtcdBackup, EtcdBackupSchedule, EtcdCluster, EtcdClusterStatus, containers, is_ready,
    pod_failure,
};

use super::{error::PluginError, target::Target};

/// A cluster and its objects, as `status -o json` prints them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) cluster: EtcdCluster,
    #[serde(default)]
    pub(super) pods: Vec<PodFact>,
    /// The cluster's backups, newest first.
    #[serde(default)]
    pub(super) backups: Vec<EtcdBackup>,
    #[serde(default)]
    pub(super) schedules: Vec<EtcdBackupSchedule>,
    /// The reason for each of these lists that could not be read; empty if all were read.
    #[serde(default)]
    pub(super) unread: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct PodFact {
    pub(super) name: String,
    pub(super) node: Option<String>,
    #[serde(default)]
    pub(super) ready: bool,
    #[serde(default)]
    pub(super) restarts: i32,
    /// The reason why the pod is not ready, according to the scheduler or the kubelet.
    pub(super) waits: Option<String>,
}

impl Facts {
    /// Returns the status of the cluster; the default status if the operator has not reported yet.
    pub(super) fn status(&self) -> EtcdClusterStatus {
        self.cluster.status.clone().unwrap_or_default()
    }

    pub(super) fn pod(&self, name: &str) -> Option<&PodFact> {
        self.pods.iter().find(|pod| pod.name == name)
    }
}

impl PodFact {
    /// Summarizes a pod. Counts the restarts of all its containers, including init containers.
    fn of(pod: &Pod) -> Self {
        Self {
            name: pod.name_any(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            ready: is_ready(pod),
            restarts: containers(pod).map(|each| each.restart_count).sum(),
            waits: pod_failure(pod).map(|found| format!("{}: {}", found.reason, found.message)),
        }
    }
}

/// Reads a cluster with its pods, backups and schedules. Adds the reason for an unreadable list to [`Facts::unread`].
pub(super) async fn read(target: &Target, name: &str) -> Result<Facts, PluginError> {
    let cluster = target.cluster(name).await?;
    let everything = ListParams::default();
    let members = ListParams::default().labels(&format!("{CLUSTER}={name}"));
    let (pods, backups, schedules) = futures_util::join!(
        target.list::<Pod>(&members, "pods"),
        target.list::<EtcdBackup>(&everything, "EtcdBackups"),
        target.list::<EtcdBackupSchedule>(&everything, "EtcdBackupSchedules"),
    );
    let mut unread = Vec::new();
    let pods = or_unread(pods, &mut unread);
    let mut backups = or_unread(backups, &mut unread);
    backups.retain(|backup| backup.spec.cluster_ref.name == name);
    backups.sort_by_key(|backup| std::cmp::Reverse(backup.creation_timestamp().map(|time| time.0)));
    let mut schedules = or_unread(schedules, &mut unread);
    schedules.retain(|schedule| schedule.spec.cluster_ref.name == name);
    let pods = pods.iter().map(PodFact::of).collect();
    Ok(Facts { cluster, pods, backups, schedules, unread })
}

/// Returns the list, or an empty list after adding the error to `unread`.
fn or_unread<K>(read: Result<Vec<K>, PluginError>, unread: &mut Vec<String>) -> Vec<K> {
    read.unwrap_or_else(|error| {
        unread.push(error.to_string());
        Vec::new()
    })
}

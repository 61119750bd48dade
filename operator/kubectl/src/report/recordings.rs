//! The recordings of the members' flight recorders, for a report: keys and names, no values.

use std::time::Duration;

use witan_crd::EtcdCluster;
use witan_members::{Address, page};

use super::super::{PluginError, command::MemberFlags, page::words, reach::Reach, target::Target};

/// The flag of members that record.
const FLAG: &str = "flight-recorder-megabytes";
/// The page that has what a member has recorded.
const PAGE: &str = "/debug/flight-recorder";
/// How long a member may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of a recording at most: it is held in memory, and a report is sent to somebody.
const BYTES_MAX: usize = 256 << 20;

/// The recording of a member, or why it is missing.
pub(super) struct MemberRecording {
    /// The name of the member.
    pub(super) member: String,
    pub(super) bytes: Result<Vec<u8>, String>,
}

/// A way to the members of a cluster that record; `None` if they do not.
pub(super) async fn open(
    target: &Target,
    cluster: &EtcdCluster,
    flags: &MemberFlags,
) -> Result<Option<Reach>, PluginError> {
    if !records(cluster) {
        return Ok(None);
    }
    Reach::open(target, cluster, flags).await.map(Some)
}

fn records(cluster: &EtcdCluster) -> bool {
    let options = cluster.spec.options.as_ref();
    options.is_some_and(|options| options.extra_args.contains_key(FLAG))
}

/// Reads the recording of a member.
pub(super) async fn read(reach: &Reach, address: &Address) -> MemberRecording {
    let member = address.member.clone();
    let got = page::get(&address.url(PAGE), Some(address), PATIENCE, BYTES_MAX).await;
    let bytes = got.map_err(|error| {
        let forward = reach.forward_failure(&member);
        forward.unwrap_or_else(|| words(error))
    });
    MemberRecording { member, bytes }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_asked_if_their_cluster_records() {
        let cluster = |options| -> EtcdCluster {
            serde_json::from_value(json!({
                "apiVersion": "witan.dev/v1alpha1", "kind": "EtcdCluster",
                "metadata": {"name": "a"}, "spec": {"options": options},
            }))
            .unwrap()
        };
        assert!(records(&cluster(json!({"extraArgs": {FLAG: "64"}}))));
        assert!(!records(&cluster(json!({"extraArgs": {"other": "64"}}))));
        assert!(!records(&cluster(json!({}))));
    }
}

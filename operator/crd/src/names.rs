//! Names that people, the operator and the plugin have in common: annotations by which people ask for something, and how the
//! members of a cluster are found.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::{EtcdCluster, Requests};

/// Label: the cluster.
pub const CLUSTER: &str = "witan.dev/cluster";
/// Annotation of a pod: whether it speaks TLS to clients.
pub const CLIENT_TLS: &str = "witan.dev/client-tls";
/// Annotation of an EtcdCluster: how long clients have after each step of a rotation.
pub const AUTHORITY_OVERLAP: &str = "witan.dev/authority-overlap";
/// Annotation of an EtcdCluster: members to stop.
pub const FENCED_MEMBERS: &str = "witan.dev/fenced-members";
/// Annotation of an EtcdCluster: the generation at which the leader may restart.
pub const ALLOW_LEADER_RESTART: &str = "witan.dev/allow-leader-restart";

/// Name of the member's container.
pub const CONTAINER: &str = "etcd";

/// Ports of a member.
pub mod ports {
    /// Clients.
    pub const CLIENT: i32 = 2379;
    /// Other members.
    pub const PEER: i32 = 2380;
    /// `/metrics`, `/livez`, `/readyz`, always in clear text.
    pub const METRICS: i32 = 2381;
}

/// Returns how many votes a decision of `voters` members needs.
pub fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// Returns the ordinal at the end of the name of a member, pod or claim; `None` for a name of another form, such as `a-01`.
pub fn ordinal(name: &str) -> Option<u32> {
    let (_, text) = name.rsplit_once('-')?;
    let ordinal: u32 = text.parse().ok()?;
    (ordinal.to_string() == text).then_some(ordinal)
}

impl EtcdCluster {
    /// Returns the requests of EtcdOperations that the status records.
    pub fn requests(&self) -> Requests {
        let status = self.status.as_ref();
        status.map_or_else(Requests::default, |status| status.requests.clone())
    }

    /// Returns the name of the member with an ordinal, which its pod and its label have, too.
    pub fn member(&self, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.name_any())
    }

    /// Returns the ordinal in the name of a member or pod; `None` for a name of another form, such as `a-01`.
    pub fn ordinal(&self, member: &str) -> Option<u32> {
        ordinal(member).filter(|ordinal| self.member(*ordinal) == member)
    }

    /// Returns the name that the spec gives to the service of members.
    pub fn given_peer_service(&self) -> Option<&str> {
        let services = self.spec.services.as_ref()?;
        services.peer.as_ref()?.name.as_deref()
    }

    /// Returns the name of the service of members.
    pub fn peer_service(&self) -> String {
        let given = self.given_peer_service();
        given.map_or_else(|| format!("{}-peer", self.name_any()), str::to_owned)
    }

    /// Returns the name of the service for clients.
    pub fn client_service(&self) -> String {
        let services = self.spec.services.as_ref();
        let client = services.and_then(|services| services.client.as_ref());
        let given = client.and_then(|client| client.name.clone());
        given.unwrap_or_else(|| format!("{}-client", self.name_any()))
    }

    /// Returns the DNS name by which other pods find a member.
    pub fn host(&self, ordinal: u32) -> String {
        let (service, namespace) = (self.peer_service(), self.namespace().unwrap_or_default());
        format!("{}.{service}.{namespace}.svc", self.member(ordinal))
    }
}

/// Whether a member speaks TLS to clients, by the annotation of its pod: the spec may have changed since the
/// pod was made.
pub fn speaks_tls(pod: &Pod) -> bool {
    pod.annotations()
        .get(CLIENT_TLS)
        .is_some_and(|value| value == "true")
}

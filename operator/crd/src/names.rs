//! Names that users, the operator and the kubectl plugin share: labels, annotations, ports, and the addresses of members.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::{EtcdCluster, Requests};

/// Label: the name of the cluster.
pub const CLUSTER: &str = "witan.dev/cluster";
/// Annotation of a pod: whether its member uses TLS for clients.
pub const CLIENT_TLS: &str = "witan.dev/client-tls";
/// Annotation of an EtcdCluster: how long clients have to fetch the secrets after each stage of a CA rotation.
pub const AUTHORITY_OVERLAP: &str = "witan.dev/authority-overlap";
/// Annotation of an EtcdCluster: members to stop.
pub const FENCED_MEMBERS: &str = "witan.dev/fenced-members";
/// Annotation of an EtcdCluster: the generation at which the leader may restart.
pub const ALLOW_LEADER_RESTART: &str = "witan.dev/allow-leader-restart";

/// Name of the member's container.
pub const CONTAINER: &str = "etcd";

/// Path of the readiness probe of a member's pod. The probe ignores the CORRUPT alarm, which would make the pods of all members
/// unready, although it blocks no reads. No member could then be replaced.
pub const READINESS_PATH: &str = "/readyz?exclude=data_corruption";

/// Maximum number at the end of a member's name; the operator ignores a pod or claim with a higher number.
pub const ORDINAL_MAX: u32 = 999_999;

/// Ports of a member.
pub mod ports {
    /// Clients.
    pub const CLIENT: i32 = 2379;
    /// Other members.
    pub const PEER: i32 = 2380;
    /// `/metrics`, `/livez`, `/readyz`, always in plaintext.
    pub const METRICS: i32 = 2381;
}

/// Returns the number of votes that form a quorum of `voters` members.
pub fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// Returns the ordinal at the end of a member's, pod's or claim's name; `None` for any other name, such as `a-01`, and for a
/// number above [`ORDINAL_MAX`].
pub fn ordinal(name: &str) -> Option<u32> {
    let (_, text) = name.rsplit_once('-')?;
    let ordinal: u32 = text.parse().ok()?;
    (ordinal <= ORDINAL_MAX && ordinal.to_string() == text).then_some(ordinal)
}

impl EtcdCluster {
    /// Returns the requests of EtcdOperations that the status records.
    pub fn requests(&self) -> Requests {
        let status = self.status.as_ref();
        status.map_or_else(Requests::default, |status| status.requests.clone())
    }

    /// Returns the name of the member with this ordinal, which is also the name of its pod.
    pub fn member(&self, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.name_any())
    }

    /// Returns the ordinal of a member or pod of this cluster, by its name; `None` for any other name, such as `a-01`.
    pub fn ordinal(&self, member: &str) -> Option<u32> {
        ordinal(member).filter(|ordinal| self.member(*ordinal) == member)
    }

    /// Returns the name of the peer service in the spec; `None` if the spec does not name it.
    pub fn given_peer_service(&self) -> Option<&str> {
        let services = self.spec.services.as_ref()?;
        services.peer.as_ref()?.name.as_deref()
    }

    /// Returns the name of the headless service for members.
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

    /// Returns the DNS name of a member inside Kubernetes, without the cluster domain.
    pub fn host(&self, ordinal: u32) -> String {
        let (service, namespace) = (self.peer_service(), self.namespace().unwrap_or_default());
        format!("{}.{service}.{namespace}.svc", self.member(ordinal))
    }
}

/// Returns whether a member uses TLS for clients. Reads the annotation of its pod, because the spec may have changed since the
/// pod was created.
pub fn speaks_tls(pod: &Pod) -> bool {
    pod.annotations()
        .get(CLIENT_TLS)
        .is_some_and(|value| value == "true")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of further members must fit into the status and into an ordinal.
    #[test]
    fn a_high_number_is_not_an_ordinal() {
        for (name, expected) in [
            ("orders-0", Some(0)),
            ("orders-01", None),
            ("orders-999999", Some(ORDINAL_MAX)),
            ("orders-1000000", None),
            ("orders-4294967295", None),
        ] {
            assert_eq!(ordinal(name), expected, "{name}");
        }
    }
}

//! Parts of a cluster whose names other objects already use.

use witan_crd::{CLUSTER, CertificateRole};

use super::Ordinal;

/// An object that the operator creates for a cluster.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Part {
    ClientService,
    PeerService,
    Budget,
    Pod(Ordinal),
    Claim(Ordinal),
    /// The secret with the certificate of a role.
    Secret(CertificateRole),
    /// The cert-manager Certificate of a role.
    Request(CertificateRole),
}

impl Part {
    /// Returns what to do with another object that has the name of this part. A claim can be a disk of the cluster even if its
    /// labels are missing.
    pub fn advice(self, cluster: &str) -> String {
        if !matches!(self, Part::Claim(_)) {
            return "delete it".to_owned();
        }
        format!(
            "if it is a disk of this cluster, add the label {CLUSTER}={cluster}; otherwise delete it"
        )
    }
}

/// An object that is not part of the cluster but has the name of one of its parts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// Kind, name and owner of the object.
    pub object: String,
    /// Whether Kubernetes will delete the object, because an earlier EtcdCluster of the same name owns it.
    pub ending: bool,
}

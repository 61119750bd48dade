//! Names that a cluster needs and that belong to other objects.

use witan_crd::CertificateRole;

use super::Ordinal;

/// An object of a cluster, by its role in the cluster.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Part {
    /// The service for clients.
    ClientService,
    /// The service of members.
    PeerService,
    /// The pod disruption budget.
    Budget,
    /// The pod of a member.
    Pod(Ordinal),
    /// The claim of a member.
    Claim(Ordinal),
    /// The secret of a certificate.
    Secret(CertificateRole),
    /// cert-manager's Certificate of a role.
    Request(CertificateRole),
}

/// An object of another owner that has the name of a part of the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// Its kind, its name and its owner.
    pub object: String,
    /// It belongs to an earlier EtcdCluster of the same name, with which Kubernetes deletes it.
    pub ending: bool,
}

//! Names that a cluster needs and that other objects have.

use witan_crd::CertificateRole;

use super::Ordinal;

/// An object of a cluster, by its role.
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

/// An object that is not part of the cluster and has the name of one of its parts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// Its kind, name and owner.
    pub object: String,
    /// It belongs to an earlier EtcdCluster of the same name, and Kubernetes deletes it with that one.
    pub ending: bool,
}

//! What is known of a cluster's certificates.

use serde::{Deserialize, Serialize};

use super::{ObjectState, UnixSeconds};

/// A certificate that the operator issues, or the authority of all of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CertificateRole {
    /// The cluster's own authority: secret `<cluster>-ca`.
    Authority,
    /// What members show each other: secret `<cluster>-peer-tls`.
    Peer,
    /// What members show clients: secret `<cluster>-client-tls`.
    Server,
    /// What the operator shows members: secret `<cluster>-operator-tls`.
    Operator,
}

/// A certificate in its secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CertificateSeen {
    /// The end of its validity.
    pub not_after: UnixSeconds,
    /// It has the names that the spec asks for, and the present authority signed it.
    pub fits: bool,
}

/// cert-manager's Certificate of a role, and the secret that it leads to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RequestSeen {
    /// The Certificate; `None` if Kubernetes knows no such kind.
    pub request: Option<ObjectState>,
    /// Its secret has all that a member needs.
    pub issued: bool,
    /// The secret goes when the Certificate goes.
    pub owned: bool,
}

/// Where a cluster is between one authority and the next.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Rotation {
    /// One authority is trusted, and it signs.
    #[default]
    Rest,
    /// The next one is trusted, too, and does not sign yet.
    Introduced,
    /// It signs, and the former is still trusted.
    Switched,
}

/// The authority of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuthoritySeen {
    /// Where its rotation is.
    pub rotation: Rotation,
    /// When the rotation came there.
    pub since: UnixSeconds,
    /// The user asks for another authority.
    pub asked: bool,
    /// Seconds that clients have after each step of a rotation.
    pub overlap: i64,
}

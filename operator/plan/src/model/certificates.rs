//! The observed certificates of a cluster.

use super::{ObjectState, UnixSeconds};

/// A certificate in its secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CertificateSeen {
    /// The end of its validity.
    pub not_after: UnixSeconds,
    /// It has the names that the spec asks for, and the present authority signed it.
    pub fits: bool,
}

/// cert-manager's Certificate of a role, and its secret.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RequestSeen {
    /// The Certificate; `None` if Kubernetes knows no such kind.
    pub request: Option<ObjectState>,
    /// Its secret has all files that a member needs.
    pub issued: bool,
    /// The secret is deleted with the Certificate.
    pub owned: bool,
}

/// Stage of a rotation from one authority to the next.
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

impl Rotation {
    pub(super) fn text(self) -> &'static str {
        match self {
            Rotation::Introduced => "trusting the next authority beside the present one",
            Rotation::Switched => "signing with the next authority",
            Rotation::Rest => "removing the former authority from the trusted ones",
        }
    }
}

/// The authority of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuthoritySeen {
    /// The stage of its rotation.
    pub rotation: Rotation,
    /// When the rotation reached this stage.
    pub since: UnixSeconds,
    /// The user asks for another authority.
    pub asked: bool,
    /// Seconds that clients have after each step of a rotation.
    pub overlap: i64,
}

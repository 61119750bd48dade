//! The observed certificates of a cluster.

use super::{ObjectState, UnixSeconds};

/// A certificate in its secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CertificateSeen {
    /// The end of its validity.
    pub not_after: UnixSeconds,
    /// It has the names that the spec requests, and is signed by the present authority.
    pub fits: bool,
}

/// cert-manager's Certificate of a role, and its secret.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RequestSeen {
    /// The Certificate; `None` if cert-manager is not installed.
    pub request: Option<ObjectState>,
    /// Its secret has all files that a member needs.
    pub issued: bool,
    /// The secret is deleted with the Certificate.
    pub owned: bool,
}

/// The stage of a rotation from one authority to the next.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Rotation {
    /// One authority is trusted, and it signs.
    #[default]
    Rest,
    /// The next one is also trusted, but does not sign yet.
    Introduced,
    /// The next one signs, and the former one is still trusted.
    Switched,
}

impl Rotation {
    pub(super) fn text(self) -> &'static str {
        match self {
            Rotation::Introduced => "trusting the next CA in addition to the current CA",
            Rotation::Switched => "issuing certificates from the next CA",
            Rotation::Rest => "removing the former CA from the trusted CAs",
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
    /// Whether the user requests a new authority.
    pub asked: bool,
    /// Seconds that clients have after each stage.
    pub overlap: i64,
}

//! The observed certificates of a cluster.

use super::{ObjectState, UnixSeconds};

/// A certificate in a secret, issued by the operator or by cert-manager.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CertificateSeen {
    pub not_after: UnixSeconds,
    /// Whether the current CA signed the certificate, and the certificate has the names that the spec requests. Always true for
    /// cert-manager.
    pub fits: bool,
}

/// The cert-manager Certificate of a role and the secret that cert-manager writes for it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ObservedRequest {
    /// State of the Certificate; `None` if cert-manager is not installed.
    pub request: Option<ObjectState>,
    /// Whether the secret has all files that a member needs.
    pub issued: bool,
    /// Whether the Certificate owns the secret, so that both are deleted together.
    pub owned: bool,
}

/// The stage of a rotation from one CA to the next.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Rotation {
    /// Only one CA is trusted, and it signs.
    #[default]
    Rest,
    /// The next CA is also trusted but does not sign certificates yet.
    Introduced,
    /// The next CA signs, and the former CA is still trusted.
    Switched,
}

impl Rotation {
    /// Describes the step that leads to this stage.
    pub(super) fn text(self) -> &'static str {
        match self {
            Rotation::Introduced => "trusting the next CA in addition to the current CA",
            Rotation::Switched => "issuing certificates from the next CA",
            Rotation::Rest => "removing the former CA from the trusted CAs",
        }
    }
}

/// The CA that signs the certificates of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuthoritySeen {
    pub rotation: Rotation,
    /// The time at which the rotation reached this stage.
    pub since: UnixSeconds,
    /// Whether the user requests a new CA.
    pub requested: bool,
    /// Time in seconds for clients to fetch the secrets after each stage.
    pub overlap: i64,
}

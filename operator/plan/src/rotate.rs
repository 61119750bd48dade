//! Rotates the CA of a cluster without interrupting members or clients.
//!
//! 1. The next CA is trusted in addition to the current CA: first in the secrets, then by every member.
//! 2. The next CA signs. Certificates are reissued (`objects`), and every member restarts with its new certificate.
//! 3. The former CA is no longer trusted.
//!
//! The secrets are part of the pod template, so a rollout delivers them. Clients get time between the stages to fetch the
//! secrets.

use witan_crd::CertificateRole;

use super::pass::Joined;
use crate::model::{Rotation, Step};

/// Time in seconds between the replacement of a CA and its expiry: one year.
const BEFORE_END_SECONDS: i64 = 365 * 24 * 3600;

/// Returns the step that starts or advances a CA rotation. Returns `None` until all pods have the secrets of the current stage,
/// and clients have had the overlap to fetch them. Also returns `None` if the operator manages no CA.
pub(super) fn next(joined: &Joined<'_>) -> Option<Step> {
    let seen = joined.pass.seen;
    let certificate = seen.certificates.get(&CertificateRole::Authority)?;
    let authority = &seen.authority;
    let ends = seen.now >= certificate.not_after.saturating_sub(BEFORE_END_SECONDS);
    let to = match authority.rotation {
        Rotation::Rest if authority.requested || ends => Rotation::Introduced,
        Rotation::Rest => return None,
        Rotation::Introduced => Rotation::Switched,
        Rotation::Switched => Rotation::Rest,
    };
    let begins = to == Rotation::Introduced;
    let known = begins || seen.now.saturating_sub(authority.since) >= authority.overlap;
    (known && all_pods_are_current(joined)).then_some(Step::RotateAuthority(to))
}

/// Returns whether every member's pod has the current template and therefore the current certificates.
fn all_pods_are_current(joined: &Joined<'_>) -> bool {
    let mut pods = joined.own().map(|(ordinal, _)| joined.pass.pod(ordinal));
    pods.all(|pod| pod.is_some_and(|pod| !pod.outdated))
}

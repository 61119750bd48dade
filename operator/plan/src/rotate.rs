//! Rotates the authority of a cluster without interrupting members or clients.
//!
//! 1. The next authority is trusted beside the present one: in the secrets first, then by every member.
//! 2. It signs: certificates are issued anew (`objects`), and every member starts with its own.
//! 3. The former authority is removed from the trusted ones.
//!
//! The contents of the secrets are part of the pods' template, so that the rollout brings them to the members and shows
//! when all have them. Between the steps clients have time to fetch the secrets.

use witan_crd::CertificateRole;

use super::pass::Joined;
use crate::model::{Rotation, Step};

/// How long before its end an authority is replaced by the next one: a year.
const BEFORE_END_SECONDS: i64 = 365 * 24 * 3600;

/// Begins a rotation of the authority when it ends soon or the user asks, or takes it one step further;
/// `None` while there is nothing to do.
pub(super) fn next(joined: &Joined<'_>) -> Option<Step> {
    let seen = joined.pass.seen;
    let certificate = seen.certificates.get(&CertificateRole::Authority)?;
    let authority = &seen.authority;
    let ends = seen.now >= certificate.not_after.saturating_sub(BEFORE_END_SECONDS);
    let to = match authority.rotation {
        Rotation::Rest if authority.asked || ends => Rotation::Introduced,
        Rotation::Rest => return None,
        Rotation::Introduced => Rotation::Switched,
        Rotation::Switched => Rotation::Rest,
    };
    let begins = to == Rotation::Introduced;
    let known = begins || seen.now.saturating_sub(authority.since) >= authority.overlap;
    (known && all_have_it(joined)).then_some(Step::RotateAuthority(to))
}

/// Whether every member has a pod with the present template, and with it the present certificates.
fn all_have_it(joined: &Joined<'_>) -> bool {
    let mut pods = joined.own().map(|(ordinal, _)| joined.pass.pod(ordinal));
    pods.all(|pod| pod.is_some_and(|pod| !pod.outdated))
}

//! Applies the objects that exist once per cluster: services, certificates and the disruption budget. `rotate` replaces the CA.
//!
//! A check that needs no step returns `None`.

use witan_crd::{CertificateRole, ManagedCertificate, quorum};

use super::pass::{Joined, Pass, idle, soon};
use crate::model::{ObjectState, Part, Step, UnixSeconds, Why};

/// Returns the step that applies an object that pods need before they start. Refused steps and taken names do not block other
/// objects.
pub(super) fn next_object_step(pass: &Pass<'_>) -> Option<Step> {
    let services = [
        (Part::ClientService, pass.seen.client_service),
        (Part::PeerService, pass.seen.peer_service),
    ];
    let due = |(part, state): &(Part, ObjectState)| {
        *state != ObjectState::Current && !pass.seen.taken.contains_key(part)
    };
    let services = services.iter().any(due).then_some(Step::ApplyServices);
    let next = |step: Option<Step>| step.filter(|step| !pass.is_refused(step));
    next(services)
        .or_else(|| next(certificate(pass)))
        .or_else(|| next(request(pass)))
}

/// Returns the step that applies a missing or outdated cert-manager Certificate, or that makes a Certificate the owner of its
/// issued secret. Skips roles whose names are taken.
fn request(pass: &Pass<'_>) -> Option<Step> {
    let mut requests = pass.seen.requests.iter();
    requests.find_map(|(role, seen)| {
        let state = seen.request.filter(|_| !secret_taken(pass, *role))?;
        if state != ObjectState::Current {
            return Some(Step::RequestCertificate(*role));
        }
        (seen.issued && !seen.owned).then_some(Step::OwnCertificate(*role))
    })
}

/// Returns a wait while the name of a secret or Certificate is taken, or while a secret that pods mount is missing. The wait is
/// short while cert-manager issues the secret; otherwise, the user must act.
pub(super) fn wait_for_secrets(pass: &Pass<'_>) -> Option<Step> {
    let taken = pass.wait_for_names(|part| matches!(part, Part::Secret(_) | Part::Request(_)));
    if taken.is_some() {
        return taken;
    }
    if pass.seen.missing_secrets.is_empty() {
        return None;
    }
    let mut pending = pass.seen.requests.values().filter(|seen| !seen.issued);
    match pending.next() {
        None => Some(idle(Why::SecretsMissing)),
        Some(seen) if seen.request.is_none() => Some(idle(Why::CertManagerMissing)),
        Some(_) => Some(soon(Why::CertificatesPending)),
    }
}

/// Like [`wait_for_secrets`], but for a cluster in which nothing else is left to do. A pod that moves to another node needs the
/// secrets to start. Returns `None` while cert-manager writes its secrets again.
pub(super) fn wait_for_pod_secrets(joined: &Joined<'_>) -> Option<Step> {
    wait_for_secrets(&joined.pass).filter(|wait| !wait.progresses())
}

/// Returns whether another object has the name of a role's secret or cert-manager Certificate.
fn secret_taken(pass: &Pass<'_>, role: CertificateRole) -> bool {
    let mut parts = [Part::Secret(role), Part::Request(role)].into_iter();
    parts.any(|part| pass.seen.taken.contains_key(&part))
}

/// Returns a wait if the name of any part is taken. The plan checks this last, so that the wait blocks nothing else.
pub(super) fn wait_for_names(joined: &Joined<'_>) -> Option<Step> {
    joined.pass.wait_for_names(|_| true)
}

/// Returns a wait if the spec requires cert-manager but cert-manager is not installed: certificates would not be renewed.
pub(super) fn wait_for_cert_manager(joined: &Joined<'_>) -> Option<Step> {
    let mut requests = joined.pass.seen.requests.values();
    let unknown = requests.any(|seen| seen.request.is_none());
    unknown.then(|| idle(Why::CertManagerMissing))
}

/// Returns the step that issues a certificate that is missing, does not fit or expires within `renewBefore` (at most half of
/// its duration). The CA comes first. A CA that expires soon is not reissued, because a rotation replaces it earlier. Skips a
/// role whose names are taken, and returns `None` while the name of the CA's secret is taken.
fn certificate(pass: &Pass<'_>) -> Option<Step> {
    let managed = |role| pass.spec.certificate_source(role)?.managed.as_ref();
    let (peer, client) = (
        managed(CertificateRole::Peer),
        managed(CertificateRole::Server),
    );
    let roles = [
        (CertificateRole::Authority, peer.or(client)),
        (CertificateRole::Peer, peer),
        (CertificateRole::Server, client),
        (CertificateRole::Operator, client),
    ];
    let due = |role, source: &ManagedCertificate| {
        let Some(seen) = pass.seen.certificates.get(&role) else {
            return true;
        };
        let before: UnixSeconds = match role {
            CertificateRole::Authority => 0,
            CertificateRole::Peer | CertificateRole::Server | CertificateRole::Operator => source
                .renew_before
                .seconds()
                .min(source.duration.seconds() / 2),
        };
        !seen.fits || pass.seen.now >= seen.not_after.saturating_sub(before)
    };
    if secret_taken(pass, CertificateRole::Authority) {
        return None;
    }
    roles.into_iter().find_map(|(role, source)| {
        let is_due = due(role, source?) && !secret_taken(pass, role);
        is_due.then_some(Step::IssueCertificate(role))
    })
}

/// Returns the step that applies or deletes the PodDisruptionBudget. By default, `minAvailable` is the quorum of the listed
/// voters, or 0 for a single voter. Returns `None` while another object has the name of the budget.
pub(super) fn budget(joined: &Joined<'_>) -> Option<Step> {
    let options = joined.pass.spec.pod_disruption_budget.as_ref();
    let enabled = options.is_none_or(|options| options.enabled);
    let voters = joined.list.voters().count();
    let needed = if voters > 1 { quorum(voters) } else { 0 };
    let needed = u32::try_from(needed).unwrap_or_default();
    let min_available = enabled.then_some(needed);
    let fits = match joined.pass.seen.budget {
        None => !enabled,
        Some(seen) => {
            let number = match options {
                Some(options) if options.min_available.is_some() => true,
                // With `maxUnavailable`, a sole voter has a different policy for unready pods.
                Some(options) if options.max_unavailable.is_some() => {
                    (seen.min_available == Some(0)) == (needed == 0)
                }
                Some(_) | None => seen.min_available == min_available,
            };
            enabled && number && seen.state == ObjectState::Current
        }
    };
    let taken = joined.pass.seen.taken.contains_key(&Part::Budget);
    (!fits && !taken).then_some(Step::ApplyBudget(min_available))
}

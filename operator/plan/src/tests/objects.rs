//! Certificates, the disruption budget and authentication.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use witan_crd::{
    Auth, BudgetOptions, CertificateRole, EtcdClusterSpec, EtcdClusterStatus, ManagedCertificate,
    SecretRef, ServerTlsSource, Span, Tls,
};

use super::{cases::cluster, faults::disk, waits, world::World};
use crate::{
    IDLE, SOON,
    model::{CertificateSeen, ObjectState, Observed, ObservedRequest, Step, Why},
    plan,
};

const DAY: i64 = 24 * 3600;

/// The certificates of a cluster with managed TLS for clients, in the order in which they are issued.
const ROLES: [CertificateRole; 3] = [
    CertificateRole::Authority,
    CertificateRole::Server,
    CertificateRole::Operator,
];

/// Returns the observation of a new cluster whose services exist.
fn with_services() -> Observed {
    Observed {
        client_service: ObjectState::Current,
        peer_service: ObjectState::Current,
        ..Observed::default()
    }
}

fn with_tls(managed: ManagedCertificate) -> EtcdClusterSpec {
    let client = serde_json::from_value(serde_json::json!({"managed": {}}));
    let mut client: ServerTlsSource = client.expect("a source");
    client.source.managed = Some(managed);
    EtcdClusterSpec {
        tls: Some(Tls { peer: None, client: Some(client) }),
        ..EtcdClusterSpec::minimal()
    }
}

fn issued(spec: &EtcdClusterSpec, seen: &Observed) -> Option<CertificateRole> {
    let step = plan(spec, &EtcdClusterStatus::default(), seen);
    if let Step::IssueCertificate(role) = step {
        Some(role)
    } else {
        None
    }
}

#[test]
fn certificates_are_issued_in_order_and_renewed_before_their_end() {
    let spec = with_tls(ManagedCertificate::default());
    let mut seen = with_services();
    let fresh = CertificateSeen { not_after: 90 * DAY, fits: true };
    for role in ROLES {
        assert_eq!(issued(&spec, &seen), Some(role));
        seen.certificates.insert(role, fresh.clone());
    }
    assert_eq!(issued(&spec, &seen), None);
    seen.now = 60 * DAY;
    assert_eq!(
        issued(&spec, &seen),
        Some(CertificateRole::Server),
        "30 days before its end"
    );
    seen.now = 0;
    let server = seen
        .certificates
        .get_mut(&CertificateRole::Server)
        .expect("one");
    server.fits = false;
    assert_eq!(
        issued(&spec, &seen),
        Some(CertificateRole::Server),
        "its names changed"
    );
}

/// If `renewBefore` were used unchanged, each pass would issue a new certificate.
#[test]
fn a_certificate_shorter_than_its_renewal_is_renewed_at_half() {
    let managed = ManagedCertificate {
        duration: Span("24h".to_owned()),
        renew_before: Span("720h".to_owned()),
    };
    let spec = with_tls(managed);
    let fresh = CertificateSeen { not_after: DAY, fits: true };
    let certificates = ROLES.map(|role| (role, fresh.clone())).into();
    let mut seen = Observed { certificates, ..with_services() };
    assert_eq!(issued(&spec, &seen), None);
    seen.now = DAY / 2;
    assert_eq!(issued(&spec, &seen), Some(CertificateRole::Server));
}

fn with_cert_manager() -> EtcdClusterSpec {
    let tls = serde_json::json!({"peer": {"certManager": {"issuerRef": {"name": "ours"}}}});
    EtcdClusterSpec {
        tls: Some(serde_json::from_value(tls).expect("TLS")),
        storage: disk(),
        ..EtcdClusterSpec::minimal()
    }
}

#[test]
fn the_first_pod_waits_for_cert_manager() {
    let spec = with_cert_manager();
    let role = CertificateRole::Peer;
    let mut seen = with_services();
    seen.missing_secrets = ["c-peer-tls".to_owned()].into();
    let step = |seen: &Observed| plan(&spec, &EtcdClusterStatus::default(), seen);
    let mut asked = ObservedRequest {
        request: Some(ObjectState::Missing),
        ..ObservedRequest::default()
    };
    seen.requests.insert(role, asked);
    assert_eq!(step(&seen), Step::RequestCertificate(role));
    asked.request = Some(ObjectState::Outdated);
    seen.requests.insert(role, asked);
    assert_eq!(step(&seen), Step::RequestCertificate(role));
    asked.request = Some(ObjectState::Current);
    seen.requests.insert(role, asked);
    let why = Why::CertificatesPending;
    assert_eq!(step(&seen), Step::Wait { why, after: SOON });
    asked.issued = true;
    seen.requests.insert(role, asked);
    seen.missing_secrets.clear();
    assert_eq!(step(&seen), Step::OwnCertificate(role));
    asked.owned = true;
    seen.requests.insert(role, asked);
    let begun = step(&seen);
    assert!(matches!(begun, Step::BeginBootstrap { .. }), "{begun:?}");
}

/// The pods still run with the secret, and the operator may lose its own certificate with it.
#[test]
fn a_secret_that_is_deleted_while_the_members_serve_is_reported() {
    let mut world = cluster(3);
    world.missing_secret = true;
    let mut seen = world.observe();
    waits(&world.plan(&seen), &Why::SecretsMissing);
    seen.membership = None;
    let step = world.plan(&seen);
    waits(&step, &Why::Unreachable);
    let notice = step.notice("world", &seen).expect("a wait has a notice");
    assert!(notice.message.ends_with("do not exist: tls"), "{notice:?}");
}

/// The CustomResourceDefinitions of cert-manager can be deleted while a cluster runs. Only renewals then stop.
#[test]
fn without_cert_manager_no_cluster_starts_and_running_ones_are_maintained() {
    let spec = with_cert_manager();
    let unknown = |issued| ObservedRequest { request: None, issued, owned: false };
    let mut seen = with_services();
    seen.missing_secrets = ["c-peer-tls".to_owned()].into();
    let request = unknown(false);
    seen.requests.insert(CertificateRole::Peer, request);
    let wait = Step::Wait { why: Why::CertManagerMissing, after: IDLE };
    let first = plan(&spec, &EtcdClusterStatus::default(), &seen);
    assert_eq!(first, wait);
    let mut world = cluster(3);
    let step = |world: &World, replicas| {
        let mut spec = world.spec.clone();
        spec.replicas = replicas;
        let mut seen = world.observe();
        let known = unknown(true);
        seen.requests.insert(CertificateRole::Peer, known);
        plan(&spec, &world.status, &seen)
    };
    assert_eq!(step(&world, 3), wait, "the user must install cert-manager");
    let grown = step(&world, 5);
    assert!(matches!(grown, Step::AddLearner { .. }), "{grown:?}");
    world.pods.remove(&1);
    let mended = step(&world, 3);
    assert!(matches!(mended, Step::StartMember(_)), "{mended:?}");
}

/// The operator of CoreOS created no budget (issue 1116). A budget that protects a sole member would prevent a drain of its
/// node.
#[test]
fn the_budget_follows_the_voters() {
    for (members, kept) in [(1, 0), (2, 2), (3, 2), (5, 3)] {
        assert_eq!(cluster(members).budget, Some(kept), "{members} members");
    }
    let mut world = cluster(3);
    world.spec.pod_disruption_budget =
        Some(BudgetOptions { enabled: false, ..BudgetOptions::default() });
    world.settle();
    assert_eq!(world.budget, None);
}

/// The policy for unready pods depends on whether there is only one voter, even if the spec sets `maxUnavailable`.
#[test]
fn a_budget_of_the_spec_follows_a_sole_voter() {
    let mut world = cluster(1);
    world.spec.pod_disruption_budget = Some(BudgetOptions {
        max_unavailable: Some(IntOrString::Int(1)),
        ..BudgetOptions::default()
    });
    world.settle();
    assert_eq!(world.budget, Some(0));
    world.spec.replicas = 3;
    world.settle();
    assert_eq!(world.budget, Some(2));
}

#[test]
fn authentication_follows_the_spec() {
    let mut world = cluster(3);
    world.spec.auth = Some(Auth {
        enabled: true,
        root_credentials_secret_ref: Some(SecretRef { name: "root".to_owned() }),
    });
    let mut seen = world.observe();
    assert_eq!(world.plan(&seen), Step::EnableAuth);
    // The secret has no password, which only the step reports.
    seen.auth_enabled = None;
    assert_eq!(world.plan(&seen), Step::EnableAuth);
    seen.auth_enabled = Some(true);
    assert_eq!(world.plan(&seen), Step::Done);
    world.spec.auth = Some(Auth::default());
    assert_eq!(world.plan(&seen), Step::DisableAuth);
}

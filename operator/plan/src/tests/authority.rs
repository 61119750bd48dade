//! The fake cluster's CA and its certificates, and rotations of the CA.

use std::collections::BTreeMap;

use witan_crd::CertificateRole;

use super::{
    cases::{cluster, removals, stopped},
    world::World,
};
use crate::model::{
    AuthoritySeen, CertificateSeen, Observed, PeerTls, Rotation, Step, UnixSeconds,
};

const DAY: i64 = 24 * 3600;

/// A CA is a number. The first CA in a list signs, and all CAs in the list are trusted.
#[derive(Clone, Debug, Default)]
pub(super) struct Authority {
    trusted: Vec<u32>,
    made: u32,
    rotation: Rotation,
    since: UnixSeconds,
    pub(super) requested: bool,
    pub(super) overlap: i64,
    issued: BTreeMap<CertificateRole, Vec<u32>>,
}

impl Authority {
    /// Issues a certificate. A new CA replaces all trusted CAs.
    pub(super) fn issue(&mut self, role: CertificateRole) {
        if role == CertificateRole::Authority {
            self.made += 1;
            self.trusted = vec![self.made];
        }
        self.issued.insert(role, self.trusted.clone());
    }

    /// Changes the trusted CAs as the stage `to` of a rotation requires.
    pub(super) fn rotate(&mut self, to: Rotation, now: UnixSeconds) {
        match to {
            Rotation::Introduced => {
                self.requested = false;
                self.made += 1;
                self.trusted.push(self.made);
            }
            Rotation::Switched => self.trusted.rotate_left(1),
            Rotation::Rest => self.trusted.truncate(1),
        }
        (self.rotation, self.since) = (to, now);
    }

    /// Returns whether no rotation is running or requested.
    pub(super) fn rests(&self) -> bool {
        self.rotation == Rotation::Rest && !self.requested
    }

    /// Returns whether the CA was ever rotated. Only then does the template contain the fingerprint of the trusted CAs.
    pub(super) fn was_rotated(&self) -> bool {
        self.since > 0
    }

    /// Returns the CAs in the peer certificate's secret.
    pub(super) fn of_members(&self) -> Vec<u32> {
        let peer = self.issued.get(&CertificateRole::Peer);
        peer.cloned().unwrap_or_default()
    }

    /// Adds the certificates and the CA to an observation. A certificate fits if the trusted CAs have not changed since its
    /// issue.
    pub(super) fn show(&self, seen: &mut Observed) {
        let each = |(role, trusted): (&CertificateRole, &Vec<u32>)| {
            let fits = *role == CertificateRole::Authority || *trusted == self.trusted;
            let not_after = i64::MAX;
            (*role, CertificateSeen { not_after, fits })
        };
        seen.certificates = self.issued.iter().map(each).collect();
        seen.authority = AuthoritySeen {
            rotation: self.rotation,
            since: self.since,
            requested: self.requested,
            overlap: self.overlap,
        };
    }
}

impl World {
    /// Delivers the current secrets to random pods, as kubelets refresh them at different times. Asserts that all pods still
    /// trust each other.
    pub(super) fn carry_secrets(&mut self) {
        let secret = self.authority.of_members();
        for pod in self.pods.values_mut() {
            if pod.peer_tls >= PeerTls::Ready && self.random.below(6) == 0 {
                pod.certificate.clone_from(&secret);
            }
        }
        let pods = self.pods.values().filter(|pod| pod.gone_at.is_none());
        let shown: Vec<&Vec<u32>> = pods.map(|pod| &pod.certificate).collect();
        for one in shown.iter().filter_map(|list| list.first()) {
            let mut others = shown.iter().filter(|list| !list.is_empty());
            assert!(
                others.all(|other| other.contains(one)),
                "members trust each other: {shown:?}"
            );
        }
    }

    /// Asserts that all members serve and have started with the current secrets, before the next stage begins.
    pub(super) fn judge_rotation(&self, step: &Step) {
        self.all_serve(step);
        let current = self.pods.iter().all(|(ordinal, pod)| {
            // The pod of a removed member has no connections.
            pod.template == self.template || self.member(*ordinal).is_none()
        });
        assert!(current, "every member has the current secrets: {step:?}");
        let peer = self.authority.of_members();
        assert_eq!(peer, self.authority.trusted, "secrets first: {step:?}");
    }
}

fn with_tls() -> World {
    let mut world = cluster(3);
    world.toggle_tls();
    world.settle();
    world.taken.clear();
    world.authority.requested = true;
    world
}

fn rotations(world: &World) -> Vec<Rotation> {
    let steps = world.taken.iter();
    let rotations = steps.filter_map(|step| {
        let Step::RotateAuthority(to) = step else {
            return None;
        };
        Some(*to)
    });
    rotations.collect()
}

#[test]
fn an_authority_is_trusted_before_it_signs_and_the_former_is_removed_last() {
    let mut world = with_tls();
    let before: Vec<_> = world.members.iter().map(|member| member.id).collect();
    world.settle();
    let order = [Rotation::Introduced, Rotation::Switched, Rotation::Rest];
    assert_eq!(rotations(&world), order);
    assert_eq!(
        stopped(&world).len(),
        9,
        "each member restarts at each stage"
    );
    assert!(removals(&world).is_empty());
    let after: Vec<_> = world.members.iter().map(|member| member.id).collect();
    assert_eq!(before, after);
    assert_eq!(world.authority.of_members(), [2]);
}

#[test]
fn clients_have_time_after_each_step() {
    let mut world = with_tls();
    world.authority.overlap = 7200;
    for to in [Rotation::Introduced, Rotation::Switched, Rotation::Rest] {
        let began = world.now;
        world.until(4000, |_, step| *step == Step::RotateAuthority(to));
        assert!(to == Rotation::Introduced || world.now - began >= 7190);
    }
}

#[test]
fn an_authority_is_replaced_a_year_before_it_expires() {
    let mut world = with_tls();
    world.authority.requested = false;
    let mut seen = world.observe();
    for (days, follows) in [(366, false), (365, true), (1, true)] {
        let authority = seen.certificates.get_mut(&CertificateRole::Authority);
        authority.expect("one").not_after = seen.now + days * DAY;
        let to = Rotation::Introduced;
        let wanted = if follows {
            Step::RotateAuthority(to)
        } else {
            Step::Done
        };
        assert_eq!(world.plan(&seen), wanted, "{days} days");
    }
}

#[test]
fn a_missing_authority_is_not_rotated() {
    let mut world = cluster(3);
    world.authority.requested = true;
    world.run(20, |_, _| false);
    assert!(rotations(&world).is_empty());
}

//! The effects of steps on the fake cluster.

use witan_crd::{DiscoveryStatus, RecoveryPhase, Storage};

use super::world::{FakeClaim, FakeMember, FakePod, World};
use crate::model::{Bootstrap, MemberId, Ordinal, PeerTls, PodPlan, Role, Step, Stop};

impl World {
    /// Applies a step as the API server and the members would.
    pub(super) fn act(&mut self, step: &Step) {
        match step {
            Step::Done
            | Step::Wait { .. }
            | Step::EnableAuth
            | Step::DisableAuth
            | Step::RequestCertificate(_)
            | Step::OwnCertificate(_) => {}
            Step::ApplyServices => self.services = true,
            Step::ApplyBudget(min_available) => self.budget = *min_available,
            Step::IssueCertificate(role) => self.authority.issue(*role),
            Step::RotateAuthority(to) => {
                self.authority.rotate(*to, self.now);
                self.template += 1;
            }
            Step::BeginRecovery(at) => self.record_recovery(Some(*at), RecoveryPhase::Running),
            Step::BeginBootstrap { members, discovery_url } => {
                self.begin(*members, discovery_url.clone())
            }
            Step::CreateDiscoveryToken(members) => {
                self.begin(*members, Some("http://d/token".to_owned()));
            }
            Step::StartMember(PodPlan { ordinal, bootstrap, peer_tls, role }) => {
                self.start(*ordinal, bootstrap, *peer_tls, *role);
            }
            Step::AddLearner { ordinal, peer_tls, .. } => self.add(*ordinal, *peer_tls),
            Step::Promote(id) => self.change(*id, |member| member.learner = false),
            Step::LabelPod { ordinal, role } => {
                if let Some(pod) = self.pods.get_mut(ordinal) {
                    (pod.role, pod.is_initial) = (*role, false);
                }
                self.with_claim(*ordinal, |claim| claim.voted |= *role == Role::Voter);
            }
            Step::MoveLeader { to, .. } => self.leader = Some(*to),
            Step::RemoveMember { id, .. } => self.remove(*id),
            Step::UpdatePeerUrl { id, peer_tls, .. } => {
                self.change(*id, |member| member.https = *peer_tls == PeerTls::On);
            }
            Step::DeletePod { ordinal, reason } => {
                let claim = self.claims.get_mut(ordinal);
                if let Some(claim) = claim.filter(|_| *reason == Stop::Silent) {
                    claim.remade = Some(self.now);
                }
                self.delete_pod(*ordinal);
            }
            Step::DeleteClaim(ordinal) => self.with_claim(*ordinal, |claim| claim.deleting = true),
            Step::RetireClaim { ordinal, held } => self.with_claim(*ordinal, |claim| {
                (claim.retired, claim.held) = (true, *held);
            }),
            Step::ReviveClaim(ordinal) => self.with_claim(*ordinal, |claim| {
                (claim.retired, claim.held) = (false, false);
            }),
            Step::BeginRestored { first, members } => self.begin_restored(*first, *members),
            Step::ReturnToDisks => self.return_to_disks(),
            Step::OwnClaim(ordinal) => self.own_claim(*ordinal),
            Step::ApplyClaim { ordinal, peer_tls } => {
                let served = self.status.cluster_id.is_some();
                self.with_claim(*ordinal, |claim| {
                    claim.peer_tls = *peer_tls;
                    claim.served |= served;
                    claim.unlabeled = false;
                });
            }
            Step::GrowClaim { ordinal, bytes } => {
                self.with_claim(*ordinal, |claim| claim.bytes = *bytes);
            }
            Step::Compact(_) | Step::DisarmNoSpace => {}
            Step::DisarmCorrupt(id) => self.stale_corrupt.retain(|stale| stale != id),
        }
    }

    fn begin(&mut self, members: u32, url: Option<String>) {
        self.status.bootstrap_members = i32::try_from(members).ok();
        self.status.discovery =
            url.map(|url| DiscoveryStatus { url: Some(url), ..DiscoveryStatus::default() });
    }

    fn own_claim(&mut self, ordinal: Ordinal) {
        let owned = self.owns_claims();
        self.with_claim(ordinal, |claim| claim.owned = owned);
    }

    /// Changes a claim, if it exists.
    pub(super) fn with_claim(&mut self, ordinal: Ordinal, change: impl FnOnce(&mut FakeClaim)) {
        self.claims.get_mut(&ordinal).map(change);
    }

    /// Creates the claim, if there is none, and the pod, which runs after up to 11 s. Sometimes creates only the claim.
    fn start(&mut self, ordinal: Ordinal, bootstrap: &Bootstrap, peer_tls: PeerTls, role: Role) {
        if self.spec.is_durable() {
            // Without a quorum, a learner's pod is created with the role of a voter.
            let learns = self.member(ordinal).is_some_and(|member| member.learner);
            let bytes = Storage::requested(self.spec.storage.as_ref()).bytes();
            let (owned, class) = (self.owns_claims(), self.class);
            let claim = self.claims.entry(ordinal).or_insert_with(|| FakeClaim {
                bytes: bytes.unwrap_or_default(),
                owned,
                class,
                ..FakeClaim::default()
            });
            claim.peer_tls = peer_tls;
            claim.served |= self.status.cluster_id.is_some();
            claim.voted |= role == Role::Voter && !learns;
            // The operator can crash after it has created the claim and before it creates the pod.
            if self.random.below(10) == 0 {
                return;
            }
        }
        let runs_at = self.now + self.random.seconds(12);
        self.pods.entry(ordinal).or_insert(FakePod {
            template: self.template,
            peer_tls,
            bootstrap: bootstrap.clone(),
            is_initial: bootstrap.forms_cluster(),
            role,
            gone_at: None,
            deleted_at: 0,
            cut: false,
            waits: self.missing_secret,
            exit: None,
            runs_at,
            broken: false,
            ended: false,
            obstacle: None,
            ready: false,
            ready_changed: self.now,
            data: None,
            certificate: match peer_tls {
                PeerTls::Off => Vec::new(),
                PeerTls::Ready | PeerTls::On => self.authority.of_members(),
            },
        });
    }

    /// Adds a learner, which needs up to 39 s to catch up.
    fn add(&mut self, ordinal: Ordinal, peer_tls: PeerTls) {
        self.next_id += 1;
        let caught_up_at = self.now + self.random.seconds(40);
        self.members.push(FakeMember {
            id: self.next_id,
            ordinal: Some(ordinal),
            https: peer_tls == PeerTls::On,
            started: false,
            learner: true,
            corrupt: false,
            caught_up_at,
        });
    }

    fn change(&mut self, id: MemberId, change: impl Fn(&mut FakeMember)) {
        self.members
            .iter_mut()
            .filter(|member| member.id == id)
            .for_each(change);
    }

    /// Removes a member, keeps its CORRUPT alarm, and elects a leader if needed.
    pub(super) fn remove(&mut self, id: MemberId) {
        let gone = self.members.iter().filter(|member| member.id == id);
        self.stale_corrupt
            .extend(gone.filter(|member| member.corrupt).map(|member| member.id));
        self.members.retain(|member| member.id != id);
        self.elect();
    }

    /// Deletes a pod, which terminates after up to 10 s, or never on a partitioned node.
    pub(super) fn delete_pod(&mut self, ordinal: Ordinal) {
        let at = self.now + 1 + self.random.seconds(10);
        if let Some(pod) = self
            .pods
            .get_mut(&ordinal)
            .filter(|pod| pod.gone_at.is_none())
        {
            // The kubelet of a partitioned node does not see the deletion.
            pod.gone_at = Some(if pod.cut { i64::MAX } else { at });
            pod.deleted_at = self.now;
        }
        self.elect();
        self.probe();
    }
}

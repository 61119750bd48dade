//! A fake cluster: pods, claims and members with just enough of raft to know the effect of a step. The invariants of
//! steps are in `judge`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use witan_crd::{
    DiscoveryStatus, EtcdClusterSpec, EtcdClusterStatus, RecoveryPhase, Storage, quorum,
};

use super::{authority::Authority, random::Random};
use crate::{
    model::{Bootstrap, MemberId, Observed, Obstacle, Ordinal, PeerTls, PodPlan, Role, Step, Stop},
    plan,
};

pub(super) const CLUSTER_ID: u64 = 0xc1;

#[derive(Clone, Debug)]
pub(super) struct FakePod {
    pub(super) template: u32,
    pub(super) peer_tls: PeerTls,
    pub(super) bootstrap: Bootstrap,
    pub(super) role: Role,
    pub(super) gone_at: Option<i64>,
    /// When its deletion began.
    pub(super) deleted_at: i64,
    /// Its node is cut off from the control plane: its process continues, whatever happens to the pod.
    pub(super) cut: bool,
    /// It was made while a secret was missing, and waits for it.
    pub(super) waits: bool,
    /// The exit code of its process.
    pub(super) exit: Option<i32>,
    pub(super) runs_at: i64,
    pub(super) broken: bool,
    pub(super) ended: bool,
    pub(super) obstacle: Option<Obstacle>,
    pub(super) ready: bool,
    pub(super) ready_changed: i64,
    /// The member whose data it holds, when there is no claim.
    pub(super) data: Option<MemberId>,
    /// The authority of its member's certificate, and the further ones that it trusts.
    pub(super) certificate: Vec<u32>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FakeClaim {
    pub(super) data: Option<MemberId>,
    pub(super) deleting: bool,
    pub(super) lost: bool,
    pub(super) retired: bool,
    /// It is marked as the disk of a cluster that has served.
    pub(super) served: bool,
    pub(super) held: bool,
    pub(super) remade: Option<i64>,
    /// Its member has had a vote.
    pub(super) voted: bool,
    /// A process that starts from it ends with exit code 27.
    pub(super) damaged: bool,
    pub(super) peer_tls: PeerTls,
    pub(super) bytes: u64,
}

#[derive(Clone, Debug)]
pub(super) struct FakeMember {
    pub(super) id: MemberId,
    pub(super) ordinal: Option<Ordinal>,
    pub(super) https: bool,
    pub(super) started: bool,
    pub(super) learner: bool,
    pub(super) corrupt: bool,
    pub(super) caught_up_at: i64,
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) now: i64,
    pub(super) spec: EtcdClusterSpec,
    pub(super) status: EtcdClusterStatus,
    pub(super) template: u32,
    /// A template with which processes end, and their exit code.
    pub(super) bad_template: Option<(u32, i32)>,
    pub(super) missing_secret: bool,
    pub(super) replace: Option<MemberId>,
    /// The member that the annotation lets go on alone.
    pub(super) recover: Option<Ordinal>,
    /// Steps that the API server refuses.
    pub(super) refuses: Option<fn(&Step) -> bool>,
    /// Refused steps, and until when each is not retried.
    pub(super) refused: Vec<(Step, i64)>,
    pub(super) pods: BTreeMap<Ordinal, FakePod>,
    pub(super) claims: BTreeMap<Ordinal, FakeClaim>,
    /// Empty until a majority of the first members has run.
    pub(super) members: Vec<FakeMember>,
    /// The members of the cluster on the disks that a restore has kept.
    pub(super) kept_members: Vec<FakeMember>,
    pub(super) leader: Option<MemberId>,
    pub(super) fenced: BTreeSet<Ordinal>,
    pub(super) stale_corrupt: Vec<MemberId>,
    pub(super) services: bool,
    pub(super) budget: Option<u32>,
    pub(super) authority: Authority,
    pub(super) next_id: MemberId,
    pub(super) taken: Vec<Step>,
}

impl World {
    pub(super) fn new(spec: EtcdClusterSpec, seed: u64) -> Self {
        Self {
            random: Random(seed),
            now: 1_000_000,
            spec,
            status: EtcdClusterStatus::default(),
            template: 0,
            bad_template: None,
            missing_secret: false,
            replace: None,
            recover: None,
            refuses: None,
            refused: Vec::new(),
            pods: BTreeMap::new(),
            claims: BTreeMap::new(),
            members: Vec::new(),
            kept_members: Vec::new(),
            leader: None,
            fenced: BTreeSet::new(),
            stale_corrupt: Vec::new(),
            services: false,
            budget: None,
            authority: Authority::default(),
            next_id: 5000,
            taken: Vec::new(),
        }
    }

    pub(super) fn plan(&self, seen: &Observed) -> Step {
        plan(&self.spec, &self.status, seen)
    }

    /// Whether any such step was taken.
    pub(super) fn took(&self, is: impl FnMut(&Step) -> bool) -> bool {
        self.taken.iter().any(is)
    }

    /// Runs one pass: plans a step, judges it and does it; returns the step.
    pub(super) fn pass(&mut self) -> Step {
        let seen = self.observe();
        let step = self.plan(&seen);
        self.judge(&step, &seen);
        self.taken.push(step.clone());
        self.refused.retain(|(other, _)| *other != step);
        if self.refuses.is_some_and(|refuses| refuses(&step)) {
            self.refused.push((step.clone(), self.now + 20));
        } else {
            self.act(&step);
        }
        self.report();
        step
    }

    /// Runs passes, some seconds apart, until `end` holds after one; returns `false` if that takes more than
    /// `passes`.
    pub(super) fn run(&mut self, passes: usize, end: impl Fn(&Self, &Step) -> bool) -> bool {
        for _ in 0..passes {
            let step = self.pass();
            if end(self, &step) {
                return true;
            }
            self.elapse(3);
        }
        false
    }

    pub(super) fn settle(&mut self) {
        let done = self.run(400, |_, step| *step == Step::Done);
        assert!(done, "the cluster settles: {:#?}", self.last());
    }

    pub(super) fn last(&self) -> Vec<&Step> {
        self.taken
            .iter()
            .rev()
            .filter(|s| !matches!(s, Step::Wait { .. }))
            .take(14)
            .collect()
    }

    pub(super) fn member(&self, ordinal: Ordinal) -> Option<&FakeMember> {
        let mut members = self.members.iter();
        members.find(|member| member.ordinal == Some(ordinal))
    }

    pub(super) fn disk(&self, ordinal: Ordinal) -> Option<MemberId> {
        if self.spec.is_durable() {
            self.claims.get(&ordinal).filter(|claim| !claim.lost)?.data
        } else {
            self.pods.get(&ordinal)?.data
        }
    }

    pub(super) fn runs(&self, ordinal: Ordinal) -> bool {
        self.pods.get(&ordinal).is_some_and(|pod| {
            let able = !pod.broken && !pod.ended && pod.obstacle.is_none() && !pod.waits;
            let there = pod.gone_at.is_none() || pod.cut;
            able && there && self.now >= pod.runs_at && self.exit(ordinal).is_none()
        })
    }

    /// The exit code of an ordinal's process.
    pub(super) fn exit(&self, ordinal: Ordinal) -> Option<i32> {
        let pod = self.pods.get(&ordinal)?;
        if pod.waits || pod.obstacle.is_some() || self.now < pod.runs_at {
            return None;
        }
        let bad = self.bad_template.filter(|(bad, _)| *bad == pod.template);
        let damaged = self.claims.get(&ordinal).is_some_and(|one| one.damaged);
        let damaged = (self.spec.is_durable() && damaged).then_some(27);
        // It does not start again from a disk that is empty.
        let started = self.member(ordinal).is_some_and(|member| member.started);
        let emptied =
            started && pod.bootstrap == Bootstrap::Restart && self.disk(ordinal).is_none();
        let emptied = (self.spec.is_durable() && emptied).then_some(1);
        pod.exit
            .or(bad.map(|(_, code)| code))
            .or(damaged)
            .or(emptied)
    }

    /// Whether a member's process runs on its own data.
    pub(super) fn answers(&self, member: &FakeMember) -> bool {
        member
            .ordinal
            .is_none_or(|ordinal| self.runs(ordinal) && self.disk(ordinal) == Some(member.id))
    }

    /// Whether a member's process runs on its own data and others can reach it.
    pub(super) fn serves(&self, member: &FakeMember) -> bool {
        let Some(ordinal) = member.ordinal else {
            return true;
        };
        let pod = self.pods.get(&ordinal);
        let tls = pod.is_some_and(|pod| (pod.peer_tls == PeerTls::On) == member.https);
        self.answers(member) && (tls || self.members.len() == 1)
    }

    pub(super) fn voters(&self) -> usize {
        self.members.iter().filter(|member| !member.learner).count()
    }

    pub(super) fn serving(&self) -> usize {
        let voters = self.members.iter().filter(|member| !member.learner);
        voters.filter(|voter| self.serves(voter)).count()
    }

    pub(super) fn has_quorum(&self) -> bool {
        !self.members.is_empty() && self.serving() >= quorum(self.voters())
    }

    /// Lets seconds pass: pods come and go, members start and elect.
    pub(super) fn elapse(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.now += 1;
            let now = self.now;
            self.pods
                .retain(|_, pod| pod.gone_at.is_none_or(|at| at > now));
            let pods: BTreeSet<_> = self.pods.keys().copied().collect();
            self.claims
                .retain(|ordinal, claim| !claim.deleting || pods.contains(ordinal));
            let missing = self.missing_secret;
            self.pods.values_mut().for_each(|pod| pod.waits &= missing);
            for ordinal in pods {
                self.boot(ordinal);
            }
            self.carry_secrets();
            self.elect();
            self.probe();
        }
    }

    fn boot(&mut self, ordinal: Ordinal) {
        if !self.runs(ordinal) {
            return;
        }
        if let Some(id) = self.disk(ordinal) {
            let forced = |pod: &FakePod| pod.bootstrap == Bootstrap::Forced;
            if self.pods.get(&ordinal).is_some_and(forced) {
                self.members.retain(|member| member.id == id);
            }
            return;
        }
        let quorate = self.has_quorum();
        let Some(pod) = self.pods.get(&ordinal) else {
            return;
        };
        let https = pod.peer_tls == PeerTls::On;
        let id = match &pod.bootstrap {
            Bootstrap::New { first, members } if self.members.is_empty() => {
                self.form(*first, *members, https);
                1000 + u64::from(ordinal)
            }
            Bootstrap::Discovery { .. } if self.members.is_empty() => {
                if !self.all_have_come() {
                    return;
                }
                let members = self.status.bootstrap_members.unwrap_or_default();
                self.form(0, u32::try_from(members).unwrap_or_default(), https);
                1000 + u64::from(ordinal)
            }
            Bootstrap::Join { members } if quorate => {
                let ids: BTreeSet<_> = members.iter().map(|member| member.id).collect();
                let now: BTreeSet<_> = self.members.iter().map(|member| member.id).collect();
                let own = self
                    .member(ordinal)
                    .filter(|own| !own.started && ids == now);
                let Some(own) = own else { return };
                own.id
            }
            Bootstrap::New { .. } | Bootstrap::Discovery { .. }
                if self.member(ordinal).is_some_and(|own| !own.started) =>
            {
                1000 + u64::from(ordinal)
            }
            Bootstrap::New { .. }
            | Bootstrap::Join { .. }
            | Bootstrap::Discovery { .. }
            | Bootstrap::Forced
            | Bootstrap::Restart => return,
        };
        self.write(ordinal, id);
    }

    fn write(&mut self, ordinal: Ordinal, id: MemberId) {
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            member.started = true;
        }
        if self.spec.is_durable() {
            if let Some(claim) = self.claims.get_mut(&ordinal) {
                claim.data = Some(id);
            }
        } else if let Some(pod) = self.pods.get_mut(&ordinal) {
            pod.data = Some(id);
        }
    }

    fn begin(&mut self, members: u32, url: Option<String>) {
        self.status.bootstrap_members = i32::try_from(members).ok();
        self.status.discovery =
            url.map(|url| DiscoveryStatus { url: Some(url), ..DiscoveryStatus::default() });
    }

    /// Whether as many members run as the discovery token is for.
    fn all_have_come(&self) -> bool {
        let come = self.pods.keys().filter(|ordinal| self.runs(**ordinal));
        i32::try_from(come.count()).ok() == self.status.bootstrap_members
    }

    /// Makes the first members of the cluster known to each other, once the first of them runs.
    fn form(&mut self, first: Ordinal, members: u32, https: bool) {
        assert!(self.status.cluster_id.is_none(), "a cluster begins once");
        self.members = (first..first + members)
            .map(|ordinal| FakeMember {
                id: 1000 + u64::from(ordinal),
                ordinal: Some(ordinal),
                https,
                started: false,
                learner: false,
                corrupt: false,
                caught_up_at: 0,
            })
            .collect();
    }

    pub(super) fn elect(&mut self) {
        let leads = |world: &Self, id| {
            let mut members = world.members.iter();
            members.any(|member| member.id == id && !member.learner && world.serves(member))
        };
        if !self.has_quorum() {
            self.leader = None;
        } else if self.leader.is_none_or(|id| !leads(self, id)) {
            let candidates: Vec<_> = self.members.iter().map(|member| member.id).collect();
            let candidates: Vec<_> = candidates
                .into_iter()
                .filter(|id| leads(self, *id))
                .collect();
            self.leader = self.random.pick(&candidates);
        }
    }

    /// Sets the readiness of pods as the kubelet would: of voters that serve and have a leader.
    pub(super) fn probe(&mut self) {
        let quorate = self.leader.is_some();
        let ordinals: Vec<_> = self.pods.keys().copied().collect();
        for ordinal in ordinals {
            let member = self.member(ordinal);
            let ready = member.is_some_and(|member| !member.learner && self.serves(member));
            let now = self.now;
            if let Some(pod) = self.pods.get_mut(&ordinal)
                && pod.ready != (ready && quorate && !pod.cut)
            {
                pod.ready = ready && quorate && !pod.cut;
                pod.ready_changed = now;
            }
        }
    }

    /// Writes the part of a pass's report that the next pass reads.
    fn report(&mut self) {
        if self.leader.is_some() {
            self.status.cluster_id = Some(format!("{CLUSTER_ID:x}"));
        }
        self.report_recovery();
        self.report_restore();
        self.report_silence();
        let corrupt = self.members.iter().any(|member| member.corrupt);
        if !corrupt {
            self.status.conditions.clear();
        } else if self.status.conditions.is_empty() {
            let since = jiff::Timestamp::from_second(self.now).unwrap_or_default();
            self.status.conditions.push(Condition {
                type_: "AlarmActive".to_owned(),
                status: "True".to_owned(),
                reason: "Raised".to_owned(),
                message: String::new(),
                last_transition_time: Time(since),
                observed_generation: None,
            });
        }
    }

    /// Does what a step says, as the API server and the members would.
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
            Step::AddLearner { ordinal, peer_tls } => self.add(*ordinal, *peer_tls),
            Step::Promote(id) => self.change(*id, |member| member.learner = false),
            Step::LabelPod { ordinal, role } => {
                if let Some(pod) = self.pods.get_mut(ordinal) {
                    pod.role = *role;
                }
                if let Some(claim) = self.claims.get_mut(ordinal) {
                    claim.voted |= *role == Role::Voter;
                }
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
            Step::ApplyClaim { ordinal, peer_tls } => {
                let served = self.status.cluster_id.is_some();
                self.with_claim(*ordinal, |claim| {
                    claim.peer_tls = *peer_tls;
                    claim.served |= served;
                });
            }
            Step::GrowClaim { ordinal, bytes } => {
                self.with_claim(*ordinal, |claim| claim.bytes = *bytes);
            }
            Step::Compact(_) | Step::DisarmNoSpace => {}
            Step::DisarmCorrupt(id) => self.stale_corrupt.retain(|stale| stale != id),
        }
    }

    fn with_claim(&mut self, ordinal: Ordinal, change: impl FnOnce(&mut FakeClaim)) {
        self.claims.get_mut(&ordinal).map(change);
    }

    fn start(&mut self, ordinal: Ordinal, bootstrap: &Bootstrap, peer_tls: PeerTls, role: Role) {
        if self.spec.is_durable() {
            let bytes = Storage::requested(self.spec.storage.as_ref()).bytes();
            let claim = self.claims.entry(ordinal).or_insert_with(|| FakeClaim {
                bytes: bytes.unwrap_or_default(),
                ..FakeClaim::default()
            });
            claim.peer_tls = peer_tls;
            claim.served |= self.status.cluster_id.is_some();
            claim.voted |= role == Role::Voter;
            // The operator ends between two calls.
            if self.random.below(10) == 0 {
                return;
            }
        }
        let runs_at = self.now + self.random.seconds(12);
        self.pods.entry(ordinal).or_insert(FakePod {
            template: self.template,
            peer_tls,
            bootstrap: bootstrap.clone(),
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

    pub(super) fn remove(&mut self, id: MemberId) {
        let gone = self.members.iter().filter(|member| member.id == id);
        self.stale_corrupt
            .extend(gone.filter(|member| member.corrupt).map(|member| member.id));
        self.members.retain(|member| member.id != id);
        self.elect();
    }

    pub(super) fn delete_pod(&mut self, ordinal: Ordinal) {
        let at = self.now + 1 + self.random.seconds(10);
        if let Some(pod) = self
            .pods
            .get_mut(&ordinal)
            .filter(|pod| pod.gone_at.is_none())
        {
            // A node that is cut off does not hear of it.
            pod.gone_at = Some(if pod.cut { i64::MAX } else { at });
            pod.deleted_at = self.now;
        }
        self.elect();
        self.probe();
    }
}

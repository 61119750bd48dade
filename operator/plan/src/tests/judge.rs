//! Invariants of every step in every observed state.

use witan_crd::{RecoveryPhase, quorum};

use super::world::{FakeMember, World};
use crate::model::{Bootstrap, MemberId, Observed, Ordinal, PeerTls, PodPlan, Removal, Step, Stop};

impl World {
    /// Asserts that the plan is pure, and that the step is safe in the observed state.
    pub(super) fn judge(&self, step: &Step, seen: &Observed) {
        let again = self.plan(seen);
        assert_eq!(again, *step, "the plan is a pure function");
        self.judge_order(step, seen);
        match step {
            Step::AddLearner { ordinal, .. } => self.judge_learner(step, *ordinal),
            Step::Promote(id) => {
                let learner = self.members.iter().find(|member| member.id == *id);
                let ready =
                    learner.is_some_and(|one| self.serves(one) && self.now >= one.caught_up_at);
                assert!(ready, "the learner has caught up: {step:?}");
            }
            Step::RemoveMember { id, reason } => {
                self.judge_removal(step, *id, *reason);
                self.judge_evidence(step, *id, *reason, seen);
            }
            Step::DeletePod { ordinal, reason } => {
                if let Some(member) = self.member(*ordinal) {
                    self.judge_stop(step, member.id, *reason);
                }
            }
            Step::RetireClaim { held: false, .. } | Step::ReviveClaim(_) if self.stops_all() => {
                assert!(self.pods.is_empty(), "no member runs: {step:?}");
            }
            Step::ReviveClaim(_) => panic!("only a restore uses a disk again: {step:?}"),
            Step::BeginRestored { .. } | Step::ReturnToDisks => self.judge_exchange(step),
            Step::DeleteClaim(ordinal) | Step::RetireClaim { ordinal, .. } => {
                self.judge_claim_removal(step, *ordinal);
            }
            Step::StartMember(PodPlan { ordinal, bootstrap, peer_tls, .. }) => {
                self.judge_start(step, *ordinal, bootstrap);
                self.judge_tls(*peer_tls);
            }
            Step::MoveLeader { from, to } => {
                assert_eq!(Some(*from), self.leader, "from is the leader: {step:?}");
                let to = self.members.iter().find(|member| member.id == *to);
                let able = to.is_some_and(|to| !to.learner && self.serves(to));
                assert!(able, "the new leader is a serving voter: {step:?}");
            }
            Step::UpdatePeerUrl { id, .. } => {
                let member = self.members.iter().find(|member| member.id == *id);
                if !member.is_some_and(|member| self.must_go(member)) {
                    self.all_serve(step);
                }
            }
            Step::RotateAuthority(_) => self.judge_rotation(step),
            // These steps change neither members nor their data.
            Step::Done
            | Step::Wait { .. }
            | Step::ApplyServices
            | Step::ApplyBudget(_)
            | Step::IssueCertificate(_)
            | Step::RequestCertificate(_)
            | Step::OwnCertificate(_)
            | Step::BeginBootstrap { .. }
            | Step::BeginRecovery(_)
            | Step::CreateDiscoveryToken(_)
            | Step::LabelPod { .. }
            | Step::OwnClaim(_)
            | Step::ApplyClaim { .. }
            | Step::GrowClaim { .. }
            | Step::DisarmCorrupt(_)
            | Step::Compact(_)
            | Step::DisarmNoSpace
            | Step::EnableAuth
            | Step::DisableAuth => {}
        }
    }

    /// Asserts that ownership of claims comes first, and that a fork stops everything else.
    fn judge_order(&self, step: &Step, seen: &Observed) {
        let mut claims = seen.claims();
        assert!(
            matches!(step, Step::OwnClaim(_)) || !claims.any(|claim| claim.other_owner),
            "no state delays the retention policy: {step:?}"
        );
        let mut forked = seen.membership.iter().flat_map(|list| list.forked());
        let is_forked = forked.any(|at| seen.pod(at).is_some_and(|pod| !pod.deleting));
        assert!(
            !is_forked || !step.acts() || matches!(step, Step::OwnClaim(_)) || self.stops_all(),
            "nothing is changed in a cluster with two histories: {step:?}"
        );
    }

    /// Asserts that the claim belongs to no member, and that a disk with the data of a voter is not deleted while voters are
    /// missing.
    fn judge_claim_removal(&self, step: &Step, ordinal: Ordinal) {
        assert!(self.has_quorum(), "a quorum confirms the list: {step:?}");
        assert!(
            self.member(ordinal).is_none(),
            "the claim belongs to no member: {step:?}"
        );
        let claim = self.claims.get(&ordinal);
        let of_use = claim.is_some_and(|claim| claim.voted && !claim.lost);
        let deletes = matches!(step, Step::DeleteClaim(_));
        let wanted = usize::try_from(self.spec.members()).unwrap_or_default();
        assert!(
            !deletes || !of_use || self.voters() >= wanted,
            "a disk is kept until another member votes: {step:?}"
        );
    }

    /// Asserts that the learner is the only one, and that its ordinal has no member, claim or pod.
    fn judge_learner(&self, step: &Step, ordinal: Ordinal) {
        let learner = self.members.iter().any(|member| member.learner);
        assert!(!learner, "one learner at a time: {step:?}");
        let free = self.member(ordinal).is_none();
        assert!(free, "the ordinal is free: {step:?}");
        let fresh = !self.claims.contains_key(&ordinal) && !self.pods.contains_key(&ordinal);
        assert!(fresh, "no disk of another member is used again: {step:?}");
        if !self.members.iter().any(|member| self.must_go(member)) {
            self.all_serve(step);
        }
    }

    /// Returns whether the user requested a member's replacement or deleted its claim.
    fn must_go(&self, member: &FakeMember) -> bool {
        let claim = member.ordinal.and_then(|at| self.claims.get(&at));
        self.replace == Some(member.id) || claim.is_some_and(|claim| claim.deleting)
    }

    /// Asserts that a pod may start: no second pod, no retired claim, no second bootstrap, and no start that a fence or
    /// recovery forbids.
    fn judge_start(&self, step: &Step, ordinal: Ordinal, bootstrap: &Bootstrap) {
        assert!(
            !self.pods.contains_key(&ordinal),
            "the ordinal has no pod yet: {step:?}"
        );
        assert!(
            !self.fenced.contains(&ordinal),
            "a fenced member stays down: {step:?}"
        );
        if *bootstrap == Bootstrap::Forced {
            self.judge_alone(step, ordinal);
        } else {
            assert!(
                !self.recovers() || self.has_quorum(),
                "no other member starts next to the survivor: {step:?}"
            );
        }
        let claim = self.claims.get(&ordinal);
        assert!(
            !claim.is_some_and(|claim| claim.retired),
            "no member starts from a disk that was set aside: {step:?}"
        );
        assert!(
            !self.stops_all(),
            "no pod starts while a restore stops all: {step:?}"
        );
        let first = matches!(bootstrap, Bootstrap::New { .. });
        let born = self.status.cluster_id.is_some();
        assert!(!(first && born), "a cluster is bootstrapped once: {step:?}");
    }

    fn recovers(&self) -> bool {
        let recovery = self.status.recovery.as_ref();
        recovery.is_some_and(|recovery| recovery.phase == RecoveryPhase::Running)
    }

    /// Asserts that a recovery with this survivor is recorded and no other pod is left, because two pods could form a quorum.
    fn judge_alone(&self, step: &Step, survivor: Ordinal) {
        let recorded = self.status.recovery.as_ref().map(|one| one.member.clone());
        assert!(self.recovers(), "the user has requested it: {step:?}");
        assert_eq!(recorded, Some(format!("world-{survivor}")), "{step:?}");
        let pod = self.pods.keys().find(|ordinal| **ordinal != survivor);
        assert_eq!(pod, None, "the other members' pods have ended: {step:?}");
    }

    /// Asserts that all members serve, including learners.
    pub(super) fn all_serve(&self, step: &Step) {
        let down = self.members.iter().find(|member| !self.serves(member));
        assert!(
            down.is_none(),
            "all serve before a planned change: {step:?}, {down:?}"
        );
    }

    /// Asserts that a member that listens only with TLS never runs together with a member that cannot connect with TLS.
    fn judge_tls(&self, starting: PeerTls) {
        let pods = self.pods.values().filter(|pod| pod.gone_at.is_none());
        let clear =
            starting == PeerTls::Off || pods.map(|pod| pod.peer_tls).any(|tls| tls == PeerTls::Off);
        // If no member answers, the records on the claims decide. These records can lag one step behind.
        let known = self.members.iter().any(|member| self.serves(member));
        let https = self.members.iter().any(|member| member.https);
        assert!(
            !(clear && https && known),
            "no pod without a certificate runs next to TLS members: {:#?}",
            self.observe()
        );
    }

    /// Asserts that a quorum serves and, for a voter, that the other voters keep one. Only a corrupt voter that answers may be
    /// removed before its replacement votes.
    fn judge_removal(&self, step: &Step, id: MemberId, reason: Removal) {
        assert!(self.has_quorum(), "a change needs a quorum: {step:?}");
        let Some(member) = self.members.iter().find(|member| member.id == id) else {
            return;
        };
        if member.learner {
            return;
        }
        let others = self.others_serving(id);
        let left = self.voters() - 1;
        assert!(
            left > 0 && others >= quorum(left),
            "the other voters keep a quorum: {step:?}"
        );
        let needed = (self.spec.members() as usize).min(self.serving());
        assert!(
            reason == Removal::Corrupt || !self.answers(member) || left >= needed,
            "a replacement votes before a member that answers is removed: {step:?}"
        );
        assert!(self.leader != Some(id), "no leader is removed: {step:?}");
        if reason != Removal::ScaleIn {
            let learner = self.members.iter().any(|member| member.learner);
            assert!(!learner, "one change at a time: {step:?}");
        }
    }

    /// Asserts that the reason for the removal of a voter is true, and that the voter is silent unless the reason allows
    /// otherwise. A scale-in first gives a silent voter with an intact disk time to recover.
    fn judge_evidence(&self, step: &Step, id: MemberId, reason: Removal, seen: &Observed) {
        let member = self.members.iter().find(|member| member.id == id);
        let Some(member) = member.filter(|member| !member.learner) else {
            return;
        };
        let Some(ordinal) = member.ordinal else {
            return;
        };
        let claim = self.claims.get(&ordinal);
        let asked = claim.is_some_and(|claim| claim.deleting);
        let mut ordinals = self.members.iter().filter_map(|member| member.ordinal);
        let highest = ordinals.all(|other| other <= ordinal);
        let silent = match reason {
            Removal::Requested | Removal::Corrupt | Removal::Ephemeral => return,
            Removal::LearnerOnOldClaim | Removal::StuckLearner => {
                panic!("only a learner is removed for this: {step:?}")
            }
            Removal::Migrated => {
                let migrates = claim.is_some_and(|claim| claim.class != self.class);
                assert!(migrates, "its claim has another storage class: {step:?}");
                self.all_serve(step);
                return;
            }
            Removal::ScaleIn => !highest && !asked,
            Removal::Silent | Removal::BadDisk | Removal::DiskLost | Removal::NodeLost => {
                let spare = self.voters() > self.spec.members() as usize;
                assert!(
                    spare || !self.missing_secret,
                    "a replacement can start: {step:?}"
                );
                !asked
            }
        };
        assert!(
            !silent || !self.answers(member),
            "a member that answers is never removed: {step:?}"
        );
        let whole = claim.is_some_and(|claim| {
            !claim.lost && !claim.deleting && !claim.retired && claim.data == Some(id)
        });
        assert!(
            reason != Removal::DiskLost || !whole,
            "its disk is lost: {step:?}"
        );
        let damaged = claim.is_some_and(|claim| claim.damaged || claim.data.is_none());
        let damaged = damaged && self.spec.is_durable();
        assert!(
            reason != Removal::BadDisk || damaged,
            "its disk is bad: {step:?}"
        );
        let durable = self.spec.is_durable();
        assert!(
            reason != Removal::Silent || !durable,
            "silence alone costs no disk: {step:?}"
        );
        let timed = reason == Removal::Silent || (reason == Removal::ScaleIn && !highest);
        let pod = seen.ordinals.get(&ordinal).and_then(|at| at.pod.as_ref());
        let healing = self.spec.self_healing();
        let patience = healing.unhealthy_after.seconds();
        let had_its_time =
            pod.is_some_and(|pod| !pod.ready && seen.now - pod.ready_changed >= patience);
        assert!(
            !timed || had_its_time || !self.keeps_its_disk(ordinal),
            "a member gets time to recover: {step:?}"
        );
        if reason == Removal::NodeLost {
            self.judge_node_lost(step, id, seen);
        }
    }

    /// Asserts that the member has been silent for `nodeLostAfter` while an operator was active.
    fn judge_node_lost(&self, step: &Step, id: MemberId, seen: &Observed) {
        let patience = self
            .spec
            .self_healing()
            .node_lost_after
            .map(|span| span.seconds());
        let known = self.status.members.iter();
        let since = known
            .filter(|known| known.id == Some(format!("{id:x}")))
            .find_map(|known| known.silent_since.as_ref());
        let silent = since.map(|since| seen.now - since.0.as_second().max(seen.acting_since));
        assert!(
            patience.is_some() && silent >= patience,
            "the node is silent for nodeLostAfter: {step:?}"
        );
    }

    /// Asserts that stopping a serving voter leaves a quorum, unless there are fewer than three voters, and that a leader first
    /// transfers leadership. Accepts every stop for a hibernation, and every stop while there is no quorum.
    fn judge_stop(&self, step: &Step, id: MemberId, reason: Stop) {
        if reason == Stop::Restore {
            assert!(self.stops_all(), "the user has requested it: {step:?}");
            return;
        }
        if reason == Stop::Hibernated || !self.has_quorum() {
            return;
        }
        let member = self.members.iter().find(|member| member.id == id);
        if member.is_none_or(|member| member.learner || !self.serves(member)) {
            return;
        }
        let enough = self.others_serving(id) >= quorum(self.voters());
        let small = self.voters() <= 2 && reason != Stop::Fenced;
        assert!(enough || small, "a stop leaves a quorum: {step:?}");
        let alone = self.others_serving(id) == 0;
        assert!(
            self.leader != Some(id) || alone,
            "a leader transfers leadership first: {step:?}"
        );
    }

    fn others_serving(&self, id: MemberId) -> usize {
        let voters = self
            .members
            .iter()
            .filter(|member| !member.learner && member.id != id);
        voters.filter(|voter| self.serves(voter)).count()
    }
}

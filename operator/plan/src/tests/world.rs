//! A fake cluster: pods, claims and members with just enough of Raft to show the effect of a step. `life` contains the events
//! of the cluster, `effects` the effects of steps, and `judge` the invariants of steps.

use std::collections::{BTreeMap, BTreeSet};

use witan_crd::{EtcdClusterSpec, EtcdClusterStatus, Retention, quorum};

use super::{authority::Authority, random::Random, why};
use crate::{
    model::{Bootstrap, MemberId, Observed, Obstacle, Ordinal, PeerTls, Role, Step, Why},
    plan,
};

pub(super) const CLUSTER_ID: u64 = 0xc1;

#[derive(Clone, Debug)]
pub(super) struct FakePod {
    pub(super) template: u32,
    pub(super) peer_tls: PeerTls,
    pub(super) bootstrap: Bootstrap,
    pub(super) is_initial: bool,
    pub(super) role: Role,
    pub(super) gone_at: Option<i64>,
    pub(super) deleted_at: i64,
    /// Whether the node is partitioned from the control plane. The process keeps running, even if the pod is deleted.
    pub(super) cut: bool,
    /// Whether the pod was created while a secret was missing and is waiting for the secret.
    pub(super) waits: bool,
    pub(super) exit: Option<i32>,
    pub(super) runs_at: i64,
    pub(super) broken: bool,
    pub(super) ended: bool,
    pub(super) obstacle: Option<Obstacle>,
    pub(super) ready: bool,
    pub(super) ready_changed: i64,
    /// The member whose data the pod holds, if there is no claim.
    pub(super) data: Option<MemberId>,
    /// The CA of the member's certificate, followed by the other CAs that the member trusts.
    pub(super) certificate: Vec<u32>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FakeClaim {
    pub(super) data: Option<MemberId>,
    pub(super) deleting: bool,
    pub(super) lost: bool,
    pub(super) retired: bool,
    pub(super) served: bool,
    pub(super) held: bool,
    /// Whether the cluster owns the claim, so that both are deleted together.
    pub(super) owned: bool,
    pub(super) remade: Option<i64>,
    /// Whether the claim's member has had a vote.
    pub(super) voted: bool,
    /// Whether a process that starts from the claim exits with code 27.
    pub(super) damaged: bool,
    pub(super) peer_tls: PeerTls,
    pub(super) bytes: u64,
    /// Whether the claim has lost its labels. Only a pod that mounts the claim shows that the claim belongs to the cluster.
    pub(super) unlabeled: bool,
    pub(super) class: u32,
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

#[derive(Default)]
pub(super) struct World {
    pub(super) random: Random,
    pub(super) now: i64,
    pub(super) acting_since: i64,
    pub(super) spec: EtcdClusterSpec,
    pub(super) status: EtcdClusterStatus,
    pub(super) template: u32,
    pub(super) class: u32,
    /// A pod whose member serves with another quorum.
    pub(super) forked: Option<Ordinal>,
    /// A template with which processes exit, and their exit code.
    pub(super) bad_template: Option<(u32, i32)>,
    pub(super) missing_secret: bool,
    pub(super) replace: Option<MemberId>,
    pub(super) recover: Option<Ordinal>,
    pub(super) refuses: Option<fn(&Step) -> bool>,
    /// Refused steps and the time until which each is not retried.
    pub(super) refused: Vec<(Step, i64)>,
    pub(super) pods: BTreeMap<Ordinal, FakePod>,
    pub(super) claims: BTreeMap<Ordinal, FakeClaim>,
    /// The members; empty until an initial member runs or, with discovery, until all of them run.
    pub(super) members: Vec<FakeMember>,
    /// The members of the cluster on the disks that a restore kept.
    pub(super) kept_members: Vec<FakeMember>,
    pub(super) leader: Option<MemberId>,
    pub(super) level: Option<u32>,
    pub(super) fenced: BTreeSet<Ordinal>,
    pub(super) stale_corrupt: Vec<MemberId>,
    /// Whether the members' data differs and no majority agrees.
    pub(super) undecided: bool,
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
            next_id: 5000,
            ..Self::default()
        }
    }

    pub(super) fn plan(&self, seen: &Observed) -> Step {
        plan(&self.spec, &self.status, seen)
    }

    pub(super) fn took(&self, is: impl FnMut(&Step) -> bool) -> bool {
        self.taken.iter().any(is)
    }

    /// Runs one pass: plans a step, judges it, applies it unless it is refused, updates the status, and returns the step.
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

    /// Runs passes, three seconds apart, until `end` returns true. Returns `false` if that takes more than `passes` passes.
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

    /// Like [`Self::run`], but fails if `end` returns true in none of the passes.
    #[track_caller]
    pub(super) fn until(&mut self, passes: usize, end: impl Fn(&Self, &Step) -> bool) {
        assert!(self.run(passes, end), "{:#?}", self.last());
    }

    /// Runs passes and asserts that none of them takes a step for which `is` returns true.
    #[track_caller]
    pub(super) fn never(&mut self, passes: usize, is: impl Fn(&Step) -> bool) {
        let taken = self.run(passes, |_, step| is(step));
        assert!(!taken, "{:#?}", self.last());
    }

    /// Runs one pass and asserts that it waits for this reason.
    #[track_caller]
    pub(super) fn waits_for(&mut self, expected: &Why) {
        let step = self.pass();
        assert_eq!(why(&step), Some(expected), "{step:?} {:?}", self.last());
    }

    #[track_caller]
    pub(super) fn settle(&mut self) {
        self.until(400, |_, step| *step == Step::Done);
    }

    /// Returns the last 14 steps that were not waits, newest first.
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

    /// Returns the member whose data the claim holds, or the pod if the spec has no claims. Returns `None` if there is no data
    /// or the volume is lost.
    pub(super) fn disk(&self, ordinal: Ordinal) -> Option<MemberId> {
        if self.spec.is_durable() {
            self.claims.get(&ordinal).filter(|claim| !claim.lost)?.data
        } else {
            self.pods.get(&ordinal)?.data
        }
    }

    /// Returns whether a pod's process runs. On a partitioned node, it also runs after the deletion of the pod.
    pub(super) fn runs(&self, ordinal: Ordinal) -> bool {
        self.pods.get(&ordinal).is_some_and(|pod| {
            let able = !pod.broken && !pod.ended && pod.obstacle.is_none() && !pod.waits;
            let there = pod.gone_at.is_none() || pod.cut;
            able && there && self.now >= pod.runs_at && self.exit(ordinal).is_none()
        })
    }

    /// Returns the code with which a pod's process exits; `None` if it does not exit or cannot start.
    pub(super) fn exit(&self, ordinal: Ordinal) -> Option<i32> {
        let pod = self.pods.get(&ordinal)?;
        if pod.waits || pod.obstacle.is_some() || self.now < pod.runs_at {
            return None;
        }
        let bad = self.bad_template.filter(|(bad, _)| *bad == pod.template);
        let damaged = self.claims.get(&ordinal).is_some_and(|one| one.damaged);
        let damaged = (self.spec.is_durable() && damaged).then_some(27);
        // A member that has started does not restart from an empty disk.
        let started = self.member(ordinal).is_some_and(|member| member.started);
        let emptied =
            started && pod.bootstrap == Bootstrap::Restart && self.disk(ordinal).is_none();
        let emptied = (self.spec.is_durable() && emptied).then_some(35);
        pod.exit
            .or(bad.map(|(_, code)| code))
            .or(damaged)
            .or(emptied)
    }

    /// Returns whether a member's process runs on its own data.
    pub(super) fn answers(&self, member: &FakeMember) -> bool {
        member
            .ordinal
            .is_none_or(|ordinal| self.runs(ordinal) && self.disk(ordinal) == Some(member.id))
    }

    /// Returns whether a member's process runs on its own data and can be reached by the other voters, if there are any.
    pub(super) fn serves(&self, member: &FakeMember) -> bool {
        let Some(ordinal) = member.ordinal else {
            return true;
        };
        let pod = self.pods.get(&ordinal);
        let tls = pod.is_some_and(|pod| (pod.peer_tls == PeerTls::On) == member.https);
        self.answers(member) && (tls || (!member.learner && self.voters() == 1))
    }

    pub(super) fn owns_claims(&self) -> bool {
        self.spec.claim_retention().when_deleted == Retention::Delete
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

    /// Writes the parts of the report that the next pass reads.
    fn report(&mut self) {
        if self.leader.is_some() {
            self.status.cluster_id = Some(format!("{CLUSTER_ID:x}"));
        }
        self.report_recovery();
        self.report_restore();
        self.report_members();
    }
}

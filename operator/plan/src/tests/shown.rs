//! The observation of the fake cluster.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use witan_crd::MemberStatus;

use super::world::{CLUSTER_ID, FakeClaim, FakePod, World};
use crate::model::{
    BudgetSeen, ClaimSeen, ClusterReport, Holder, MemberSeen, Membership, ObjectState, Observed,
    Obstacle, Ordinal, OrdinalSeen, Part, PodPhase, PodSeen, Refusal,
};

impl World {
    /// Returns the observation of the cluster. A claim without labels is observed only if its pod exists; otherwise, its name
    /// is taken.
    pub(super) fn observe(&self) -> Observed {
        let mut ordinals: BTreeMap<Ordinal, OrdinalSeen> = BTreeMap::new();
        for (ordinal, pod) in &self.pods {
            ordinals.entry(*ordinal).or_default().pod = Some(self.pod_seen(*ordinal, pod));
        }
        let is_shown =
            |at: &Ordinal, claim: &FakeClaim| !claim.unlabeled || self.pods.contains_key(at);
        let shown = self.claims.iter().filter(|(at, claim)| is_shown(at, claim));
        let hidden = self
            .claims
            .iter()
            .filter(|(at, claim)| !is_shown(at, claim));
        let holder =
            |ordinal: &Ordinal| Holder { object: format!("data-{ordinal}"), ending: false };
        let taken = hidden
            .map(|(at, _)| (Part::Claim(*at), holder(at)))
            .collect();
        for (ordinal, claim) in shown {
            ordinals.entry(*ordinal).or_default().claim = Some(self.claim_seen(*ordinal, claim));
        }
        let state = |there: bool| {
            if there {
                ObjectState::Current
            } else {
                ObjectState::Missing
            }
        };
        let mut seen = Observed {
            now: self.now,
            acting_since: self.acting_since,
            generation: 1,
            ordinals,
            taken,
            membership: self.membership(),
            client_service: state(self.services),
            peer_service: state(self.services),
            budget: self.budget.map(|number| BudgetSeen {
                min_available: Some(number),
                state: ObjectState::Current,
            }),
            wanted_version: self.spec.version.clone(),
            fenced: self.fenced.clone(),
            replace: self.replace,
            recover: self.recover,
            missing_secrets: BTreeSet::from_iter(self.missing_secret.then(|| "tls".to_owned())),
            refused: self.refusals(),
            auth_enabled: self.leader.is_some().then_some(false),
            ..Observed::default()
        };
        if self.spec.tls.is_some() {
            self.authority.show(&mut seen);
        }
        seen
    }

    fn claim_seen(&self, ordinal: Ordinal, claim: &FakeClaim) -> ClaimSeen {
        let unserved = self.status.cluster_id.is_some() && !claim.served;
        ClaimSeen {
            deleting: claim.deleting,
            overdue: claim.deleting && self.pods.get(&ordinal).is_some_and(|pod| self.is_late(pod)),
            lost: claim.lost,
            retired: claim.retired,
            held: claim.held,
            remade: claim.remade,
            peer_tls: claim.peer_tls,
            requested_bytes: claim.bytes,
            served: claim.served,
            other_owner: claim.owned != self.owns_claims(),
            must_migrate: claim.class != self.class,
            state: match claim.unlabeled || unserved {
                true => ObjectState::Outdated,
                false => ObjectState::Current,
            },
            ..ClaimSeen::default()
        }
    }

    fn refusals(&self) -> Vec<Refusal> {
        let refused = self.refused.iter().map(|(step, until)| Refusal {
            step: step.clone(),
            held: self.now < *until,
            idle: false,
            said: "no".to_owned(),
        });
        refused.collect()
    }

    fn is_late(&self, pod: &FakePod) -> bool {
        pod.gone_at.is_some() && self.now - pod.deleted_at >= 60
    }

    fn pod_seen(&self, ordinal: Ordinal, pod: &FakePod) -> PodSeen {
        // For some nodes, the only visible sign is that the pod is unready.
        let away = pod.cut && self.runs(ordinal) && ordinal % 2 == 1;
        let away = away.then_some(Obstacle::NodeNotReady);
        PodSeen {
            deleting: pod.gone_at.is_some(),
            overdue: self.is_late(pod),
            phase: match (pod.ended, pod.obstacle.is_some() || pod.waits) {
                (true, _) => PodPhase::Ended,
                (false, true) => PodPhase::Pending,
                (false, false) => PodPhase::Running,
            },
            ready: pod.ready,
            ready_changed: pod.ready_changed,
            obstacle: pod.obstacle.or(away),
            said: None,
            running: self.runs(ordinal),
            exit: self.exit(ordinal),
            template: format!("{} {:?}", pod.template, pod.peer_tls),
            outdated: pod.template != self.template,
            refused: None,
            peer_tls: pod.peer_tls,
            start: pod.bootstrap.kind(),
            is_initial: pod.is_initial,
            role: pod.role,
            version: Some("0.1.0".to_owned()),
        }
    }

    /// Returns the member list; `None` if no member serves. A learner that has not caught up has 1% of the log.
    fn membership(&self) -> Option<Membership> {
        if !self.members.iter().any(|member| self.serves(member)) {
            return None;
        }
        let members = self.members.iter().map(|member| MemberSeen {
            id: member.id,
            name: member
                .ordinal
                .map(|ordinal| format!("c-{ordinal}"))
                .unwrap_or_default(),
            ordinal: member.ordinal,
            peer_urls: vec![format!("http{}://m", if member.https { "s" } else { "" })],
            started: member.started,
            learner: member.learner,
            answers: self.answers(member),
            healthy: self.serves(member) && self.leader.is_some() && !member.corrupt,
            version: Some("3.7.3".to_owned()),
            raft_index: if self.now >= member.caught_up_at {
                1000
            } else {
                10
            },
            revision: 1,
            corrupt: member.corrupt,
            ..MemberSeen::default()
        });
        Some(Membership {
            cluster_id: CLUSTER_ID,
            reports: self.reports(),
            listed_by_others: BTreeSet::new(),
            linearizable: self.leader.is_some(),
            leader: self.leader,
            level: self.level,
            stale_corrupt: self.stale_corrupt.iter().copied().collect(),
            foreign_no_space: BTreeSet::new(),
            undecided: self.undecided,
            members: members.collect(),
        })
    }

    fn reports(&self) -> BTreeMap<Ordinal, ClusterReport> {
        let forked = self.forked.filter(|_| self.leader.is_some());
        let forked = forked.filter(|ordinal| self.runs(*ordinal));
        let report = ClusterReport {
            cluster_id: CLUSTER_ID,
            forked: true,
            ..ClusterReport::default()
        };
        forked
            .map(|ordinal| (ordinal, report))
            .into_iter()
            .collect()
    }

    /// Records when each member became silent while other members serve, and when it became corrupt. Forgets all members if
    /// none serves.
    pub(super) fn report_members(&mut self) {
        let before = std::mem::take(&mut self.status.members);
        if !self.members.iter().any(|member| self.serves(member)) {
            return;
        }
        let shown = self.members.iter().map(|member| {
            let id = Some(format!("{:x}", member.id));
            let known = before.iter().find(|known| known.id == id).cloned();
            let known = known.unwrap_or_default();
            let now = Time(jiff::Timestamp::from_second(self.now).unwrap_or_default());
            let silent = known.silent_since.unwrap_or_else(|| now.clone());
            let corrupt = known.corrupt_since.unwrap_or(now);
            MemberStatus {
                id,
                ordinal: member
                    .ordinal
                    .and_then(|ordinal| i32::try_from(ordinal).ok()),
                silent_since: (!self.answers(member)).then_some(silent),
                corrupt_since: member.corrupt.then_some(corrupt),
                is_learner: member.learner,
                ..MemberStatus::default()
            }
        });
        self.status.members = shown.collect();
    }
}

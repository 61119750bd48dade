//! A cluster is restored in place or returns to the disks that a restore kept.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use witan_crd::{RestorePhase, RestorePoint, RestoreStatus};

use super::{
    cases::{break_pods, cluster, started, stopped},
    properties,
    world::World,
};
use crate::model::{Bootstrap, Ordinal, PodPlan, Step};

const CASES: u64 = 300;

impl World {
    /// Updates the restore in the status, as the controller's `report` does.
    pub(super) fn report_restore(&mut self) {
        if let Some(restore) = &mut self.status.restore
            && restore.phase == RestorePhase::Starting
            && self.leader.is_some()
        {
            restore.phase = RestorePhase::Done;
        }
    }

    pub(super) fn stops_all(&self) -> bool {
        self.phase() == Some(RestorePhase::Stopping)
    }

    fn phase(&self) -> Option<RestorePhase> {
        Some(self.status.restore.as_ref()?.phase.clone())
    }

    /// Records the start of new members and sets the members of the stopped cluster aside.
    pub(super) fn begin_restored(&mut self, first: Ordinal, members: u32) {
        self.kept_members = std::mem::take(&mut self.members);
        (self.leader, self.status.cluster_id) = (None, None);
        self.status.discovery = None;
        self.status.bootstrap_members = i32::try_from(members).ok();
        if let Some(restore) = &mut self.status.restore {
            restore.phase = RestorePhase::Starting;
            restore.first_ordinal = i32::try_from(first).ok();
        }
    }

    /// Records the return, and swaps the current members and the members on the kept disks.
    pub(super) fn return_to_disks(&mut self) {
        std::mem::swap(&mut self.kept_members, &mut self.members);
        self.leader = None;
        if let Some(restore) = &mut self.status.restore {
            restore.phase = RestorePhase::Starting;
            self.status.cluster_id.clone_from(&restore.cluster_id);
        }
    }

    /// Asserts that no member of either cluster runs, and that no member can start from a disk of the other cluster.
    pub(super) fn judge_exchange(&self, step: &Step) {
        assert!(self.stops_all(), "the user has requested it: {step:?}");
        assert!(self.pods.is_empty(), "no member runs: {step:?}");
        let restore = self.status.restore.as_ref().expect("a record");
        for (ordinal, claim) in &self.claims {
            let wanted = restore.disks.contains(&name(*ordinal));
            assert!(
                claim.deleting || claim.retired != wanted,
                "{ordinal} is retired or revived: {step:?}"
            );
        }
        if let Step::BeginRestored { first, members } = step {
            let mut new = *first..first + members;
            let old = new.find(|ordinal| self.claims.contains_key(ordinal));
            assert_eq!(old, None, "the disks are new: {step:?}");
        }
    }

    /// Records a restore, as an EtcdOperation does after it has verified the backup.
    fn restore(&mut self) {
        let claims = self.claims.iter();
        let used = claims.filter(|(_, claim)| !claim.retired && !claim.deleting);
        let number = self.status.restore.as_ref().map_or(0, |last| last.number);
        self.status.restore = Some(RestoreStatus {
            operation: "restore".to_owned(),
            operation_uid: format!("r{number}"),
            number: number + 1,
            phase: RestorePhase::Stopping,
            started_at: Time(jiff::Timestamp::from_second(self.now).expect("a time")),
            source: Some(RestorePoint::default()),
            first_ordinal: None,
            disks: Vec::new(),
            cluster_id: None,
            kept_disks: used.map(|(ordinal, _)| name(*ordinal)).collect(),
            kept_cluster_id: self.status.cluster_id.clone(),
        });
    }

    /// Records a return to earlier disks, as an EtcdOperation does.
    fn undo(&mut self) {
        let last = self.status.restore.clone().expect("a restore");
        let claims = self.claims.iter();
        let used = claims.filter(|(_, claim)| !claim.retired && !claim.deleting);
        let kept = used.map(|(ordinal, _)| name(*ordinal));
        // The members have not been swapped yet.
        if last.phase == RestorePhase::Stopping {
            self.kept_members = self.members.clone();
        }
        self.status.restore = Some(RestoreStatus {
            phase: RestorePhase::Stopping,
            source: None,
            kept_disks: kept
                .filter(|name| !last.kept_disks.contains(name))
                .collect(),
            kept_cluster_id: self.status.cluster_id.clone(),
            disks: last.kept_disks.clone(),
            cluster_id: last.kept_cluster_id.clone(),
            ..last
        });
    }

    /// Returns whether the cluster can return to kept disks: the restore keeps intact disks of all voters, and their cluster
    /// has served.
    fn can_go_back(&self) -> bool {
        let stopping = self.stops_all();
        let members = match stopping {
            true => &self.members,
            false => &self.kept_members,
        };
        let voters: Vec<_> = members.iter().filter(|member| !member.learner).collect();
        let whole = voters.iter().filter(|member| {
            let claim = member.ordinal.and_then(|ordinal| self.claims.get(&ordinal));
            claim.is_some_and(|claim| {
                let usable = !claim.lost && !claim.deleting && !claim.damaged;
                usable && claim.data == Some(member.id)
            })
        });
        let known = self.status.restore.as_ref();
        let served = known.is_some_and(|known| known.kept_cluster_id.is_some());
        let named = known.is_some_and(|known| {
            let has =
                |at: Option<Ordinal>| at.is_some_and(|at| known.kept_disks.contains(&name(at)));
            voters.iter().all(|voter| has(voter.ordinal))
        });
        served && named && !voters.is_empty() && whole.count() == voters.len()
    }

    fn data(&self) -> Vec<Option<u64>> {
        let used = self.claims.values().filter(|claim| !claim.retired);
        used.map(|claim| claim.data).collect()
    }
}

fn name(ordinal: Ordinal) -> String {
    format!("data-world-{ordinal}")
}

fn is_first(step: &Step) -> bool {
    matches!(
        step,
        Step::StartMember(PodPlan { bootstrap: Bootstrap::New { .. }, .. })
    )
}

fn removes(step: &Step) -> bool {
    matches!(
        step,
        Step::RemoveMember { .. } | Step::AddLearner { .. } | Step::DeleteClaim(_)
    )
}

#[test]
fn a_restore_stops_all_members_and_starts_new_ones_on_new_disks() {
    let mut world = cluster(3);
    let before = [0, 1, 2].map(|ordinal| world.disk(ordinal));
    world.restore();
    world.settle();
    assert_eq!(world.phase(), Some(RestorePhase::Done));
    assert!([0, 1, 2].iter().all(|old| stopped(&world).contains(old)));
    assert!(!world.took(removes), "{:#?}", world.last());
    let mut new = started(&world);
    new.sort_unstable();
    new.dedup();
    assert_eq!(new, [3, 4, 5]);
    assert_eq!([0, 1, 2].map(|ordinal| world.disk(ordinal)), before);
    assert!([0, 1, 2].iter().all(|old| world.claims[old].retired));
    // The previous disks stay, regardless of later changes of the cluster.
    world.spec.replicas = 5;
    world.settle();
    world.spec.replicas = 1;
    world.settle();
    assert_eq!([0, 1, 2].map(|ordinal| world.disk(ordinal)), before);
}

/// A user deletes the claim while the members are stopped.
#[test]
fn no_new_disk_has_the_name_of_a_kept_disk() {
    let mut world = cluster(3);
    world.restore();
    world.claims.get_mut(&2).expect("a claim").deleting = true;
    world.settle();
    let mut new = started(&world);
    new.sort_unstable();
    new.dedup();
    assert_eq!(new, [3, 4, 5]);
}

/// A user deletes the kept disks after the restore, and members are added later.
#[test]
fn no_later_disk_has_the_name_of_a_kept_disk() {
    let mut world = cluster(3);
    world.restore();
    world.settle();
    world.claims.retain(|ordinal, _| *ordinal > 2);
    world.taken.clear();
    world.spec.replicas = 4;
    world.settle();
    assert_eq!(started(&world), [6]);
}

#[test]
fn a_dead_cluster_is_restored() {
    let mut world = cluster(3);
    break_pods(&mut world, &[0, 1, 2], None);
    world.elapse(60);
    world.restore();
    world.settle();
    assert_eq!(world.phase(), Some(RestorePhase::Done));
    assert_eq!(world.voters(), 3);
}

#[test]
fn the_cluster_returns_to_the_kept_disks() {
    let mut world = cluster(3);
    let before = world.data();
    world.restore();
    world.settle();
    let restored = world.data();
    for wanted in [&before, &restored, &before] {
        world.taken.clear();
        world.undo();
        world.settle();
        assert_eq!(world.data(), *wanted);
        assert!(!world.took(is_first) && !world.took(removes));
        assert_eq!(world.phase(), Some(RestorePhase::Done));
    }
}

/// The new members do not start and have never served, so the cluster returns to the previous disks.
#[test]
fn a_restore_that_cannot_end_is_undone() {
    let mut world = cluster(3);
    let before = world.data();
    world.missing_secret = true;
    world.restore();
    assert!(
        !world.run(100, |world, _| world.phase() == Some(RestorePhase::Done)),
        "{:#?}",
        world.last()
    );
    world.missing_secret = false;
    world.pods.values_mut().for_each(|pod| pod.broken = true);
    world.undo();
    world.settle();
    assert_eq!(world.data(), before);
}

#[test]
fn a_restore_is_undone_before_the_members_are_stopped() {
    let mut world = cluster(3);
    let before = world.data();
    world.restore();
    world.pass();
    world.undo();
    world.settle();
    assert_eq!(world.data(), before);
    assert!(!world.took(is_first));
}

#[test]
fn no_new_member_starts_while_the_spec_requests_none() {
    let mut world = cluster(3);
    world.restore();
    world.pass();
    world.spec.replicas = 0;
    world.never(50, is_first);
    world.spec.replicas = 3;
    world.settle();
    assert_eq!(world.phase(), Some(RestorePhase::Done));
}

/// Clusters of any size and history are restored and returned to earlier disks under faults. `judge` checks each step.
#[test]
fn restores_end_despite_any_faults() {
    let (mut restored, mut undone) = (0, 0);
    for seed in 0..CASES {
        let mut world = properties::world(seed);
        properties::disturb(&mut world);
        if !world.spec.is_durable() || world.members.iter().any(|one| one.ordinal.is_none()) {
            continue;
        }
        let served = world.status.cluster_id.is_some();
        world.restore();
        properties::disturb(&mut world);
        if served && world.random.below(2) == 0 && world.can_go_back() {
            world.undo();
            undone += 1;
            properties::disturb(&mut world);
        }
        properties::converge(&mut world);
        assert_eq!(world.phase(), Some(RestorePhase::Done), "SEED={seed}");
        restored += 1;
    }
    assert!(restored > CASES / 2, "{restored} restores");
    assert!(undone > CASES / 20, "{undone} of them were undone");
}

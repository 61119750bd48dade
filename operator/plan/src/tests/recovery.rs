//! A cluster that lost most of its disks becomes a new cluster of one member if the user requests it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use witan_crd::{RecoveryPhase, RecoveryStatus};

use super::{
    cases::{break_pods, cluster, started},
    properties, waits,
    world::World,
};
use crate::model::{Bootstrap, Holder, Ordinal, Part, PodPlan, Step, Why};

const CASES: u64 = 300;

impl World {
    /// Updates the recovery in the status, as the controller's `report` does.
    pub(super) fn report_recovery(&mut self) {
        let serves = self.leader.is_some();
        let of_member = |at: &Ordinal| self.members.iter().any(|one| one.ordinal == Some(*at));
        let loose = self
            .claims
            .iter()
            .any(|(at, claim)| !claim.retired && !claim.deleting && !claim.lost && !of_member(at));
        let known = self.status.recovery.clone();
        match known.as_ref().map(|known| known.phase.clone()) {
            Some(RecoveryPhase::Running) if serves && !loose => {
                let phase = RecoveryPhase::Done;
                self.status.recovery = known.map(|known| RecoveryStatus { phase, ..known });
            }
            Some(RecoveryPhase::Running | RecoveryPhase::Unknown(_)) => {}
            Some(RecoveryPhase::Done) | None => {
                let named = known.filter(|known| Some(known.member.clone()) == self.survivor());
                self.status.recovery = named;
                if self.status.recovery.is_none() && serves && self.recover.is_some() {
                    self.record_recovery(self.recover, RecoveryPhase::Done);
                }
            }
        }
    }

    fn survivor(&self) -> Option<String> {
        Some(format!("world-{}", self.recover?))
    }

    pub(super) fn record_recovery(&mut self, survivor: Option<Ordinal>, phase: RecoveryPhase) {
        let member = format!("world-{}", survivor.unwrap_or_default());
        let started_at = Time(jiff::Timestamp::from_second(self.now).unwrap_or_default());
        self.status.recovery = Some(RecoveryStatus { member, phase, started_at });
    }
}

fn is_forced(step: &Step) -> bool {
    matches!(
        step,
        Step::StartMember(PodPlan { bootstrap: Bootstrap::Forced, .. })
    )
}

/// Marks the volumes of claims as lost, and advances the clock by a second.
fn lose(world: &mut World, ordinals: impl IntoIterator<Item = u32>) {
    for ordinal in ordinals {
        world.with_claim(ordinal, |claim| claim.lost = true);
    }
    world.elapse(1);
}

fn phase(world: &World) -> Option<RecoveryPhase> {
    world
        .status
        .recovery
        .as_ref()
        .map(|recovery| recovery.phase.clone())
}

#[test]
fn the_survivor_continues_alone_and_gets_new_members() {
    let mut world = cluster(3);
    let survivor = world.member(1).expect("a member").id;
    lose(&mut world, [0, 2]);
    // Nobody has requested a recovery.
    world.never(50, is_forced);
    world.recover = Some(1);
    world.settle();
    assert!(world.took(is_forced));
    assert_eq!(phase(&world), Some(RecoveryPhase::Done));
    assert_eq!(world.member(1).map(|member| member.id), Some(survivor));
    assert_eq!(world.voters(), 3);
    let forced = |pod: &super::world::FakePod| pod.bootstrap == Bootstrap::Forced;
    assert!(
        !world.pods.values().any(forced),
        "a later start is not forced"
    );
}

/// The disks are kept, but no member starts from them: such members could form a quorum without the survivor.
#[test]
fn disks_of_others_are_kept_and_not_started() {
    let mut world = cluster(3);
    break_pods(&mut world, &[0, 2], None);
    world.elapse(30);
    let disks = [0, 2].map(|ordinal| world.disk(ordinal));
    world.recover = Some(1);
    world.settle();
    assert_eq!([0, 2].map(|ordinal| world.disk(ordinal)), disks);
    let others = started(&world);
    assert!(!others.contains(&0) && !others.contains(&2), "{others:?}");
    assert_eq!(world.voters(), 3);
}

/// A pod on a partitioned node may still be running.
#[test]
fn the_survivor_waits_until_no_other_pod_is_left() {
    let mut world = cluster(3);
    lose(&mut world, [0, 2]);
    world.cut(2);
    world.elapse(30);
    world.recover = Some(1);
    world.never(100, is_forced);
    world.waits_for(&Why::PodEnding(2));
    world.join(2);
    world.settle();
    assert!(world.took(is_forced));
}

/// The operator must not stop the other pods while the survivor cannot start.
#[test]
fn other_members_keep_their_pods_while_the_name_of_the_survivors_pod_is_taken() {
    let mut world = cluster(3);
    lose(&mut world, [0, 2]);
    world.recover = Some(1);
    world.record_recovery(Some(1), RecoveryPhase::Running);
    let mut seen = world.observe();
    if let Some(list) = &mut seen.membership {
        (list.leader, list.linearizable) = (None, false);
    }
    seen.ordinals.get_mut(&1).expect("a member").pod = None;
    assert!(seen.pods().next().is_some(), "another pod is left");
    let holder = Holder { object: "Pod/world-1".to_owned(), ending: false };
    seen.taken.insert(Part::Pod(1), holder);
    waits(&world.plan(&seen), &Why::NameTaken(Part::Pod(1)));
}

#[test]
fn a_recovery_requested_before_the_loss_does_not_run() {
    let mut world = cluster(3);
    world.recover = Some(1);
    world.settle();
    assert_eq!(phase(&world), Some(RecoveryPhase::Done));
    lose(&mut world, [0, 2]);
    // The request predates the loss.
    world.never(50, is_forced);
    // The request is removed and repeated.
    world.recover = None;
    world.pass();
    world.recover = Some(1);
    world.settle();
    assert!(world.took(is_forced));
}

#[test]
fn a_member_without_a_disk_cannot_restart() {
    let mut world = cluster(3);
    lose(&mut world, [0, 2]);
    world.recover = Some(2);
    world.never(50, Step::acts);
    world.waits_for(&Why::CannotRecover(2));
    assert_eq!(phase(&world), None, "no recovery is recorded");
}

#[test]
fn a_fenced_member_stays_down() {
    let mut world = cluster(3);
    lose(&mut world, [0, 2]);
    world.fenced.insert(1);
    world.recover = Some(1);
    world.never(50, Step::acts);
    world.fenced.clear();
    world.settle();
    assert!(world.took(is_forced));
}

/// The survivor's process does not start. The user can name another member that still has its disk.
#[test]
fn another_survivor_can_be_named() {
    let mut world = cluster(3);
    lose(&mut world, [0]);
    world.claims.get_mut(&1).expect("a claim").damaged = true;
    break_pods(&mut world, &[2], None);
    world.elapse(1);
    world.recover = Some(1);
    world.until(100, |_, step| is_forced(step));
    world.elapse(60);
    let stuck = world.pass();
    assert!(!stuck.acts(), "{stuck:?}");
    world.recover = None;
    // The recovery cannot be canceled.
    world.never(20, Step::acts);
    world.recover = Some(2);
    world.settle();
    assert_eq!(phase(&world), Some(RecoveryPhase::Done));
    assert!(world.member(2).is_some(), "{:?}", world.members);
    assert_eq!(world.voters(), 3);
}

/// The survivor cannot start with the template, for example because of a wrong flag, and the user corrects the spec.
#[test]
fn the_survivor_gets_a_corrected_template() {
    let mut world = cluster(3);
    lose(&mut world, [0, 2]);
    world.template += 1;
    world.bad_template = Some((world.template, 1));
    world.recover = Some(1);
    assert!(
        world.run(100, |_, step| is_forced(step)),
        "{:#?}",
        world.last()
    );
    world.elapse(60);
    let stuck = world.pass();
    assert!(!stuck.acts(), "{stuck:?}");
    world.template += 1;
    world.settle();
    assert_eq!(phase(&world), Some(RecoveryPhase::Done));
}

/// A member outside Kubernetes may be running, whatever the state of the pods.
#[test]
fn voters_elsewhere_prevent_a_recovery() {
    let mut world = cluster(3);
    lose(&mut world, [0, 2]);
    world.members[2].ordinal = None;
    world.recover = Some(1);
    let mut seen = world.observe();
    if let Some(list) = &mut seen.membership {
        (list.leader, list.linearizable) = (None, false);
    }
    waits(&world.plan(&seen), &Why::ForeignVoters(1));
}

#[test]
fn a_recovery_that_cannot_begin_does_not_delay_pods() {
    let mut world = cluster(3);
    world.recover = Some(7);
    world.pass();
    for ordinal in [0, 1, 2] {
        world.delete_pod(ordinal);
    }
    world.elapse(30);
    world.settle();
    assert!(!world.took(is_forced));
}

/// Clusters of any size and history lose all disks but one, and a new cluster is forced from the member on that disk. `judge`
/// checks each step.
#[test]
fn any_member_with_a_disk_restarts() {
    let mut recovered = 0;
    for seed in 0..CASES {
        let mut world = properties::world(seed);
        properties::disturb(&mut world);
        properties::converge(&mut world);
        let ordinals: Vec<_> = world
            .members
            .iter()
            .filter_map(|member| member.ordinal)
            .collect();
        let survivor = world.random.pick(&ordinals).expect("a member");
        if !world.spec.is_durable() || ordinals.len() < 2 {
            continue;
        }
        let data = world.disk(survivor);
        lose(
            &mut world,
            ordinals.into_iter().filter(|ordinal| *ordinal != survivor),
        );
        world.taken.clear();
        world.recover = Some(survivor);
        properties::converge(&mut world);
        let asked = world.took(|step| matches!(step, Step::BeginRecovery(_)));
        assert!(asked && world.took(is_forced), "SEED={seed}");
        assert_eq!(world.disk(survivor), data, "SEED={seed}");
        recovered += 1;
    }
    assert!(recovered > CASES / 3, "only {recovered} recoveries");
}

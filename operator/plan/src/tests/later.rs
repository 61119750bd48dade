//! Named cases: after a rollback of the operator, members and records of the later release are left as they are.

use witan_crd::RecoveryPhase;

use super::cases::{cluster, started, stopped};
use crate::model::{Step, Why};

fn changes_members(step: &Step) -> bool {
    matches!(
        step,
        Step::AddLearner { .. } | Step::RemoveMember { .. } | Step::UpdatePeerUrl { .. }
    )
}

#[test]
fn a_member_with_an_unknown_mark_is_not_changed() {
    let mut world = cluster(3);
    world.marked = Some(1);
    world.waits_for(&Why::LaterMark(1));
    world.template += 1;
    world.spec.replicas = 4;
    world.never(60, changes_members);
    assert!(!stopped(&world).contains(&1), "{:?}", world.last());
    world.waits_for(&Why::LaterMark(1));
    // A lost pod of another member still starts again.
    world.pods.remove(&2);
    assert!(world.run(20, |world, _| world.pods.contains_key(&2)));
    world.marked = None;
    world.settle();
    assert_eq!(world.serving(), 4);
    assert!(world.pods.values().all(|pod| pod.template == 1));
}

#[test]
fn other_members_start_again_although_a_marked_one_has_ended() {
    let mut world = cluster(3);
    world.marked = Some(0);
    world.pods.get_mut(&0).expect("its pod").ended = true;
    (1..3).for_each(|ordinal| drop(world.pods.remove(&ordinal)));
    world.elapse(1);
    world.run(40, |_, _| false);
    assert_eq!(started(&world), [1, 2]);
    assert!(!stopped(&world).contains(&0), "{:?}", world.last());
    world.marked = None;
    world.settle();
    assert!(stopped(&world).contains(&0));
}

#[test]
fn nothing_is_changed_while_a_recovery_is_in_an_unknown_phase() {
    let mut world = cluster(3);
    world.record_recovery(Some(0), RecoveryPhase::Unknown("Copying".to_owned()));
    world.template += 1;
    world.pods.remove(&1);
    world.waits_for(&Why::LaterRecord(
        "status.recovery.phase=Copying".to_owned(),
    ));
    world.never(20, Step::acts);
    world.record_recovery(Some(0), RecoveryPhase::Done);
    world.settle();
}

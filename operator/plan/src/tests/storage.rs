//! Members migrate to new claims, because their claims cannot be changed to match the spec.

use witan_crd::{EtcdClusterSpec, OpenObject, Storage, UpdateKind, UpdateStrategy};

use super::{
    cases::{break_pods, cluster, removals},
    evidence::without_answer,
    faults::disk,
    waits,
    world::World,
};
use crate::model::{Obstacle, Removal, Role, Step, Stop, Why};

#[test]
fn changed_storage_replaces_every_member_the_leader_last() {
    let mut world = cluster(3);
    let before: Vec<_> = world.members.iter().map(|member| member.id).collect();
    let leader = world.leader;
    world.class += 1;
    world.elapse(20);
    world.until(400, |world, step| {
        assert!((3..=4).contains(&world.voters()), "{step:?}");
        *step == Step::Done
    });
    let removed = world.taken.iter().filter_map(|step| {
        let Step::RemoveMember { id, reason } = step else {
            return None;
        };
        Some((*id, *reason))
    });
    let removed: Vec<_> = removed.collect();
    assert!(
        removed
            .iter()
            .all(|(_, reason)| *reason == Removal::Migrated),
        "{removed:?}"
    );
    assert_eq!(removed.len(), before.len());
    assert_eq!(removed.last().map(|(id, _)| *id), leader);
    assert!(world.claims.values().all(|claim| claim.class == 1));
    let moves = world.taken.iter();
    let moves = moves.filter(|step| matches!(step, Step::MoveLeader { .. }));
    assert_eq!(moves.count(), 1, "leadership moves once");
}

/// The first storage class does not exist, so no pod can mount a claim of that class.
#[test]
fn a_learner_with_a_claim_of_an_earlier_class_is_removed() {
    let mut world = cluster(3);
    world.class += 1;
    world.elapse(20);
    world.until(50, |world, _| world.pods.contains_key(&3));
    for pod in world
        .pods
        .values_mut()
        .filter(|pod| pod.role == Role::Learner)
    {
        pod.obstacle = Some(Obstacle::Unschedulable);
    }
    world.never(30, |step| matches!(step, Step::RemoveMember { .. }));
    world.class += 1;
    world.settle();
    world.run(10, |_, _| false);
    assert!(world.claims.values().all(|claim| claim.class == 2));
}

/// With `OnDelete`, no member is replaced or added. If there are several members, none of them has the only copy of the data.
#[test]
fn on_delete_replaces_no_member() {
    for durable in [true, false] {
        let mut world = World::new(EtcdClusterSpec::minimal(), 7);
        let empty_dir = Some(OpenObject::default());
        world.spec.storage = match durable {
            true => disk(),
            false => Some(Storage { empty_dir, ..Storage::default() }),
        };
        world.settle();
        world.spec.update_strategy =
            Some(UpdateStrategy { kind: UpdateKind::OnDelete, ..UpdateStrategy::default() });
        world.class += 1;
        world.template += 1;
        world.elapse(20);
        world.never(20, |step| {
            matches!(
                step,
                Step::AddLearner { .. }
                    | Step::RemoveMember { .. }
                    | Step::Wait { why: Why::OnlyCopy(_), .. }
            )
        });
    }
}

/// Two of three vote while a lost member is replaced, so the replacement must not be discarded.
#[test]
fn a_learner_that_answers_is_promoted_before_it_migrates() {
    let mut world = cluster(3);
    world.claims.get_mut(&1).expect("a claim").lost = true;
    world.delete_pod(1);
    let answers = |world: &World, _: &Step| {
        let mut learners = world.members.iter().filter(|member| member.learner);
        learners.any(|learner| world.answers(learner))
    };
    world.until(200, answers);
    world.class += 1;
    world.taken.clear();
    let learner = world.members.iter().find(|member| member.learner);
    let learner = learner.and_then(|member| member.ordinal).expect("a pod");
    let step = world.plan(&without_answer(&world, learner));
    let removes = matches!(step, Step::RemoveMember { .. });
    assert!(!removes, "one missed call: {step:?}");
    let promoted = world.run(100, |_, step| matches!(step, Step::Promote(_)));
    assert!(promoted && !world.took(|step| matches!(step, Step::RemoveMember { .. })));
}

/// The nodes have capacity for only three members, and one member is lost.
#[test]
fn a_stuck_learner_does_not_block_replacement() {
    let mut world = cluster(3);
    world.class += 1;
    world.elapse(20);
    world.until(50, |world, _| world.pods.contains_key(&3));
    world.pods.get_mut(&3).expect("a pod").obstacle = Some(Obstacle::Unschedulable);
    world.claims.get_mut(&1).expect("a claim").lost = true;
    world.delete_pod(1);
    world.taken.clear();
    world.until(100, |_, step| {
        matches!(step, Step::RemoveMember { reason: Removal::DiskLost, .. })
    });
    let blocking = |step: &Step| {
        matches!(
            step,
            Step::RemoveMember { reason: Removal::StuckLearner, .. }
        )
    };
    assert!(world.took(blocking));
}

#[test]
fn claims_too_small_for_the_data_delay_nothing_else() {
    let mut world = cluster(3);
    world.class += 1;
    world.elapse(20);
    let planned = |world: &World| {
        let mut seen = world.observe();
        for member in &mut seen.membership.as_mut().expect("a list").members {
            member.db_size = 5 << 30;
        }
        for at in seen.ordinals.values_mut() {
            at.claim.as_mut().expect("a claim").requested_bytes = 100 << 30;
        }
        world.plan(&seen)
    };
    waits(&planned(&world), &Why::StorageTooSmall);
    world.template += 1;
    let step = planned(&world);
    assert!(
        matches!(step, Step::DeletePod { reason: Stop::Outdated, .. }),
        "{step:?}"
    );
}

/// A voter's disk would be deleted with its pod. A learner's disk has no unique data.
#[test]
fn a_voters_claim_that_is_being_deleted_delays_hibernation() {
    let mut world = cluster(3);
    world.claims.get_mut(&1).expect("a claim").deleting = true;
    world.spec.replicas = 0;
    world.waits_for(&Why::CannotStop(1));
    let id = world.member(1).expect("a member").id;
    world
        .members
        .iter_mut()
        .find(|member| member.id == id)
        .expect("a member")
        .learner = true;
    let step = world.pass();
    assert!(
        matches!(step, Step::DeletePod { reason: Stop::Hibernated, .. }),
        "{step:?}"
    );
}

/// The storage class of the claims did not exist. Without a node, the pods did not delay the deletion of their claims.
#[test]
fn initial_members_whose_claims_are_deleted_start_on_other_claims() {
    for deleting in [false, true] {
        let mut world = World::new(EtcdClusterSpec::minimal(), 7);
        world.spec.storage = disk();
        for _ in 0..20 {
            world.pass();
        }
        break_pods(&mut world, &[0, 1, 2], Some(Obstacle::Unschedulable));
        for claim in world.claims.values_mut() {
            claim.deleting = true;
        }
        if !deleting {
            world.claims.clear();
        }
        world.settle();
        assert_eq!(world.serving(), 3);
        assert!(world.claims.values().all(|claim| !claim.deleting));
    }
}

#[test]
fn a_learner_whose_claim_is_deleted_before_it_starts_gets_another_claim() {
    let mut world = cluster(3);
    world.spec.replicas = 4;
    world.until(50, |world, _| world.pods.contains_key(&3));
    break_pods(&mut world, &[3], Some(Obstacle::Unschedulable));
    world.claims.remove(&3);
    world.settle();
    assert!(removals(&world).is_empty(), "{:?}", world.last());
    assert!(world.claims.contains_key(&3));
}

//! Members move to new claims, because no claim can follow the spec.

use witan_crd::{EtcdClusterSpec, OpenObject, Storage, UpdateKind, UpdateStrategy};

use super::{cases::cluster, faults::disk, world::World};
use crate::model::{Obstacle, Removal, Role, Step};

#[test]
fn changed_storage_replaces_every_member_the_leader_last() {
    let mut world = cluster(3);
    let before: Vec<_> = world.members.iter().map(|member| member.id).collect();
    let leader = world.leader;
    world.class += 1;
    world.elapse(20);
    let done = world.run(400, |world, step| {
        assert!((3..=4).contains(&world.voters()), "{step:?}");
        *step == Step::Done
    });
    assert!(done, "{:#?}", world.last());
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
    assert_eq!(moves.count(), 1, "to a member that stays");
}

/// The class of the first attempt does not exist: no pod can mount a claim of it.
#[test]
fn a_learner_with_a_claim_of_an_earlier_class_is_removed() {
    let mut world = cluster(3);
    world.class += 1;
    world.elapse(20);
    assert!(world.run(50, |world, _| world.pods.contains_key(&3)));
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

/// Without `RollingUpdate` nothing is replaced, and no member is added.
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
            matches!(step, Step::AddLearner { .. } | Step::RemoveMember { .. })
        });
    }
}

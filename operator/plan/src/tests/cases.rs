//! Named cases: starts and repairs, including known mistakes of other operators. `planned` tests planned changes.

use std::collections::BTreeMap;

use witan_crd::{EtcdClusterSpec, OnCorruption, SelfHealing};

use super::{faults::disk, waits, why, world::World};
use crate::{
    IDLE,
    model::{
        Bootstrap, ClaimSeen, ClusterReport, Membership, Obstacle, PodPlan, PodSeen, Refusal,
        Removal, Step, Stop, Why,
    },
};

/// Returns a settled cluster with disks. The steps that were taken until then are forgotten.
pub(super) fn cluster(replicas: i32) -> World {
    let mut world = World::new(EtcdClusterSpec::minimal(), 7);
    world.spec.replicas = replicas;
    world.spec.storage = disk();
    world.settle();
    world.taken.clear();
    world
}

/// Returns the reasons of the removals that were taken, in order.
pub(super) fn removals(world: &World) -> Vec<Removal> {
    let steps = world.taken.iter();
    let removals = steps.filter_map(|step| {
        let Step::RemoveMember { reason, .. } = step else {
            return None;
        };
        Some(*reason)
    });
    removals.collect()
}

/// Returns the ordinals whose pods were started, in order. Consecutive starts of the same ordinal are listed once.
pub(super) fn started(world: &World) -> Vec<u32> {
    let steps = world.taken.iter();
    let started = steps.filter_map(|step| {
        let Step::StartMember(PodPlan { ordinal, .. }) = step else {
            return None;
        };
        Some(*ordinal)
    });
    let mut started: Vec<u32> = started.collect();
    started.dedup();
    started
}

/// Returns the ordinals whose pods were deleted by steps, in order, for any reason.
pub(super) fn stopped(world: &World) -> Vec<u32> {
    let steps = world.taken.iter();
    let stopped = steps.filter_map(|step| {
        let Step::DeletePod { ordinal, .. } = step else {
            return None;
        };
        Some(*ordinal)
    });
    stopped.collect()
}

/// Stops the containers of pods until a test repairs them. If `obstacle` is `None`, the pods show no reason.
pub(super) fn break_pods(world: &mut World, ordinals: &[u32], obstacle: Option<Obstacle>) {
    for ordinal in ordinals {
        let pod = world.pods.get_mut(ordinal).expect("the pod is there");
        pod.obstacle = obstacle;
        pod.broken = obstacle.is_none();
    }
}

#[test]
fn the_first_members_start_together() {
    let mut world = World::new(EtcdClusterSpec::minimal(), 3);
    world.settle();
    let first: Vec<_> = world.taken.iter().take(6).collect();
    assert!(matches!(first[0], Step::ApplyServices));
    assert!(matches!(first[1], Step::BeginBootstrap { members: 3, .. }));
    let news = world.taken.iter().filter(|step| {
        matches!(
            step,
            Step::StartMember(PodPlan { bootstrap: Bootstrap::New { first: 0, members: 3 }, .. })
        )
    });
    assert!(news.count() >= 3);
    let changes = world.took(|step| matches!(step, Step::AddLearner { .. }));
    assert!(!changes, "the membership does not change");
}

#[test]
fn discovery_is_used_only_at_the_first_start() {
    for url in [Some("http://d/given"), None] {
        let mut world = World::new(EtcdClusterSpec::minimal(), 3);
        world.spec.storage = disk();
        world.discover(url);
        world.settle();
        let expected = url.unwrap_or("http://d/token");
        let discovered = world.taken.iter().filter(|step| {
            matches!(step, Step::StartMember(PodPlan { bootstrap: Bootstrap::Discovery { url }, .. }) if url == expected)
        });
        assert!(discovered.count() >= 3);
        world.taken.clear();
        world.pods.remove(&1);
        world.claims.remove(&2);
        world.pods.remove(&2);
        world.elapse(1);
        world.settle();
        let again = world.took(|step| {
            matches!(
                step,
                Step::StartMember(PodPlan { bootstrap: Bootstrap::Discovery { .. }, .. })
            )
        });
        assert!(!again, "the token is used only once");
    }
}

/// The bootstrap uses the number of members at creation, even if the spec changes before the first member answers.
#[test]
fn a_size_changed_during_the_bootstrap_applies_after_it() {
    let mut world = World::new(EtcdClusterSpec::minimal(), 3);
    world.spec.storage = disk();
    for _ in 0..4 {
        world.pass();
    }
    world.spec.replicas = 5;
    world.settle();
    let sizes = world.taken.iter().filter_map(|step| {
        let Step::StartMember(PodPlan { bootstrap: Bootstrap::New { members, .. }, .. }) = step
        else {
            return None;
        };
        Some(*members)
    });
    assert!(sizes.into_iter().all(|members| members == 3));
    assert_eq!(world.members.len(), 5);
}

/// The operator of etcd-io deletes the pod with the highest ordinal after a user removes member 0.
#[test]
fn a_member_removed_by_hand_is_replaced_by_its_id() {
    let mut world = cluster(3);
    let id = world.member(0).expect("a member").id;
    world.leader = world.member(1).map(|member| member.id);
    world.remove(id);
    world.settle();
    assert_eq!(stopped(&world), [0]);
    assert_eq!(started(&world), [3], "the old disk keeps its ordinal");
    let deletes = world.took(|step| matches!(step, Step::DeleteClaim(0)));
    assert!(deletes, "the disk of the removed member is not used again");
}

/// The operator of cozystack counts restarts. A member that is out of memory or unschedulable would not recover with a new
/// disk, either.
#[test]
fn obstacles_are_reported_and_never_replaced() {
    for obstacle in [
        Obstacle::Unschedulable,
        Obstacle::CannotStart,
        Obstacle::OutOfMemory,
        Obstacle::NodeNotReady,
    ] {
        let mut world = cluster(3);
        break_pods(&mut world, &[0], Some(obstacle));
        world.run(400, |_, _| false);
        assert!(removals(&world).is_empty(), "{obstacle:?}");
        world.waits_for(&Why::Obstacle(0, obstacle));
    }
}

/// The operator of CoreOS discards all members when two of three members are down.
#[test]
fn without_a_quorum_nothing_is_removed() {
    let mut world = cluster(3);
    break_pods(&mut world, &[0, 1], None);
    world.elapse(1);
    world.never(400, |step| !matches!(step, Step::Wait { .. }));
    world.waits_for(&Why::QuorumLost);
}

#[test]
fn a_member_with_a_lost_disk_is_replaced_immediately() {
    let mut world = cluster(3);
    world.claims.get_mut(&1).expect("a claim").lost = true;
    world.elapse(1);
    world.until(3, |_, step| matches!(step, Step::RemoveMember { .. }));
    world.settle();
    assert_eq!(removals(&world), [Removal::DiskLost]);
    assert!(world.member(1).expect("a member").id > 5000);
}

/// A new pod would use the volume of a claim that is being deleted, and could not start on a lost claim.
#[test]
fn a_member_whose_claim_is_ending_or_lost_gets_no_pod() {
    let world = cluster(3);
    let planned = |change: fn(&mut ClaimSeen)| {
        let mut seen = world.observe();
        let list = seen.membership.as_mut().expect("a list");
        list.members[1].started = false;
        let at = seen.ordinals.get_mut(&1).expect("a member");
        at.pod = None;
        change(at.claim.as_mut().expect("a claim"));
        world.plan(&seen)
    };
    let starts = |step: &Step| matches!(step, Step::StartMember(_));
    let step = planned(|_| ());
    assert!(starts(&step), "{step:?}");
    for change in [
        |claim: &mut ClaimSeen| claim.deleting = true,
        |claim: &mut ClaimSeen| claim.lost = true,
        |claim: &mut ClaimSeen| (claim.deleting, claim.lost) = (true, true),
    ] {
        let step = planned(change);
        assert!(!starts(&step), "{step:?}");
    }
}

/// A sole member's disk has the only copy of the data, so the user must decide.
#[test]
fn a_sole_member_is_never_replaced() {
    let mut world = cluster(1);
    world.claims.clear();
    world.pods.clear();
    world.elapse(1);
    world.never(200, |step| why(step) != Some(&Why::DataLost));
}

#[test]
fn each_corrupt_member_has_its_own_time_to_rebuild() {
    let mut world = cluster(5);
    world.members[1].corrupt = true;
    world.run(15, |_, _| false);
    let (second, began) = (world.members[2].id, world.now);
    world.members[2].corrupt = true;
    let removed = world.run(
        200,
        |_, step| matches!(step, Step::RemoveMember { id, .. } if *id == second),
    );
    assert!(removed && world.now - began >= 60, "{}", world.now - began);
    assert_eq!(removals(&world), [Removal::Corrupt, Removal::Corrupt]);
    world.settle();
    assert!(world.taken.contains(&Step::DisarmCorrupt(second)));
}

#[test]
fn a_corrupt_member_that_rebuilds_itself_stays() {
    let mut world = cluster(3);
    world.members[1].corrupt = true;
    world.run(10, |_, _| false);
    world.members[1].corrupt = false;
    world.settle();
    assert!(removals(&world).is_empty());
}

#[test]
fn with_alarm_only_a_corrupt_member_stays_until_its_replacement_is_requested() {
    let mut world = cluster(3);
    let on_corruption = OnCorruption::AlarmOnly;
    world.spec.self_healing = Some(SelfHealing { on_corruption, ..SelfHealing::default() });
    world.members[1].corrupt = true;
    let id = world.members[1].id;
    world.never(200, |step| matches!(step, Step::RemoveMember { .. }));
    world.replace = Some(id);
    world.until(
        200,
        |_, step| matches!(step, Step::RemoveMember { id: gone, .. } if *gone == id),
    );
}

#[test]
fn different_cluster_ids_stop_everything() {
    let mut world = cluster(3);
    world.status.cluster_id = Some("beef".to_owned());
    let seen = world.observe();
    waits(&world.plan(&seen), &Why::ClusterIdMismatch);
}

fn blank(cluster_id: u64, members: usize) -> ClusterReport {
    ClusterReport { cluster_id, members, blank: true, ..ClusterReport::default() }
}

/// A member of a failed bootstrap wrote data, and a new EtcdCluster uses the claims of that bootstrap.
#[test]
fn a_leftover_disk_of_a_failed_bootstrap_is_deleted() {
    let world = cluster(3);
    let other = blank(0xbeef, 3);
    let planned = |change: fn(&mut ClusterReport, &mut ClaimSeen, &mut PodSeen, &mut bool)| {
        let mut seen = world.observe();
        let at = seen.ordinals.get_mut(&2).expect("a member");
        let (claim, pod) = (at.claim.as_mut(), at.pod.as_mut());
        let (claim, pod) = (claim.expect("a claim"), pod.expect("a pod"));
        let list = seen.membership.as_mut().expect("a list");
        let member = &mut list.members[2];
        (member.started, member.answers, member.healthy) = (false, false, false);
        let mut said = other;
        claim.served = false;
        change(&mut said, claim, pod, &mut list.linearizable);
        list.reports.insert(2, said);
        world.plan(&seen)
    };
    let step = planned(|_, _, _, _| {});
    assert_eq!(step, Step::DeleteClaim(2));
    let reason = Stop::NotAMember;
    let step = planned(|_, claim, _, _| claim.deleting = true);
    assert_eq!(step, Step::DeletePod { ordinal: 2, reason });
    let step = planned(|_, claim, pod, _| (claim.deleting, pod.deleting) = (true, true));
    waits(&step, &Why::PodEnding(2));
    for keeps in [
        (|said, _, _, _| said.blank = false)
            as fn(&mut ClusterReport, &mut ClaimSeen, &mut PodSeen, &mut bool),
        |_, claim, _, _| claim.served = true,
        |_, _, _, linearizable| *linearizable = false,
    ] {
        waits(&planned(keeps), &Why::ClusterIdMismatch);
    }
}

#[test]
fn a_fenced_or_protected_leftover_disk_is_kept() {
    let world = cluster(3);
    let mut seen = world.observe();
    let at = seen.ordinals.get_mut(&2).expect("a member");
    at.claim.as_mut().expect("a claim").served = false;
    at.pod.as_mut().expect("a pod").ready = false;
    seen.ordinals.get_mut(&1).expect("a member").pod = None;
    let list = seen.membership.as_mut().expect("a list");
    let other = blank(0xbeef, 3);
    (list.members[2].answers, list.members[2].healthy) = (false, false);
    list.reports.insert(2, other);
    let step = Step::DeleteClaim(2);
    let (held, idle, said) = (true, false, String::new());
    let mut refused = seen.clone();
    refused.refused = vec![Refusal { step, held, idle, said }];
    let step = world.plan(&refused);
    assert!(
        matches!(step, Step::StartMember(PodPlan { ordinal: 1, .. })),
        "{step:?}"
    );
    seen.fenced = [2].into();
    let mut reached = Vec::new();
    for _ in 0..2 {
        reached.push(world.plan(&seen));
        seen.ordinals.get_mut(&2).expect("a member").pod = None;
    }
    let reason = Stop::Fenced;
    assert_eq!(reached[0], Step::DeletePod { ordinal: 2, reason });
    assert!(
        matches!(reached[1], Step::StartMember(PodPlan { ordinal: 1, .. })),
        "{reached:?}"
    );
}

/// Until a quorum serves, it is unknown which disks have the right data. The initial members start even though disks of an
/// earlier, possibly larger attempt exist. If they form no quorum, the operator waits for the user.
#[test]
fn a_bootstrap_continues_despite_leftover_disks() {
    for (replicas, others) in [(1, vec![]), (3, vec![blank(0xc1, 3)])] {
        let spec = EtcdClusterSpec { replicas, ..EtcdClusterSpec::minimal() };
        let mut world = World::new(spec, 3);
        world.until(50, |world, _| world.pods.len() == 1);
        let planned = |world: &World, stuck: bool| {
            let mut seen = world.observe();
            for at in seen.ordinals.values_mut().filter(|_| stuck) {
                let pod = at.pod.as_mut().expect("a pod");
                (pod.ready, pod.ready_changed) = (false, seen.now - 60);
            }
            let said = (0..).zip([vec![blank(0xbeef, 3)], others.clone()].concat());
            let said = BTreeMap::from_iter(said);
            let cluster_id = 0xbeef;
            seen.membership =
                Some(Membership { cluster_id, reports: said, ..Membership::default() });
            world.plan(&seen)
        };
        for ordinal in 1..replicas {
            let step = planned(&world, true);
            let next = u32::try_from(ordinal).expect("an ordinal");
            let starts =
                matches!(step, Step::StartMember(PodPlan { ordinal, .. }) if ordinal == next);
            assert!(starts, "{step:?}");
            world.until(50, |world, _| world.pods.contains_key(&next));
        }
        waits(&planned(&world, false), &Why::Bootstrapping);
        waits(&planned(&world, true), &Why::ClusterIdMismatch);
    }
}

/// If pods are ready and no member answers, the operator is cut off, not the members.
#[test]
fn members_unreachable_only_from_the_operator_are_left_alone() {
    let mut world = cluster(3);
    // A requested recovery forces no new cluster, either.
    for recover in [None, Some(1)] {
        world.recover = recover;
        let mut seen = world.observe();
        seen.membership = None;
        waits(&world.plan(&seen), &Why::Unreachable);
    }
}

/// A NetworkPolicy blocks the operator, or the backup of the cluster has a different password for root.
#[test]
fn a_new_cluster_that_does_not_answer_the_operator_is_reported() {
    let mut world = cluster(3);
    world.status.cluster_id = None;
    world.elapse(20);
    let mut seen = world.observe();
    seen.membership = None;
    waits(&world.plan(&seen), &Why::Unreachable);
    let at = seen.ordinals.get_mut(&1).expect("a member");
    at.pod.as_mut().expect("a pod").ready_changed = world.now;
    waits(&world.plan(&seen), &Why::Bootstrapping);
}

/// The kubelets have not noticed the lost quorum yet.
#[test]
fn members_that_answer_without_a_leader_have_lost_their_quorum() {
    let world = cluster(3);
    let mut seen = world.observe();
    let list = seen.membership.as_mut().expect("a list");
    (list.linearizable, list.leader) = (false, None);
    waits(&world.plan(&seen), &Why::QuorumLost);
}

#[test]
fn a_deleted_cluster_gets_no_objects() {
    let world = cluster(3);
    let mut seen = world.observe();
    seen.deleting = true;
    seen.ordinals.clear();
    waits(&world.plan(&seen), &Why::Deleting);
}

/// Backups of manifests do not restore the status.
#[test]
fn a_lost_status_does_not_bootstrap_a_new_cluster() {
    let mut world = cluster(3);
    world.status = Default::default();
    world.pods.clear();
    world.elapse(1);
    world.settle();
    let new = world.took(|step| {
        matches!(
            step,
            Step::StartMember(PodPlan { bootstrap: Bootstrap::New { .. }, .. })
        )
    });
    assert!(!new);
}

#[test]
fn a_wait_notice_has_reason_member_and_severity() {
    let seen = cluster(3).observe();
    let oom = Why::Obstacle(1, Obstacle::OutOfMemory);
    for (why, reason, member, warning, progresses) in [
        (Why::Paused, "Paused", None, false, false),
        (Why::Bootstrapping, "BootstrapInProgress", None, false, true),
        (oom, "OutOfMemory", Some("world-1"), true, false),
        (
            Why::ForeignUnhealthy(0xbeef),
            "MemberUnhealthy",
            Some("beef"),
            true,
            false,
        ),
    ] {
        let step = Step::Wait { why, after: IDLE };
        let notice = step.notice("world", &seen).expect("a wait has a notice");
        let told = (notice.reason, notice.member.as_deref(), notice.warning);
        assert_eq!(told, (reason, member, warning));
        assert_eq!(step.progresses(), progresses, "{reason}");
    }
}

#[test]
fn a_member_that_answers_keeps_a_disk_whose_claim_is_not_found() {
    let world = cluster(3);
    for hidden in [&[1][..], &[0, 1, 2]] {
        let mut seen = world.observe();
        for ordinal in hidden {
            seen.ordinals.get_mut(ordinal).expect("a member").claim = None;
        }
        let step = world.plan(&seen);
        assert!(!step.acts(), "{step:?}");
    }
}

//! Named cases: planned changes, including known mistakes of other operators, and the order of steps that users see.

use witan_crd::{
    ByteQuantity, ClaimRetention, EtcdClusterSpec, OpenObject, Retention, SelfHealing, Storage,
    UpdateKind, UpdateStrategy,
};

use super::{
    cases::{break_pods, cluster, removals, stopped},
    why,
    world::World,
};
use crate::model::{Obstacle, Step, Stop, Why};

/// A removed member cannot serve writes, so it stops first if the other members have a quorum without it.
#[test]
fn a_member_stops_before_it_is_removed() {
    let mut world = cluster(5);
    world.spec.replicas = 1;
    world.settle();
    let goes = |step: &&Step| matches!(step, Step::DeletePod { .. } | Step::RemoveMember { .. });
    let order: Vec<bool> = world
        .taken
        .iter()
        .filter(goes)
        .map(|step| matches!(step, Step::DeletePod { .. }))
        .collect();
    let (stop, remove) = (true, false);
    assert_eq!(
        order,
        [stop, remove, stop, remove, stop, remove, remove, stop],
        "the second of two members votes until it is removed"
    );
}

#[test]
fn a_stopped_member_restarts_if_it_is_wanted_again() {
    let mut world = cluster(3);
    world.spec.replicas = 2;
    let id = world.member(2).expect("a member").id;
    world.until(50, |_, step| matches!(step, Step::DeletePod { .. }));
    world.elapse(60);
    world.spec.replicas = 3;
    world.settle();
    assert_eq!(world.member(2).map(|member| member.id), Some(id));
    assert!(removals(&world).is_empty());
}

/// A claim that is being deleted exists until its pod is gone. Its member serves and needs no repair.
#[test]
fn without_self_healing_a_deleted_claim_does_not_change_the_scale_in_order() {
    for heals in [false, true] {
        let mut world = cluster(5);
        world.spec.self_healing = Some(SelfHealing { enabled: heals, ..SelfHealing::default() });
        world.spec.replicas = 3;
        world.claims.get_mut(&1).expect("a claim").deleting = true;
        let goes = |step: &Step| matches!(step, Step::DeletePod { .. } | Step::RemoveMember { .. });
        world.until(50, |_, step| goes(step));
        let first = world.taken.last();
        let highest = matches!(first, Some(Step::DeletePod { ordinal: 4, .. }));
        assert_eq!(highest, !heals, "self-healing {heals}: {first:?}");
    }
}

/// The operator of etcd-io never applies a changed template, because it returns early with "already up to date".
#[test]
fn a_changed_template_reaches_every_member_the_leader_last() {
    let mut world = cluster(3);
    let leader = world.leader.expect("a leader");
    let ordinal = world.members.iter().find(|member| member.id == leader);
    let ordinal = ordinal.and_then(|member| member.ordinal).expect("a pod");
    world.template += 1;
    world.settle();
    assert!(world.pods.values().all(|pod| pod.template == 1));
    assert_eq!(stopped(&world).len(), 3, "{:?}", stopped(&world));
    assert_eq!(stopped(&world).last(), Some(&ordinal));
    let moves = world
        .taken
        .iter()
        .filter(|step| matches!(step, Step::MoveLeader { .. }));
    assert_eq!(moves.count(), 1);
}

#[test]
fn a_rollout_waits_until_readiness_has_lasted() {
    let mut world = cluster(3);
    world.template += 1;
    for (seconds, waits) in [(9, true), (10, false)] {
        let mut seen = world.observe();
        for at in seen.ordinals.values_mut() {
            at.pod.as_mut().expect("a pod").ready_changed = seen.now - seconds;
        }
        let step = world.plan(&seen);
        let settling = matches!(why(&step), Some(Why::Settling(_)));
        assert_eq!(settling, waits, "{seconds} s: {step:?}");
    }
}

/// The pods stay ready while a CORRUPT alarm is raised, so readiness does not delay these changes.
#[test]
fn planned_changes_wait_while_no_majority_agrees_on_the_data() {
    let mut world = cluster(3);
    world.undecided = true;
    world.template += 1;
    world.spec.replicas = 5;
    world.elapse(20);
    world.waits_for(&Why::Undecided);
    world.spec.replicas = 3;
    // The user can still replace a member.
    let id = world.member(1).expect("a member").id;
    world.replace = Some(id);
    world.until(200, |_, step| matches!(step, Step::RemoveMember { .. }));
    assert!(stopped(&world).is_empty(), "{:?}", stopped(&world));
    world.undecided = false;
    world.settle();
}

#[test]
fn a_rollout_waits_for_a_foreign_member() {
    let mut world = cluster(3);
    world.template += 1;
    world.elapse(20);
    for healthy in [true, false] {
        let mut seen = world.observe();
        seen.ordinals.remove(&2);
        let list = seen.membership.as_mut().expect("a list");
        let member = &mut list.members[2];
        (member.ordinal, member.healthy) = (None, healthy);
        let foreign = Why::ForeignUnhealthy(member.id);
        let step = world.plan(&seen);
        assert_eq!(why(&step) != Some(&foreign), healthy, "{step:?}");
    }
}

#[test]
fn the_only_copy_is_not_restarted_for_a_template() {
    let mut world = World::new(EtcdClusterSpec::minimal(), 3);
    let empty_dir = Some(OpenObject::default());
    world.spec.storage = Some(Storage { empty_dir, ..Storage::default() });
    world.spec.replicas = 1;
    world.settle();
    world.template += 1;
    world.elapse(20);
    world.waits_for(&Why::OnlyCopy(0));
}

#[test]
fn a_learner_with_nine_tenths_of_the_log_is_promoted() {
    let mut world = cluster(3);
    world.spec.replicas = 4;
    world.until(50, |world, _| world.pods.contains_key(&3));
    for (raft_index, promotes) in [(899, false), (900, true)] {
        let mut seen = world.observe();
        let list = seen.membership.as_mut().expect("a list");
        let leader = list.leader.and_then(|id| list.by_id(id));
        assert_eq!(leader.map(|leader| leader.raft_index), Some(1000));
        let mut learners = list.members.iter_mut().filter(|member| member.learner);
        let learner = learners.next().expect("a learner");
        (learner.started, learner.healthy) = (true, true);
        learner.raft_index = raft_index;
        let step = world.plan(&seen);
        let promoted = matches!(step, Step::Promote(_));
        assert_eq!(promoted, promotes, "{raft_index}: {step:?}");
    }
}

#[test]
fn scaling_in_prefers_a_member_that_does_not_serve() {
    let mut world = cluster(5);
    break_pods(&mut world, &[1], Some(Obstacle::NodeNotReady));
    world.elapse(1);
    world.spec.replicas = 4;
    world.settle();
    let left: Vec<_> = world
        .members
        .iter()
        .filter_map(|member| member.ordinal)
        .collect();
    assert_eq!(left, [0, 2, 3, 4]);
}

/// Each case has the number of members before and after, and lists of members: down, removed immediately, removed after
/// `unhealthyAfter`, remaining.
#[test]
fn scale_in_removes_the_highest_ordinal_and_gives_others_time() {
    type Case<'a> = (i32, i32, &'a [u32], &'a [u32], &'a [u32], &'a [u32]);
    let cases: [Case<'_>; 5] = [
        (5, 3, &[1], &[], &[1], &[0, 2, 3]),
        (5, 3, &[4], &[4], &[], &[0, 1, 2]),
        (5, 4, &[1, 4], &[4], &[], &[0, 1, 2, 3]),
        (3, 1, &[2], &[2], &[], &[0]),
        // Two of four are not a quorum, so nothing may be removed.
        (4, 3, &[1, 3], &[], &[], &[0, 1, 2, 3]),
    ];
    for (from, to, down, at_once, later, left) in cases {
        let mut world = cluster(from);
        let ids: Vec<_> = down
            .iter()
            .filter_map(|ordinal| Some((world.member(*ordinal)?.id, *ordinal)))
            .collect();
        break_pods(&mut world, down, None);
        world.elapse(1);
        world.spec.replicas = to;
        let began = world.now;
        let (mut soon, mut late) = (Vec::new(), Vec::new());
        for _ in 0..300 {
            if let Step::RemoveMember { id, .. } = world.pass() {
                let list = if world.now - began < 290 {
                    &mut soon
                } else {
                    &mut late
                };
                list.extend(ids.iter().filter(|one| one.0 == id).map(|one| one.1));
            }
            world.elapse(3);
        }
        let mut ordinals: Vec<_> = world.members.iter().filter_map(|one| one.ordinal).collect();
        ordinals.sort_unstable();
        assert_eq!(
            (&soon[..], &late[..], &ordinals[..]),
            (at_once, later, left),
            "{from} to {to} without {down:?}"
        );
    }
}

/// A node is drained, or a container restarts, while the cluster scales in.
#[test]
fn a_member_that_restarts_while_the_cluster_scales_in_stays() {
    for (from, to) in [(4, 3), (5, 3), (5, 4), (7, 3)] {
        let mut world = cluster(from);
        let id = world.member(1).expect("a member").id;
        break_pods(&mut world, &[1], None);
        world.elapse(1);
        world.spec.replicas = to;
        world.run(10, |_, _| false);
        world.pods.get_mut(&1).expect("its pod").broken = false;
        world.settle();
        let left: Vec<_> = world.members.iter().filter_map(|one| one.ordinal).collect();
        let wanted: Vec<_> = (0..u32::try_from(to).expect("few")).collect();
        assert_eq!(left, wanted, "{from} to {to}");
        assert_eq!(world.member(1).map(|one| one.id), Some(id));
    }
}

#[test]
fn a_claim_that_the_policy_keeps_never_starts_another_member() {
    let mut world = cluster(3);
    world.spec.persistent_volume_claim_retention_policy = Some(ClaimRetention {
        when_deleted: Retention::Retain,
        when_scaled: Retention::Retain,
    });
    world.spec.replicas = 2;
    world.settle();
    assert!(world.claims[&2].retired);
    world.spec.replicas = 3;
    world.settle();
    assert!(world.claims[&2].retired, "it is kept");
    assert!(!world.claims[&3].retired, "a new claim is created");
    assert_eq!(world.serving(), 3);
}

/// The default storage class of kind (Kubernetes in Docker) cannot expand volumes.
#[test]
fn refused_growth_is_reported_and_blocks_nothing() {
    let mut world = cluster(3);
    world.spec.storage.as_mut().expect("a disk").size = Some(ByteQuantity("9Gi".to_owned()));
    let mut seen = world.observe();
    for at in seen.ordinals.values_mut() {
        at.claim.as_mut().expect("a claim").refused_bytes = Some(9 << 30);
    }
    let step = world.plan(&seen);
    assert!(format!("{step:?}").contains("GrowthRefused(0)"), "{step:?}");
    world.spec.replicas = 4;
    let step = world.plan(&seen);
    assert!(matches!(step, Step::AddLearner { .. }), "{step:?}");
}

/// The spec or the operator changes during an outage. A member that is reading its disk is not stopped.
#[test]
fn without_a_quorum_only_pods_that_cannot_start_get_the_new_template() {
    let mut world = cluster(3);
    break_pods(&mut world, &[0, 1], None);
    world.elapse(1);
    world.template += 1;
    world.until(40, |world, _| world.has_quorum());
    assert!(!stopped(&world).contains(&2), "{:?}", stopped(&world));
    for (kind, image) in [
        (UpdateKind::OnDelete, None),
        (UpdateKind::RollingUpdate, Some("9.9.9")),
    ] {
        let mut world = cluster(3);
        world.spec.update_strategy = Some(UpdateStrategy { kind, ..UpdateStrategy::default() });
        world.spec.version = image.map(str::to_owned);
        break_pods(&mut world, &[0, 1], None);
        world.template += 1;
        world.elapse(1);
        world.run(40, |_, _| false);
        assert!(stopped(&world).is_empty(), "{kind:?} {image:?}");
    }
}

#[test]
fn a_fenced_member_stays_down_and_the_others_keep_their_quorum() {
    let mut world = cluster(3);
    world.fenced.insert(0);
    world.until(50, |_, step| why(step) == Some(&Why::Fenced(0)));
    world.fenced.insert(1);
    world.taken.clear();
    world.run(50, |_, _| false);
    assert!(
        stopped(&world).is_empty(),
        "fencing a second member would cause quorum loss"
    );
    world.fenced.clear();
    world.settle();
    assert!(removals(&world).is_empty());
}

/// Fencing the member would cause quorum loss while another member is down.
#[test]
fn an_unfenceable_member_does_not_block_others() {
    let mut world = cluster(3);
    world.fenced.insert(0);
    world.pods.remove(&1);
    world.until(3, |world, _| world.pods.contains_key(&1));
}

#[test]
fn a_paused_cluster_is_not_changed() {
    let mut world = cluster(3);
    world.spec.paused = true;
    world.spec.replicas = 5;
    world.pods.remove(&0);
    world.never(50, |step| why(step) != Some(&Why::Paused));
}

#[test]
fn a_supervised_rollout_waits_for_approval_before_the_leader() {
    let mut world = cluster(3);
    world.spec.update_strategy =
        Some(UpdateStrategy { supervised: true, ..UpdateStrategy::default() });
    world.template += 1;
    world.until(200, |_, step| matches!(why(step), Some(Why::Approval(_))));
    assert_eq!(stopped(&world).len(), 2);
}

#[test]
fn updates_that_skip_a_minor_version_are_refused() {
    let mut world = cluster(3);
    world.spec.version = Some("0.3.0".to_owned());
    world.template += 1;
    world.until(20, |_, step| {
        matches!(why(step), Some(Why::VersionStep { .. }))
    });
    assert!(stopped(&world).is_empty());
    // Members report the version of etcd that they implement.
    world.spec.version = Some("0.2.0".to_owned());
    world.settle();
    assert_eq!(stopped(&world).len(), 3);
}

#[test]
fn a_release_below_the_feature_level_is_refused() {
    let mut world = cluster(3);
    world.level = Some(2);
    world.spec.version = Some("0.1.0".to_owned());
    world.template += 1;
    world.until(20, |_, step| {
        matches!(why(step), Some(Why::LevelRisen { .. }))
    });
    assert!(stopped(&world).is_empty());
    let seen = world.observe();
    let notice = world.plan(&seen).notice("c", &seen).expect("a notice");
    assert_eq!(notice.reason, "LevelRisen");
    assert!(
        notice.message.starts_with(
            "the cluster has feature level 2, but release 0.1.0 supports only feature level 1"
        ),
        "{}",
        notice.message
    );
    // The release supports the level or is later than all releases that the operator knows.
    world.spec.version = Some("0.2.0".to_owned());
    world.settle();
    assert_eq!(stopped(&world).len(), 3);
}

/// While no member answers, the level in the status applies.
#[test]
fn an_outage_does_not_lower_the_feature_level() {
    let mut world = cluster(3);
    world.level = Some(2);
    world.status.feature_level = Some(2);
    break_pods(&mut world, &[0, 1, 2], None);
    world.spec.version = Some("0.1.0".to_owned());
    world.template += 1;
    world.elapse(60);
    world.run(40, |_, _| false);
    assert!(stopped(&world).is_empty(), "{:?}", stopped(&world));
    // A later release is allowed.
    world.spec.version = Some("0.2.0".to_owned());
    world.until(40, |world, _| world.has_quorum());
}

#[test]
fn disks_grow_one_by_one() {
    let mut world = cluster(3);
    world.spec.storage.as_mut().expect("a disk").size = Some(ByteQuantity("16Gi".to_owned()));
    world.settle();
    assert!(world.claims.values().all(|claim| claim.bytes == 16 << 30));
    assert!(stopped(&world).is_empty());
}

#[test]
fn peer_tls_can_be_enabled_and_disabled_on_a_running_cluster() {
    let mut world = cluster(3);
    for on in [true, false] {
        world.toggle_tls();
        world.taken.clear();
        world.settle();
        assert!(world.members.iter().all(|member| member.https == on));
        let stops = world
            .taken
            .iter()
            .filter(|step| matches!(step, Step::DeletePod { reason: Stop::PeerTls, .. }));
        // The last member that listened only with TLS no longer needs a certificate.
        let each_twice = if on { 6 } else { 5 };
        assert_eq!(stops.count(), each_twice);
    }
}

//! Named cases: whether a member is lost or only seems to be.

use witan_crd::{SelfHealing, Span, UpdateKind, UpdateStrategy};

use super::{
    cases::{break_pods, cluster, removals, stopped},
    waits, why,
    world::World,
};
use crate::model::{Observed, Obstacle, Ordinal, PodPhase, Removal, Role, Step, Stop, Why};

/// The node does not report. Its pod is unready, is evicted and never terminates, but the member serves.
#[test]
fn a_member_that_answers_is_never_removed() {
    let away = || Why::Obstacle(1, Obstacle::NodeNotReady);
    for node_lost_after in [None, Some(Span("10m".to_owned()))] {
        for (ordinal, reason) in [(1, away()), (2, Why::Unhealthy(2))] {
            answering_member_stays(ordinal, &reason, node_lost_after.clone());
        }
    }
}

fn answering_member_stays(ordinal: Ordinal, reason: &Why, node_lost_after: Option<Span>) {
    let mut world = cluster(3);
    world.spec.self_healing = Some(SelfHealing { node_lost_after, ..SelfHealing::default() });
    let id = world.member(ordinal).expect("a member").id;
    world.cut(ordinal);
    world.elapse(1);
    world.run(400, |_, _| false);
    world.waits_for(reason);
    world.delete_pod(ordinal);
    world.run(400, |_, _| false);
    assert!(removals(&world).is_empty(), "{:?}", world.last());
    assert!(stopped(&world).is_empty());
    world.join(ordinal);
    world.settle();
    assert_eq!(world.member(ordinal).map(|member| member.id), Some(id));
}

/// The member answers, but its pod is never ready, because a readiness gate stays false or the probe is blocked.
#[test]
fn scale_in_keeps_an_answering_member_below_the_highest_ordinal() {
    let mut world = cluster(5);
    world.cut(1);
    world.elapse(400);
    world.spec.replicas = 4;
    world.run(50, |_, _| false);
    assert!(world.member(1).is_some(), "{:?}", world.last());
}

#[test]
fn a_silent_member_gets_another_pod_and_keeps_its_disk() {
    let mut world = cluster(3);
    let id = world.member(2).expect("a member").id;
    break_pods(&mut world, &[2], None);
    world.elapse(1);
    let began = world.now;
    let again = Step::DeletePod { ordinal: 2, reason: Stop::Silent };
    world.until(200, |_, step| *step == again);
    assert!(world.now - began >= 295, "{}", world.now - began);
    world.settle();
    assert_eq!(world.member(2).map(|member| member.id), Some(id));
    assert!(removals(&world).is_empty());
}

#[test]
fn a_pod_is_recreated_once_an_hour() {
    let mut world = cluster(3);
    let began = world.now;
    while world.now - began < 3500 {
        if let Some(pod) = world.pods.get_mut(&2) {
            pod.broken = true;
        }
        world.elapse(3);
        world.pass();
    }
    assert_eq!(stopped(&world), [2]);
    world.waits_for(&Why::Silent(2));
    assert!(removals(&world).is_empty());
}

/// A node can refuse every pod, for example because of its topology manager. The operator must pause before it recreates the
/// pod.
#[test]
fn a_pod_that_its_node_refused_is_recreated_after_a_pause() {
    for (exit, pause) in [(Some(137), 0), (None, 15)] {
        let mut world = cluster(3);
        let pod = world.pods.get_mut(&2).expect("a pod");
        (pod.ended, pod.exit) = (true, exit);
        world.elapse(1);
        let began = world.now;
        let again = Step::DeletePod { ordinal: 2, reason: Stop::Ended };
        world.until(50, |_, step| *step == again);
        assert_eq!(world.now - began, pause, "{exit:?}");
        world.settle();
        assert!(removals(&world).is_empty());
    }
}

/// A learner that receives a large snapshot may miss a call. Its pod is unready until it becomes a voter.
#[test]
fn a_learner_that_misses_one_call_stays() {
    let mut world = cluster(3);
    world.spec.replicas = 4;
    world.until(50, |world, _| world.pods.contains_key(&3));
    for member in world.members.iter_mut().filter(|member| member.learner) {
        member.caught_up_at = i64::MAX;
    }
    world.run(200, |_, _| false);
    let learner = world.member(3).expect("it stays");
    assert!(learner.learner && learner.started);
    let step = world.plan(&without_answer(&world, 3));
    waits(&step, &Why::LearnerBehind(learner.id));
}

/// Returns the observation of a pass in which the member with this ordinal does not answer in time.
pub(super) fn without_answer(world: &World, ordinal: Ordinal) -> Observed {
    let mut seen = world.observe();
    let list = seen.membership.as_mut().expect("a list");
    let mut members = list.members.iter_mut();
    let member = members.find(|member| member.ordinal == Some(ordinal));
    let member = member.expect("a member");
    assert!(member.answers);
    (member.answers, member.healthy) = (false, false);
    seen
}

/// A learner will replace the voter, because the voter's claim is being deleted.
#[test]
fn a_voter_that_misses_one_call_keeps_its_replacement() {
    let mut world = cluster(3);
    world.claims.get_mut(&1).expect("a claim").deleting = true;
    world.until(50, |world, _| world.pods.contains_key(&3));
    for member in world.members.iter_mut().filter(|member| member.learner) {
        member.caught_up_at = i64::MAX;
    }
    world.run(10, |_, _| false);
    let step = world.plan(&without_answer(&world, 1));
    assert!(!step.acts(), "{step:?}");
}

/// The replacement already has most of the data, and members refuse to add another member while the voter is down.
#[test]
fn a_voter_that_becomes_silent_keeps_its_replacement() {
    for asked in [false, true] {
        let mut world = cluster(3);
        let replaced = world.member(1).expect("a member").id;
        world.replace = Some(replaced).filter(|_| asked);
        world.claims.get_mut(&1).expect("a claim").deleting = !asked;
        world.until(50, |world, _| world.pods.contains_key(&3));
        let learner = world.member(3).expect("a member").id;
        let catch_up = |world: &mut World, at| {
            let mut members = world.members.iter_mut();
            let member = members.find(|member| member.id == learner);
            member.expect("it stays").caught_up_at = at;
        };
        catch_up(&mut world, i64::MAX);
        world.run(10, |_, _| false);
        break_pods(&mut world, &[1], None);
        world.elapse(1);
        world.never(20, |step| matches!(step, Step::RemoveMember { .. }));
        catch_up(&mut world, 0);
        world.settle();
        assert_eq!(removals(&world).len(), 1, "{:?}", world.last());
        let has = |id| world.members.iter().any(|member| member.id == id);
        assert!(has(learner) && !has(replaced));
    }
}

/// The voter's pod is unready and has an outdated template, but the quorum needs its vote. The pod must not be recreated.
#[test]
fn a_voter_that_misses_one_call_keeps_its_pod() {
    let mut world = cluster(3);
    world.cut(0);
    break_pods(&mut world, &[1], None);
    world.elapse(1);
    world.run(10, |_, _| false);
    assert!(world.has_quorum() && !world.pods[&0].ready);
    world.template += 1;
    let step = world.plan(&without_answer(&world, 0));
    let reason = Stop::Outdated;
    assert_eq!(step, Step::DeletePod { ordinal: 1, reason });
}

/// The voter answers neither the operator nor its probe, but another voter is down, so the quorum needs its vote.
#[test]
fn a_silent_voter_that_the_quorum_needs_keeps_its_pod() {
    let mut world = cluster(3);
    world.cut(0);
    break_pods(&mut world, &[1], None);
    world.elapse(1);
    world.run(10, |_, _| false);
    let status = |world: &World, ordinal| {
        let mut members = world.status.members.iter();
        let found = members.position(|member| member.ordinal == Some(ordinal));
        found.expect("a member")
    };
    let (needed, down) = (status(&world, 0), status(&world, 1));
    let since = world.status.members[down].silent_since.clone();
    assert!(since.is_some());
    world.status.members[needed].silent_since = since;
    world.elapse(400);
    assert!(world.has_quorum() && !world.pods[&0].ready);
    let step = world.plan(&without_answer(&world, 0));
    waits(&step, &Why::CannotReplace(0));
}

/// Members refuse to add a member while a voter is down.
#[test]
fn a_member_that_is_down_is_replaced_before_one_that_answers() {
    for (answering, down) in [(0, 2), (2, 0)] {
        let mut world = cluster(3);
        world.claims.get_mut(&answering).expect("a claim").deleting = true;
        world.claims.get_mut(&down).expect("a claim").damaged = true;
        world.elapse(1);
        world.until(10, |_, step| {
            matches!(step, Step::AddLearner { .. } | Step::RemoveMember { .. })
        });
        assert_eq!(removals(&world), [Removal::BadDisk], "{down}");
    }
}

/// `docs/operating/monitoring.md` lists the exit codes.
#[test]
fn exit_codes_distinguish_a_bad_disk_from_other_failures() {
    for code in [23, 27, 28, 30, 35] {
        let mut world = cluster(3);
        world.claims.get_mut(&1).expect("a claim").damaged = true;
        world.pods.get_mut(&1).expect("a pod").exit = Some(code);
        world.elapse(1);
        let soon = world.run(3, |_, step| matches!(step, Step::RemoveMember { .. }));
        assert!(soon, "{code}: {:?}", world.last());
        world.settle();
        assert_eq!(removals(&world), [Removal::BadDisk], "{code}");
    }
    for code in [
        0, 1, 2, 20, 21, 22, 24, 25, 26, 29, 31, 32, 33, 34, 36, 37, 137, 139,
    ] {
        let mut world = cluster(3);
        world.pods.get_mut(&1).expect("a pod").exit = Some(code);
        world.elapse(1);
        world.run(400, |_, _| false);
        assert!(removals(&world).is_empty(), "{code}");
        world.waits_for(&Why::Exited(1, code));
    }
}

/// The node was set up again, and its local volume is empty.
#[test]
fn a_member_with_an_emptied_disk_is_replaced() {
    let mut world = cluster(3);
    world.claims.get_mut(&1).expect("a claim").data = None;
    world.pods.remove(&1);
    world.settle();
    assert_eq!(removals(&world), [Removal::BadDisk]);
}

#[test]
fn a_bad_disk_is_kept_until_another_member_votes() {
    let mut world = cluster(3);
    world.claims.get_mut(&1).expect("a claim").damaged = true;
    world.elapse(1);
    world.until(200, |_, step| matches!(step, Step::Promote(_)));
    let kept = world.claims.get(&1).expect("its claim is there");
    assert!(kept.retired && kept.data.is_some());
    world.settle();
    let ordinals: Vec<_> = world.claims.keys().copied().collect();
    assert_eq!(ordinals, [0, 2, 3]);
}

/// While a secret is missing, neither recreated pods nor new members can start.
#[test]
fn no_member_is_replaced_while_a_secret_is_missing() {
    let mut world = cluster(3);
    world.missing_secret = true;
    world.pods.remove(&1);
    world.claims.get_mut(&2).expect("a claim").damaged = true;
    world.run(400, |_, _| false);
    assert!(removals(&world).is_empty(), "{:?}", world.last());
    assert!(world.claims.len() == 3);
    world.missing_secret = false;
    world.settle();
    assert_eq!(removals(&world), [Removal::BadDisk]);
}

/// An image whose processes exit with the code of a bad disk must not cause the loss of a disk.
#[test]
fn a_template_with_which_no_member_serves_proves_nothing() {
    for code in [1, 27] {
        let mut world = cluster(3);
        world.template += 1;
        world.bad_template = Some((world.template, code));
        world.run(400, |_, _| false);
        assert!(removals(&world).is_empty(), "{code}: {:?}", world.last());
        assert_eq!(stopped(&world).len(), 1, "{code}: only one member stops");
        let last = world.pass();
        let said = matches!(
            why(&last),
            Some(Why::UnprovenTemplate(_) | Why::Exited(_, 1))
        );
        assert!(said, "{last:?}");
        world.template += 1;
        world.settle();
        assert!(removals(&world).is_empty(), "{code}");
        assert_eq!(world.claims.len(), 3);
    }
}

/// A change of the spec before the replacement does not hide the exit code of the old process.
#[test]
fn a_bad_disk_is_replaced_despite_a_changed_template() {
    let mut world = cluster(3);
    world.claims.get_mut(&1).expect("a claim").damaged = true;
    world.elapse(60);
    world.template += 1;
    world.settle();
    assert_eq!(removals(&world), [Removal::BadDisk]);
}

/// The pod on the lost node cannot be deleted, so the user has deleted its claim.
#[test]
fn a_stuck_pod_does_not_block_growth() {
    let mut world = cluster(3);
    break_pods(&mut world, &[1], None);
    world.cut(1);
    world.delete_pod(1);
    world.run(400, |_, _| false);
    assert!(
        removals(&world).is_empty(),
        "no disk is replaced without a request"
    );
    world.claims.get_mut(&1).expect("a claim").deleting = true;
    world.until(400, |world, _| world.serving() == 3);
    assert!(world.pods.contains_key(&1), "the pod is still terminating");
    assert!(world.member(3).is_some());
}

/// Returns a cluster in which the node of member 1 is lost and `nodeLostAfter` is 20 minutes. The pod never terminates.
fn with_lost_node() -> World {
    let mut world = cluster(3);
    let node_lost_after = Some(Span("20m".to_owned()));
    world.spec.self_healing = Some(SelfHealing { node_lost_after, ..SelfHealing::default() });
    break_pods(&mut world, &[1], None);
    world.cut(1);
    world.delete_pod(1);
    world
}

#[test]
fn a_member_on_a_lost_node_is_replaced_after_the_time_in_the_spec() {
    let mut world = with_lost_node();
    let began = world.now;
    world.until(2000, |world, _| world.serving() == 3);
    assert!(world.now - began >= 1200, "{}", world.now - began);
    assert_eq!(removals(&world), [Removal::NodeLost]);
    assert!(world.pods.contains_key(&1), "the pod is still terminating");
    assert!(
        world.claims.contains_key(&1),
        "the node may return with its disk"
    );
    assert!(world.member(3).is_some());
}

/// The status records a long silence, but no operator was running for most of that time.
#[test]
fn time_without_an_operator_does_not_count_as_silence() {
    let mut world = with_lost_node();
    world.run(20, |_, _| false);
    world.elapse(3600);
    world.acting_since = world.now;
    let removed = world.run(2000, |_, step| matches!(step, Step::RemoveMember { .. }));
    let waited = world.now - world.acting_since;
    assert!(removed && waited >= 1200, "{waited} s: {:?}", world.last());
}

#[test]
fn a_requested_replacement_happens_immediately_and_once() {
    let mut world = cluster(3);
    let id = world.leader.expect("a leader");
    world.replace = Some(id);
    world.settle();
    assert_eq!(removals(&world), [Removal::Requested]);
    assert!(world.took(|step| matches!(step, Step::MoveLeader { .. })));
    assert!(world.members.iter().all(|member| member.id != id));
}

/// The user runs `kubectl delete pvc -l witan.dev/cluster=NAME --wait=false` on a serving cluster.
#[test]
fn members_whose_claims_are_deleted_are_replaced_before_they_are_removed() {
    for members in [1, 3, 5] {
        let mut world = cluster(members);
        let before: Vec<_> = world.members.iter().map(|member| member.id).collect();
        for claim in world.claims.values_mut() {
            claim.deleting = true;
        }
        let voters = |world: &World| world.voters() >= members as usize;
        let sunk = world.run(400, |world, step| !voters(world) || *step == Step::Done);
        assert!(sunk && voters(&world), "{:#?}", world.last());
        assert_eq!(world.voters(), members as usize);
        assert!(world.members.iter().all(|one| !before.contains(&one.id)));
        world.spec.replicas = members + 2;
        world.settle();
        assert!(world.claims.values().all(|claim| !claim.deleting));
        assert_eq!(world.voters(), members as usize + 2);
    }
}

/// Otherwise, a majority of initial members on emptied disks would form an empty cluster.
#[test]
fn the_pods_of_started_members_belong_to_an_existing_cluster() {
    let mut world = cluster(3);
    assert!(world.pods.values().all(|pod| !pod.is_initial));
    world.pods.get_mut(&1).expect("a pod").is_initial = true;
    let mut seen = world.observe();
    assert_eq!(
        world.plan(&seen),
        Step::LabelPod { ordinal: 1, role: Role::Voter }
    );
    let list = seen.membership.as_mut().expect("members");
    list.members[1].started = false;
    assert_eq!(
        world.plan(&seen),
        Step::Done,
        "it must still form the cluster"
    );
}

/// The store is gone, and no pod is recreated only because its template is outdated.
#[test]
fn an_initial_member_that_cannot_restore_joins_the_other_members() {
    let mut world = cluster(3);
    let kind = UpdateKind::OnDelete;
    world.spec.update_strategy = Some(UpdateStrategy { kind, ..UpdateStrategy::default() });
    let mut seen = world.observe();
    let at = seen.ordinals.get_mut(&2).expect("a member");
    let pod = at.pod.as_mut().expect("a pod");
    (pod.ready, pod.phase) = (false, PodPhase::Pending);
    pod.obstacle = Some(Obstacle::RestoreFailed);
    let member = &mut seen.membership.as_mut().expect("members").members[2];
    (member.started, member.answers, member.healthy) = (false, false, false);
    let reason = Stop::WrongStart;
    assert_eq!(world.plan(&seen), Step::DeletePod { ordinal: 2, reason });
}

//! Named cases: a refused step does not block other steps.

use witan_crd::{ByteQuantity, EtcdClusterSpec};

use super::{cases::cluster, cases::started, waits, why, world::World};
use crate::{
    IDLE, SOON,
    model::{Holder, ObjectState, Obstacle, Part, PodPhase, PodPlan, Refusal, Step, Why},
};

fn refuses(world: &mut World, refused: fn(&Step) -> bool) {
    world.refuses = Some(refused);
}

/// A new claim exceeds a storage quota, and a voter's pod is lost at the same time.
#[test]
fn a_stuck_learner_does_not_block_voters() {
    let mut world = cluster(3);
    world.spec.replicas = 4;
    refuses(&mut world, |step| {
        matches!(step, Step::StartMember(PodPlan { ordinal: 3, .. }))
    });
    world.run(50, |_, step| why(step) == Some(&Why::Refused));
    world.taken.clear();
    world.pods.remove(&2);
    world.until(20, |world, _| world.pods.contains_key(&2));
    world.refuses = None;
    world.settle();
    assert_eq!(world.serving(), 4);
}

/// The result does not depend on the position of the refused member in the order of ids.
#[test]
fn a_refused_member_does_not_block_others() {
    for refused in [
        (|step: &Step| matches!(step, Step::StartMember(PodPlan { ordinal: 0, .. })))
            as fn(&Step) -> bool,
        |step| matches!(step, Step::StartMember(PodPlan { ordinal: 1, .. })),
    ] {
        for quorum in [true, false] {
            let mut world = cluster(5);
            let lost = if quorum { 2 } else { 5 };
            (0..lost).for_each(|ordinal| drop(world.pods.remove(&ordinal)));
            world.elapse(1);
            refuses(&mut world, refused);
            world.run(40, |_, _| false);
            assert_eq!(world.pods.len(), 4, "{:?}", world.last());
            assert!(world.has_quorum());
            world.refuses = None;
            world.settle();
        }
    }
}

#[test]
fn a_bootstrap_continues_despite_a_refused_pod() {
    let mut world = World::new(EtcdClusterSpec::minimal(), 3);
    refuses(&mut world, |step| {
        matches!(step, Step::StartMember(PodPlan { ordinal: 0, .. }))
    });
    world.until(50, |world, _| world.pods.len() == 2);
    assert!(!started(&world).is_empty());
}

/// Services exceed their quota, or a webhook refuses the budget.
#[test]
fn refused_objects_do_not_block_lost_pods() {
    for refused in [
        (|step: &Step| matches!(step, Step::ApplyServices)) as fn(&Step) -> bool,
        |step| matches!(step, Step::ApplyBudget(_)),
    ] {
        let mut world = cluster(3);
        world.services = false;
        world.budget = None;
        refuses(&mut world, refused);
        world.pods.remove(&1);
        world.until(20, |world, _| world.pods.contains_key(&1));
        world.refuses = None;
        world.settle();
    }
}

#[test]
fn taken_names_do_not_block_lost_pods() {
    let world = cluster(3);
    for (ending, after) in [(true, SOON), (false, IDLE)] {
        let mut seen = world.observe();
        let holder = Holder { object: "Service/world".to_owned(), ending };
        seen.taken.insert(Part::ClientService, holder);
        seen.client_service = ObjectState::Missing;
        let why = Why::NameTaken(Part::ClientService);
        assert_eq!(world.plan(&seen), Step::Wait { why, after });
        seen.ordinals.get_mut(&1).expect("a member").pod = None;
        let step = world.plan(&seen);
        assert!(
            matches!(step, Step::StartMember(PodPlan { ordinal: 1, .. })),
            "{step:?}"
        );
    }
}

/// A claim without labels may be a disk of the cluster.
#[test]
fn no_message_advises_to_delete_a_claim_that_may_belong_to_the_cluster() {
    let label = "if it is a disk of this cluster, add the label witan.dev/cluster=world; otherwise delete it";
    for (part, advice) in [(Part::Claim(1), label), (Part::Pod(1), "delete it")] {
        let mut seen = cluster(3).observe();
        let holder = Holder { object: "the object".to_owned(), ending: false };
        seen.taken.insert(part, holder);
        let step = Step::Wait { why: Why::NameTaken(part), after: IDLE };
        let notice = step.notice("world", &seen).expect("a wait has a notice");
        assert_eq!(
            notice.message,
            format!(
                "the object has a name that this cluster needs; {advice}, or use another name for the cluster"
            )
        );
    }
}

/// The API server's message is reported first, and the step is retried later.
#[test]
fn a_refused_step_is_retried_after_a_wait() {
    let mut world = cluster(3);
    world.elapse(20);
    world.template += 1;
    let mut seen = world.observe();
    let step = world.plan(&seen);
    assert!(!matches!(step, Step::Wait { .. } | Step::Done), "{step:?}");
    let refusal = |held| Refusal {
        step: step.clone(),
        held,
        idle: false,
        said: "exceeded quota".to_owned(),
    };
    seen.refused = vec![refusal(true)];
    waits(&world.plan(&seen), &Why::Refused);
    seen.refused = vec![refusal(false)];
    assert_eq!(world.plan(&seen), step);
}

/// The quota allows no larger disk, and the template changes.
#[test]
fn refused_growth_does_not_block_a_rollout() {
    let mut world = cluster(3);
    world.elapse(20);
    let size = Some(ByteQuantity("9Gi".to_owned()));
    world.spec.storage.as_mut().expect("a disk").size = size;
    refuses(&mut world, |step| matches!(step, Step::GrowClaim { .. }));
    world.template += 1;
    world.run(200, |_, _| false);
    assert!(world.pods.values().all(|pod| pod.template == 1));
    world.until(20, |_, step| why(step) == Some(&Why::Refused));
}

/// No pods can be built from the spec. Lost pods are recreated, but the cluster is not reported as up to date.
#[test]
fn a_spec_that_makes_no_pod_is_reported() {
    let world = cluster(3);
    let mut seen = world.observe();
    seen.rejected = Some("spec.tolerations does not fit".to_owned());
    waits(&world.plan(&seen), &Why::SpecRejected);
}

/// An image that cannot be pulled is the most frequent failure of a first start.
#[test]
fn a_first_start_reports_why_it_waits() {
    let mut world = World::new(EtcdClusterSpec::minimal(), 3);
    world.until(50, |world, _| world.pods.len() == 3);
    let mut seen = world.observe();
    for at in seen.ordinals.values_mut() {
        let pod = at.pod.as_mut().expect("a pod");
        pod.phase = PodPhase::Pending;
        pod.obstacle = Some(Obstacle::CannotStart);
        pod.ready_changed = seen.now - 60;
    }
    let pull = Why::Obstacle(0, Obstacle::CannotStart);
    waits(&world.plan(&seen), &pull);
    for at in seen.ordinals.values_mut() {
        let pod = at.pod.as_mut().expect("a pod");
        (pod.obstacle, pod.exit) = (None, Some(1));
    }
    waits(&world.plan(&seen), &Why::Exited(0, 1));
}

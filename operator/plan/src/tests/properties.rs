//! Properties over random clusters, changes and faults. A failing seed is printed; set `SEED` to run it alone.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use witan_crd::{
    ClaimRetention, EtcdClusterSpec, OpenObject, Retention, SelfHealing, Span, Storage,
};

use super::{faults::disk, why, world::World};
use crate::model::{PeerTls, Step, Why};

const CASES: u64 = 1000;

/// Number of passes during which faults occur.
const DISTURBED: u64 = 60;

/// Maximum number of passes until an undisturbed cluster matches its spec: each member can be replaced, updated twice, and
/// migrated.
const CALM: usize = 1500;

/// Returns a new cluster with random settings: 1 to 7 members, with or without disks, TLS or discovery.
pub(super) fn world(seed: u64) -> World {
    let mut world = World::new(EtcdClusterSpec::minimal(), seed);
    world.spec.replicas = 1 + i32::try_from(world.random.below(7)).unwrap_or(0);
    world.spec.storage = disk();
    if world.random.below(5) == 0 {
        let empty_dir = Some(OpenObject::default());
        world.spec.storage = Some(Storage { empty_dir, ..Storage::default() });
    }
    if world.random.below(4) == 0 {
        world.spec.persistent_volume_claim_retention_policy = Some(ClaimRetention {
            when_deleted: Retention::Retain,
            when_scaled: Retention::Retain,
        });
    }
    if world.random.below(3) == 0 {
        let node_lost_after = Some(Span("10m".to_owned()));
        world.spec.self_healing = Some(SelfHealing { node_lost_after, ..SelfHealing::default() });
    }
    if world.random.below(8) == 0 {
        world.discover(Some("http://d/token"));
    }
    if world.random.below(3) == 0 {
        world.toggle_tls();
    }
    world.authority.overlap = world.random.seconds(10);
    world
}

/// Runs one random history. On a panic, prints the seed and the last steps.
fn case(seed: u64) {
    let mut world = world(seed);
    let failed = catch_unwind(AssertUnwindSafe(|| history(&mut world)));
    if let Err(panic) = failed {
        eprintln!(
            "SEED={seed} fails after {:#?}, {:#?}",
            world.last(),
            world.observe()
        );
        resume_unwind(panic);
    }
}

fn history(world: &mut World) {
    disturb(world);
    converge(world);
}

/// Runs [`DISTURBED`] passes with random faults and pauses. Skips some passes, as if the operator had crashed.
pub(super) fn disturb(world: &mut World) {
    for _ in 0..DISTURBED {
        if world.random.below(4) == 0 {
            world.disturb();
        }
        // The operator can crash after it observes and before it acts.
        if world.random.below(10) > 0 {
            progresses(world);
        }
        let seconds = 1 + world.random.seconds(20);
        world.elapse(seconds);
    }
}

/// Ends the faults that no step repairs, and asserts that the cluster converges to its spec. Requests the replacement of a
/// damaged disk, as a user would.
pub(super) fn converge(world: &mut World) {
    world.calm();
    let mut quiet = 0;
    for _ in 0..CALM {
        let step = progresses(world);
        let lone = matches!(why(&step), Some(Why::OnlyCopy(_)));
        if let Some(Why::UnprovenTemplate(ordinal) | Why::Exited(ordinal, _)) = why(&step) {
            // The user finds the damaged disk and requests a replacement.
            let claim = world.claims.get(ordinal);
            let bad = claim.is_some_and(|claim| claim.damaged || claim.data.is_none());
            let member = world.member(*ordinal).filter(|_| bad);
            world.replace = member.map(|member| member.id).or(world.replace);
        }
        quiet = if step == Step::Done || lone {
            quiet + 1
        } else {
            0
        };
        if quiet == 5 {
            return as_the_spec_says(world);
        }
        world.elapse(3);
    }
    panic!(
        "the cluster does not converge: {:#?}, {:#?}",
        world.last(),
        world.observe()
    );
}

/// Runs one pass. Asserts that a step that acts changes what the next pass observes, except `StartMember`, which can stop
/// halfway.
fn progresses(world: &mut World) -> Step {
    let before = (world.observe(), world.status.clone());
    let step = world.pass();
    if !matches!(step, Step::Done | Step::Wait { .. } | Step::StartMember(_)) {
        let after = (world.observe(), world.status.clone());
        assert_ne!(before, after, "{step:?} changes something");
    }
    step
}

/// Asserts that members, pods and claims match the spec. The template of a sole member without a disk may be outdated.
fn as_the_spec_says(world: &World) {
    let wanted = world.spec.members();
    let members = u32::try_from(world.members.len()).expect("few members");
    assert_eq!(members, wanted, "the number of members is as in the spec");
    assert_eq!(
        world.serving(),
        world.members.len(),
        "all of them serve and vote"
    );
    assert_eq!(
        world.pods.len(),
        world.members.len(),
        "no other pod is left"
    );
    let tls = world.spec.peer_tls().is_some();
    for (ordinal, pod) in &world.pods {
        let lone = !world.spec.is_durable() && members == 1;
        assert!(
            pod.template == world.template || lone,
            "{ordinal} has the template"
        );
        let on = if tls { PeerTls::On } else { PeerTls::Off };
        assert!(
            pod.peer_tls == on || lone,
            "{ordinal} has the peer TLS mode of the spec"
        );
    }
    let lone = !world.spec.is_durable() && members == 1;
    assert!(
        !tls || lone || world.authority.rests(),
        "the rotation is complete"
    );
    let kept = world.claims.iter().filter(|(_, claim)| !claim.retired);
    let durable = if world.spec.is_durable() {
        world.members.len()
    } else {
        0
    };
    assert_eq!(kept.clone().count(), durable, "one claim each");
    for (ordinal, claim) in kept {
        assert_eq!(claim.class, world.class, "{ordinal} has the storage class");
    }
}

#[test]
fn random_clusters_converge_and_keep_their_quorum() {
    if let Some(seed) = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        return case(seed);
    }
    for seed in 0..CASES {
        case(seed);
    }
}

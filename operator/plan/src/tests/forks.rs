//! Two histories under one cluster id.

use serde_json::json;

use super::{cases::cluster, waits, why, world::World};
use crate::model::{BudgetSeen, ClusterReport, FORKED, ObjectState, Observed, Step, Why};

/// Member 1 was started with --force-new-cluster by accident. The member keeps the cluster id, and a quorum confirms its list.
#[test]
fn a_forced_member_removes_none_of_the_others() {
    let mut world = cluster(3);
    let planned = |world: &World, change: &dyn Fn(&mut Observed)| {
        let mut seen = world.observe();
        let list = seen.membership.as_mut().expect("a list");
        list.members.retain(|member| member.ordinal == Some(1));
        list.leader = list.members.first().map(|member| member.id);
        let state = ObjectState::Current;
        seen.budget = Some(BudgetSeen { min_available: Some(0), state });
        change(&mut seen);
        world.plan(&seen)
    };
    let forked = |seen: &mut Observed| {
        let list = seen.membership.as_mut().expect("a list");
        let report = ClusterReport {
            cluster_id: list.cluster_id,
            forked: true,
            ..ClusterReport::default()
        };
        list.reports.extend([(0, report), (2, report)]);
    };
    let step = planned(&world, &forked);
    waits(&step, &Why::Forked);
    let notice = step.notice("a", &world.observe());
    assert!(notice.is_some_and(|notice| notice.warning));
    // The other members are silent, but the status lists them.
    waits(&planned(&world, &|_| ()), &Why::Forked);
    // The status has the list of the forced member and reports the fork.
    world.status.members.truncate(0);
    let degraded = json!({"type": "Degraded", "status": "True", "reason": FORKED, "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z"});
    world.status.conditions = vec![serde_json::from_value(degraded).expect("a condition")];
    waits(&planned(&world, &|_| ()), &Why::Forked);
    // The user deletes the pods and claims of the other members.
    let given_up = |seen: &mut Observed| {
        for ordinal in [0, 2] {
            let at = seen.ordinals.get_mut(&ordinal).expect("a member");
            at.pod.iter_mut().for_each(|pod| pod.deleting = true);
            at.claim.iter_mut().for_each(|claim| claim.deleting = true);
        }
    };
    let step = planned(&world, &given_up);
    assert_ne!(why(&step), Some(&Why::Forked), "{step:?}");
    world.status.conditions.clear();
    // The other members elect a leader and list each other.
    let electing = |seen: &mut Observed| {
        let list = seen.membership.as_mut().expect("a list");
        list.listed_by_others.extend([0, 2]);
    };
    waits(&planned(&world, &electing), &Why::StillListed(0));
    let step = planned(&world, &|seen| {
        electing(seen);
        seen.ordinals.values_mut().for_each(|at| at.pod = None);
    });
    assert!(
        !matches!(step, Step::RetireClaim { .. } | Step::DeleteClaim(_)),
        "{step:?}"
    );
}

//! Conditions of a cluster, for programs that wait for them. `notice` describes the next step. It is `None` if the
//! operator has nothing to do.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use witan_crd::EtcdClusterStatus;
use witan_plan::model::{Notice, Observed, Step, Why};

use super::{Subject, alarm_message, count, time};

const QUORUM_HEALTHY: &str = "the cluster has a leader, and a quorum confirms linearizable reads";
const NO_QUORUM_YET: &str = "members answer, but they have not formed a quorum yet";
const QUORUM_LOST: &str = "members answer, but no quorum confirms linearizable reads";

/// The parts of a condition that can change.
pub(crate) struct ConditionState<'a> {
    /// `True`, `False` or `Unknown`.
    pub(crate) status: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) message: String,
}

/// Builds all conditions of a cluster. `status` is its new status without conditions.
pub(super) fn all(
    of: Subject<'_>,
    seen: &Observed,
    status: &EtcdClusterStatus,
    next: &Step,
    notice: Option<&Notice>,
) -> Vec<Condition> {
    let spec = of.cluster.spec();
    let hibernated = spec.replicas == 0 && status.replicas == Some(0);
    // Only a quorum confirms the list of alarms.
    let is_unread = !hibernated && !seen.is_confirmed() && status.alarms.is_empty();
    let states = [
        ("Available", available(seen, status, next)),
        ("Ready", ready(of, seen, status, next, notice)),
        ("Progressing", progressing(next, notice)),
        ("Degraded", degraded(seen, status, notice)),
        ("UpToDate", up_to_date(spec.replicas, status)),
        ("AlarmActive", alarm(status, is_unread)),
        ("Paused", flag(spec.paused, "Paused", "Active", "")),
        ("Hibernated", flag(hibernated, "Hibernated", "Running", "")),
    ];
    let condition = |(kind, state): (&str, ConditionState<'_>)| {
        let (before, generation) = (&of.before.conditions, Some(seen.generation));
        condition(before, kind, state, generation, time(seen.now))
    };
    states.into_iter().map(condition).collect()
}

/// Builds a condition. Keeps the transition time if the status is the same in `before`.
pub(crate) fn condition(
    before: &[Condition],
    kind: &str,
    state: ConditionState<'_>,
    observed_generation: Option<i64>,
    now: Time,
) -> Condition {
    let mut before = before.iter();
    let since = before.find(|before| before.type_ == kind && before.status == state.status);
    Condition {
        type_: kind.to_owned(),
        status: state.status.to_owned(),
        reason: state.reason.to_owned(),
        message: state.message,
        observed_generation,
        last_transition_time: since.map_or(now, |since| since.last_transition_time.clone()),
    }
}

/// Returns the state `True` if `holds`, otherwise `False`.
fn state(holds: bool, reason: &'static str, message: impl Into<String>) -> ConditionState<'static> {
    ConditionState {
        status: if holds { "True" } else { "False" },
        reason,
        message: message.into(),
    }
}

/// Returns the state `True` with the reason `if_true` if `holds`, else the state `False` with the reason `if_false`.
fn flag(
    holds: bool,
    if_true: &'static str,
    if_false: &'static str,
    message: impl Into<String>,
) -> ConditionState<'static> {
    state(holds, if holds { if_true } else { if_false }, message)
}

/// Returns the `Available` condition: `True` with a confirmed leader, `Unknown` if pods are ready but no member answers. A
/// cluster that has not served yet is bootstrapping; it has not lost its quorum.
fn available(seen: &Observed, status: &EtcdClusterStatus, next: &Step) -> ConditionState<'static> {
    let waits = |for_what: &[Why]| matches!(next, Step::Wait { why, .. } if for_what.contains(why));
    let leader = seen.membership.as_ref().map(|list| list.leader);
    if waits(&[Why::Unreachable]) && leader.is_none() {
        let message = "pods are ready, but no member answers the operator".to_owned();
        return ConditionState { status: "Unknown", reason: "ClusterUnreachable", message };
    }
    let is_new = status.cluster_id.is_none() && !waits(&[Why::QuorumLost]);
    let (holds, reason, message) = match leader {
        Some(Some(_)) => (true, "QuorumHealthy", QUORUM_HEALTHY),
        Some(None) if is_new => (false, "BootstrapInProgress", NO_QUORUM_YET),
        Some(None) => (false, "QuorumLost", QUORUM_LOST),
        None if waits(&[Why::Hibernated]) => (false, "Hibernated", "no member is running"),
        None if waits(&[Why::QuorumLost, Why::DataLost]) => {
            (false, "QuorumLost", "no member answers")
        }
        None if seen.pods().next().is_none() => (false, "NoMembers", "no member is running"),
        None => (false, "BootstrapInProgress", "no member answers yet"),
    };
    state(holds, reason, message)
}

/// Returns the `Ready` condition: `True` if a quorum confirms that the members are `spec.replicas` healthy voters. All of them
/// must be ready and updated, and no step may be in progress or refused.
fn ready(
    of: Subject<'_>,
    seen: &Observed,
    status: &EtcdClusterStatus,
    next: &Step,
    notice: Option<&Notice>,
) -> ConditionState<'static> {
    let wanted = of.cluster.spec().replicas;
    let (healthy, total) = (count(seen.healthy_voters()), count(seen.members().count()));
    let is_wanted = |number: Option<i32>| number == Some(wanted);
    let exact = wanted > 0
        && seen.is_confirmed()
        && seen.refused.is_empty()
        && seen.rejected.is_none()
        && !next.progresses()
        && (healthy, total) == (wanted, wanted)
        && is_wanted(status.replicas)
        && is_wanted(status.ready_replicas)
        && is_wanted(status.updated_replicas);
    if exact {
        let text = format!("all {wanted} members are healthy voters and up to date");
        return state(true, "MembersReady", text);
    }
    match notice {
        _ if wanted == 0 => state(false, "Hibernated", "spec.replicas is 0"),
        Some(notice) => state(false, notice.reason, notice.message.clone()),
        None => {
            let left = seen.pods().filter(|(at, _)| seen.member(*at).is_none());
            let left: Vec<_> = left.map(|(at, _)| of.cluster.resource.member(at)).collect();
            let mut text = format!("{healthy} of {wanted} members are healthy");
            if !left.is_empty() {
                let left = left.join(", ");
                text.push_str(&format!("; pods of removed members still exist: {left}"));
            }
            state(false, "MembersNotReady", text)
        }
    }
}

/// Returns the `Progressing` condition: `True` if the next step acts or the effect of an earlier step is pending.
fn progressing(next: &Step, notice: Option<&Notice>) -> ConditionState<'static> {
    match notice {
        Some(notice) if next.progresses() => state(true, notice.reason, notice.message.clone()),
        Some(notice) => state(false, notice.reason, notice.message.clone()),
        None => state(false, "Stable", "the cluster matches its spec"),
    }
}

/// Returns the `Degraded` condition: `True` if the spec is rejected or a voter is not healthy. Also `True` if there is a
/// refusal, a warning or an alarm.
pub(super) fn degraded(
    seen: &Observed,
    status: &EtcdClusterStatus,
    notice: Option<&Notice>,
) -> ConditionState<'static> {
    if let Some(said) = &seen.rejected {
        return state(true, "SpecRejected", said.clone());
    }
    if let Some(refusal) = seen.refused.first() {
        let notice = refusal.notice();
        return state(true, notice.reason, notice.message);
    }
    if let Some(said) = seen.pods().find_map(|(_, pod)| pod.refused.as_ref()) {
        let text = "the API server refuses pods with the current template, so lost pods are recreated from the last admitted template";
        return state(true, "TemplateRefused", format!("{text}: {said}"));
    }
    let unhealthy = status
        .members
        .iter()
        .filter(|member| member.id.is_some() && !member.is_healthy && !member.is_learner);
    let unhealthy: Vec<&str> = unhealthy.map(|member| member.name.as_str()).collect();
    match notice.filter(|notice| notice.warning) {
        Some(notice) => state(true, notice.reason, notice.message.clone()),
        None if !status.alarms.is_empty() => state(true, "AlarmActive", alarm_message(status)),
        None if !unhealthy.is_empty() => {
            let text = format!("members are not healthy: {}", unhealthy.join(", "));
            state(true, "MemberUnhealthy", text)
        }
        None => state(false, "Healthy", ""),
    }
}

/// Returns the `UpToDate` condition: `True` if every pod has the current template and storage, and a pod exists unless `wanted`
/// is 0.
fn up_to_date(wanted: i32, status: &EtcdClusterStatus) -> ConditionState<'static> {
    let all = status.replicas.unwrap_or(0);
    if all == 0 && wanted > 0 {
        return state(false, "NoPods", "no pod exists");
    }
    let outdated = all - status.updated_replicas.unwrap_or(0);
    let text = format!("pods with an earlier template or claim: {outdated}");
    flag(outdated == 0, "AllMembersUpdated", "MembersOutdated", text)
}

/// Returns the `AlarmActive` condition: `Unknown` if the alarms cannot be read (`unread`).
fn alarm(status: &EtcdClusterStatus, unread: bool) -> ConditionState<'static> {
    if unread {
        let message = "no quorum confirms the alarms, so they are not known".to_owned();
        return ConditionState { status: "Unknown", reason: "NoQuorum", message };
    }
    let raised = !status.alarms.is_empty();
    flag(raised, "AlarmRaised", "NoAlarm", alarm_message(status))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;
    use witan_plan::model::{MemberSeen, Membership, OrdinalSeen, Refusal};

    use super::*;
    use crate::{observe::pods, testing::named};

    #[test]
    fn degraded_quotes_the_refusal_of_a_step() {
        let grow = Step::GrowClaim { ordinal: 0, bytes: 1 };
        for (step, kind, idle, reason) in [
            (Step::Promote(7), "Promote", false, "StepRefused"),
            (grow, "GrowClaim", true, "NoProgress"),
        ] {
            let said = "exceeded quota: small".to_owned();
            let refused = vec![Refusal { step, held: true, idle, said }];
            let seen = Observed { refused, ..Observed::default() };
            let found = degraded(&seen, &EtcdClusterStatus::default(), None);
            assert_eq!((found.status, found.reason), ("True", reason));
            assert_eq!(found.message, format!("{kind}: exceeded quota: small"));
        }
    }

    /// For `QuorumLost`, the runbook recommends a forced new cluster, which would be wrong here.
    #[test]
    fn a_cluster_that_has_never_served_is_bootstrapping() {
        let membership = Some(Membership::default());
        let seen = Observed { membership, ..Observed::default() };
        for (id, expected) in [(None, "BootstrapInProgress"), (Some("c1"), "QuorumLost")] {
            let cluster_id = id.map(str::to_owned);
            let status = EtcdClusterStatus { cluster_id, ..EtcdClusterStatus::default() };
            let found = available(&seen, &status, &Step::Done);
            assert_eq!((found.status, found.reason), ("False", expected));
        }
    }

    /// Each member knows a leader for up to an election timeout after the quorum is lost.
    #[test]
    fn a_cluster_without_a_confirmed_leader_is_not_ready_and_its_alarms_are_unknown() {
        let cluster = named(&json!({"spec": {"replicas": 1}}));
        let of = Subject { cluster: &cluster, before: &EtcdClusterStatus::default() };
        let status = EtcdClusterStatus {
            replicas: Some(1),
            ready_replicas: Some(1),
            updated_replicas: Some(1),
            ..EtcdClusterStatus::default()
        };
        for leader in [Some(10), None] {
            let linearizable = leader.is_some();
            let members = vec![MemberSeen { id: 10, healthy: true, ..MemberSeen::default() }];
            let list = Membership { linearizable, leader, members, ..Membership::default() };
            let seen = Observed { membership: Some(list), ..Observed::default() };
            let found = all(of, &seen, &status, &Step::Done, None);
            let is = |kind: &str, value: &str| {
                let mut found = found.iter();
                found.any(|one| one.type_ == kind && one.status == value)
            };
            assert_eq!(is("Ready", "True"), linearizable);
            assert_eq!(is("AlarmActive", "Unknown"), !linearizable);
        }
    }

    /// Such a pod can stay for a long time, because its node is lost or it has a finalizer.
    #[test]
    fn an_unready_cluster_names_the_pods_of_removed_members() {
        let cluster = named(&json!({}));
        let status = EtcdClusterStatus::default();
        let of = Subject { cluster: &cluster, before: &status };
        let pod = Some(pods::seen(&cluster, &Pod::default(), 0));
        let at = OrdinalSeen { pod, claim: None };
        let seen = Observed { ordinals: BTreeMap::from([(1, at)]), ..Observed::default() };
        let found = ready(of, &seen, &status, &Step::Done, None);
        assert!(found.message.ends_with("orders-1"), "{}", found.message);
    }

    #[test]
    fn a_cluster_without_pods_is_up_to_date_only_with_zero_replicas() {
        for (wanted, pods, updated, expected) in [
            (3, 0, 0, ("False", "NoPods")),
            (3, 1, 1, ("True", "AllMembersUpdated")),
            (3, 3, 2, ("False", "MembersOutdated")),
            (0, 1, 0, ("False", "MembersOutdated")),
            (0, 0, 0, ("True", "AllMembersUpdated")),
        ] {
            let status = EtcdClusterStatus {
                replicas: Some(pods),
                updated_replicas: Some(updated),
                ..EtcdClusterStatus::default()
            };
            let found = up_to_date(wanted, &status);
            assert_eq!((found.status, found.reason), expected);
        }
    }

    #[test]
    fn degraded_gives_the_reason_why_a_spec_makes_no_pods() {
        let rejected = Some("spec.tolerations is not valid in a pod or claim".to_owned());
        let seen = Observed { rejected, ..Observed::default() };
        let found = degraded(&seen, &EtcdClusterStatus::default(), None);
        assert_eq!((found.status, found.reason), ("True", "SpecRejected"));
    }
}

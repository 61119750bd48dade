//! The members of a cluster, according to the cluster's status and pods.

use witan_crd::{EtcdClusterStatus, MemberPhase, MemberStatus};

use super::super::{
    facts::{Facts, PodFact},
    table::{Table, UNKNOWN, counted, or_unknown, yes},
};

/// Returns a line with the ready members, voters, learners, leader and version.
pub(super) fn summary(facts: &Facts) -> String {
    let status = facts.status();
    let members = status.members.iter();
    let voters = members.filter(|member| member.id.is_some() && !member.is_learner);
    let voters = voters.count();
    let learners = u64::try_from(status.learners.unwrap_or(0)).unwrap_or(0);
    let learners = (learners > 0).then(|| format!(", {}", counted(learners, "learner")));
    let version = match (&status.current_version, &status.target_version) {
        (Some(now), Some(wanted)) if now != wanted => format!(", version {now} becoming {wanted}"),
        (Some(now), _) => format!(", version {now}"),
        (None, _) => String::new(),
    };
    format!(
        "{} of {} ready, {}{}, leader {}{version}",
        status.ready_replicas.unwrap_or(0),
        facts.cluster.spec.replicas,
        counted(voters as u64, "voter"),
        learners.unwrap_or_default(),
        status.leader.as_deref().unwrap_or("unknown"),
    )
}

/// Formats the cluster's feature level and, if all members support a higher level, also that level. Returns `None` if the level
/// is unknown.
pub(super) fn level(status: &EtcdClusterStatus) -> Option<String> {
    let level = status.feature_level?;
    let listed = status.members.iter().filter(|member| member.id.is_some());
    // `None`, an unknown level, is less than any level.
    let lowest = listed.map(|member| member.level).min().flatten();
    let higher = lowest.filter(|lowest| *lowest > level);
    let higher = higher.map(|lowest| format!(" (all members support {lowest})"));
    Some(format!("{level}{}", higher.unwrap_or_default()))
}

/// Returns a table of the members and of the pods that are not members yet; `None` if it has no rows.
pub(super) fn table(facts: &Facts) -> Option<String> {
    let status = facts.status();
    let leader = status.members.iter().find(|member| member.is_leader);
    let leader = leader.and_then(|member| member.raft_index);
    let heading = [
        "MEMBER",
        "ID",
        "ROLE",
        "READY",
        "VERSION",
        "RAFT INDEX",
        "LAG",
        "SIZE",
        "RESTARTS",
        "NODE",
        "WHY NOT READY",
    ];
    let mut table = Table::new(heading);
    let mut add = |member: &MemberStatus, pod: Option<&PodFact>, ready: bool, why: String| {
        let lag = leader
            .zip(member.raft_index)
            .map(|(leader, own)| (leader - own).max(0));
        table.row([
            member.name.clone(),
            or_unknown(member.id.clone()),
            role(member).to_owned(),
            yes(ready),
            or_unknown(member.release.clone().or_else(|| member.version.clone())),
            or_unknown(member.raft_index),
            or_unknown(lag),
            or_unknown(member.db_size.clone()),
            or_unknown(pod.map(|pod| pod.restarts)),
            or_unknown(pod.and_then(|pod| pod.node.clone())),
            why,
        ]);
    };
    for member in &status.members {
        let pod = facts.pod(&member.name);
        add(member, pod, is_ready(member), why(member, pod));
    }
    let is_new = |pod: &&PodFact| status.members.iter().all(|member| member.name != pod.name);
    for pod in facts.pods.iter().filter(is_new) {
        let member = MemberStatus { name: pod.name.clone(), ..MemberStatus::default() };
        let why = pod.waits.clone();
        let why = why.unwrap_or_else(|| "no member yet".to_owned());
        add(&member, Some(pod), pod.ready, why);
    }
    table.text()
}

/// Returns the role of a member; `-` for a pod that is not a member yet.
fn role(member: &MemberStatus) -> &'static str {
    match member {
        MemberStatus { is_leader: true, .. } => "leader",
        MemberStatus { is_learner: true, .. } => "learner",
        MemberStatus { id: None, .. } => UNKNOWN,
        MemberStatus { .. } => "voter",
    }
}

/// Returns whether a member is healthy and its phase is `Ready` or `Learner`.
fn is_ready(member: &MemberStatus) -> bool {
    let phases = [MemberPhase::Ready, MemberPhase::Learner];
    member.is_healthy && member.phase.is_some_and(|phase| phases.contains(&phase))
}

/// Returns why a member is not ready: the operator's reason (or else the phase) and the problem of its pod. For a ready member,
/// returns only the operator's reason.
fn why(member: &MemberStatus, pod: Option<&PodFact>) -> String {
    if is_ready(member) {
        return member.reason.clone().unwrap_or_default();
    }
    let phase = member.phase.map(|phase| format!("{phase:?}"));
    let reason = member.reason.clone().or(phase);
    let waits = pod.and_then(|pod| pod.waits.clone());
    let waits = waits.filter(|waits| reason.as_ref() != Some(waits));
    [reason, waits]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_shows_a_higher_one_only_if_all_members_support_it() {
        let shown = |feature_level, levels: &[Option<i64>]| {
            let member = |level: &Option<i64>| MemberStatus {
                id: Some("a1".to_owned()),
                level: *level,
                ..MemberStatus::default()
            };
            let mut members: Vec<_> = levels.iter().map(member).collect();
            // A pod that is not a member yet.
            members.push(MemberStatus::default());
            level(&EtcdClusterStatus { feature_level, members, ..EtcdClusterStatus::default() })
        };
        let both = shown(Some(1), &[Some(3), Some(2)]);
        assert_eq!(both.as_deref(), Some("1 (all members support 2)"));
        for levels in [[Some(2), Some(1)], [Some(2), None]] {
            assert_eq!(shown(Some(1), &levels).as_deref(), Some("1"), "{levels:?}");
        }
        assert_eq!(shown(Some(1), &[]).as_deref(), Some("1"));
        assert_eq!(shown(None, &[Some(2)]), None);
    }
}

//! Status of the members of a cluster.

use std::collections::BTreeSet;

use witan_crd::{MemberPhase, MemberStatus};
use witan_plan::model::{MemberSeen, Membership, Observed, Ordinal};

use super::{Subject, events, rounded, time};

/// Returns a status with a unique name for each ordinal that has a pod or a member, then for each outside member. While no
/// member answers, keeps ids, roles and outside members, because a recovery counts the voters in the status.
pub(super) fn all(of: Subject<'_>, seen: &Observed) -> Vec<MemberStatus> {
    let membership = seen.membership.as_ref();
    let of_pods = seen.pods().map(|(ordinal, _)| ordinal);
    let of_members = seen.members().filter_map(|member| member.ordinal);
    let ordinals: BTreeSet<Ordinal> = of_pods.chain(of_members).collect();
    let own = ordinals.into_iter().map(|ordinal| {
        let member = seen.member(ordinal);
        let name = of.cluster.resource.member(ordinal);
        let before = &of.before.members;
        let reported = match membership {
            Some(list) => reported_status(list, member),
            None => {
                let same_name = before.iter().find(|known| known.name == name);
                same_name.map(last_reported).unwrap_or_default()
            }
        };
        let id = member.map(|member| format!("{:x}", member.id));
        let same_id = before.iter().find(|known| id.is_some() && known.id == id);
        let silent_since = same_id.and_then(|known| known.silent_since.clone());
        let corrupt_since = same_id.and_then(|known| known.corrupt_since.clone());
        let now = || time(seen.now);
        let is_silent = member.is_some_and(|member| !member.answers);
        let is_corrupt = member.is_some_and(|member| member.corrupt);
        MemberStatus {
            name,
            ordinal: i32::try_from(ordinal).ok(),
            phase: Some(member_phase(seen, ordinal, member)),
            reason: reason(seen, ordinal),
            silent_since: is_silent.then(|| silent_since.unwrap_or_else(now)),
            corrupt_since: is_corrupt.then(|| corrupt_since.unwrap_or_else(now)),
            ..reported
        }
    });
    let mut all: Vec<MemberStatus> = own.collect();
    let Some(list) = membership else {
        let known = of.before.members.iter();
        let elsewhere = known.filter(|member| member.ordinal.is_none());
        all.extend(elsewhere.map(last_reported));
        return all;
    };
    let foreign = seen.members().filter(|member| member.ordinal.is_none());
    for member in foreign {
        let mut name = seen.name_of(&of.cluster.name, member.id);
        if all.iter().any(|other| other.name == name) {
            name = format!("{:x}", member.id);
        }
        all.push(MemberStatus { name, ..reported_status(list, Some(member)) });
    }
    all
}

/// Returns the name, the id and the role that the previous status reports for a member.
fn last_reported(known: &MemberStatus) -> MemberStatus {
    MemberStatus {
        name: known.name.clone(),
        id: known.id.clone(),
        is_learner: known.is_learner,
        ..MemberStatus::default()
    }
}

/// Returns the fields of a member's status that come from the members' reports.
fn reported_status(membership: &Membership, member: Option<&MemberSeen>) -> MemberStatus {
    let Some(member) = member else {
        return MemberStatus::default();
    };
    let raft_index = i64::try_from(member.raft_index);
    MemberStatus {
        id: Some(format!("{:x}", member.id)),
        version: member.version.clone(),
        release: member.release.clone(),
        level: member.level.map(i64::from),
        is_healthy: member.healthy,
        is_leader: membership.leader == Some(member.id),
        is_learner: member.learner,
        raft_index: raft_index.ok().filter(|index| *index > 0),
        db_size: Some(member.db_size).filter(|bytes| *bytes > 0).map(rounded),
        ..MemberStatus::default()
    }
}

/// Returns the phase of an ordinal for `status.members`. `member` is its entry in the member list.
fn member_phase(seen: &Observed, ordinal: Ordinal, member: Option<&MemberSeen>) -> MemberPhase {
    let pod = seen.pod(ordinal);
    match (member, pod) {
        _ if seen.fenced.contains(&ordinal) && pod.is_none() => MemberPhase::Fenced,
        (None, Some(pod)) if seen.membership.is_none() && !pod.deleting => {
            MemberPhase::Provisioning
        }
        (None, _) => MemberPhase::Removing,
        (Some(_), None) => MemberPhase::Pending,
        (Some(member), Some(_)) if !member.started => MemberPhase::Provisioning,
        (Some(member), Some(_)) if member.learner => MemberPhase::Learner,
        (Some(member), Some(pod)) if member.healthy && pod.ready => MemberPhase::Ready,
        (Some(_), Some(_)) => MemberPhase::Unhealthy,
    }
}

/// Returns why the pod of an ordinal is not ready: `PodEnding` or the name of its obstacle. Otherwise, returns
/// [`events::FOREIGN_ADDRESS`] for a member with a foreign peer URL, even if the pod is ready. Returns `None` for any other
/// pod.
fn reason(seen: &Observed, ordinal: Ordinal) -> Option<String> {
    let pod = seen.pod(ordinal)?;
    if pod.deleting {
        return Some("PodEnding".to_owned());
    }
    let obstacle = pod.obstacle.filter(|_| !pod.ready);
    let member = seen.member(ordinal);
    let elsewhere = member.is_some_and(|member| member.foreign_address);
    let obstacle = obstacle.map(|obstacle| format!("{obstacle:?}"));
    obstacle.or_else(|| elsewhere.then(|| events::FOREIGN_ADDRESS.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;
    use witan_crd::EtcdClusterStatus;
    use witan_plan::model::OrdinalSeen;

    use super::*;
    use crate::testing::named;

    /// The API server rejects the entire status if two entries of a list have the same name.
    #[test]
    fn member_names_are_unique() {
        let cluster = named(&json!({"metadata": {"name": "a"}}));
        let of = Subject { cluster: &cluster, before: &EtcdClusterStatus::default() };
        let member = |id, ordinal| MemberSeen {
            id,
            name: "a-0".to_owned(),
            ordinal,
            ..MemberSeen::default()
        };
        let list = vec![member(10, Some(0)), member(11, None), member(12, None)];
        let membership = Membership { members: list, ..Membership::default() };
        let seen = Observed { membership: Some(membership), ..Observed::default() };
        let names = all(of, &seen).into_iter().map(|member| member.name);
        assert_eq!(names.collect::<Vec<_>>(), ["a-0", "b", "c"]);
    }

    /// A recovery must know the outside voters and the learners when no member answers.
    #[test]
    fn members_keep_their_id_and_role_while_none_answers() {
        let cluster = named(&json!({"metadata": {"name": "a"}}));
        let member = |id, ordinal, learner| MemberSeen {
            id,
            ordinal,
            learner,
            healthy: true,
            ..MemberSeen::default()
        };
        let list = vec![
            member(10, Some(0), false),
            member(11, Some(1), true),
            member(12, None, false),
        ];
        let membership = Membership { members: list, leader: Some(10), ..Membership::default() };
        let pod = crate::observe::pods::seen(&cluster, &Pod::default(), 0);
        let pods = [0, 1].map(|ordinal| {
            (
                ordinal,
                OrdinalSeen { pod: Some(pod.clone()), ..OrdinalSeen::default() },
            )
        });
        let ordinals = BTreeMap::from(pods);
        let mut seen = Observed {
            membership: Some(membership),
            ordinals,
            ..Observed::default()
        };
        let mut before = EtcdClusterStatus::default();
        for answers in [true, false, false] {
            seen.membership = seen.membership.filter(|_| answers);
            before.members = all(Subject { cluster: &cluster, before: &before }, &seen);
            let shown = before.members.iter().map(|member| {
                let id = member.id.as_deref().unwrap_or_default();
                (id, member.ordinal, member.is_learner, member.is_healthy)
            });
            let expected = [
                ("a", Some(0), false, answers),
                ("b", Some(1), true, answers),
                ("c", None, false, answers),
            ];
            assert_eq!(shown.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_member_shows_its_release_and_its_level() {
        let release = Some("0.2.0".to_owned());
        let member = MemberSeen { release, level: Some(2), ..MemberSeen::default() };
        let shown = reported_status(&Membership::default(), Some(&member));
        assert_eq!(
            (shown.release.as_deref(), shown.level),
            (Some("0.2.0"), Some(2))
        );
    }

    #[test]
    fn a_member_is_silent_from_its_first_silence_to_its_next_answer() {
        let cluster = named(&json!({}));
        let member =
            |answers| MemberSeen { id: 10, ordinal: Some(0), answers, ..MemberSeen::default() };
        let (mut before, mut shown) = (EtcdClusterStatus::default(), Vec::new());
        for (now, answers) in [(1, true), (2, false), (3, false), (4, true), (5, false)] {
            let members = vec![member(answers)];
            let membership = Some(Membership { members, ..Membership::default() });
            let seen = Observed { now, membership, ..Observed::default() };
            before.members = all(Subject { cluster: &cluster, before: &before }, &seen);
            let since = before.members[0].silent_since.as_ref();
            shown.push(since.map(|since| since.0.as_second()));
        }
        assert_eq!(shown, [None, Some(2), Some(2), None, Some(5)]);
    }
}

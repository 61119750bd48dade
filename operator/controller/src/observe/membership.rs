//! Derives the membership from the members' responses: which list to trust, which members are healthy, and which disagree.

use std::collections::{BTreeMap, BTreeSet};

use witan_api::v3::etcdserverpb::{AlarmType, Member};
use witan_crd::quorum;
use witan_members::{Answer, CallError, Report};
use witan_plan::model::{ClusterReport, MemberId, MemberSeen, Membership, Ordinal};

use crate::resources::Cluster;

const FIRST_INDEX: u64 = 1;

/// The revision of an empty key space. A member restored from a backup starts with the backup's revision instead.
const FIRST_REVISION: i64 = 1;

/// Returns the list of members and their reports. Prefers a list that a quorum confirmed, then the leader's list, then the list
/// of the member with the highest applied index. `known` are the ordinals with a pod or a claim. Returns `None` if no member
/// answered.
pub(super) fn choose(
    cluster: &Cluster<'_>,
    answers: &[Answer],
    known: &BTreeSet<Ordinal>,
) -> Option<Membership> {
    let answered = answers.iter().filter_map(|answer| {
        let report = answer.report.as_ref().ok()?;
        Some((cluster.resource.ordinal(&answer.member), report))
    });
    let answered: Vec<(Option<Ordinal>, &Report)> = answered.collect();
    let reports: Vec<&Report> = answered.iter().map(|(_, report)| *report).collect();
    let best = *reports.iter().max_by_key(|report| {
        let leads = report.leader_id == report.member_id;
        (report.linearizable, leads, report.raft_applied_index)
    })?;
    let ordinals = ordinals(cluster, &best.members, &answered, known);
    let members = best.members.iter().map(|entry| {
        let ordinal = ordinals.get(&entry.id).copied();
        let elsewhere = ordinal != cluster.ordinal_of_urls(&entry.peer_urls);
        MemberSeen {
            ordinal,
            foreign_address: ordinal.is_some() && elsewhere,
            ..member(entry, best, &reports)
        }
    });
    let mut members: Vec<MemberSeen> = members.collect();
    members.sort_by_key(|member| member.id);
    let corrupt = foreign(AlarmType::Corrupt, &members, &reports);
    let no_space = foreign(AlarmType::Nospace, &members, &reports);
    let of_pods = answered.iter().filter_map(|(ordinal, report)| {
        let report = cluster_report(best, report);
        Some(((*ordinal)?, report))
    });
    Some(Membership {
        cluster_id: best.cluster_id,
        reports: of_pods.collect(),
        listed_by_others: listed_by_others(cluster, best, &reports),
        linearizable: best.linearizable,
        leader: Some(best.leader_id).filter(|id| *id != 0 && best.linearizable),
        level: level(best, &reports),
        // The fence of a cut-over raises both alarms for the same id.
        stale_corrupt: &(&corrupt - &no_space) - &BTreeSet::from([0]),
        foreign_no_space: &no_space - &corrupt,
        undecided: corrupt.contains(&0),
        members,
    })
}

/// Returns the feature level of the cluster of `best`: the highest that one of its members reports; `None` if no member reports
/// one.
fn level(best: &Report, reports: &[&Report]) -> Option<u32> {
    let same = |report: &&&Report| report.cluster_id == best.cluster_id;
    let same = reports.iter().filter(same);
    same.filter_map(|report| report.running.cluster_level).max()
}

fn lists(report: &Report, id: MemberId) -> bool {
    report.members.iter().any(|member| member.id == id)
}

/// Returns the ordinals that only reports other than `best` list. Ignores the reports of members of other clusters, and of a
/// removed member that is unaware of its removal.
fn listed_by_others(
    cluster: &Cluster<'_>,
    best: &Report,
    reports: &[&Report],
) -> BTreeSet<Ordinal> {
    let informed = reports.iter().filter(|report| {
        let knows = lists(best, report.member_id) || !may_precede(report, best);
        report.cluster_id == best.cluster_id && knows
    });
    let entries = informed.flat_map(|report| &report.members);
    let unknown = entries.filter(|entry| !lists(best, entry.id));
    let ordinals = unknown.filter_map(|entry| {
        let named = cluster.resource.ordinal(&entry.name);
        named.or_else(|| cluster.ordinal_of_urls(&entry.peer_urls))
    });
    ordinals.collect()
}

/// Returns whether the list of `later` still contains a quorum of the voters of `earlier`. If it does not, `later` cannot
/// contain a later list of the same history.
fn may_precede(earlier: &Report, later: &Report) -> bool {
    let voters = earlier.members.iter().filter(|member| !member.is_learner);
    let left = voters.clone().filter(|voter| lists(later, voter.id));
    left.count() >= quorum(voters.count())
}

/// Returns whether two members serve with different quorums. Can briefly return `true` after an election.
fn contradicts(one: &Report, other: &Report) -> bool {
    let led = |report: &Report| report.linearizable && report.leader_id != 0;
    let agree = lists(one, other.leader_id) && lists(other, one.leader_id);
    one.cluster_id == other.cluster_id && led(one) && led(other) && !agree
}

/// Summarizes the report of a member about its cluster. `best` is the report whose list is used.
fn cluster_report(best: &Report, report: &Report) -> ClusterReport {
    let last = report.raft_index.max(report.raft_applied_index);
    let stored = last > FIRST_INDEX || report.revision > FIRST_REVISION;
    ClusterReport {
        cluster_id: report.cluster_id,
        members: report.members.len(),
        forked: contradicts(best, report),
        blank: !stored && !report.linearizable,
    }
}

/// Returns the ordinals of the members that are pods of this cluster, by member id. Uses these sources in order: the member at
/// a pod's address, the ordinal in the status, the name of a member with a pod or claim, and the peer URL. The peer URL comes
/// last, because users can set any URL.
fn ordinals(
    cluster: &Cluster<'_>,
    members: &[Member],
    answered: &[(Option<Ordinal>, &Report)],
    known: &BTreeSet<Ordinal>,
) -> BTreeMap<MemberId, Ordinal> {
    let answered = answered.iter();
    let answered = answered.map(|(ordinal, report)| (report.member_id, *ordinal));
    let status = cluster.resource.status.iter();
    let before = status.flat_map(|status| &status.members);
    let before = before.filter_map(|member| {
        let id = MemberId::from_str_radix(member.id.as_deref()?, 16).ok()?;
        Some((id, Ordinal::try_from(member.ordinal?).ok()))
    });
    let named = members.iter().map(|member| {
        let ordinal = cluster.resource.ordinal(&member.name);
        (member.id, ordinal.filter(|ordinal| known.contains(ordinal)))
    });
    let reached = members.iter();
    let reached = reached.map(|member| (member.id, cluster.ordinal_of_urls(&member.peer_urls)));
    let mut found = BTreeMap::new();
    for (id, ordinal) in answered.chain(before).chain(named).chain(reached) {
        let Some(ordinal) = ordinal else { continue };
        let listed = members.iter().any(|member| member.id == id);
        let free = found.values().all(|other| *other != ordinal);
        if listed && free {
            found.entry(id).or_insert(ordinal);
        }
    }
    found
}

/// Returns whether authentication is enabled, according to the first response that shows it; `None` if no response shows it. A
/// refusal for a missing or unauthorized user shows that it is enabled.
pub(super) fn users(answers: &[Answer]) -> Option<bool> {
    answers.iter().find_map(|answer| match &answer.report {
        Ok(report) => report.users,
        Err(CallError::Refused { status, .. }) => {
            let codes = [tonic::Code::Unauthenticated, tonic::Code::PermissionDenied];
            let refused = codes.contains(&status.code());
            (refused || status.message().contains("user name is empty")).then_some(true)
        }
        Err(CallError::NoMember | CallError::Connection { .. }) => None,
    })
}

/// Combines a member's entry in the list with its own report and with the alarms that any member reports about it. The caller
/// sets the ordinal and `foreign_address`.
fn member(entry: &Member, best: &Report, reports: &[&Report]) -> MemberSeen {
    let own = reports.iter().find(|report| report.member_id == entry.id);
    let raised = |alarm_type| ids_with(alarm_type, reports).contains(&entry.id);
    let corrupt = raised(AlarmType::Corrupt);
    MemberSeen {
        id: entry.id,
        name: entry.name.clone(),
        ordinal: None,
        foreign_address: false,
        peer_urls: entry.peer_urls.clone(),
        started: !entry.client_urls.is_empty(),
        learner: entry.is_learner,
        answers: own.is_some(),
        healthy: own.is_some_and(|own| own.leader_id != 0 && !contradicts(best, own)) && !corrupt,
        version: own.map(|own| own.version.clone()),
        release: own.and_then(|own| own.running.release.clone()),
        level: own.and_then(|own| own.running.level),
        raft_index: own.map_or(0, |own| own.raft_applied_index),
        db_size: own.map_or(0, |own| own.db_size),
        quota: own.and_then(|own| own.quota),
        revision: own.map_or(0, |own| own.revision),
        corrupt,
        no_space: raised(AlarmType::Nospace),
    }
}

/// Returns the ids that have an alarm of this type and belong to no member.
fn foreign(alarm_type: AlarmType, members: &[MemberSeen], reports: &[&Report]) -> BTreeSet<u64> {
    let mut ids = ids_with(alarm_type, reports);
    ids.retain(|id| members.iter().all(|member| member.id != *id));
    ids
}

/// Returns the ids that have an alarm of this type, whether they belong to members or not.
fn ids_with(alarm_type: AlarmType, reports: &[&Report]) -> BTreeSet<u64> {
    let alarms = reports.iter().flat_map(|report| &report.alarms);
    let raised = alarms.filter(|alarm| alarm.alarm() == alarm_type);
    raised.map(|alarm| alarm.member_id).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use witan_api::v3::etcdserverpb::AlarmMember;
    use witan_members::RunningRelease;

    use super::*;
    use crate::testing::named;

    fn entry(id: u64, learner: bool) -> Member {
        Member {
            id,
            name: format!("a-{id}"),
            peer_urls: vec![format!("http://a-{id}.a-peer.ns.svc:2380")],
            client_urls: vec![format!("http://a-{id}.a-peer.ns.svc:2379")],
            is_learner: learner,
        }
    }

    fn answer(member_id: u64, leader_id: u64, linearizable: bool, members: Vec<Member>) -> Answer {
        let report = Report {
            cluster_id: 7,
            member_id,
            leader_id,
            revision: 1,
            raft_index: 9,
            raft_applied_index: 9,
            linearizable,
            members,
            ..Report::default()
        };
        Answer { member: format!("a-{member_id}"), report: Ok(report) }
    }

    fn cluster(status: Value) -> Cluster<'static> {
        named(&json!({"metadata": {"name": "a", "namespace": "ns"}, "status": status}))
    }

    /// Chooses the list of a new cluster without pods and claims.
    fn chosen(answers: &[Answer]) -> Option<Membership> {
        choose(&cluster(Value::Null), answers, &BTreeSet::new())
    }

    #[test]
    fn the_leaders_list_is_used() {
        let old = vec![entry(0, false), entry(1, false)];
        let new = vec![entry(0, false), entry(1, false), entry(2, true)];
        let seen = chosen(&[answer(1, 2, false, old), answer(2, 2, true, new)]).unwrap();
        assert_eq!(seen.members.len(), 3);
        assert_eq!((seen.linearizable, seen.leader), (true, Some(2)));
        assert_eq!(
            seen.members
                .iter()
                .map(|member| member.healthy)
                .collect::<Vec<_>>(),
            [false, true, true]
        );
    }

    #[test]
    fn only_the_alarms_of_removed_members_are_stale() {
        let all = vec![entry(1, false), entry(2, false)];
        let mut answers = [answer(1, 1, true, all.clone()), answer(2, 1, true, all)];
        let raise = |answer: &mut Answer, alarm: AlarmType, member_id| {
            let report = answer.report.as_mut().unwrap();
            report
                .alarms
                .push(AlarmMember { member_id, alarm: alarm.into() });
        };
        // The alarms of a member and of two removed members.
        for member_id in [1, 5, 6] {
            raise(&mut answers[0], AlarmType::Corrupt, member_id);
        }
        // The fence of a cut-over, and the NOSPACE alarm of another removed member.
        raise(&mut answers[1], AlarmType::Corrupt, 7);
        raise(&mut answers[1], AlarmType::Nospace, 7);
        raise(&mut answers[1], AlarmType::Nospace, 8);
        raise(&mut answers[1], AlarmType::Nospace, 2);
        let seen = chosen(&answers).unwrap();
        assert_eq!(seen.foreign_no_space, BTreeSet::from([8]));
        assert_eq!(
            (seen.stale_corrupt, seen.undecided),
            (BTreeSet::from([5, 6]), false)
        );
        // The alarm of the whole cluster.
        raise(&mut answers[0], AlarmType::Corrupt, 0);
        let seen = chosen(&answers).unwrap();
        assert_eq!(
            (seen.stale_corrupt, seen.undecided),
            (BTreeSet::from([5, 6]), true)
        );
    }

    /// `a-2` was started with --force-new-cluster through an environment variable of its pod. The two other members serve as a
    /// quorum.
    #[test]
    fn two_quorums_of_one_cluster_are_a_fork() {
        let cluster = cluster(Value::Null);
        let all = || vec![entry(1, false), entry(2, false), entry(3, false)];
        let chosen = |answers: &[Answer]| {
            let seen = choose(&cluster, answers, &BTreeSet::from([1, 2, 3])).unwrap();
            let forked: Vec<_> = seen.forked().collect();
            (seen.members.len(), forked, seen.listed_by_others)
        };
        let fork = || answer(2, 2, true, vec![entry(2, false)]);
        let none = BTreeSet::new();
        let whole = [answer(1, 1, true, all()), answer(3, 1, true, all())];
        assert_eq!(chosen(&whole), (3, vec![], none.clone()));
        let (listed, forked, _) =
            chosen(&[answer(1, 1, true, all()), fork(), answer(3, 1, true, all())]);
        assert!(
            forked == [2] && listed == 3 || forked == [1, 3] && listed == 1,
            "{forked:?} {listed}"
        );
        // The other members elect a leader.
        let electing = [
            answer(1, 0, false, all()),
            fork(),
            answer(3, 0, false, all()),
        ];
        assert_eq!(chosen(&electing), (1, vec![], BTreeSet::from([1, 3])));
        // One of the other members has lost its pod.
        let alone = [fork(), answer(3, 0, false, all())];
        assert_eq!(chosen(&alone), (1, vec![], BTreeSet::from([1, 3])));
        // A member does not know of its removal.
        let left = vec![entry(1, false), entry(2, false)];
        let removed = [answer(1, 1, true, left.clone()), answer(3, 0, false, all())];
        assert_eq!(chosen(&removed), (2, vec![], none));
        // Another member is behind.
        let behind = [answer(1, 1, true, left), answer(2, 1, false, all())];
        assert_eq!(chosen(&behind), (2, vec![], BTreeSet::from([3])));
    }

    /// A user gives members other peer URLs, or claims are restored from a cluster with another name.
    #[test]
    fn a_member_is_known_by_its_answer_and_then_by_its_name() {
        let moved = |id: u64, name: &str| Member {
            name: name.to_owned(),
            peer_urls: vec![format!("http://192.0.2.{id}:2380")],
            ..entry(id, false)
        };
        let list = vec![
            moved(0, "x-7"),
            moved(1, "a-1"),
            moved(2, "a-2"),
            moved(3, "x-3"),
        ];
        // a-2 has neither a pod nor a claim, so it runs elsewhere.
        let known = BTreeSet::from([0, 1, 3]);
        let ordinals = |status: &Value, answers: &[Answer]| -> Vec<Option<u32>> {
            let seen = choose(&cluster(status.clone()), answers, &known).unwrap();
            seen.members.iter().map(|member| member.ordinal).collect()
        };
        let answers = [answer(0, 1, true, list.clone())];
        assert_eq!(
            ordinals(&Value::Null, &answers),
            [Some(0), Some(1), None, None]
        );
        let before = json!({"members": [{"name": "a-3", "id": "3", "ordinal": 3}]});
        let seen = ordinals(&before, &answers);
        assert_eq!(seen[3], Some(3), "the status has its ordinal");
    }

    #[test]
    fn a_cluster_has_the_highest_level_that_its_members_report() {
        let list = vec![entry(1, false), entry(2, false), entry(3, false)];
        let of = |id, cluster_id, cluster_level| {
            let mut answer = answer(id, 1, id == 1, list.clone());
            if let Ok(report) = &mut answer.report {
                report.cluster_id = cluster_id;
                report.running = RunningRelease {
                    release: Some(format!("0.{id}.0")),
                    level: Some(2),
                    cluster_level,
                };
            }
            answer
        };
        // a-1 has not applied the new level yet, and a-3 is in another cluster.
        let seen = chosen(&[of(1, 7, Some(1)), of(2, 7, Some(2)), of(3, 8, Some(3))]).unwrap();
        assert_eq!(seen.level, Some(2));
        let members = seen.members.iter();
        let running = members.map(|member| (member.release.as_deref(), member.level));
        assert_eq!(
            running.collect::<Vec<_>>(),
            ["0.1.0", "0.2.0", "0.3.0"].map(|release| (Some(release), Some(2)))
        );
        assert_eq!(chosen(&[of(1, 7, None)]).unwrap().level, None);
    }

    /// The operator deletes only blank disks without the user's consent.
    #[test]
    fn a_member_is_blank_if_nothing_is_decided_stored_or_confirmed() {
        let Answer { report: Ok(fresh), .. } = answer(1, 0, false, vec![entry(1, false)]) else {
            panic!("a report");
        };
        let fresh = Report { raft_index: 1, raft_applied_index: 1, ..fresh };
        assert!(cluster_report(&fresh, &fresh).blank);
        for report in [
            Report { raft_index: 2, ..fresh.clone() },
            Report { raft_applied_index: 2, ..fresh.clone() },
            // The member was restored from a backup.
            Report { revision: 7, ..fresh.clone() },
            // A quorum has begun to serve since the member's status was read.
            Report { linearizable: true, ..fresh.clone() },
        ] {
            assert!(!cluster_report(&fresh, &report).blank, "{report:?}");
        }
    }

    #[test]
    fn a_list_that_no_quorum_confirmed_has_no_leader() {
        let alone = [answer(1, 2, false, vec![entry(1, false)])];
        let seen = chosen(&alone).unwrap();
        assert_eq!((seen.linearizable, seen.leader), (false, None));
        let silent = Answer { member: "a-0".to_owned(), report: Err(CallError::NoMember) };
        assert!(chosen(&[silent]).is_none());
    }
}

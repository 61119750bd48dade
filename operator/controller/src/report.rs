//! Builds the status and the conditions of a cluster from the observed state, the next step, and a few facts of the previous
//! status. A pass over an unchanged cluster in its desired state reproduces the status, so nothing is written.
//!
//! Reading order: this file → `members` → `conditions` → `events`.

mod conditions;
mod events;
mod members;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use witan_crd::{
    CLUSTER, CertificateStatus, EtcdClusterStatus, OperationStatus, RecoveryPhase, RecoveryStatus,
    Requests, RestorePhase, RestoreStatus,
};
use witan_plan::{
    AGAIN_SECONDS, ReleaseVersion,
    model::{ClaimSeen, MemberSeen, Membership, Notice, Observed, Ordinal, Step},
};

use crate::resources::Cluster;

pub(crate) use conditions::{ConditionState, condition};
pub(crate) use events::events;

/// Units of sizes. Each unit is 1,024 times the previous unit.
const UNITS: [&str; 5] = ["", "Ki", "Mi", "Gi", "Ti"];

/// A cluster and its previous status.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) cluster: &'a Cluster<'a>,
    /// The previous status, updated with the facts of this pass.
    pub(crate) before: &'a EtcdClusterStatus,
}

/// Returns whether the condition of the type `kind` is `True`; `false` if it is missing.
pub(crate) fn is_true(status: &EtcdClusterStatus, kind: &str) -> bool {
    let mut conditions = status.conditions.iter();
    conditions.any(|condition| condition.type_ == kind && condition.status == "True")
}

/// Returns the observed generation. Until every claim follows the retention policy, returns the previous generation, because
/// users wait for the new generation before they delete a cluster.
fn observed_generation(of: Subject<'_>, seen: &Observed) -> Option<i64> {
    match seen.claims().any(|claim| claim.other_owner) {
        true => of.before.observed_generation,
        false => Some(seen.generation),
    }
}

/// Returns the new status of a cluster. `next` is its next step. Keeps the previous Raft indexes if nothing else has changed.
pub(crate) fn status(of: Subject<'_>, seen: &Observed, next: &Step) -> EtcdClusterStatus {
    let membership = seen.membership.as_ref();
    let members = members::all(of, seen);
    let notice = next.notice(&of.cluster.name, seen);
    let leader = membership.and_then(|membership| membership.by_id(membership.leader?));
    let learners = seen.members().filter(|member| member.learner);
    let db_size = seen.members().map(|member| member.db_size).max();
    let id = of.before.cluster_id.clone();
    let mut status = EtcdClusterStatus {
        observed_generation: observed_generation(of, seen),
        phase: Some(phase(of, seen, notice.as_ref())),
        replicas: Some(count(seen.pods().count())),
        ready_replicas: Some(count(ready(seen))),
        updated_replicas: Some(count(updated(seen))),
        learners: Some(count(learners.count())),
        selector: Some(format!("{CLUSTER}={}", of.cluster.name)),
        current_version: lowest_version(seen).or_else(|| of.before.current_version.clone()),
        target_version: of.cluster.spec().version.clone(),
        feature_level: feature_level(of.before, membership),
        cluster_id: id.or_else(|| cluster_id(membership?)),
        admitted_spec: admitted_spec(of, seen),
        bootstrap_members: of.before.bootstrap_members,
        leader: leader.map(|leader| seen.name_of(&of.cluster.name, leader.id)),
        leader_id: None,
        db_size: db_size.map(rounded),
        alarms: alarms(&of.cluster.name, seen),
        client_endpoint: Some(of.cluster.client_endpoint()),
        members,
        operation: operation(of.before, notice.as_ref(), next, seen.now),
        discovery: discovery(of, seen),
        restored_from: of.before.restored_from.clone(),
        restored_revision: of.before.restored_revision,
        requests: Requests {
            operation: of.cluster.active_request.clone(),
            ..of.before.requests.clone()
        },
        recovery: recovery(of, seen),
        restore: restore(of.before, seen),
        past_operations: of.before.past_operations.clone(),
        compaction: of.before.compaction.clone(),
        certificates: certificates(of.cluster, seen),
        conditions: Vec::new(),
    };
    status.conditions = conditions::all(of, seen, &status, next, notice.as_ref());
    keep_measures(of.before, &mut status);
    status
}

/// Counts the pods with the current template whose claim need not migrate.
fn updated(seen: &Observed) -> usize {
    let migrates = |at| seen.claim(at).is_some_and(|claim| claim.must_migrate);
    let pods = seen.pods();
    let updated = pods.filter(|(at, pod)| !pod.outdated && !migrates(*at));
    updated.count()
}

/// Returns the record of a recovery, or `None` if there is none. A running recovery is done once a quorum serves and every
/// usable disk belongs to a member. A finished record is kept only while the recovery is requested. A request while a quorum
/// serves is recorded as done.
fn recovery(of: Subject<'_>, seen: &Observed) -> Option<RecoveryStatus> {
    let serves = seen.is_confirmed();
    let mut known = of.before.recovery.clone();
    if let Some(recovery) = &mut known
        && recovery.phase != RecoveryPhase::Done
    {
        let is_running = recovery.phase == RecoveryPhase::Running;
        if is_running && serves && !has_disks_without_member(seen) {
            recovery.phase = RecoveryPhase::Done;
        }
        return known;
    }
    let member = of.cluster.resource.member(seen.recover?);
    let known = known.filter(|known| known.member == member);
    let phase = RecoveryPhase::Done;
    let ended = || RecoveryStatus { member, phase, started_at: time(seen.now) };
    known.or_else(|| serves.then(ended))
}

/// Returns the record of a restore; `None` if there was no restore. The restore is done once the cluster serves the restored
/// data.
fn restore(before: &EtcdClusterStatus, seen: &Observed) -> Option<RestoreStatus> {
    let mut known = before.restore.clone()?;
    let id = seen.membership.as_ref().and_then(cluster_id);
    let own = id.is_some() && (before.cluster_id.is_none() || before.cluster_id == id);
    if own && known.phase == RestorePhase::Starting {
        known.phase = RestorePhase::Done;
    }
    Some(known)
}

/// Returns whether an ordinal has a usable claim but no member in the member list.
fn has_disks_without_member(seen: &Observed) -> bool {
    seen.ordinals.iter().any(|(ordinal, at)| {
        at.claim.as_ref().is_some_and(ClaimSeen::is_usable) && seen.member(*ordinal).is_none()
    })
}

/// Returns the spec as JSON once a pod has the template of this spec, otherwise the recorded spec, if any.
fn admitted_spec(of: Subject<'_>, seen: &Observed) -> Option<String> {
    let mut pods = seen.pods();
    let present = seen.rejected.is_none() && pods.any(|(_, pod)| !pod.outdated);
    let present = present.then(|| serde_json::to_string(of.cluster.spec()).ok());
    let before = || of.before.admitted_spec.clone();
    present.flatten().or_else(before)
}

/// Returns the phase for users: what the operator does or waits for, or that the cluster is healthy. `notice` describes the
/// next step. It is `None` if the operator has nothing to do.
fn phase(of: Subject<'_>, seen: &Observed, notice: Option<&Notice>) -> String {
    match notice {
        None => "Cluster in healthy state".to_owned(),
        Some(notice) if notice.reason == "BootstrapInProgress" => {
            let members = of.before.bootstrap_members;
            let members = members.unwrap_or(of.cluster.spec().replicas);
            format!("Bootstrapping {}/{members}", ready(seen))
        }
        Some(notice) => {
            let mut text = notice.message.clone();
            if let Some(first) = text.get_mut(0..1) {
                first.make_ascii_uppercase();
            }
            text
        }
    }
}

/// Returns the operation in progress, or `None` if the step makes no progress. `now` is the start time of a new operation, as
/// Unix time in seconds. An operation of the same kind and member keeps its start time.
fn operation(
    before: &EtcdClusterStatus,
    notice: Option<&Notice>,
    next: &Step,
    now: i64,
) -> Option<OperationStatus> {
    let notice = notice.filter(|_| next.progresses())?;
    let before = before.operation.as_ref();
    let same =
        before.filter(|before| before.kind == notice.reason && before.member == notice.member);
    Some(OperationStatus {
        kind: notice.reason.to_owned(),
        member: notice.member.clone(),
        message: Some(notice.message.clone()),
        started_at: same.map_or_else(|| time(now), |same| same.started_at.clone()),
    })
}

/// Returns the status of discovery, or `None` if the previous status has none. Until the cluster has an id, counts the members
/// that are in the member list or have a ready pod, and names the missing members.
fn discovery(of: Subject<'_>, seen: &Observed) -> Option<witan_crd::DiscoveryStatus> {
    let mut discovery = of.before.discovery.clone()?;
    if discovery.url.is_some() && of.before.cluster_id.is_none() {
        let expected = discovery.expected.unwrap_or(of.cluster.spec().replicas);
        let has_come = |ordinal: Ordinal| {
            seen.member(ordinal).is_some() || seen.pod(ordinal).is_some_and(|pod| pod.ready)
        };
        let all = 0..Ordinal::try_from(expected).unwrap_or(0);
        discovery.missing = all
            .filter(|ordinal| !has_come(*ordinal))
            .map(|ordinal| of.cluster.resource.member(ordinal))
            .collect();
        discovery.registered = Some(expected - count(discovery.missing.len()));
    }
    Some(discovery)
}

/// Returns the secret name and the expiry time of each observed certificate.
fn certificates(cluster: &Cluster<'_>, seen: &Observed) -> Vec<CertificateStatus> {
    let each = |(role, certificate): (&_, &witan_plan::model::CertificateSeen)| CertificateStatus {
        name: cluster.resource.secret_name(*role),
        not_after: Some(time(certificate.not_after)),
    };
    seen.certificates.iter().map(each).collect()
}

/// Returns the raised alarms, such as `NOSPACE:name-0`. `CORRUPT:0` means that no majority agrees on the data. A NOSPACE alarm
/// without a member is shown with its id, because it also makes the cluster refuse writes.
fn alarms(cluster: &str, seen: &Observed) -> Vec<String> {
    let of = |member: &MemberSeen| {
        let kinds = [(member.no_space, "NOSPACE"), (member.corrupt, "CORRUPT")];
        let name = seen.name_of(cluster, member.id);
        let raised = kinds.into_iter().filter(|(raised, _)| *raised);
        raised.map(move |(_, kind)| format!("{kind}:{name}"))
    };
    let undecided = seen.membership.as_ref().is_some_and(|list| list.undecided);
    let whole = undecided.then(|| "CORRUPT:0".to_owned());
    let lists = seen.membership.iter();
    let foreign = lists.flat_map(|list| &list.foreign_no_space);
    let foreign = foreign.map(|id| format!("NOSPACE:{id:x}"));
    let members = seen.members().flat_map(of);
    members.chain(foreign).chain(whole).collect()
}

const NO_SPACE: &str = "the quota is used up, or a disk or memory budget is full, so v3 writes are refused. Compact old revisions, \
    delete keys (kubectl witan top shows the largest prefixes), or raise spec.options.quotaBackendBytes, spec.storage.size or \
    spec.resources.limits.memory; then run etcdctl alarm disarm";

/// Lists the raised alarms. For a NOSPACE alarm, also says what the user can do and what the operator has done.
fn alarm_message(status: &EtcdClusterStatus) -> String {
    let (raised, mut alarms) = (status.alarms.join(", "), status.alarms.iter());
    let full = alarms.any(|alarm| alarm.starts_with("NOSPACE"));
    match &status.compaction {
        _ if !full => raised,
        None => format!("{raised}: {NO_SPACE}"),
        Some(last) => {
            let (revision, at) = (last.revision, last.compacted_at.0);
            let then = match last.disarmed {
                true => "disarmed the alarm, which was then raised again",
                false => "has not freed enough space so far",
            };
            format!(
                "{raised}: {NO_SPACE}. The operator compacted up to revision {revision} at {at}, and {then}; if \
                 spec.selfHealing.compactOnNoSpace is set, it compacts again {} minutes later",
                AGAIN_SECONDS / 60
            )
        }
    }
}

/// Returns the cluster id in hexadecimal; `None` unless a quorum confirmed the members and all members report the same id.
fn cluster_id(membership: &Membership) -> Option<String> {
    let one = membership.of_other_clusters().next().is_none();
    (one && membership.linearizable).then(|| format!("{:x}", membership.cluster_id))
}

/// Returns the feature level that the members report, or else the previous level, if any. The level decides which releases are
/// allowed.
fn feature_level(before: &EtcdClusterStatus, membership: Option<&Membership>) -> Option<i64> {
    let reported = membership.and_then(|list| list.level);
    reported.map(i64::from).or(before.feature_level)
}

/// Returns the lowest version in the pods' image tags, or else the lowest release that members report. Returns `None` if both
/// are unknown.
fn lowest_version(seen: &Observed) -> Option<String> {
    let images = seen.pods().filter_map(|(_, pod)| pod.version.as_ref());
    let said = seen.members().filter_map(|member| member.release.as_ref());
    let lowest = images.min_by_key(|version| ReleaseVersion::parse(version));
    let lowest = lowest.or_else(|| said.min_by_key(|version| ReleaseVersion::parse(version)));
    lowest.cloned()
}

/// Counts the pods that are ready and not being deleted, whether or not they belong to members.
fn ready(seen: &Observed) -> usize {
    let ready = seen.pods().filter(|(_, pod)| pod.ready && !pod.deleting);
    ready.count()
}

/// Keeps the previous Raft indexes if nothing else has changed, because every write to the cluster changes them.
fn keep_measures(before: &EtcdClusterStatus, status: &mut EtcdClusterStatus) {
    let mut same = status.clone();
    for (member, old) in same.members.iter_mut().zip(&before.members) {
        member.raft_index = old.raft_index;
    }
    if same == *before {
        *status = same;
    }
}

/// Formats bytes with two significant digits, such as `1.1Gi`, so that a growing database does not change the status on every
/// pass.
pub(crate) fn rounded(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let step = 10_f64.powi(value.max(1.0).log10().floor() as i32 - 1);
    let value = (value / step).round() * step;
    format!("{value:.*}{}", usize::from(step < 1.0), UNITS[unit])
}

/// Converts a number to the type of status fields. Returns the maximum if the number is too large.
fn count(of: usize) -> i32 {
    i32::try_from(of).unwrap_or(i32::MAX)
}

/// Converts Unix time in seconds to the type of status fields. Returns the Unix epoch if the time is out of range.
pub(crate) fn time(unix_s: i64) -> Time {
    Time(Timestamp::from_second(unix_s).unwrap_or(Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use witan_crd::CompactionStatus;

    use super::*;

    #[test]
    fn a_full_store_reports_what_to_do() {
        let alarms = ["NOSPACE:a-0", "CORRUPT:a-1"].map(str::to_owned).to_vec();
        let mut status = EtcdClusterStatus { alarms, ..EtcdClusterStatus::default() };
        let words = alarm_message(&status);
        assert!(words.starts_with("NOSPACE:a-0, CORRUPT:a-1: "), "{words}");
        assert!(words.contains("quotaBackendBytes"), "{words}");
        for (disarmed, says) in [(false, "not freed enough space"), (true, "raised again")] {
            status.compaction =
                Some(CompactionStatus { compacted_at: time(0), revision: 7, disarmed });
            let words = alarm_message(&status);
            assert!(
                words.contains("up to revision 7") && words.contains(says),
                "{words}"
            );
        }
        status.alarms.remove(0);
        assert_eq!(alarm_message(&status), "CORRUPT:a-1");
    }

    /// The image tag is a digest or `latest`.
    #[test]
    fn the_version_is_the_release_and_not_etcds_version() {
        let version = |text: &str| Some(text.to_owned());
        let member = MemberSeen {
            version: version("3.7.0"),
            release: version("0.2.0"),
            ..MemberSeen::default()
        };
        let list = Membership { members: vec![member], ..Membership::default() };
        let seen = Observed { membership: Some(list), ..Observed::default() };
        assert_eq!(lowest_version(&seen), version("0.2.0"));
    }

    #[test]
    fn the_alarm_of_the_whole_cluster_is_shown() {
        let list = Membership { undecided: true, ..Membership::default() };
        let seen = Observed { membership: Some(list), ..Observed::default() };
        assert_eq!(alarms("a", &seen), ["CORRUPT:0"]);
        let list = Membership { foreign_no_space: [0x1f].into(), ..Membership::default() };
        let seen = Observed { membership: Some(list), ..Observed::default() };
        assert_eq!(alarms("a", &seen), ["NOSPACE:1f"], "it has no member");
        assert!(alarms("a", &Observed::default()).is_empty());
    }

    #[test]
    fn the_feature_level_is_kept_until_members_report_another() {
        let before = EtcdClusterStatus { feature_level: Some(2), ..EtcdClusterStatus::default() };
        let list = |level| Membership { level, ..Membership::default() };
        assert_eq!(feature_level(&before, None), Some(2));
        assert_eq!(feature_level(&before, Some(&list(None))), Some(2));
        assert_eq!(feature_level(&before, Some(&list(Some(3)))), Some(3));
        // A restored backup has the level at which it was saved.
        assert_eq!(feature_level(&before, Some(&list(Some(1)))), Some(1));
    }

    #[test]
    fn sizes_have_two_digits() {
        let shown = [0, 999, 20_480, 25 << 20, 1_234_567_890].map(rounded);
        assert_eq!(shown, ["0.0", "1000", "20Ki", "25Mi", "1.1Gi"]);
    }
}

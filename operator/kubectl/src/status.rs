//! `status` shows the state of a cluster. The command reads only resources (`facts`), so it works even if no member answers.
//! `members` and `backups` format its parts.

mod backups;
mod members;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::ResourceExt as _;
use witan_crd::{EtcdClusterStatus, RecoveryPhase};

use super::{
    facts::Facts,
    table::{MESSAGE_CHARS, Table, age, clipped, days_until, or_unknown},
};

/// The status of each condition while a cluster matches its spec.
const WANTED: [(&str, &str); 8] = [
    ("Available", "True"),
    ("Ready", "True"),
    ("Progressing", "False"),
    ("Degraded", "False"),
    ("UpToDate", "True"),
    ("AlarmActive", "False"),
    ("Paused", "False"),
    ("Hibernated", "False"),
];

/// The reason of `Progressing` while a cluster matches its spec.
const STABLE: &str = "Stable";
/// A certificate that expires in fewer days is highlighted.
const DAYS_FEW: i64 = 14;

/// Formats the status of a cluster: facts, tables, and the resources that cannot be read.
pub(super) fn page(facts: &Facts, now: Timestamp) -> String {
    let status = facts.status();
    let tables = [
        members::table(facts),
        conditions(&status, now),
        certificates(&status, now),
        backups::schedules(facts, now),
    ];
    let mut text = head(facts, &status, now);
    for table in tables.into_iter().flatten() {
        text.push('\n');
        text.push_str(&table);
    }
    if !facts.unread.is_empty() {
        let unread = facts.unread.join("\n  ");
        text.push_str(&format!("\nThese resources cannot be read:\n  {unread}\n"));
    }
    text
}

/// Formats the facts, such as the phase and the size, one per line.
fn head(facts: &Facts, status: &EtcdClusterStatus, now: Timestamp) -> String {
    let cluster = &facts.cluster;
    let namespace = cluster.namespace().unwrap_or_default();
    let name = format!("{namespace}/{}", cluster.name_any());
    let id = status.cluster_id.as_ref().map(|id| format!(", id {id}"));
    let alarms = match status.alarms.is_empty() {
        true => "none".to_owned(),
        false => status.alarms.join(", "),
    };
    let mut lines = vec![
        ("Cluster", name + &id.unwrap_or_default()),
        ("Phase", clipped(&phase(facts), MESSAGE_CHARS)),
        ("Members", members::summary(facts)),
    ];
    lines.extend(members::level(status).map(|text| ("Level", text)));
    lines.extend([
        ("Operator", operator(facts, status, now)),
        ("Alarms", alarms),
        ("Size", or_unknown(status.db_size.clone())),
        ("Endpoint", or_unknown(status.client_endpoint.clone())),
        ("Last backup", backups::summary(facts, now)),
    ]);
    lines.extend(restored(status).map(|text| ("Restored", text)));
    lines.extend(recovery(status, now).map(|text| ("Recovery", text)));
    lines.extend(missing_registrations(status).map(|text| ("Discovery", text)));
    let mut text = String::new();
    for (name, value) in lines {
        text.push_str(&format!("{name:12} {value}\n"));
    }
    text
}

/// Returns the phase from the status, or a message that the cluster is being deleted or has no status yet.
fn phase(facts: &Facts) -> String {
    if facts.cluster.metadata.deletion_timestamp.is_some() {
        return "is being deleted".to_owned();
    }
    let phase = facts.status().phase;
    phase.unwrap_or_else(|| "the operator has not reported yet".to_owned())
}

/// Returns what the operator is doing and whether the status is for an earlier generation of the spec.
fn operator(facts: &Facts, status: &EtcdClusterStatus, now: Timestamp) -> String {
    let spec = facts.cluster.metadata.generation;
    let seen = status.observed_generation;
    let stale = spec.zip(seen).filter(|(spec, seen)| seen < spec);
    let stale = stale.map(|(spec, seen)| {
        format!("; this status is for generation {seen} of the spec, not for {spec}")
    });
    let does = match &status.operation {
        _ if seen.is_none() => "has not reported yet".to_owned(),
        Some(operation) => {
            let member = operation.member.as_ref().map(|member| format!(" {member}"));
            let message = operation
                .message
                .as_ref()
                .map(|message| format!(": {message}"));
            format!(
                "{}{}, since {}{}",
                operation.kind,
                member.unwrap_or_default(),
                age(operation.started_at.0, now),
                message.unwrap_or_default(),
            )
        }
        None if facts.cluster.spec.paused => "changes nothing: spec.paused is true".to_owned(),
        None => waits(status),
    };
    does + &stale.unwrap_or_default()
}

/// Returns why the operator waits, according to the `Progressing` condition, or `nothing to do` if it does not wait.
fn waits(status: &EtcdClusterStatus) -> String {
    let mut conditions = status.conditions.iter();
    let waits = conditions.find(|each| each.type_ == "Progressing" && each.reason != STABLE);
    waits.map_or_else(
        || "nothing to do".to_owned(),
        |each| format!("waits, {}: {}", each.reason, each.message),
    )
}

/// Returns the snapshot from which the initial members started, and the revision up to which changes were restored. Returns
/// `None` if the initial members started empty.
fn restored(status: &EtcdClusterStatus) -> Option<String> {
    let from = status.restored_from.as_ref()?;
    let revision = status.restored_revision;
    let revision = revision.map(|revision| format!(", up to revision {revision}"));
    Some(format!("from {from}{}", revision.unwrap_or_default()))
}

/// Describes the last recovery of the quorum; `None` if the status contains none.
fn recovery(status: &EtcdClusterStatus, now: Timestamp) -> Option<String> {
    let recovery = status.recovery.as_ref()?;
    let since = age(recovery.started_at.0, now);
    let member = &recovery.member;
    let what = match &recovery.phase {
        RecoveryPhase::Running => format!("a new cluster is forced from {member}"),
        RecoveryPhase::Done => format!("done with {member}"),
        RecoveryPhase::Unknown(phase) => format!("{phase} with {member}"),
    };
    Some(format!("{what}, started {since} ago"))
}

/// Describes the missing registrations of discovery; `None` if no member is missing.
fn missing_registrations(status: &EtcdClusterStatus) -> Option<String> {
    let discovery = status
        .discovery
        .as_ref()
        .filter(|found| !found.missing.is_empty())?;
    let registered = discovery.registered.unwrap_or(0);
    let expected = discovery.expected.unwrap_or(0);
    let missing = discovery.missing.join(", ");
    Some(format!(
        "{registered} of {expected} members are registered, missing: {missing}"
    ))
}

/// Returns a table of the conditions whose status differs from [`WANTED`]; `None` if no status differs. Ignores conditions that
/// `WANTED` does not contain.
fn conditions(status: &EtcdClusterStatus, now: Timestamp) -> Option<String> {
    let differs = |condition: &&Condition| {
        let wanted = WANTED.iter().find(|(kind, _)| *kind == condition.type_);
        wanted.is_some_and(|(_, value)| *value != condition.status)
    };
    let mut table = Table::new(["CONDITION", "STATUS", "SINCE", "REASON", "MESSAGE"]);
    for condition in status.conditions.iter().filter(differs) {
        table.row([
            condition.type_.clone(),
            condition.status.clone(),
            age(condition.last_transition_time.0, now),
            condition.reason.clone(),
            clipped(&condition.message, MESSAGE_CHARS),
        ]);
    }
    table.text()
}

/// Returns a table of the certificates and their expiry; `None` if the status lists no certificates.
fn certificates(status: &EtcdClusterStatus, now: Timestamp) -> Option<String> {
    let mut table = Table::new(["CERTIFICATE", "DAYS LEFT", "UNTIL"]);
    for certificate in &status.certificates {
        let until = certificate.not_after.as_ref().map(|time| time.0);
        let days = until.map(|until| match days_until(until, now) {
            days if days < 0 => "EXPIRED".to_owned(),
            days if days < DAYS_FEW => format!("{days} (few)"),
            days => days.to_string(),
        });
        table.row([
            certificate.name.clone(),
            or_unknown(days),
            or_unknown(until),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{facts, golden, now},
        *,
    };

    #[test]
    fn a_healthy_cluster() {
        golden("healthy.txt", &page(&facts("healthy.yaml"), now()));
    }

    #[test]
    fn a_cluster_that_has_lost_its_quorum() {
        golden("lost.txt", &page(&facts("lost.yaml"), now()));
    }

    #[test]
    fn a_cluster_that_is_updated() {
        golden("updated.txt", &page(&facts("updated.yaml"), now()));
    }

    #[test]
    fn a_cluster_that_the_operator_has_not_seen() {
        golden("new.txt", &page(&facts("new.yaml"), now()));
    }
}

//! Logs changes of members, versions, alarms and authentication when this member applies them, so that each member's log shows
//! when the changes happened. Names of users and roles are not logged. Also logs some of the messages that the replica drops
//! because no correct member sends them.

use std::time::{Duration, Instant};

use witan_machine::{
    StateMachine,
    alarm::Alarms,
    member::{Member, MemberId, MemberRegistry},
};
use witan_replica::replica::MessageFault;

use super::metrics::alarm_type;

/// Minimum interval between two log lines about dropped messages, because a leader repeats an unacknowledged append.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The state at the last call of [`LoggedState::update`].
#[derive(Debug)]
pub(super) struct LoggedState {
    members: MemberRegistry,
    alarms: Alarms,
    auth: LoggedAuth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LoggedAuth {
    revision: u64,
    v3_enabled: bool,
    v2_enabled: bool,
}

impl LoggedState {
    /// Creates the state of a starting member. Logs nothing.
    pub(super) fn of(machine: &StateMachine) -> Self {
        Self {
            members: machine.members.clone(),
            alarms: machine.alarms.clone(),
            auth: LoggedAuth::of(machine),
        }
    }

    /// Logs the changes since the last call. Compares the members only if `members_changed`, because this function runs in each
    /// turn.
    pub(super) fn update(&mut self, machine: &StateMachine, members_changed: bool) {
        if members_changed {
            for (change, member) in member_changes(&self.members, &machine.members) {
                let id = member.member_id().to_string();
                tracing::info!(
                    member = id,
                    name = member.name,
                    learner = member.learner,
                    peer_urls = ?member.peer_urls,
                    "{change}"
                );
            }
            for change in version_changes(&self.members, &machine.members) {
                tracing::info!("{change}");
            }
            self.members = machine.members.clone();
        }
        if self.alarms != machine.alarms {
            log_alarms(&self.alarms, &machine.alarms);
            self.alarms = machine.alarms.clone();
        }
        let auth = LoggedAuth::of(machine);
        if let Some(change) = auth.change_since(self.auth) {
            tracing::info!(auth_revision = auth.revision, "{change}");
            self.auth = auth;
        }
    }
}

impl LoggedAuth {
    fn of(machine: &StateMachine) -> Self {
        let auth = &machine.auth;
        Self {
            revision: auth.revision(),
            v3_enabled: auth.enabled(),
            v2_enabled: auth.path_auth_enabled(),
        }
    }

    /// Returns the message to log. A change of users or roles is named only if it is the only change. Returns `None` if nothing
    /// has changed.
    fn change_since(self, before: Self) -> Option<&'static str> {
        if self.v3_enabled != before.v3_enabled {
            Some(match self.v3_enabled {
                true => "enabled authentication",
                false => "disabled authentication",
            })
        } else if self.v2_enabled != before.v2_enabled {
            Some(match self.v2_enabled {
                true => "enabled v2 authentication",
                false => "disabled v2 authentication",
            })
        } else {
            (self.revision != before.revision).then_some("changed users, roles or permissions")
        }
    }
}

/// Returns the changed members with etcd's names of the changes. Leaves out other changes, for example of client URLs.
fn member_changes<'a>(
    before: &'a MemberRegistry,
    after: &'a MemberRegistry,
) -> Vec<(&'static str, &'a Member)> {
    let known = before.by_id.values();
    let removed = known.filter(|member| !after.by_id.contains_key(&member.member_id()));
    let mut changes: Vec<_> = removed.map(|member| ("removed member", member)).collect();
    for member in after.by_id.values() {
        match before.by_id.get(&member.member_id()) {
            None => changes.push(("added member", member)),
            Some(known) if known.learner && !member.learner => {
                changes.push(("promoted member", member));
            }
            Some(known) if known.peer_urls != member.peer_urls => {
                changes.push(("updated member", member));
            }
            Some(_) => {}
        }
    }
    changes
}

/// Returns the messages about changes of the cluster version and the feature level, and about the end of a downgrade.
fn version_changes(before: &MemberRegistry, after: &MemberRegistry) -> Vec<String> {
    let mut changes = Vec::new();
    let (version, level) = (&after.cluster_version, after.level());
    if before.cluster_version != *version {
        changes.push(format!("set the cluster version to {version}"));
    }
    if before.level() != level {
        changes.push(format!("raised the cluster's feature level to {level}"));
    }
    let target = &before.downgrade_target;
    if !target.is_empty() && after.downgrade_target != *target {
        changes.push(format!("ended the downgrade to {target}"));
    }
    changes
}

/// Logs raised alarms as warnings, and cleared alarms as information.
fn log_alarms(before: &Alarms, after: &Alarms) {
    for alarm in after.list(None).filter(|alarm| !before.contains(*alarm)) {
        let (member, kind) = (alarm.member.to_string(), alarm_type(alarm.kind));
        tracing::warn!(member, alarm = kind, "alarm raised");
    }
    for alarm in before.list(None).filter(|alarm| !after.contains(*alarm)) {
        let (member, kind) = (alarm.member.to_string(), alarm_type(alarm.kind));
        tracing::info!(member, alarm = kind, "alarm cleared");
    }
}

/// Counts faulty messages between two log lines of the replica's thread.
#[derive(Debug, Default)]
pub(super) struct MessageFaults {
    logged: Option<Instant>,
    /// Number of messages dropped since the last log line.
    since: u64,
}

impl MessageFaults {
    /// Counts a dropped message. If a log line is due, returns the number of messages dropped since the last line, otherwise
    /// `None`.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.since += 1;
        let is_recent = |logged| now.saturating_duration_since(logged) < LOG_INTERVAL;
        if self.logged.is_some_and(is_recent) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.since))
    }

    /// Logs a warning about a dropped message from member `from`, unless it has logged a warning within [`LOG_INTERVAL`].
    pub(super) fn report(&mut self, from: MemberId, fault: MessageFault) {
        if let Some(messages) = self.count(Instant::now()) {
            let remote_peer_id = from.to_string();
            tracing::warn!(
                remote_peer_id,
                error = %fault,
                messages,
                "dropped messages from a peer; check whether the peer's disk is damaged or the peer runs another release"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(members: &[(u64, bool, &str)]) -> MemberRegistry {
        let mut registry = MemberRegistry::default();
        for (id, learner, url) in members {
            let member = Member {
                id: *id,
                learner: *learner,
                peer_urls: vec![(*url).to_owned()],
                ..Member::default()
            };
            registry.by_id.insert(member.member_id(), member);
        }
        registry
    }

    #[test]
    fn each_change_of_a_member_is_named() {
        let before = registry(&[
            (1, false, "http://a:1"),
            (2, true, "http://b:1"),
            (3, false, "http://c:1"),
            (4, false, "http://d:1"),
        ]);
        let after = registry(&[
            (1, false, "http://a:1"),
            (2, false, "http://b:1"),
            (3, false, "http://c:2"),
            (5, true, "http://e:1"),
        ]);
        let changes = member_changes(&before, &after).into_iter();
        let changes: Vec<_> = changes
            .map(|(change, member)| (change, member.id))
            .collect();
        assert_eq!(
            changes,
            [
                ("removed member", 4),
                ("promoted member", 2),
                ("updated member", 3),
                ("added member", 5),
            ]
        );
        assert!(member_changes(&after, &after).is_empty());
    }

    #[test]
    fn changes_of_versions_are_named() {
        let before = MemberRegistry {
            cluster_version: "3.6.0".to_owned(),
            downgrade_target: "3.6.0".to_owned(),
            ..MemberRegistry::default()
        };
        let level = before.level() + 1;
        let after = MemberRegistry {
            cluster_version: "3.7.0".to_owned(),
            raised_level: level,
            ..MemberRegistry::default()
        };
        let changes = [
            "set the cluster version to 3.7.0".to_owned(),
            format!("raised the cluster's feature level to {level}"),
            "ended the downgrade to 3.6.0".to_owned(),
        ];
        assert_eq!(version_changes(&before, &after), changes);
        assert!(version_changes(&after, &after).is_empty());
    }

    #[test]
    fn a_change_of_authentication_is_named() {
        let off = LoggedAuth { revision: 1, v3_enabled: false, v2_enabled: false };
        let users = LoggedAuth { revision: 2, ..off };
        let v3 = LoggedAuth { revision: 3, v3_enabled: true, ..off };
        let v2 = LoggedAuth { v2_enabled: true, ..v3 };
        for (before, after, change) in [
            (off, off, None),
            (off, users, Some("changed users, roles or permissions")),
            (users, v3, Some("enabled authentication")),
            (v3, users, Some("disabled authentication")),
            (v3, v2, Some("enabled v2 authentication")),
            (v2, v3, Some("disabled v2 authentication")),
        ] {
            assert_eq!(after.change_since(before), change);
        }
    }

    #[test]
    fn dropped_messages_are_logged_once_per_interval() {
        let mut faults = MessageFaults::default();
        let begun = Instant::now();
        assert_eq!(faults.count(begun), Some(1));
        for _ in 0..1000 {
            assert_eq!(faults.count(begun + LOG_INTERVAL / 2), None);
        }
        assert_eq!(faults.count(begun + LOG_INTERVAL), Some(1001));
    }
}

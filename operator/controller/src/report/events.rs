//! Events for the differences between two statuses.

use witan_crd::EtcdClusterStatus;
use witan_plan::model::Notice;

use super::{alarm_message, is_true};

/// The reason of a member whose peer URL differs from its pod's.
pub(super) const FOREIGN_ADDRESS: &str = "ForeignAddress";

/// The reason of `Degraded` while a pod has an earlier template because the present template was refused.
pub(super) const TEMPLATE_REFUSED: &str = "TemplateRefused";

/// Returns events for the differences between two statuses: quorum lost or restored (once the cluster has an id), a member with
/// a foreign peer URL, a newly refused template, the first alarm raised and the last one cleared.
pub(crate) fn events(before: &EtcdClusterStatus, after: &EtcdClusterStatus) -> Vec<Notice> {
    let mut notices = Vec::new();
    let notice = |reason, message: &str, warning| Notice {
        reason,
        member: None,
        message: message.to_owned(),
        warning,
    };
    match (is_true(before, "Available"), is_true(after, "Available")) {
        _ if before.cluster_id.is_none() => {}
        (true, false) => notices.push(notice(
            "QuorumLost",
            "the cluster does not serve linearizable reads",
            true,
        )),
        (false, true) => notices.push(notice(
            "QuorumRestored",
            "the cluster serves linearizable reads",
            false,
        )),
        (true, true) | (false, false) => {}
    }
    let elsewhere = |status: &EtcdClusterStatus| -> Vec<String> {
        let reason = Some(FOREIGN_ADDRESS);
        let members = status.members.iter();
        let those = members.filter(|member| member.reason.as_deref() == reason);
        those.map(|member| member.name.clone()).collect()
    };
    let known = elsewhere(before);
    for name in elsewhere(after)
        .into_iter()
        .filter(|name| !known.contains(name))
    {
        let message = format!(
            "the peer URL of member {name} is not the address of its pod, so other members cannot reach it there"
        );
        notices.push(Notice {
            reason: FOREIGN_ADDRESS,
            member: Some(name),
            message,
            warning: true,
        });
    }
    let refused = |status: &EtcdClusterStatus| {
        let mut conditions = status.conditions.iter();
        let found = conditions.find(|each| each.reason == TEMPLATE_REFUSED);
        found.map(|each| each.message.clone())
    };
    if let (None, Some(message)) = (refused(before), refused(after)) {
        notices.push(notice(TEMPLATE_REFUSED, &message, true));
    }
    match (before.alarms.is_empty(), after.alarms.is_empty()) {
        (true, false) => notices.push(notice("AlarmRaised", &alarm_message(after), true)),
        (false, true) => notices.push(notice("AlarmCleared", "all alarms are disarmed", false)),
        (true, true) | (false, false) => {}
    }
    notices
}

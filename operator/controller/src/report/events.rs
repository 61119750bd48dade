//! Events for the differences between two statuses.

use witan_crd::EtcdClusterStatus;
use witan_plan::model::{Notice, Observed};

use super::conditions;

/// The reason in the status of a member whose peer URL differs from the URL of its pod.
pub(super) const FOREIGN_ADDRESS: &str = "ForeignAddress";

/// Returns warnings about a new reason of the `Degraded` condition and about new foreign peer URLs.
pub(crate) fn events(
    seen: &Observed,
    [before, after]: [&EtcdClusterStatus; 2],
    notice: Option<&Notice>,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    let degraded = conditions::degraded(seen, after, notice);
    let is_known = before.conditions.iter().any(|one| {
        one.type_ == "Degraded" && one.status == degraded.status && one.reason == degraded.reason
    });
    if degraded.status == "True" && !is_known {
        let (reason, message) = (degraded.reason, degraded.message);
        let of = notice.filter(|notice| notice.reason == reason);
        let member = of.and_then(|notice| notice.member.clone());
        notices.push(Notice { reason, member, message, warning: true });
    }
    let elsewhere = |status: &EtcdClusterStatus| -> Vec<String> {
        let reason = Some(FOREIGN_ADDRESS);
        let members = status.members.iter();
        let those = members.filter(|member| member.reason.as_deref() == reason);
        those.map(|member| member.name.clone()).collect()
    };
    let (known, mut new) = (elsewhere(before), elsewhere(after));
    new.retain(|name| !known.contains(name));
    notices.extend(new.into_iter().map(|name| Notice {
        reason: FOREIGN_ADDRESS,
        message: format!(
            "the peer URL of member {name} is not the address of its pod, so other members cannot reach it there"
        ),
        member: Some(name),
        warning: true,
    }));
    notices
}

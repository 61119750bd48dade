//! The alarm NOSPACE: where the spec asks for it, the revisions that only watchers of the past need are compacted, and the
//! alarm is lowered once that has freed enough.
//!
//! A compaction takes history from clients, and one that has not helped does not help a minute later, either. So one is
//! followed by another no earlier than after [`AGAIN_SECONDS`], and the status records it.

use super::pass::Joined;
use crate::model::{MemberSeen, Step};

/// How long after a compaction none follows: ten minutes. A cluster that is filled again faster than this needs a larger quota.
pub const AGAIN_SECONDS: i64 = 600;

/// Compacts keys because of the alarm NOSPACE, or disarms the alarm. `None` if the spec does not ask for that, or if nothing
/// has to be done now.
pub(super) fn free_space(joined: &Joined<'_>) -> Option<Step> {
    let healing = joined.pass.spec.self_healing();
    let keep = healing.compact_on_no_space?.keep_revisions;
    let members = || joined.list.members.iter();
    if !members().any(|member| member.no_space) {
        return None;
    }
    let last = joined.pass.status.compaction.as_ref();
    let last = last.filter(|last| {
        let age = joined.now().saturating_sub(last.compacted_at.0.as_second());
        age < AGAIN_SECONDS
    });
    match last {
        None if members().any(is_filled_by_keys) => {
            let revision = members().map(|member| member.revision).max()?;
            let revision = revision.saturating_sub(keep);
            (revision > 0).then_some(Step::Compact(revision))
        }
        Some(last) if !last.disarmed && members().all(fits) => Some(Step::DisarmNoSpace),
        Some(_) | None => None,
    }
}

/// Whether keys take at least half of a member's quota: if something else fills it, or the alarm is about the disk, a compaction
/// does not help.
fn is_filled_by_keys(member: &MemberSeen) -> bool {
    member
        .quota
        .is_some_and(|quota| member.db_size >= quota / 2)
}

/// Whether keys take less than a member's quota.
fn fits(member: &MemberSeen) -> bool {
    member.quota.is_none_or(|quota| member.db_size < quota)
}

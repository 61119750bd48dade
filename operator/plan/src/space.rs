//! Handles the NOSPACE alarm if the spec requests it: compacts old revisions and disarms the alarm once enough space is free.
//!
//! A compaction removes history that clients may need, and a second compaction soon after the first would free little.
//! Therefore, the status records each compaction, and the next compaction follows after [`AGAIN_SECONDS`] at the earliest.

use super::pass::Joined;
use crate::model::{MemberSeen, Step};

/// Minimum time between two compactions, in seconds. A cluster that fills up faster needs a larger quota.
pub const AGAIN_SECONDS: i64 = 600;

/// Returns the step that compacts keys because of the NOSPACE alarm, or that disarms the alarm within [`AGAIN_SECONDS`] after a
/// compaction. Returns `None` if neither is needed or possible yet, or if the spec does not request compactions.
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
        Some(last) if !last.disarmed && members().all(is_below_quota) => Some(Step::DisarmNoSpace),
        Some(_) | None => None,
    }
}

/// Returns whether keys take up at least half of a member's quota; `false` if there is no quota. If they take less, a
/// compaction does not help: something else fills the quota, or the disk itself is full.
fn is_filled_by_keys(member: &MemberSeen) -> bool {
    member
        .quota
        .is_some_and(|quota| member.db_size >= quota / 2)
}

/// Returns whether the keys of a member take up less than its quota; `true` if there is no quota.
fn is_below_quota(member: &MemberSeen) -> bool {
    member.quota.is_none_or(|quota| member.db_size < quota)
}

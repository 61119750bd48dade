//! Enables and disables authentication.

use super::pass::Joined;
use crate::model::Step;

/// Returns the step that enables authentication once no secret is missing, or disables it. A spec without `auth` never disables
/// it. Returns `None` while it is unknown whether authentication is enabled.
pub(super) fn enable_or_disable(joined: &Joined<'_>) -> Option<Step> {
    let wanted = joined.pass.spec.auth.as_ref();
    let wanted = wanted.is_some_and(|auth| auth.enabled);
    match (joined.pass.seen.auth_enabled?, wanted) {
        (false, true) if joined.pass.seen.missing_secrets.is_empty() => Some(Step::EnableAuth),
        (true, false) if joined.pass.spec.auth.is_some() => Some(Step::DisableAuth),
        (true, _) | (false, _) => None,
    }
}

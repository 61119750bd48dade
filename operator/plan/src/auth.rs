//! Enables and disables authentication.

use super::pass::Joined;
use crate::model::Step;

/// Returns the step that enables authentication once no secret is missing, or disables it. A spec without `auth` never disables
/// it. If the operator has no password, it is unknown whether authentication is enabled. The step to enable it then fails and
/// reports what the secret lacks.
pub(super) fn enable_or_disable(joined: &Joined<'_>) -> Option<Step> {
    let wanted = joined.pass.spec.auth.as_ref();
    let wanted = wanted.is_some_and(|auth| auth.enabled);
    match (joined.pass.seen.auth_enabled, wanted) {
        (Some(false) | None, true) => {
            let is_complete = joined.pass.seen.missing_secrets.is_empty();
            is_complete.then_some(Step::EnableAuth)
        }
        (Some(true), false) if joined.pass.spec.auth.is_some() => Some(Step::DisableAuth),
        (Some(_), _) | (None, false) => None,
    }
}

//! Describes steps, waits and failed steps for events, the status and logs.

use super::{MemberId, Observed, Ordinal, Step};

/// The description of a step, a wait or a failed step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The reason of the event, and the type of the current action in the status, in CamelCase.
    pub reason: &'static str,
    pub member: Option<String>,
    /// The message, without a final period.
    pub message: String,
    /// Whether the user should act on the notice.
    pub warning: bool,
}

/// A step that the API server or a member refused, or that had no effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub step: Step,
    /// Whether the plan skips the step for now.
    pub held: bool,
    /// Whether the step had no effect several times, instead of being refused.
    pub idle: bool,
    /// The message of the API server or the member.
    pub said: String,
}

impl Refusal {
    /// Describes the failed step, with the message of the refusal.
    pub fn notice(&self) -> Notice {
        let reason = if self.idle {
            "NoProgress"
        } else {
            "StepRefused"
        };
        let message = format!("{}: {}", self.step.kind(), self.said);
        Notice { reason, member: None, message, warning: true }
    }
}

/// Builds notices about a cluster. Replaces `{member}` in a message with the member's name.
pub(super) struct Notices<'a> {
    pub(super) cluster: &'a str,
    pub(super) seen: &'a Observed,
    pub(super) warning: bool,
}

impl Notices<'_> {
    /// Returns a notice about the whole cluster, with `text` unchanged.
    pub(super) fn all(&self, reason: &'static str, text: impl Into<String>) -> Notice {
        let (member, message, warning) = (None, text.into(), self.warning);
        Notice { reason, member, message, warning }
    }

    /// Returns a notice about the member with the ordinal `at`.
    pub(super) fn pod(&self, at: Ordinal, reason: &'static str, text: impl Into<String>) -> Notice {
        self.about(format!("{}-{at}", self.cluster), reason, text.into())
    }

    /// Returns a notice about the member with this id.
    pub(super) fn member(
        &self,
        id: MemberId,
        reason: &'static str,
        text: impl Into<String>,
    ) -> Notice {
        self.about(self.name_of(id), reason, text.into())
    }

    /// Creates the notice about one member. Replaces `{member}` in `text` with its name.
    fn about(&self, member: String, reason: &'static str, text: String) -> Notice {
        let (message, warning) = (text.replace("{member}", &member), self.warning);
        Notice { reason, member: Some(member), message, warning }
    }

    pub(super) fn name_of(&self, id: MemberId) -> String {
        self.seen.name_of(self.cluster, id)
    }
}

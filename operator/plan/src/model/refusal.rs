//! Steps that failed. The operator remembers nothing else between passes.

use super::{Notice, Step};

/// A step that the API server or a member refused, or that had no effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The step.
    pub step: Step,
    /// Whether the plan skips the step for now.
    pub held: bool,
    /// Whether the step was taken several times without effect, and was not refused.
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

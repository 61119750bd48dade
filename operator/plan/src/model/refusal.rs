//! Steps that failed: the only memory of earlier passes.

use super::{Notice, Step};

/// A step that the API server or a member has refused, or that had no effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The step.
    pub step: Step,
    /// It is not retried yet: the plan skips it.
    pub held: bool,
    /// It was done several times without effect; it was not refused.
    pub idle: bool,
    /// The message of the refusal.
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

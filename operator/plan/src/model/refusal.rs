//! Steps that failed. Nothing else is remembered between passes.

use super::{Notice, Step};

/// A step that the API server or a member refused, or that had no effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The step.
    pub step: Step,
    /// The plan skips it for now.
    pub held: bool,
    /// It was taken several times without effect, and was not refused.
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

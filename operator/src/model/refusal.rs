//! Steps that were tried in vain: the one thing that a pass knows of earlier ones.

use super::Step;

/// A step that the API server or a member has refused, or that has changed nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Which.
    pub step: Step,
    /// It is not tried again yet: the plan goes on past it.
    pub held: bool,
    /// It was done again and again and has changed nothing; nobody has refused it.
    pub idle: bool,
    /// The words of who refused it.
    pub said: String,
}

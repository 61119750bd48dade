//! Persistence (§5.1, §7): a member starts from any disk that a crash leaves. If the core refused a healthy disk, the member
//! would be down permanently.

use super::{Fact, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct RecoveryAccepted;

impl Invariant for RecoveryAccepted {
    fn observe(&mut self, fact: &Fact<'_>, _scene: &Scene<'_>) -> Result<(), String> {
        let Fact::NotStarted { member, error } = fact else {
            return Ok(());
        };
        Err(format!("m{member} does not start after a crash: {error}"))
    }
}

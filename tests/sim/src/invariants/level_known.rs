//! No member receives a feature level that its release does not support, because its process would stop and could not start
//! again. The leader raises the level only if all members support it. An administrator returns to an earlier release only while
//! the cluster has a level of that release.

use super::{Fact, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct LevelKnown;

impl Invariant for LevelKnown {
    fn observe(&mut self, fact: &Fact<'_>, _scene: &Scene<'_>) -> Result<(), String> {
        let Fact::LevelUnknown { member, level, own } = fact else {
            return Ok(());
        };
        Err(format!(
            "m{member} of level {own} is in a cluster of level {level}"
        ))
    }
}

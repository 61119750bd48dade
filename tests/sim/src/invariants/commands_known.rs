//! No member executes a command that its release does not support, because its process would stop and could not start again.

use super::{Fact, Invariant, Scene};
use crate::releases::NEW;

#[derive(Debug, Default)]
pub(super) struct CommandsKnown;

impl Invariant for CommandsKnown {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Fact::Executed { member, release, batch, .. } = fact else {
            return Ok(());
        };
        if *release == NEW {
            return Ok(());
        }
        for applied in *batch {
            let entry = scene.command(*member, applied.index);
            let since = entry.and_then(|entry| entry.command?.since());
            if since > Some(*release) {
                return Err(format!(
                    "m{member} of release {release:?} executes entry {}, a command of {since:?}",
                    applied.index
                ));
            }
        }
        Ok(())
    }
}

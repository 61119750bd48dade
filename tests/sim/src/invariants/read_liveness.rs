//! Liveness of reads (§8, with a majority alive). Once the network is whole, an accepted read is answered within the stated
//! time, even if it was requested during the faults.

use super::{Fact, Invariant, Scene};
use crate::oracle::{Ask, End};

#[derive(Debug, Default)]
pub(super) struct ReadLiveness;

impl Invariant for ReadLiveness {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Fact::Ended { .. } = fact else {
            return Ok(());
        };
        for op in scene.oracle.ops() {
            let (Ask::Read(_), Some(deadline)) = (&op.ask, op.deadline) else {
                continue;
            };
            let late = match &op.end {
                End::Pending => true,
                End::Answered { at } => *at > deadline,
                End::Refused(_)
                | End::NoSpace
                | End::Removed
                | End::Applied { .. }
                | End::Crashed => false,
            };
            if late {
                return Err(format!(
                    "read {} on m{}, requested at {}, was not answered by {deadline}: {:?}",
                    op.id, op.member, op.invoked, op.end
                ));
            }
        }
        Ok(())
    }
}

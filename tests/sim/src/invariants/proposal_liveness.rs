//! Liveness of writes (§5.6, with a majority alive). Once the network is whole, there is a leader within the stated time. The
//! leader accepts every proposal and answers it in time, and all members end with the same entry.

use witan_machine::{command::Command, member::MemberId, versions::FIRST};
use witan_replica::replica::{ProposalRejected, Role};

use super::{Fact, Invariant, Scene};
use crate::oracle::{Ask, End};

#[derive(Debug, Default)]
pub(super) struct ProposalLiveness;

impl Invariant for ProposalLiveness {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Settled { statuses } = fact {
            let leader = statuses
                .iter()
                .find(|s| s.role == Role::Leader)
                .map_or(MemberId::NONE, |s| s.id);
            if leader == MemberId::NONE || statuses.iter().any(|s| s.leader != leader) {
                return Err(format!(
                    "the members have not settled on a leader: {statuses:?}"
                ));
            }
        }
        let Fact::Ended { views, .. } = fact else {
            return Ok(());
        };
        for op in scene.oracle.ops() {
            let (Ask::Write(command), Some(deadline)) = (&op.ask, op.deadline) else {
                continue;
            };
            let is_newer =
                command.since() > Some(FIRST) || matches!(command, Command::Downgrade(_));
            let late = match &op.end {
                // The cluster version may be too low for the command, and the level too high for a downgrade.
                End::Refused(ProposalRejected::ClusterVersion) if is_newer => false,
                End::Pending | End::Refused(_) | End::NoSpace => true,
                End::Applied { at, .. } => *at > deadline,
                End::Answered { .. } | End::Removed | End::Crashed => false,
            };
            if late {
                return Err(format!(
                    "write {} on m{}, requested at {}, was not answered by {deadline}: {:?}",
                    op.id, op.member, op.invoked, op.end
                ));
            }
        }
        let indexes: Vec<u64> = views.iter().map(|(_, view)| view.position.index).collect();
        if indexes.iter().any(|index| Some(index) != indexes.first()) {
            return Err(format!("the members end at entries {indexes:?}"));
        }
        Ok(())
    }
}

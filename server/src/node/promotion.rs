//! Learners that are in sync are promoted by themselves (`--promote-learners`): the leader does what an
//! operator would, with the same checks.

use std::time::Duration;

use tokio::time::sleep;
use witan_replica::machine::command::ChangeMembers;

use super::{Node, NodeError, ProposeError, Reconfiguration};

/// How often a leader looks for learners.
const INTERVAL: Duration = Duration::from_secs(1);

impl Node {
    /// Promotes learners that are in sync, one at a time, until the process stops.
    pub async fn promote_learners(self) {
        loop {
            tokio::select! {
                () = self.stopping() => return,
                () = sleep(INTERVAL) => self.promote_one().await,
            }
        }
    }

    /// Promotes the first learner that may be promoted, if this member leads.
    async fn promote_one(&self) {
        if self.status().leader != self.identity().member_id {
            return;
        }
        let Ok(view) = self.view().await else { return };
        let members = view.machine.members.by_id.values();
        // one that has not started is not in sync
        let learners = members.filter(|member| member.learner && !member.name.is_empty());
        for learner in learners {
            let change = Reconfiguration::Promote(learner.id);
            // whatever --strict-reconfig-check says: nobody looks at what happens here
            if self.check_reconfiguration(change).await.is_err() {
                continue;
            }
            let change = ChangeMembers {
                promote: learner.id,
                voters: true,
                ..ChangeMembers::default()
            };
            let member_id = format!("{:x}", learner.id);
            match self.propose(change).await {
                Ok(_) => return tracing::info!(member_id, "promoted a learner that is in sync"),
                Err(ProposeError::Fault(NodeError::LearnerNotReady)) => {}
                Err(error) => tracing::warn!(member_id, %error, "failed to promote a learner"),
            }
        }
    }
}

//! Lease requests that the leader answers without a log entry.

use witan_machine::lease::LeaseId;
use witan_replica::{
    host::{LeaseAnswer, LeaseQuestion},
    lessor::{LeaseDeadlines, Renewal},
};

use super::{LoopRequest, Node, NodeError, completions::CompletionSender};

impl Node {
    /// Renews a lease on the leader. Fails on a learner and in a following cluster.
    pub async fn renew(&self, lease: LeaseId) -> Result<Renewal, NodeError> {
        match self.ask_about_lease(lease, LeaseQuestion::Renew).await? {
            LeaseAnswer::Renewal(renewal) => Ok(renewal),
            LeaseAnswer::Remaining(_) => Err(NodeError::Internal),
        }
    }

    /// Asks the leader for a lease's remaining time in nanoseconds: negative if overdue, or `None` if the lease is unknown.
    /// Fails on a learner and in a following cluster.
    pub async fn lease_left_ns(&self, lease: LeaseId) -> Result<Option<i64>, NodeError> {
        match self
            .ask_about_lease(lease, LeaseQuestion::Remaining)
            .await?
        {
            LeaseAnswer::Remaining(left_ns) => Ok(left_ns),
            LeaseAnswer::Renewal(_) => Err(NodeError::Internal),
        }
    }

    /// Sends a lease request to the leader and waits for the answer. Fails on a learner and in a following cluster.
    async fn ask_about_lease(
        &self,
        lease: LeaseId,
        question: LeaseQuestion,
    ) -> Result<LeaseAnswer, NodeError> {
        self.refuse_learner()?;
        self.refuse_while_following()?;
        let (to, answer) = CompletionSender::new(self.shared.request_timeout);
        self.send(LoopRequest::Lease { lease, question, to })?;
        answer.await
    }

    /// Returns the deadline of each lease. Fails with `NoLeader` unless this member leads and tracks leases.
    pub async fn deadlines(&self) -> Result<LeaseDeadlines, NodeError> {
        let (to, answer) = CompletionSender::new(self.shared.request_timeout);
        self.send(LoopRequest::Deadlines { to })?;
        answer.await
    }
}

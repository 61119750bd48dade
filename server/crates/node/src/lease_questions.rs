//! The questions that a node asks the leader about leases.

use witan_machine::lease::LeaseId;
use witan_replica::{
    host::{LeaseAnswer, LeaseQuestion},
    lessor::{LeaseDeadlines, Renewal},
};

use super::{LoopRequest, Node, NodeError, completions::CompletionSender};

impl Node {
    /// Renews a lease at the leader, without an entry in the log.
    pub async fn renew(&self, lease: LeaseId) -> Result<Renewal, NodeError> {
        match self.ask_about_lease(lease, LeaseQuestion::Renew).await? {
            LeaseAnswer::Renewal(renewal) => Ok(renewal),
            LeaseAnswer::Remaining(_) => Err(NodeError::Internal),
        }
    }

    /// Returns the nanoseconds that a lease has left at the leader, negative when it is overdue; `None` if
    /// the lease is unknown.
    pub async fn lease_left_ns(&self, lease: LeaseId) -> Result<Option<i64>, NodeError> {
        match self
            .ask_about_lease(lease, LeaseQuestion::Remaining)
            .await?
        {
            LeaseAnswer::Remaining(left_ns) => Ok(left_ns),
            LeaseAnswer::Renewal(_) => Err(NodeError::Internal),
        }
    }

    /// Sends a question about a lease to the leader, through the replica's thread, and waits for the answer;
    /// learners refuse, and so do members of a cluster that follows another one: the leases end there.
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

    /// Returns when each lease ends; an error unless this member leads.
    pub async fn deadlines(&self) -> Result<LeaseDeadlines, NodeError> {
        let (to, answer) = CompletionSender::new(self.shared.request_timeout);
        self.send(LoopRequest::Deadlines { to })?;
        answer.await
    }
}

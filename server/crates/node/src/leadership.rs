//! Transfers leadership, proposes the leader's decisions, asks the leader about leases, and explains timeouts.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::timeout;
use witan_machine::{
    command::Command,
    lease::LeaseId,
    member::{MemberId, MemberRegistry},
};
use witan_replica::{
    host::{LeaseAnswer, LeaseQuestion},
    lessor::{LeaseDeadlines, Renewal},
};

use super::{
    LoopRequest, Node, NodeError, TransferError, completions::CompletionSender,
    reconfiguration::Connection,
};

impl Node {
    /// Transfers leadership to `member`. If `member` is `None`, selects the recently active voter that lags least. Waits up to
    /// the election timeout for the new leader and returns its id. Fails with `Timeout` if that member does not lead by then,
    /// and with `Refused` if this member does not lead or there is no such voter.
    pub async fn transfer_leadership(
        &self,
        member: Option<MemberId>,
    ) -> Result<MemberId, TransferError> {
        let (to, answer) = CompletionSender::new(self.shared.request_timeout);
        self.send(LoopRequest::Transfer { member, to })?;
        let next = answer.await??;
        let mut leader = self.shared.leader.subscribe();
        let leads = leader.wait_for(|leader| *leader == next);
        match timeout(self.shared.election_timeout, leads).await {
            Ok(Ok(_)) => Ok(next),
            Ok(Err(_)) => Err(NodeError::Stopped.into()),
            Err(_) => Err(NodeError::Timeout.into()),
        }
    }

    /// Proposes a command that this leader has derived from `members`. Returns whether the command entered the leader's log,
    /// where it might not be committed yet. Returns `false` if this member does not lead, the members may have changed since,
    /// or the disk is full. The leader must then decide again.
    pub async fn decide(
        &self,
        command: Command,
        members: Arc<MemberRegistry>,
    ) -> Result<bool, NodeError> {
        let (to, answer) = CompletionSender::new(self.shared.request_timeout);
        self.send(LoopRequest::Decide { command: Box::new(command), members, to })?;
        answer.await
    }

    /// Renews a lease on the leader. Fails on a learner, or if this cluster follows another cluster.
    pub async fn renew(&self, lease: LeaseId) -> Result<Renewal, NodeError> {
        match self.ask_about_lease(lease, LeaseQuestion::Renew).await? {
            LeaseAnswer::Renewal(renewal) => Ok(renewal),
            LeaseAnswer::Remaining(_) => Err(NodeError::Internal),
        }
    }

    /// Asks the leader for a lease's remaining time in nanoseconds: negative if overdue, or `None` if the lease is unknown.
    /// Fails on a learner, or if this cluster follows another cluster.
    pub async fn lease_left_ns(&self, lease: LeaseId) -> Result<Option<i64>, NodeError> {
        match self
            .ask_about_lease(lease, LeaseQuestion::Remaining)
            .await?
        {
            LeaseAnswer::Remaining(left_ns) => Ok(left_ns),
            LeaseAnswer::Renewal(_) => Err(NodeError::Internal),
        }
    }

    /// Sends a lease request to the leader and waits for the answer. Fails on a learner, or if this cluster follows another
    /// cluster.
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

    /// Returns `--election-timeout`.
    pub fn election_timeout(&self) -> Duration {
        self.shared.election_timeout
    }

    /// Explains a timeout of a request that started at `begun`, in Unix nanoseconds `begun_ns`. Returns `LeaderFailed` if the
    /// current leader was first seen within two election timeouts after the start. Returns `ConnectionLost` if another member
    /// leads and the connection to it is missing or newer than the request. Returns any other error, and a timeout without such
    /// a cause, unchanged.
    pub(super) fn explain_timeout(
        &self,
        error: NodeError,
        (begun, begun_ns): (Instant, i64),
    ) -> NodeError {
        if error != NodeError::Timeout {
            return error;
        }
        let elected_ns = self.leader_since_ns();
        let election_ns = i64::try_from(self.shared.election_timeout.as_nanos());
        let lost_ns = elected_ns.saturating_sub(election_ns.unwrap_or(i64::MAX).saturating_mul(2));
        if (lost_ns..elected_ns).contains(&begun_ns) {
            return NodeError::LeaderFailed;
        }
        let leader = self.status().leader;
        let elsewhere = leader != MemberId::NONE && leader != self.identity().member_id;
        let connection = self.shared.peer_links.connection(leader, begun.elapsed());
        if elsewhere && connection != Connection::Settled {
            return NodeError::ConnectionLost;
        }
        NodeError::Timeout
    }
}

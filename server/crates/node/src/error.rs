//! Errors of requests to the node. Domain errors are replies of the state machine instead.

use witan_replica::{
    host::Unanswered,
    replica::{ProposalRejected, TransferRefused},
};

/// The reason why a request got no reply from the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// No leader is known, or this member does not lead and only the leader can answer.
    #[error("no leader")]
    NoLeader,
    /// The request timed out. The command may or may not have been applied.
    #[error("request timed out")]
    Timeout,
    /// The request timed out like [`Self::Timeout`], and the leader changed while the request waited.
    #[error("request timed out, possibly due to previous leader failure")]
    LeaderFailed,
    /// The request timed out like [`Self::Timeout`], and the leader was unreachable while the request waited.
    #[error("request timed out, possibly due to connection lost")]
    ConnectionLost,
    /// The learner to promote lags too far behind the leader.
    #[error("can only promote a learner member which is in sync with leader")]
    LearnerNotReady,
    /// The cluster version is too low for the command.
    #[error("the cluster version is too low for this request")]
    ClusterVersion,
    /// This member is a learner, which serves only its own state.
    #[error("rpc not supported for learner")]
    Learner,
    /// The cluster follows another cluster and accepts no client writes until the cut-over.
    #[error("this cluster follows another one and accepts no writes before the cut-over")]
    Follows,
    /// A bounded queue is full. The client can retry later.
    #[error("too many requests")]
    TooMany,
    /// The command exceeds the maximum size of a log entry.
    #[error("request is too large")]
    TooLarge,
    /// The quota, the disk space or the memory budget is exhausted.
    #[error("database space exceeded")]
    NoSpace,
    /// The process is stopping.
    #[error("server stopped")]
    Stopped,
    /// This member was removed from the cluster. The command was not applied and never will be.
    #[error("this member was removed from the cluster")]
    Removed,
    /// The reply belongs to another request, which is a bug in the server. The command was applied.
    #[error("reply to another command")]
    Internal,
}

/// The reason why an operation has no output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError<E> {
    /// The operation got no reply from the state machine.
    #[error(transparent)]
    Fault(#[from] NodeError),
    /// The state machine refused the operation and changed nothing.
    #[error("{0}")]
    Refused(E),
}

/// The reason why leadership was not transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// The request got no reply.
    #[error(transparent)]
    Fault(#[from] NodeError),
    /// The replica refused the transfer.
    #[error(transparent)]
    Refused(#[from] TransferRefused),
}

impl NodeError {
    /// Returns etcd's message for this error, for dialects without error codes.
    pub fn of_etcd(self) -> String {
        if self == Self::NoSpace {
            "etcdserver: mvcc: database space exceeded".into()
        } else if self == Self::Removed {
            "etcdserver: the member has been permanently removed from the cluster".into()
        } else {
            format!("etcdserver: {self}")
        }
    }
}

impl From<Unanswered> for NodeError {
    fn from(reason: Unanswered) -> Self {
        match reason {
            Unanswered::Refused(refusal) => refusal.into(),
            Unanswered::Expired => Self::Timeout,
            Unanswered::LeaderChanged => Self::LeaderFailed,
            Unanswered::Removed => Self::Removed,
        }
    }
}

impl From<ProposalRejected> for NodeError {
    fn from(refusal: ProposalRejected) -> Self {
        match refusal {
            ProposalRejected::TooMany => Self::TooMany,
            ProposalRejected::TooLarge => Self::TooLarge,
            ProposalRejected::LearnerNotReady => Self::LearnerNotReady,
            ProposalRejected::ClusterVersion => Self::ClusterVersion,
            ProposalRejected::Follows => Self::Follows,
        }
    }
}

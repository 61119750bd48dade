//! Why a request got no reply from the state machine. Domain errors are not here: they are replies.
//! Each dialect maps these errors in one place.

use witan_replica::{
    host::Unanswered,
    replica::{ProposalRejected, TransferRefused},
};

/// An error between a dialect and the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// No leader is known.
    #[error("no leader")]
    NoLeader,
    /// Timed out; the command may or may not have been applied.
    #[error("request timed out")]
    Timeout,
    /// Timed out like [`Self::Timeout`]; the leader changed while the request waited.
    #[error("request timed out, possibly due to previous leader failure")]
    LeaderFailed,
    /// Timed out like [`Self::Timeout`]; the leader could not be reached while the request waited.
    #[error("request timed out, possibly due to connection lost")]
    ConnectionLost,
    /// The learner that is to be promoted has not received enough of the log.
    #[error("can only promote a learner member which is in sync with leader")]
    LearnerNotReady,
    /// Not all members know the command: the version of the cluster is too low.
    #[error("the version of the cluster is too low for this request")]
    ClusterVersion,
    /// This member is a learner: it serves its own state alone.
    #[error("rpc not supported for learner")]
    Learner,
    /// The cluster copies another one and takes no writes of clients until the cut-over.
    #[error("this cluster follows another one and takes no writes before the cut-over")]
    Follows,
    /// A bounded queue is full; try again later.
    #[error("too many requests")]
    TooMany,
    /// The request exceeds what one log entry may hold.
    #[error("request is too large")]
    TooLarge,
    /// The quota is used up, or the disk has no room.
    #[error("database space exceeded")]
    NoSpace,
    /// The process is stopping.
    #[error("server stopped")]
    Stopped,
    /// This member was removed from the cluster. The command was not applied and never will be.
    #[error("this member was removed from the cluster")]
    Removed,
    /// The answer belongs to another request: a bug of this server. The command was applied.
    #[error("answer of another command")]
    Internal,
}

/// Why an operation was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError<E> {
    /// It got no answer from the state machine.
    #[error(transparent)]
    Fault(#[from] NodeError),
    /// The state machine refused it and changed nothing.
    #[error("{0}")]
    Refused(E),
}

/// Why leadership was not transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// It got no answer.
    #[error(transparent)]
    Fault(#[from] NodeError),
    /// The replica refused.
    #[error(transparent)]
    Refused(#[from] TransferRefused),
}

impl NodeError {
    /// Returns etcd's text for this error, for dialects that have no code of their own for it.
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

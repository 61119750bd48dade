//! Maps internal errors to errors of the v3 dialect. The only such table.

use std::convert::Infallible;

use witan_auth::{HashError, TokenError};
use witan_machine::{auth, kv, lease, member};
use witan_node::{NodeError, ProposeError, TransferError, UnsafeReconfiguration};
use witan_replica::replica::TransferRefused;

use crate::error::RpcError;

/// A refusal of the state machine, as an error of this dialect.
pub(super) trait Refusal {
    fn in_v3(&self) -> RpcError;
}

impl<E: Refusal> From<ProposeError<E>> for RpcError {
    fn from(error: ProposeError<E>) -> Self {
        match error {
            ProposeError::Fault(fault) => fault.into(),
            ProposeError::Refused(refusal) => refusal.in_v3(),
        }
    }
}

impl From<NodeError> for RpcError {
    fn from(fault: NodeError) -> Self {
        match fault {
            NodeError::NoLeader => RpcError::NoLeader,
            NodeError::Timeout => RpcError::Timeout,
            NodeError::LeaderFailed => RpcError::TimeoutLeaderFailed,
            NodeError::ConnectionLost => RpcError::TimeoutConnectionLost,
            NodeError::LearnerNotReady => RpcError::LearnerNotReady,
            NodeError::ClusterVersion => RpcError::ClusterVersionTooLow,
            NodeError::Learner => RpcError::NotSupportedForLearner,
            NodeError::Follows => RpcError::Follows,
            NodeError::TooMany => RpcError::TooManyRequests,
            NodeError::TooLarge => RpcError::RequestTooLarge,
            NodeError::NoSpace => RpcError::NoSpace,
            NodeError::Stopped => RpcError::Stopped,
            NodeError::Removed => RpcError::Removed,
            NodeError::Internal => RpcError::Plain("etcdserver: answer of another command"),
        }
    }
}

impl From<TransferError> for RpcError {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Fault(fault) => fault.into(),
            TransferError::Refused(TransferRefused::NotLeader) => RpcError::NotLeader,
            TransferError::Refused(
                TransferRefused::BadTransferee | TransferRefused::NoTransferee,
            ) => RpcError::BadLeaderTransferee,
        }
    }
}

impl Refusal for Infallible {
    fn in_v3(&self) -> RpcError {
        match *self {}
    }
}

impl Refusal for kv::KvError {
    fn in_v3(&self) -> RpcError {
        match self {
            kv::KvError::Compacted { .. } => RpcError::Compacted,
            kv::KvError::FutureRevision { .. } => RpcError::FutureRevision,
            kv::KvError::KeyNotFound => RpcError::KeyNotFound,
            kv::KvError::LeaseNotFound => RpcError::LeaseNotFound,
            kv::KvError::NoSpace => RpcError::NoSpace,
            kv::KvError::Corrupt => RpcError::Corrupt,
            kv::KvError::AnswerTooLarge => RpcError::AnswerTooLarge,
            // the value has grown again with each attempt
            kv::KvError::KeptValueGrew => RpcError::TooManyRequests,
            kv::KvError::Denied(error) => error.in_v3(),
        }
    }
}

impl Refusal for lease::LeaseError {
    fn in_v3(&self) -> RpcError {
        match self {
            lease::LeaseError::Exists => RpcError::LeaseExists,
            lease::LeaseError::NotFound => RpcError::LeaseNotFound,
            lease::LeaseError::TtlTooLarge => RpcError::LeaseTtlTooLarge,
            lease::LeaseError::NoSpace => RpcError::NoSpace,
            lease::LeaseError::Corrupt => RpcError::Corrupt,
            lease::LeaseError::Denied(error) => error.in_v3(),
        }
    }
}

impl Refusal for UnsafeReconfiguration {
    fn in_v3(&self) -> RpcError {
        match self {
            UnsafeReconfiguration::NotEnoughStarted => RpcError::MemberNotEnoughStarted,
            UnsafeReconfiguration::Unhealthy => RpcError::Unhealthy,
        }
    }
}

impl Refusal for member::MembershipError {
    fn in_v3(&self) -> RpcError {
        match self {
            member::MembershipError::NotFound => RpcError::MemberNotFound,
            member::MembershipError::PeerUrlExists => RpcError::PeerUrlExists,
            member::MembershipError::Exists => RpcError::MemberExists,
            member::MembershipError::TooManyLearners => RpcError::TooManyLearners,
            member::MembershipError::LastVoter => RpcError::MemberNotEnoughStarted,
            member::MembershipError::NotLearner => RpcError::MemberNotLearner,
        }
    }
}

impl Refusal for auth::AuthError {
    fn in_v3(&self) -> RpcError {
        match self {
            auth::AuthError::RootUserMissing => RpcError::RootUserNotExist,
            auth::AuthError::RootRoleMissing => RpcError::RootRoleNotExist,
            auth::AuthError::UserExists => RpcError::UserAlreadyExist,
            auth::AuthError::UserEmpty => RpcError::UserEmpty,
            auth::AuthError::UserNotFound => RpcError::UserNotFound,
            auth::AuthError::RoleExists => RpcError::RoleAlreadyExist,
            auth::AuthError::RoleNotFound => RpcError::RoleNotFound,
            auth::AuthError::RoleEmpty => RpcError::RoleEmpty,
            auth::AuthError::AuthFailed => RpcError::AuthFailed,
            auth::AuthError::PermissionNotGiven => RpcError::PermissionNotGiven,
            auth::AuthError::PermissionDenied => RpcError::PermissionDenied,
            auth::AuthError::RoleNotGranted => RpcError::RoleNotGranted,
            auth::AuthError::PermissionNotGranted => RpcError::PermissionNotGranted,
            auth::AuthError::NotEnabled => RpcError::AuthNotEnabled,
            auth::AuthError::OldRevision => RpcError::AuthOldRevision,
            auth::AuthError::InvalidManagement => RpcError::InvalidAuthMgmt,
        }
    }
}

/// Returns the RPC error for a password that was not hashed: `PasswordTooLong`, `TooManyRequests`, or
/// `Stopped` if hashing failed.
pub(super) fn from_hashing(error: &HashError) -> RpcError {
    match error {
        HashError::TooLong => RpcError::PasswordTooLong,
        HashError::TooMany => RpcError::TooManyRequests,
        HashError::Failed => RpcError::Stopped,
    }
}

/// Returns the RPC error for a failure to issue a token: `VerifyOnly` if this member has no signing
/// key, `Stopped` if the system gave no random numbers.
pub(super) fn from_token(error: TokenError) -> RpcError {
    match error {
        TokenError::VerifyOnly => RpcError::VerifyOnly,
        TokenError::NoRandomness => RpcError::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::*;

    #[test]
    fn what_not_all_members_know_is_a_failed_precondition() {
        let status = Status::from(RpcError::from(NodeError::ClusterVersion));
        let text = "etcdserver: the version of the cluster is too low for this request";
        assert_eq!(
            (status.code(), status.message()),
            (Code::FailedPrecondition, text)
        );
        let refused = ProposeError::<kv::KvError>::Fault(NodeError::ClusterVersion);
        assert_eq!(RpcError::from(refused), RpcError::ClusterVersionTooLow);
    }
}

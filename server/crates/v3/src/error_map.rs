//! Maps internal errors to errors of the v3 dialect.

use std::convert::Infallible;

use witan_auth::{HashError, TokenError};
use witan_machine::{auth, kv, lease, member};
use witan_node::{NodeError, ProposeError, TransferError, TransferRefused, UnsafeReconfiguration};

use crate::error::RpcError;

impl<E: Into<Self>> From<ProposeError<E>> for RpcError {
    fn from(error: ProposeError<E>) -> Self {
        match error {
            ProposeError::Fault(fault) => fault.into(),
            ProposeError::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<NodeError> for RpcError {
    /// Maps each error to its equivalent. `Internal` has no equivalent and becomes a plain error.
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
            NodeError::Internal => RpcError::Plain("etcdserver: reply to another command"),
        }
    }
}

impl From<TransferError> for RpcError {
    /// Maps a timeout to `TimeoutLeaderTransfer`, and an unsuitable or missing target to `BadLeaderTransferee`.
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Fault(NodeError::Timeout) => RpcError::TimeoutLeaderTransfer,
            TransferError::Fault(fault) => fault.into(),
            TransferError::Refused(TransferRefused::NotLeader) => RpcError::NotLeader,
            TransferError::Refused(
                TransferRefused::BadTransferee | TransferRefused::NoTransferee,
            ) => RpcError::BadLeaderTransferee,
        }
    }
}

impl From<Infallible> for RpcError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<kv::KvError> for RpcError {
    /// Maps `KeptValueGrew` to `TooManyRequests`, `Denied` to its auth error, and any other error to the error of the same
    /// name.
    fn from(error: kv::KvError) -> Self {
        match error {
            kv::KvError::Compacted { .. } => RpcError::Compacted,
            kv::KvError::FutureRevision { .. } => RpcError::FutureRevision,
            kv::KvError::KeyNotFound => RpcError::KeyNotFound,
            kv::KvError::LeaseNotFound => RpcError::LeaseNotFound,
            kv::KvError::NoSpace => RpcError::NoSpace,
            kv::KvError::Corrupt => RpcError::Corrupt,
            kv::KvError::ResponseTooLarge => RpcError::ResponseTooLarge,
            kv::KvError::KeptValueGrew => RpcError::TooManyRequests,
            kv::KvError::Denied(error) => error.into(),
            // Only a bug returns this error to a client: `kv::read`, `range_stream` and `long_range` repeat such a read from
            // disk.
            kv::KvError::NotResident => RpcError::NotResident,
        }
    }
}

impl From<lease::LeaseError> for RpcError {
    fn from(error: lease::LeaseError) -> Self {
        match error {
            lease::LeaseError::Exists => RpcError::LeaseExists,
            lease::LeaseError::NotFound => RpcError::LeaseNotFound,
            lease::LeaseError::TtlTooLarge => RpcError::LeaseTtlTooLarge,
            lease::LeaseError::NoSpace => RpcError::NoSpace,
            lease::LeaseError::Corrupt => RpcError::Corrupt,
            lease::LeaseError::Denied(error) => error.into(),
        }
    }
}

impl From<UnsafeReconfiguration> for RpcError {
    fn from(error: UnsafeReconfiguration) -> Self {
        match error {
            UnsafeReconfiguration::NotEnoughStarted => RpcError::MemberNotEnoughStarted,
            UnsafeReconfiguration::Unhealthy => RpcError::Unhealthy,
        }
    }
}

impl From<member::MembershipError> for RpcError {
    /// Maps `LastVoter` to `MemberNotEnoughStarted`, and any other error to its equivalent.
    fn from(error: member::MembershipError) -> Self {
        match error {
            member::MembershipError::NotFound => RpcError::MemberNotFound,
            member::MembershipError::PeerUrlExists => RpcError::PeerUrlExists,
            member::MembershipError::Exists => RpcError::MemberExists,
            member::MembershipError::TooManyLearners => RpcError::TooManyLearners,
            member::MembershipError::LastVoter => RpcError::MemberNotEnoughStarted,
            member::MembershipError::NotLearner => RpcError::MemberNotLearner,
        }
    }
}

impl From<auth::AuthError> for RpcError {
    fn from(error: auth::AuthError) -> Self {
        match error {
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

impl From<HashError> for RpcError {
    /// Maps `Failed` to `Stopped`, and any other error to its equivalent.
    fn from(error: HashError) -> Self {
        match error {
            HashError::TooLong => RpcError::PasswordTooLong,
            HashError::TooMany => RpcError::TooManyRequests,
            HashError::Failed => RpcError::Stopped,
        }
    }
}

impl From<TokenError> for RpcError {
    /// Maps `NoRandomness` to `Stopped`.
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::VerifyOnly => RpcError::VerifyOnly,
            TokenError::NoRandomness => RpcError::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::*;

    #[test]
    fn a_request_that_some_members_do_not_support_is_a_failed_precondition() {
        let status = Status::from(RpcError::from(NodeError::ClusterVersion));
        let text = "etcdserver: the cluster version is too low for this request";
        assert_eq!(
            (status.code(), status.message()),
            (Code::FailedPrecondition, text)
        );
        let refused = ProposeError::<kv::KvError>::Fault(NodeError::ClusterVersion);
        assert_eq!(RpcError::from(refused), RpcError::ClusterVersionTooLow);
    }

    #[test]
    fn a_leadership_transfer_has_its_own_timeout() {
        let status = Status::from(RpcError::from(TransferError::Fault(NodeError::Timeout)));
        let text = "etcdserver: request timed out, leader transfer took too long";
        assert_eq!((status.code(), status.message()), (Code::Unknown, text));
    }
}

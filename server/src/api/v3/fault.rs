//! Maps internal errors to errors of the v3 dialect. The only such table.

use std::convert::Infallible;

use witan_api::v3::error::Error;
use witan_replica::machine::{auth, kv, lease, member};

use crate::{
    auth::{HashError, NoToken},
    node::{Fault, ProposeError},
};

/// A refusal of the state machine, in the words of this dialect.
pub(super) trait Refusal {
    fn in_v3(&self) -> Error;
}

impl<E: Refusal> From<ProposeError<E>> for Error {
    fn from(error: ProposeError<E>) -> Self {
        match error {
            ProposeError::Fault(fault) => fault.into(),
            ProposeError::Refused(refusal) => refusal.in_v3(),
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoLeader => Error::NoLeader,
            Fault::Timeout => Error::Timeout,
            Fault::TooMany => Error::TooManyRequests,
            Fault::TooLarge => Error::RequestTooLarge,
            Fault::NoSpace => Error::NoSpace,
            Fault::Stopped => Error::Stopped,
            Fault::Internal => Error::Plain("etcdserver: answer of another command"),
        }
    }
}

impl Refusal for Infallible {
    fn in_v3(&self) -> Error {
        match *self {}
    }
}

impl Refusal for kv::KvError {
    fn in_v3(&self) -> Error {
        match self {
            kv::KvError::Compacted { .. } => Error::Compacted,
            kv::KvError::FutureRevision { .. } => Error::FutureRevision,
            kv::KvError::KeyNotFound => Error::KeyNotFound,
            kv::KvError::LeaseNotFound => Error::LeaseNotFound,
            kv::KvError::NoSpace => Error::NoSpace,
            kv::KvError::Corrupt => Error::Corrupt,
            kv::KvError::AnswerTooLarge => Error::AnswerTooLarge,
            kv::KvError::Denied(error) => error.in_v3(),
        }
    }
}

impl Refusal for lease::LeaseError {
    fn in_v3(&self) -> Error {
        match self {
            lease::LeaseError::Exists => Error::LeaseExists,
            lease::LeaseError::NotFound => Error::LeaseNotFound,
            lease::LeaseError::TtlTooLarge => Error::LeaseTtlTooLarge,
            lease::LeaseError::NoSpace => Error::NoSpace,
            lease::LeaseError::Corrupt => Error::Corrupt,
            lease::LeaseError::Denied(error) => error.in_v3(),
        }
    }
}

impl Refusal for member::MembershipError {
    fn in_v3(&self) -> Error {
        match self {
            member::MembershipError::NotFound => Error::MemberNotFound,
            member::MembershipError::PeerUrlExists => Error::PeerUrlExists,
            member::MembershipError::Exists => Error::MemberExists,
            member::MembershipError::TooManyLearners => Error::TooManyLearners,
            member::MembershipError::NotLearner => Error::MemberNotEnoughStarted,
        }
    }
}

impl Refusal for auth::AuthError {
    fn in_v3(&self) -> Error {
        match self {
            auth::AuthError::RootUserMissing => Error::RootUserNotExist,
            auth::AuthError::RootRoleMissing => Error::RootRoleNotExist,
            auth::AuthError::UserExists => Error::UserAlreadyExist,
            auth::AuthError::UserEmpty => Error::UserEmpty,
            auth::AuthError::UserNotFound => Error::UserNotFound,
            auth::AuthError::RoleExists => Error::RoleAlreadyExist,
            auth::AuthError::RoleNotFound => Error::RoleNotFound,
            auth::AuthError::RoleEmpty => Error::RoleEmpty,
            auth::AuthError::AuthFailed => Error::AuthFailed,
            auth::AuthError::PermissionNotGiven => Error::PermissionNotGiven,
            auth::AuthError::PermissionDenied => Error::PermissionDenied,
            auth::AuthError::RoleNotGranted => Error::RoleNotGranted,
            auth::AuthError::PermissionNotGranted => Error::PermissionNotGranted,
            auth::AuthError::NotEnabled => Error::AuthNotEnabled,
            auth::AuthError::OldRevision => Error::AuthOldRevision,
            auth::AuthError::InvalidManagement => Error::InvalidAuthMgmt,
        }
    }
}

/// A password that was not hashed.
pub(super) fn of_hashing(error: &HashError) -> Error {
    match error {
        HashError::TooLong => Error::PasswordTooLong,
        HashError::TooMany => Error::TooManyRequests,
        HashError::Failed => Error::Stopped,
    }
}

/// A token that was not given.
pub(super) fn of_token(error: NoToken) -> Error {
    match error {
        NoToken::VerifyOnly => Error::VerifyOnly,
        NoToken::NoRandomness => Error::Stopped,
    }
}

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

impl Refusal for kv::Error {
    fn in_v3(&self) -> Error {
        match self {
            kv::Error::Compacted { .. } => Error::Compacted,
            kv::Error::FutureRevision { .. } => Error::FutureRevision,
            kv::Error::KeyNotFound => Error::KeyNotFound,
            kv::Error::LeaseNotFound => Error::LeaseNotFound,
            kv::Error::NoSpace => Error::NoSpace,
            kv::Error::Corrupt => Error::Corrupt,
            kv::Error::AnswerTooLarge => Error::AnswerTooLarge,
            kv::Error::Denied(error) => error.in_v3(),
        }
    }
}

impl Refusal for lease::Error {
    fn in_v3(&self) -> Error {
        match self {
            lease::Error::Exists => Error::LeaseExists,
            lease::Error::NotFound => Error::LeaseNotFound,
            lease::Error::TtlTooLarge => Error::LeaseTtlTooLarge,
            lease::Error::NoSpace => Error::NoSpace,
            lease::Error::Corrupt => Error::Corrupt,
            lease::Error::Denied(error) => error.in_v3(),
        }
    }
}

impl Refusal for member::Error {
    fn in_v3(&self) -> Error {
        match self {
            member::Error::NotFound => Error::MemberNotFound,
            member::Error::PeerUrlExists => Error::PeerUrlExists,
            member::Error::Exists => Error::MemberExists,
            member::Error::TooManyLearners => Error::TooManyLearners,
            member::Error::NotLearner => Error::MemberNotEnoughStarted,
        }
    }
}

impl Refusal for auth::Error {
    fn in_v3(&self) -> Error {
        match self {
            auth::Error::RootUserMissing => Error::RootUserNotExist,
            auth::Error::RootRoleMissing => Error::RootRoleNotExist,
            auth::Error::UserExists => Error::UserAlreadyExist,
            auth::Error::UserEmpty => Error::UserEmpty,
            auth::Error::UserNotFound => Error::UserNotFound,
            auth::Error::RoleExists => Error::RoleAlreadyExist,
            auth::Error::RoleNotFound => Error::RoleNotFound,
            auth::Error::RoleEmpty => Error::RoleEmpty,
            auth::Error::AuthFailed => Error::AuthFailed,
            auth::Error::PermissionNotGiven => Error::PermissionNotGiven,
            auth::Error::PermissionDenied => Error::PermissionDenied,
            auth::Error::RoleNotGranted => Error::RoleNotGranted,
            auth::Error::PermissionNotGranted => Error::PermissionNotGranted,
            auth::Error::NotEnabled => Error::AuthNotEnabled,
            auth::Error::OldRevision => Error::AuthOldRevision,
            auth::Error::InvalidManagement => Error::InvalidAuthMgmt,
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

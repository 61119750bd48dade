//! Which failure inside becomes which error of the v3 dialect. The only such table.

use witan_api::v3::error::Error;
use witan_replica::machine::{auth, kv, lease};

use crate::{
    auth::{HashError, NoToken},
    node::Fault,
};

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoLeader => Error::NoLeader,
            Fault::Timeout => Error::Timeout,
            Fault::TooMany => Error::TooManyRequests,
            Fault::TooLarge => Error::RequestTooLarge,
            Fault::NoSpace => Error::NoSpace,
            Fault::Stopped => Error::Stopped,
        }
    }
}

/// A refusal of the key space.
pub(super) fn of_kv(error: &kv::Error) -> Error {
    match error {
        kv::Error::Compacted { .. } => Error::Compacted,
        kv::Error::FutureRevision { .. } => Error::FutureRevision,
        kv::Error::KeyNotFound => Error::KeyNotFound,
        kv::Error::LeaseNotFound => Error::LeaseNotFound,
        kv::Error::NoSpace => Error::NoSpace,
        kv::Error::Corrupt => Error::Corrupt,
        kv::Error::AnswerTooLarge => Error::AnswerTooLarge,
    }
}

/// A refusal of the leases.
pub(super) fn of_lease(error: lease::Error) -> Error {
    match error {
        lease::Error::Exists => Error::LeaseExists,
        lease::Error::NotFound => Error::LeaseNotFound,
        lease::Error::TtlTooLarge => Error::LeaseTtlTooLarge,
        lease::Error::NoSpace => Error::NoSpace,
        lease::Error::Corrupt => Error::Corrupt,
    }
}

/// A refusal by what is known about users.
pub(super) fn of_auth(error: &auth::Error) -> Error {
    match error {
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

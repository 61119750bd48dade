//! Which failure inside becomes which error of the v3 dialect. The only such table.

use witan_api::v3::error::Error;
use witan_replica::machine::{kv, lease};

use crate::node::Fault;

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoLeader => Error::NoLeader,
            Fault::Timeout => Error::Timeout,
            Fault::TooMany => Error::TooManyRequests,
            Fault::TooLarge => Error::RequestTooLarge,
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

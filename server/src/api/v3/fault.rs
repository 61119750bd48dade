//! Which failure inside becomes which error of the v3 dialect. The only such table.

use witan_api::v3::error::Error;
use witan_replica::machine::kv;

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

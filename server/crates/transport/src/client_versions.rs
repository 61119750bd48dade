//! Counts requests by the client's API version (`client-api-version`). Clients choose the version, so the number of series is
//! bounded.

use std::collections::HashSet;

use prometheus::{IntCounter, IntCounterVec};
use witan_api::access::CallType;
use witan_base::{
    metrics::{Striped, StripedVec},
    sync::Mutex,
};

/// Maximum number of client versions with their own series; further versions share one series.
const VERSIONS_MAX: usize = 64;
/// Maximum size in bytes of a client version with its own series; longer versions share one series.
const VERSION_BYTES_MAX: usize = 32;

/// Label for clients without the header, as in etcd.
const UNKNOWN: &str = "unknown";
const OTHER: &str = "other";

#[derive(Debug)]
pub(super) struct ClientVersions {
    requests: StripedVec<IntCounterVec>,
    seen: Mutex<HashSet<String>>,
}

/// Request counters of one client version. Each connection keeps the counters of its client.
#[derive(Debug)]
pub(super) struct ClientRequests {
    unary: Striped<IntCounter>,
    stream: Striped<IntCounter>,
}

impl ClientRequests {
    /// Returns the counter for calls of this type: unary or streaming.
    pub(super) fn of(&self, call_type: CallType) -> &IntCounter {
        let requests = match call_type {
            CallType::Unary => &self.unary,
            CallType::ServerStream | CallType::BidiStream => &self.stream,
        };
        requests.here()
    }
}

impl ClientVersions {
    pub(super) fn new(requests: StripedVec<IntCounterVec>) -> Self {
        Self { requests, seen: Mutex::default() }
    }

    /// Returns the counters of a client version. A missing version is treated as the version [`UNKNOWN`]. The label is
    /// [`OTHER`] if the version is not UTF-8, is too long, or is new after [`VERSIONS_MAX`] versions.
    pub(super) fn version(&self, version: Option<&[u8]>) -> ClientRequests {
        let version = match version.map(str::from_utf8) {
            None => UNKNOWN,
            Some(Ok(version)) if self.admit(version) => version,
            Some(_) => OTHER,
        };
        let requests = |kind| self.requests.with_label_values(&[kind, version]);
        ClientRequests { unary: requests("unary"), stream: requests("stream") }
    }

    /// Returns whether a version gets its own label: it must be short and among the first [`VERSIONS_MAX`]. Remembers such a
    /// version.
    fn admit(&self, version: &str) -> bool {
        if version.len() > VERSION_BYTES_MAX {
            return false;
        }
        let mut seen = self.seen.lock();
        seen.contains(version) || seen.len() < VERSIONS_MAX && seen.insert(version.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransportMetrics;
    use witan_base::metrics::Register;

    #[test]
    fn versions_are_bounded() {
        let clients = TransportMetrics::register(&Register::default(), false).clients;
        let count = |version: Option<&[u8]>| clients.version(version).of(CallType::Unary).clone();
        count(Some(b"3.6")).inc();
        for number in 0..2 * VERSIONS_MAX {
            count(Some(format!("v{number}").as_bytes())).inc();
        }
        count(None).inc();
        for odd in [&b"\xff"[..], &[b'x'; VERSION_BYTES_MAX + 1]] {
            count(Some(odd)).inc();
        }
        assert_eq!((count(None).get(), count(Some(b"3.6")).get()), (1, 1));
        let others = (1 + 2 * VERSIONS_MAX - VERSIONS_MAX + 2) as u64;
        assert_eq!(count(Some(b"v127")).get(), others);
    }
}

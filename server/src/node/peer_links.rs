//! Which other members are connected, and since when: why a request timed out, and whether a change of
//! membership is safe.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::reconfiguration::Connection;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct PeerLinks(Mutex<BTreeMap<u64, i64>>);

impl PeerLinks {
    pub(super) fn connected(&self, member: u64, now_ns: i64) {
        self.lock().entry(member).or_insert(now_ns);
    }

    pub(super) fn lost(&self, member: u64) {
        self.lock().remove(&member);
    }

    /// How a member is connected; a settled connection has lasted since before a time.
    pub(super) fn connection(&self, member: u64, before_ns: i64) -> Connection {
        match self.lock().get(&member) {
            None => Connection::Lost,
            Some(since) if *since <= before_ns => Connection::Settled,
            Some(_) => Connection::Recent,
        }
    }

    /// Whether a member has been connected since before a time.
    pub(super) fn since(&self, member: u64, before_ns: i64) -> bool {
        self.lock()
            .get(&member)
            .is_some_and(|since| *since <= before_ns)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

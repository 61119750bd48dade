//! Leases: none is ended by the leader before the time is over that its client was promised, none
//! that nobody keeps alive stays, and every key that has one has one that exists.

use std::collections::{BTreeMap, BTreeSet};

use witan_replica::{
    machine::{Reply, kv, lease, view::View},
    replica::Status,
};

use super::{Fact, Invariant, Scene};
use crate::{
    member::DRIFT_PER_MILLE_MAX,
    oracle::{Ask, End, Op},
    scenario::UNITS_PER_TICK,
    workload,
};

/// Units in a second.
const SECOND: u64 = 10 * UNITS_PER_TICK;
/// Units for which a lease may stay beyond its time: the extension that a new leader gives, a member's
/// slow clock, and the way of the entry that ends it.
const PATIENCE: u64 = 4 * SECOND;

#[derive(Debug, Default)]
pub(super) struct LeasesKept {
    /// Until when each lease was promised to last.
    promised: BTreeMap<i64, u64>,
    /// Entries that were looked at.
    seen: u64,
    /// Leases that have ended: an id is granted once in a run.
    ended: BTreeSet<i64>,
    /// When the faults had stopped and there was a leader.
    settled: Option<u64>,
}

impl Invariant for LeasesKept {
    fn name(&self) -> &'static str {
        "leases_kept"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match fact {
            Fact::Acknowledged { op } => self.granted(op),
            Fact::Renewed { lease, ttl_s, at } => self.promise(*lease, *ttl_s, *at),
            Fact::Executed { member, batch, view, .. } => {
                for applied in *batch {
                    if applied.index > self.seen {
                        self.seen = applied.index;
                        self.ended(&applied.outcome.reply, scene.now)
                            .map_err(|what| format!("m{member}: {what}"))?;
                    }
                }
                attached(view).map_err(|what| format!("m{member}: {what}"))?;
            }
            Fact::Restored { member, view, .. } => {
                attached(view).map_err(|what| format!("m{member} restored: {what}"))?;
            }
            Fact::Settled { statuses } => {
                let led = statuses.iter().any(|Status { leader, .. }| *leader != 0);
                self.settled = led.then_some(scene.now);
            }
            Fact::Ended { views, .. } => {
                for (_, view) in *views {
                    self.none_stays(view, scene.now)?;
                }
            }
            Fact::Turned { .. }
            | Fact::Written { .. }
            | Fact::Answered { .. }
            | Fact::NotStarted { .. }
            | Fact::StorageDiffers { .. } => {}
        }
        Ok(())
    }
}

impl LeasesKept {
    fn promise(&mut self, lease: i64, ttl_s: i64, at: u64) {
        let until = self.promised.entry(lease).or_default();
        let units = ttl_s as u64 * SECOND;
        *until = (*until).max(at + units - units * DRIFT_PER_MILLE_MAX / 1000 - 1);
    }

    /// The client counts from when it asked.
    fn granted(&mut self, op: &Op) {
        if let End::Applied { outcome, .. } = &op.end
            && let Some(lease) = workload::granted(&op.ask, outcome)
            && let (
                Ask::Write(_),
                Reply::Lease(Ok(lease::LeaseReply::Granted(lease::Granted { ttl_s }))),
            ) = (&op.ask, &outcome.reply)
        {
            self.promise(lease, *ttl_s, op.invoked);
        }
    }

    fn ended(&mut self, reply: &Reply, now: u64) -> Result<(), String> {
        let Reply::Lease(Ok(lease::LeaseReply::Expired { ids })) = reply else {
            return Ok(());
        };
        for id in ids {
            if let Some(until) = self.promised.get(id).filter(|until| **until > now) {
                return Err(format!(
                    "lease {id} was promised until {until} and has ended"
                ));
            }
            if !self.ended.insert(*id) {
                return Err(format!("lease {id} has ended twice"));
            }
        }
        Ok(())
    }

    fn none_stays(&self, view: &View, now: u64) -> Result<(), String> {
        let Some(settled) = self.settled else {
            return Ok(());
        };
        for (id, lease) in view.machine.kv.leases().iter() {
            let since = self.promised.get(&id).copied().unwrap_or_default();
            // whoever leads now began to count when it was settled, at the latest
            let over = since.max(settled + lease.ttl_s as u64 * SECOND) + PATIENCE;
            if over < now {
                return Err(format!("lease {id} should have ended by {over}"));
            }
        }
        Ok(())
    }
}

/// Every key with a lease goes with a lease that there is, and no other key does.
fn attached(view: &View) -> Result<(), String> {
    let kv = &view.machine.kv;
    let all = kv::Range {
        key: b"\0".as_slice().into(),
        range_end: b"\0".as_slice().into(),
        keys_only: true,
        ..kv::Range::default()
    };
    let kvs = kv.range(&all).map_err(|error| error.to_string())?.kvs;
    let leases = kv.leases();
    let mut count = 0;
    for pair in kvs.iter().filter(|pair| pair.lease != lease::NONE) {
        count += 1;
        let known = leases.get(pair.lease).is_some();
        if !known || !leases.keys(pair.lease).any(|key| *key == pair.key) {
            return Err(format!(
                "{:?} has lease {}, which does not have it (exists: {known})",
                pair.key, pair.lease
            ));
        }
    }
    if count != leases.attached() {
        return Err(format!(
            "{count} keys have leases, leases have {} keys",
            leases.attached()
        ));
    }
    Ok(())
}

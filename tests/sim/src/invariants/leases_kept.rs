//! Leases: the leader neither ends a lease nor reports it overdue before the time that its client was promised. A lease without
//! keep-alives ends. Every key with a lease has a lease that exists.

use std::collections::BTreeMap;

use witan_machine::{
    Reply, kv,
    lease::{self, LeaseId},
    member::MemberId,
    view::View,
};
use witan_replica::{
    host::{Applied, LeaseAnswer},
    lessor::Renewal,
    replica::Status,
};

use super::{Fact, Invariant, Scene};
use crate::{
    member::DRIFT_PER_MILLE_MAX,
    oracle::{Ask, End, Op},
    scenario::UNITS_PER_TICK,
    workload,
    world::UNIT_NS,
};

/// Units per second.
const SECOND: u64 = 10 * UNITS_PER_TICK;
/// Number of units for which a lease may outlive its time. Causes are a new leader's extension, a member's slow clock, and the
/// delay of the entry that ends the lease.
const PATIENCE: u64 = 4 * SECOND;

#[derive(Debug, Default)]
struct Promises {
    ttl_s: i64,
    /// The latest promised end.
    until: u64,
    /// Each later end, with the time at which it was promised.
    history: Vec<(u64, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct LeasesKept {
    promised: BTreeMap<LeaseId, Promises>,
    /// Highest index that was checked.
    seen: u64,
    /// The entry that ended each lease. An id is granted only once per run.
    ended: BTreeMap<LeaseId, u64>,
    /// Time at which the members settled, if there was a leader.
    settled: Option<u64>,
}

impl Invariant for LeasesKept {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Acknowledged { op } = fact {
            self.granted(op, scene.now);
        }
        if let Fact::LeaseAnswered { lease, answer, asked } = fact {
            self.answered(*lease, *answer, *asked, scene.now)?;
        }
        if let Fact::Executed { member, batch, view, .. } = fact {
            for applied in *batch {
                if applied.index > self.seen {
                    self.seen = applied.index;
                    self.ended(applied, scene.now)
                        .map_err(|what| format!("m{member}: {what}"))?;
                }
            }
            attached(view).map_err(|what| format!("m{member}: {what}"))?;
        }
        if let Fact::Restored { member, view, .. } = fact {
            attached(view).map_err(|what| format!("m{member} restored: {what}"))?;
        }
        if let Fact::Forced { kept, lost, .. } = fact {
            self.seen = self.seen.min(*kept);
            self.ended.retain(|_, index| *index <= *kept);
            // A lost entry may have cleared a remaining TTL before a promise.
            if *lost > 0 {
                self.promised.clear();
            }
        }
        if let Fact::Settled { statuses } = fact {
            let led = statuses
                .iter()
                .any(|Status { leader, .. }| *leader != MemberId::NONE);
            self.settled = led.then_some(scene.now);
        }
        if let Fact::Ended { views, .. } = fact {
            for (_, view) in *views {
                self.none_stays(view, scene.now)?;
            }
        }
        Ok(())
    }
}

impl LeasesKept {
    /// Records that a client was promised at `now` that the lease lasts for its TTL, counted from the request.
    fn promise(&mut self, lease: LeaseId, ttl_s: i64, asked: u64, now: u64) {
        let promises = self.promised.entry(lease).or_default();
        let units = ttl_s as u64 * SECOND;
        let until = asked + units - units * DRIFT_PER_MILLE_MAX / 1000 - 1;
        promises.ttl_s = ttl_s;
        if until > promises.until {
            promises.until = until;
            promises.history.push((now, until));
        }
    }

    /// Compares the remaining time in an answer with the promises made before the request. Records a renewal as a promise.
    fn answered(
        &mut self,
        lease: LeaseId,
        answer: LeaseAnswer,
        asked: u64,
        now: u64,
    ) -> Result<(), String> {
        let left_ns = match answer {
            LeaseAnswer::Renewal(Renewal::Renewed { ttl_s }) => {
                self.promise(lease, ttl_s, asked, now);
                return Ok(());
            }
            LeaseAnswer::Renewal(Renewal::Expiring) => 0,
            LeaseAnswer::Remaining(Some(left_ns)) => left_ns,
            LeaseAnswer::Renewal(Renewal::Unknown | Renewal::NeedsCheckpoint)
            | LeaseAnswer::Remaining(None) => return Ok(()),
        };
        let Some(promises) = self.promised.get(&lease) else {
            return Ok(());
        };
        let before = promises.history.iter().filter(|(at, _)| *at < asked);
        let until = before.map(|(_, until)| *until).max().unwrap_or_default();
        let left = u64::try_from(left_ns).unwrap_or_default() / UNIT_NS as u64;
        if now + left + left * DRIFT_PER_MILLE_MAX / 1000 + 2 < until {
            return Err(format!(
                "lease {} was promised until {until} but has only {left} units left",
                lease.0
            ));
        }
        // A new leader adds an election timeout.
        if left > promises.ttl_s as u64 * SECOND + SECOND {
            return Err(format!(
                "lease {} with a TTL of {} s has {left} units left",
                lease.0, promises.ttl_s
            ));
        }
        Ok(())
    }

    /// Records a grant as a promise. The client counts the TTL from its request.
    fn granted(&mut self, op: &Op, now: u64) {
        if let End::Applied { outcome, .. } = &op.end
            && let Some(lease) = workload::granted(&op.ask, outcome)
            && let (
                Ask::Write(_),
                Reply::Lease(Ok(lease::LeaseReply::Granted(lease::Granted { ttl_s }))),
            ) = (&op.ask, &outcome.reply)
        {
            self.promise(lease, *ttl_s, op.invoked, now);
        }
    }

    /// Checks that leases end only once and not before the promised time.
    fn ended(&mut self, applied: &Applied, now: u64) -> Result<(), String> {
        let Reply::Lease(Ok(lease::LeaseReply::Expired { ids })) = &applied.outcome.reply else {
            return Ok(());
        };
        for id in ids {
            let until = self.until(*id);
            if until > now {
                return Err(format!(
                    "lease {} was promised until {until} and has ended",
                    id.0
                ));
            }
            if self.ended.insert(*id, applied.index).is_some() {
                return Err(format!("lease {} has ended twice", id.0));
            }
        }
        Ok(())
    }

    /// Returns the latest promised end of a lease in units, or 0 if nothing was promised.
    fn until(&self, lease: LeaseId) -> u64 {
        let promises = self.promised.get(&lease);
        promises.map_or(0, |promises| promises.until)
    }

    /// Checks that no lease outlives its time by more than `PATIENCE`.
    fn none_stays(&self, view: &View, now: u64) -> Result<(), String> {
        let Some(settled) = self.settled else {
            return Ok(());
        };
        for (id, lease) in view.machine.kv.leases().iter() {
            let since = self.until(id);
            // The current leader tracks the lease since `settled` at the latest.
            let over = since.max(settled + lease.ttl_s as u64 * SECOND) + PATIENCE;
            if over < now {
                return Err(format!("lease {} should have ended by {over}", id.0));
            }
        }
        Ok(())
    }
}

/// Checks that every key with a lease has a lease that exists, and that no other key is attached.
fn attached(view: &View) -> Result<(), String> {
    let kv = &view.machine.kv;
    let all = kv::Range {
        key: b"\0".as_slice().into(),
        range_end: b"\0".as_slice().into(),
        keys_only: true,
        ..kv::Range::default()
    };
    let kvs = kv.range(&all, kv::ValueSource::Memory);
    let kvs = kvs.map_err(|error| error.to_string())?.kvs;
    let leases = kv.leases();
    let mut count = 0;
    for pair in kvs.iter().filter(|pair| pair.lease != LeaseId::NONE) {
        count += 1;
        let known = leases.get(pair.lease).is_some();
        if !known || !leases.keys(pair.lease).any(|key| *key == pair.key) {
            return Err(format!(
                "{:?} has lease {}, to which it is not attached (exists: {known})",
                pair.key, pair.lease.0
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

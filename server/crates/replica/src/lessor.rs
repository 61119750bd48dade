//! The lessor: the leader tracks the remaining time of leases in memory with a monotonic clock.
//!
//! The timers are not replicated, and a keep-alive resets a timer without a log entry. A new leader starts from the replicated
//! state and extends every lease by an election timeout, because it has not seen earlier keep-alives. A timer starts with the
//! first clock update *after* its event, so a lease may outlive its TTL but never expires early.
//!
//! If the process of a new leader has not known a leader before, all members were probably down, and clients could not renew
//! their leases. This leader gives each lease its full TTL, as etcd does, and removes the recorded remaining TTLs.

use std::collections::BTreeSet;

use imbl::OrdMap;

use crate::limits::{
    LEASE_CHECKPOINT_S, LEASE_CHECKPOINTS_PER_ENTRY, LEASE_CHECKS_PER_TICK,
    LEASE_EXPIRATIONS_PER_ENTRY, LEASE_EXPIRY_RETRY_NS,
};
use witan_machine::lease::{
    Lease, LeaseCheckpoint, LeaseCommand, LeaseExpire, LeaseId, LeaseOperation, LeaseReply, Leases,
    RemainingTtl,
};

const SECOND_NS: u64 = 1_000_000_000;

/// Result of a keep-alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease has its full TTL again.
    Renewed {
        /// TTL in seconds.
        ttl_s: i64,
    },
    /// The lease does not exist.
    Unknown,
    /// The lease expired, and its expiration was proposed. The client must retry.
    Expiring,
    /// The log has a smaller remaining TTL. The caller proposes [`RemainingTtl`] with 0 seconds and retries; otherwise a later
    /// leader would count from the smaller TTL.
    NeedsCheckpoint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LeaseTimer {
    /// Time at which the lease expires.
    deadline_ns: u64,
    /// Time of the next check, which expires the lease, retries its expiration or checkpoints it.
    check_at_ns: u64,
    /// Time under which `next_checks` lists the lease: `check_at_ns`, or an earlier time after a keep-alive.
    listed_at_ns: u64,
    /// Whether the expiration of the lease was proposed.
    expiry_pending: bool,
    /// Highest log index that may hold a checkpoint of this lease. If the leader answered a keep-alive before it applied that
    /// index, the next leader would count from the checkpoint and ignore the keep-alive.
    checkpointed_to: u64,
}

impl LeaseTimer {
    /// The timer of a lease that is not in `next_checks` yet.
    const UNLISTED: Self = Self {
        deadline_ns: u64::MAX,
        check_at_ns: u64::MAX,
        listed_at_ns: u64::MAX,
        expiry_pending: false,
        checkpointed_to: 0,
    };
}

/// A frozen copy of all leases' deadlines.
#[derive(Clone, Debug, Default)]
pub struct LeaseDeadlines(OrdMap<LeaseId, LeaseTimer>);

impl LeaseDeadlines {
    /// Returns the remaining nanoseconds of a lease at `monotonic_ns`, negative if the lease is overdue, or `None` if the lease
    /// is unknown.
    pub fn left_ns(&self, id: LeaseId, monotonic_ns: u64) -> Option<i64> {
        let timer = self.0.get(&id)?;
        Some(timer.deadline_ns.wrapping_sub(monotonic_ns).cast_signed())
    }

    /// Returns the ids of all leases, ordered by deadline.
    pub fn in_order(&self) -> Vec<LeaseId> {
        let all = self.0.iter().map(|(id, timer)| (timer.deadline_ns, *id));
        let mut all: Vec<(u64, LeaseId)> = all.collect();
        all.sort_unstable();
        all.into_iter().map(|(_, id)| id).collect()
    }
}

/// The timers of a leader.
#[derive(Debug, Default)]
pub(crate) struct Lessor {
    /// The term in which this member leads, once it has applied all entries of earlier terms.
    term: Option<u64>,
    monotonic_ns: u64,
    /// The clock before its last update. A keep-alive may have arrived right after that time and then waited while this thread
    /// was busy, for example with a sync.
    previous_ns: u64,
    deadlines: LeaseDeadlines,
    /// Lists each lease once, under its timer's `listed_at_ns`. A keep-alive only delays the check, so this list stays
    /// unchanged.
    next_checks: BTreeSet<(u64, LeaseId)>,
    /// Leases whose timers start with the next clock update, with their durations in nanoseconds.
    starting: Vec<(LeaseId, u64)>,
    /// Leases with a due checkpoint whose log index is not known yet.
    checkpointing: Vec<LeaseId>,
    /// Seconds between two checkpoints of a lease; `None` derives the interval from its TTL.
    checkpoint_s: Option<i64>,
    /// Whether this process has known a leader: another member, or itself with all entries of earlier terms applied.
    had_leader: bool,
    /// Whether the timers of this term started with full TTLs, so that recorded remaining TTLs may be outdated.
    gave_full_ttls: bool,
}

#[derive(Debug, Default, PartialEq)]
pub(crate) struct DueLeases {
    pub(crate) expired: Vec<LeaseId>,
    pub(crate) checkpoints: Vec<RemainingTtl>,
}

impl DueLeases {
    /// Returns the commands for the leases that are due: at most one expiration and one checkpoint. Omits empty commands.
    pub(crate) fn commands(self) -> impl Iterator<Item = LeaseCommand> {
        let ids = self.expired.iter().map(|id| id.0).collect();
        let expire = LeaseOperation::Expire(LeaseExpire { ids });
        let note = LeaseOperation::Checkpoint(LeaseCheckpoint { remaining: self.checkpoints });
        [expire, note].into_iter().filter_map(|verb| {
            let empty = match &verb {
                LeaseOperation::Expire(expire) => expire.ids.is_empty(),
                LeaseOperation::Checkpoint(checkpoint) => checkpoint.remaining.is_empty(),
                LeaseOperation::Grant(_) | LeaseOperation::Revoke(_) => false,
            };
            (!empty).then_some(LeaseCommand { operation: Some(verb) })
        })
    }
}

impl Lessor {
    /// Creates a lessor without timers. `checkpoint_s` replaces the usual time between two checks of a lease, in seconds.
    pub(crate) fn new(checkpoint_s: Option<i64>) -> Self {
        Self { checkpoint_s, ..Self::default() }
    }

    /// Sets the term that this member leads, or `None` if this member does not lead. If the term changes, drops all timers and,
    /// on a leader, starts a timer for each lease with its remaining TTL plus `extension_ns` nanoseconds. The full TTL replaces
    /// the remaining TTL if this process has known no leader before.
    pub(crate) fn set_leader_term(
        &mut self,
        term: Option<u64>,
        leases: &Leases,
        extension_ns: u64,
    ) {
        if self.term == term {
            return;
        }
        self.deadlines = LeaseDeadlines::default();
        self.next_checks = BTreeSet::new();
        self.starting = Vec::new();
        self.checkpointing = Vec::new();
        self.term = term;
        if term.is_some() {
            self.gave_full_ttls = !std::mem::replace(&mut self.had_leader, true);
            for (id, lease) in leases.iter() {
                let seconds = match self.gave_full_ttls {
                    true => lease.remaining_s().max(lease.ttl_s),
                    false => lease.remaining_s(),
                };
                self.start(id, span_ns(seconds).saturating_add(extension_ns));
            }
        }
    }

    /// Records that another member leads. If this member leads later, it counts from the recorded remaining TTLs.
    pub(crate) fn other_leads(&mut self) {
        self.had_leader = true;
    }

    /// Advances the monotonic clock to `monotonic_ns`, never backward. Leases added since the last call start at the new time.
    pub(crate) fn advance_clock(&mut self, monotonic_ns: u64, leases: &Leases) {
        self.previous_ns = self.monotonic_ns;
        self.monotonic_ns = self.monotonic_ns.max(monotonic_ns);
        for (id, span_ns) in std::mem::take(&mut self.starting) {
            if let Some(lease) = leases.get(id) {
                let deadline_ns = self.monotonic_ns.saturating_add(span_ns);
                let check_at_ns = match self.is_outdated(lease, deadline_ns) {
                    true => self.monotonic_ns,
                    false => self.next_check(deadline_ns, lease),
                };
                self.schedule(id, deadline_ns, check_at_ns);
            }
        }
    }

    /// Updates the timers after a lease operation has been applied. Does nothing on a member that does not lead.
    pub(crate) fn applied(&mut self, command: &LeaseCommand, reply: &LeaseReply) {
        if self.term.is_none() {
            return;
        }
        match (&command.operation, reply) {
            (Some(LeaseOperation::Grant(grant)), LeaseReply::Granted(granted)) => {
                self.start(grant.lease_id(), span_ns(granted.ttl_s));
            }
            (Some(LeaseOperation::Revoke(revoke)), LeaseReply::Revoked) => {
                self.stop(revoke.lease_id())
            }
            (Some(LeaseOperation::Expire(_)), LeaseReply::Expired { ids }) => {
                ids.iter().for_each(|id| self.stop(*id));
            }
            (_, _) => {}
        }
    }

    /// Handles a keep-alive on the leader: restarts the lease's full TTL. Returns [`Renewal::Expiring`] if the lease expired
    /// before the keep-alive arrived, or its expiration is proposed. Returns [`Renewal::NeedsCheckpoint`] if the state, or a
    /// log entry above `applied` (the last applied index), may have a smaller remaining TTL.
    pub(crate) fn renew(&mut self, id: LeaseId, leases: &Leases, applied: u64) -> Renewal {
        let (Some(lease), Some(timer)) = (leases.get(id), self.deadlines.0.get(&id)) else {
            return Renewal::Unknown;
        };
        if timer.expiry_pending || timer.deadline_ns <= self.previous_ns {
            return Renewal::Expiring;
        }
        if timer.checkpointed_to > applied || lease.remaining_ttl_s > 0 {
            return Renewal::NeedsCheckpoint;
        }
        self.start(id, span_ns(lease.ttl_s));
        let ttl_s = lease.ttl_s;
        Renewal::Renewed { ttl_s }
    }

    /// Returns the term for which leases are tracked, or `None` if this member does not track them.
    pub(crate) fn term(&self) -> Option<u64> {
        self.term
    }

    /// Returns the remaining nanoseconds of a lease, negative if it is overdue, or `None` if the lease is unknown. Until an
    /// outdated record is removed, returns at most the recorded time, because another leader would count from the record.
    pub(crate) fn left_ns(&self, id: LeaseId, leases: &Leases) -> Option<i64> {
        let left_ns = self.deadlines.left_ns(id, self.monotonic_ns)?;
        let recorded_s = leases.get(id).map_or(0, |lease| lease.remaining_ttl_s);
        Some(match self.gave_full_ttls && recorded_s > 0 {
            true => left_ns.min(span_ns(recorded_s).cast_signed()),
            false => left_ns,
        })
    }

    /// Returns a copy of all deadlines, or `None` if this member does not track leases.
    pub(crate) fn deadlines(&self) -> Option<LeaseDeadlines> {
        self.term.map(|_| self.deadlines.clone())
    }

    /// Takes the leases to expire and to checkpoint now, up to the limits per entry and per tick, and schedules their next
    /// checks. The caller must call [`Self::proposed`] before the next keep-alive.
    pub(crate) fn due(&mut self, leases: &Leases) -> DueLeases {
        let mut due = DueLeases::default();
        let (mut changes, mut checks) = (0, 0);
        while let Some((listed_at_ns, id)) = self.next_checks.first().copied() {
            let full = changes >= LEASE_EXPIRATIONS_PER_ENTRY
                || due.checkpoints.len() >= LEASE_CHECKPOINTS_PER_ENTRY
                || checks >= LEASE_CHECKS_PER_TICK;
            if listed_at_ns > self.monotonic_ns || full {
                break;
            }
            let (Some(mut timer), Some(lease)) =
                (self.deadlines.0.get(&id).copied(), leases.get(id))
            else {
                self.stop(id);
                continue;
            };
            checks += 1;
            if timer.check_at_ns > self.monotonic_ns {
                // A keep-alive has delayed the check.
            } else if timer.deadline_ns <= self.monotonic_ns {
                changes += 1 + leases.keys(id).take(LEASE_EXPIRATIONS_PER_ENTRY).count();
                due.expired.push(id);
                timer.expiry_pending = true;
                timer.check_at_ns = self.monotonic_ns.saturating_add(LEASE_EXPIRY_RETRY_NS);
            } else {
                let left_s = (timer.deadline_ns - self.monotonic_ns).div_ceil(SECOND_NS) as i64;
                let seconds = match self.is_outdated(lease, timer.deadline_ns) {
                    true => Some(0),
                    false => Some(left_s).filter(|left_s| *left_s < lease.remaining_s()),
                };
                if let Some(seconds) = seconds {
                    due.checkpoints.push(RemainingTtl { id: id.0, seconds });
                    self.checkpointing.push(id);
                }
                timer.check_at_ns = self.next_check(timer.deadline_ns, lease);
            }
            timer.listed_at_ns = timer.check_at_ns;
            self.next_checks.pop_first();
            self.next_checks.insert((timer.listed_at_ns, id));
            self.deadlines.0.insert(id, timer);
        }
        due
    }

    /// Records that the checkpoints of the last [`Self::due`] are in the log up to index `last`, if they were appended at all.
    pub(crate) fn proposed(&mut self, last: u64) {
        for id in std::mem::take(&mut self.checkpointing) {
            if let Some(timer) = self.deadlines.0.get_mut(&id) {
                timer.checkpointed_to = last;
            }
        }
    }

    /// Starts the timer of a lease that lasts `span_ns` nanoseconds. The next clock update restarts the timer.
    fn start(&mut self, id: LeaseId, span_ns: u64) {
        self.starting.push((id, span_ns));
        let deadline_ns = self.monotonic_ns.saturating_add(span_ns);
        self.schedule(id, deadline_ns, deadline_ns);
    }

    /// Returns when a lease is checked next, in nanoseconds. The delay is `checkpoint_s`, or half of the TTL, clamped to
    /// [`LEASE_CHECKPOINT_S`], up to the deadline. Clients send keep-alives after a third of the TTL.
    fn next_check(&self, deadline_ns: u64, lease: &Lease) -> u64 {
        let usual_s =
            (lease.ttl_s / 2).clamp(*LEASE_CHECKPOINT_S.start(), *LEASE_CHECKPOINT_S.end());
        let pause_s = self.checkpoint_s.unwrap_or(usual_s);
        deadline_ns.min(self.monotonic_ns.saturating_add(span_ns(pause_s)))
    }

    /// Returns whether the recorded remaining TTL of a lease was recorded before its timer started with the full TTL.
    fn is_outdated(&self, lease: &Lease, deadline_ns: u64) -> bool {
        let recorded_ns = span_ns(lease.remaining_ttl_s);
        self.gave_full_ttls
            && recorded_ns > 0
            && deadline_ns > self.monotonic_ns.saturating_add(recorded_ns)
    }

    /// Sets the deadline of a lease and its next check and clears a pending expiration. Updates `next_checks` only if the
    /// check moves to an earlier time.
    fn schedule(&mut self, id: LeaseId, deadline_ns: u64, check_at_ns: u64) {
        let timer = self.deadlines.0.entry(id).or_insert(LeaseTimer::UNLISTED);
        timer.deadline_ns = deadline_ns;
        timer.check_at_ns = check_at_ns;
        timer.expiry_pending = false;
        if check_at_ns < timer.listed_at_ns {
            self.next_checks.remove(&(timer.listed_at_ns, id));
            self.next_checks.insert((check_at_ns, id));
            timer.listed_at_ns = check_at_ns;
        }
    }

    /// Forgets the timer of a lease, if the lease has a timer.
    fn stop(&mut self, id: LeaseId) {
        if let Some(timer) = self.deadlines.0.remove(&id) {
            self.next_checks.remove(&(timer.listed_at_ns, id));
        }
    }
}

/// Converts seconds to nanoseconds, clamped to the range of u64.
fn span_ns(seconds: i64) -> u64 {
    u64::try_from(seconds)
        .unwrap_or_default()
        .saturating_mul(SECOND_NS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use witan_machine::{kv::Kv, lease::LeaseGrant};

    const EXTENSION_NS: u64 = SECOND_NS;

    /// A leader's key space and timers, with the indexes of its last entry and its last applied entry.
    struct Leader {
        kv: Kv,
        timers: Lessor,
        last: u64,
        applied: u64,
    }

    impl Leader {
        fn new() -> Self {
            let (kv, timers) = (Kv::default(), Lessor::default());
            let mut leader = Self { kv, timers, last: 0, applied: 0 };
            leader.lead(Some(1));
            leader
        }

        fn lead(&mut self, term: Option<u64>) {
            self.timers
                .set_leader_term(term, self.kv.leases(), EXTENSION_NS);
        }

        fn apply(&mut self, verb: LeaseOperation) {
            self.applied += 1;
            self.last = self.last.max(self.applied);
            let command = LeaseCommand { operation: Some(verb) };
            let reply = self.kv.apply_lease(&command).expect("the command succeeds");
            self.timers.applied(&command, &reply);
        }

        fn grant(&mut self, id: i64, ttl_s: i64) {
            self.apply(LeaseOperation::Grant(LeaseGrant { id, ttl_s }));
        }

        /// Returns the leases due at this time, without appending their proposals.
        fn refused_at(&mut self, seconds: f64) -> DueLeases {
            let monotonic_ns = (seconds * 1e9) as u64;
            self.timers.advance_clock(monotonic_ns, self.kv.leases());
            let due = self.timers.due(self.kv.leases());
            self.timers.proposed(self.last);
            due
        }

        /// Returns the leases due at this time and appends their proposals.
        fn at(&mut self, seconds: f64) -> DueLeases {
            let due = self.refused_at(seconds);
            self.last += u64::from(due != DueLeases::default());
            for checkpoint in &due.checkpoints {
                self.timers.checkpointing.push(checkpoint.lease_id());
            }
            self.timers.proposed(self.last);
            due
        }

        fn checkpoint(&mut self, id: i64, seconds: i64) {
            let remaining = vec![RemainingTtl { id, seconds }];
            let checkpoint = LeaseCheckpoint { remaining };
            self.apply(LeaseOperation::Checkpoint(checkpoint));
        }

        fn renew(&mut self, id: i64) -> Renewal {
            self.timers
                .renew(LeaseId(id), self.kv.leases(), self.applied)
        }
    }

    fn expired(id: i64) -> DueLeases {
        DueLeases { expired: vec![LeaseId(id)], checkpoints: Vec::new() }
    }

    fn recorded(id: i64, seconds: i64) -> DueLeases {
        let checkpoints = vec![RemainingTtl { id, seconds }];
        DueLeases { expired: Vec::new(), checkpoints }
    }

    #[test]
    fn a_lease_runs_from_the_clock_update_after_its_grant_and_each_keep_alive() {
        let mut leader = Leader::new();
        leader.at(10.0);
        leader.grant(7, 5);
        assert_eq!(leader.at(12.0), DueLeases::default());
        assert_eq!(leader.at(16.9), DueLeases::default());
        assert_eq!(leader.renew(7), Renewal::Renewed { ttl_s: 5 });
        assert_eq!(leader.at(18.0), DueLeases::default(), "starts from here");
        assert_eq!(leader.at(22.9), DueLeases::default());
        assert_eq!(leader.at(23.0), expired(7));
        assert_eq!(leader.renew(7), Renewal::Expiring);
        assert_eq!(leader.at(25.9), DueLeases::default(), "in progress");
        assert_eq!(leader.at(26.0), expired(7), "the proposal was lost");
        leader.apply(LeaseOperation::Expire(LeaseExpire { ids: vec![7] }));
        assert_eq!(leader.renew(7), Renewal::Unknown);
        assert_eq!(leader.at(99.0), DueLeases::default());
    }

    #[test]
    fn a_late_keep_alive_prevents_expiration_at_the_next_check() {
        let mut leader = Leader::new();
        leader.grant(7, 5);
        leader.at(0.0);
        leader.at(4.9);
        leader.renew(7);
        assert_eq!(leader.at(4.9), DueLeases::default());
        assert_eq!(leader.at(5.5), DueLeases::default());
    }

    #[test]
    fn remaining_time_is_checkpointed_after_half_of_the_ttl_without_keep_alive() {
        let mut leader = Leader::new();
        leader.grant(7, 60);
        leader.at(0.0);
        assert_eq!(leader.at(29.9), DueLeases::default());
        assert_eq!(leader.at(30.0), recorded(7, 30));
        assert_eq!(
            leader.renew(7),
            Renewal::NeedsCheckpoint,
            "the checkpoint is not applied yet"
        );
        leader.checkpoint(7, 30);
        assert_eq!(leader.renew(7), Renewal::NeedsCheckpoint);
        leader.lead(Some(2));
        leader.at(40.0);
        let ended = leader.at(70.9).expired;
        assert_eq!(ended, [], "the lease has 30 s and the extension");
        assert_eq!(leader.at(71.0), expired(7));
        leader.last = leader.applied;
        leader.checkpoint(7, 0);
        leader.lead(Some(3));
        leader.at(100.0);
        assert_eq!(leader.renew(7), Renewal::Renewed { ttl_s: 60 });
    }

    #[test]
    fn a_keep_alive_waits_until_a_later_checkpoint_is_cleared() {
        let renewed = Renewal::Renewed { ttl_s: 3600 };
        let mut leader = Leader::new();
        leader.grant(7, 3600);
        leader.at(0.0);
        let left = |due: DueLeases| due.checkpoints.first().map(|left| left.seconds);
        assert_eq!(left(leader.at(300.0)), Some(3300));
        leader.checkpoint(7, 3300);
        assert_eq!(leader.renew(7), Renewal::NeedsCheckpoint);
        // The next checkpoint is due before the proposal that clears the remaining TTL is applied.
        leader.last += 1;
        assert_eq!(left(leader.at(600.0)), Some(3000));
        leader.checkpoint(7, 0);
        assert_eq!(leader.renew(7), Renewal::NeedsCheckpoint);
        leader.checkpoint(7, 3000);
        leader.checkpoint(7, 0);
        assert_eq!(leader.renew(7), renewed);
        leader.lead(Some(2));
        leader.at(601.0);
        let deadlines = leader.timers.deadlines().expect("a leader");
        let left_ns = deadlines.left_ns(LeaseId(7), 601 * SECOND_NS);
        assert!(
            left_ns >= Some(3600 * SECOND_NS.cast_signed()),
            "{left_ns:?}"
        );
        // A leader that transfers leadership appends nothing, so there is no checkpoint to clear.
        assert!(left(leader.refused_at(901.0)).is_some());
        assert_eq!(leader.renew(7), renewed);
    }

    #[test]
    fn a_leader_of_a_new_process_gives_full_ttls_unless_it_has_followed_another_leader() {
        for has_followed in [false, true] {
            let mut leader = Leader::new();
            leader.grant(7, 60);
            leader.checkpoint(7, 12);
            leader.timers = Lessor::default();
            if has_followed {
                leader.timers.other_leads();
            }
            leader.lead(Some(2));
            let first = leader.at(100.0);
            if has_followed {
                assert_eq!(first, DueLeases::default());
                assert_eq!(leader.at(113.0), expired(7));
                continue;
            }
            assert_eq!(first, recorded(7, 0));
            let left_ns = |it: &Leader| it.timers.left_ns(LeaseId(7), it.kv.leases());
            assert_eq!(left_ns(&leader), Some(12_000_000_000), "may be lost");
            assert_eq!(leader.at(130.0), recorded(7, 0), "the proposal was lost");
            leader.checkpoint(7, 0);
            assert_eq!(left_ns(&leader), Some(31_000_000_000));
            assert_eq!(leader.at(160.0), recorded(7, 1));
            assert_eq!(leader.at(161.0), expired(7));
        }
    }

    #[test]
    fn only_a_leader_tracks_leases() {
        let mut leader = Leader::new();
        leader.grant(7, 5);
        leader.lead(None);
        assert_eq!(leader.at(99.0), DueLeases::default());
        assert!(leader.timers.deadlines().is_none());
    }

    #[test]
    fn thousands_of_expirations_are_split_into_bounded_entries() {
        let mut leader = Leader::new();
        let all = 3 * LEASE_EXPIRATIONS_PER_ENTRY as i64;
        (1..=all).for_each(|id| leader.grant(id, 5));
        leader.at(0.0);
        let mut ended = 0;
        let mut steps = 0;
        while ended < all {
            let ids = leader.at(5.0).expired;
            assert!(
                !ids.is_empty() && ids.len() <= LEASE_EXPIRATIONS_PER_ENTRY,
                "{ended}"
            );
            ended += ids.len() as i64;
            steps += 1;
            let ids = ids.iter().map(|id| id.0).collect();
            leader.apply(LeaseOperation::Expire(LeaseExpire { ids }));
        }
        assert_eq!((ended, steps), (all, 3));
        assert!(leader.kv.leases().is_empty());
    }

    #[test]
    fn leases_are_listed_in_order_of_expiration() {
        let mut leader = Leader::new();
        leader.grant(1, 50);
        leader.grant(2, 5);
        leader.at(1.0);
        let deadlines = leader.timers.deadlines().expect("a leader");
        assert_eq!(deadlines.in_order(), [2, 1].map(LeaseId));
        let left_ns = |id, now_ns| deadlines.left_ns(LeaseId(id), now_ns);
        assert_eq!(left_ns(2, 2 * SECOND_NS), Some(4_000_000_000));
        assert_eq!(left_ns(2, 7 * SECOND_NS), Some(-1_000_000_000));
        assert_eq!(left_ns(3, 0), None);
    }
}

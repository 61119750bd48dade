//! Automatic compaction on etcd 3.6's schedule, counted in ticks. An idle leader also proposes sweeps, which free compacted
//! revisions.
use std::collections::VecDeque;

use witan_machine::{
    command::Command,
    kv::{Compact, Kv, KvOperation, Sweep},
    revision::Revision,
};

/// Number of times that the revision is sampled per period, or per hour if the period is longer, as in etcd.
const CHECKS_PER_PERIOD: u64 = 10;

/// Number of sweeps that an idle leader proposes per tick. They free 28 MiB of memory, so a member that exceeds its quota soon
/// has space again after a compaction.
const SWEEPS_PER_TICK: usize = 8;

/// The rule by which a leader compacts old revisions automatically.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Keeps the revisions of the last period.
    Periodic {
        /// The period in ticks.
        period: u64,
        /// An hour in ticks. If the period is longer, compaction runs once an hour.
        hour: u64,
    },
    /// Keeps a fixed number of the newest revisions.
    Revisions {
        /// Number of revisions to keep.
        keep: i64,
        /// Ticks between two checks.
        check_interval_ticks: u64,
    },
}

#[derive(Debug)]
pub(crate) struct AutoCompactor {
    schedule: Option<Schedule>,
    /// Revision and tick of the last proposed compaction, until [`Self::proposal_result`] reports whether the log accepted it.
    in_flight: Option<(Revision, u64)>,
}

#[derive(Debug)]
enum Schedule {
    Periodic(Periodic),
    Revisions(Revisions),
}

#[derive(Debug)]
struct Periodic {
    period: u64,
    check_interval_ticks: u64,
    /// Number of ticks between two compactions. The first compaction follows after an entire period.
    compaction_interval_ticks: u64,
    /// Sampled revisions: one per check in the period, plus one. The oldest sample is one period old.
    sampled_revisions: VecDeque<Revision>,
    next_check_tick: u64,
    /// Revision and tick of the last compaction; before the first one, the tick of the first check.
    last: (Revision, Option<u64>),
    begun: bool,
}

#[derive(Debug)]
struct Revisions {
    keep: i64,
    check_interval_ticks: u64,
    next_check_tick: u64,
    last: Revision,
}

impl AutoCompactor {
    /// Creates the schedule of a compaction rule. `None` disables compaction.
    pub(super) fn new(rule: Option<AutoCompaction>) -> Self {
        let schedule = rule.map(|rule| match rule {
            AutoCompaction::Periodic { period, hour } => {
                let compaction_interval_ticks = period.min(hour).max(1);
                Schedule::Periodic(Periodic {
                    period,
                    check_interval_ticks: (compaction_interval_ticks / CHECKS_PER_PERIOD).max(1),
                    compaction_interval_ticks,
                    sampled_revisions: VecDeque::new(),
                    next_check_tick: 0,
                    last: (Revision::NONE, None),
                    begun: false,
                })
            }
            AutoCompaction::Revisions { keep, check_interval_ticks } => {
                Schedule::Revisions(Revisions {
                    keep,
                    check_interval_ticks: check_interval_ticks.max(1),
                    next_check_tick: 0,
                    last: Revision::NONE,
                })
            }
        });
        Self { schedule, in_flight: None }
    }

    /// Returns the commands to propose at this tick: a due compaction or, if `idle`, sweeps. `idle` means that the log has no
    /// unapplied entry and sweeps are permitted. Followers propose nothing but also sample revisions, because they may lead
    /// later. If the revision that is due is already compacted, records it as done and returns nothing.
    pub(crate) fn due(&mut self, kv: &Kv, leading: bool, idle: bool, tick: u64) -> Vec<Command> {
        let revision = match &mut self.schedule {
            Some(Schedule::Periodic(periodic)) => periodic.due(kv.revision(), leading, tick),
            Some(Schedule::Revisions(revisions)) => revisions.due(kv.revision(), leading, tick),
            None => None,
        };
        let operations = match revision {
            Some(revision) => {
                self.in_flight = Some((revision, tick));
                // A client has already compacted up to this revision or further.
                if revision <= kv.compacted() {
                    self.proposal_result(true);
                    return Vec::new();
                }
                vec![KvOperation::Compact(Compact { revision: revision.0 })]
            }
            None if leading && idle && kv.is_sweeping() => {
                vec![KvOperation::Sweep(Sweep {}); SWEEPS_PER_TICK]
            }
            None => Vec::new(),
        };
        operations.into_iter().map(Command::from).collect()
    }

    /// Records whether the log accepted the compaction. A rejected compaction is due again at the next check.
    pub(crate) fn proposal_result(&mut self, accepted: bool) {
        let Some((revision, tick)) = self.in_flight.take().filter(|_| accepted) else {
            return;
        };
        match &mut self.schedule {
            Some(Schedule::Periodic(periodic)) => periodic.last = (revision, Some(tick)),
            Some(Schedule::Revisions(revisions)) => revisions.last = revision,
            None => {}
        }
    }
}

impl Periodic {
    /// Samples `revision` if a check is due. Returns the oldest sample if it must be compacted now, otherwise `None`. Only
    /// samples if `leading` is false.
    fn due(&mut self, revision: Revision, leading: bool, tick: u64) -> Option<Revision> {
        if tick < self.next_check_tick {
            return None;
        }
        self.next_check_tick = tick + self.check_interval_ticks;
        let due_revision = self.oldest_if_due(leading, tick);
        self.sampled_revisions.push_back(revision);
        if self.sampled_revisions.len() as u64 > self.period / self.check_interval_ticks + 1 {
            self.sampled_revisions.pop_front();
        }
        due_revision
    }

    /// Returns the oldest sampled revision if it differs from the last compacted one. This member must lead, and the interval
    /// since the last compaction must be over. Before the first compaction, the interval is an entire period.
    fn oldest_if_due(&mut self, leading: bool, tick: u64) -> Option<Revision> {
        let oldest = *self.sampled_revisions.front()?;
        let since = *self.last.1.get_or_insert(tick - self.check_interval_ticks);
        let wait = if self.begun {
            self.compaction_interval_ticks
        } else {
            self.period
        };
        if !leading || tick - since < wait || oldest == self.last.0 {
            return None;
        }
        self.begun = true;
        Some(oldest)
    }
}

impl Revisions {
    /// Returns the revision to compact if a check is due: the current revision minus `keep`. Returns `None` on a follower, or
    /// if the result is not positive or is the last compacted revision. The first call only schedules the first check.
    fn due(&mut self, revision: Revision, leading: bool, tick: u64) -> Option<Revision> {
        if self.next_check_tick == 0 {
            self.next_check_tick = tick + self.check_interval_ticks;
        }
        if tick < self.next_check_tick {
            return None;
        }
        self.next_check_tick = tick + self.check_interval_ticks;
        let target = Revision(revision.0.saturating_sub(self.keep));
        (leading && target > Revision::NONE && target != self.last).then_some(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use witan_machine::kv::{KvCommand, Put};

    /// In these tests, a tick is a second.
    const HOUR: u64 = 3600;

    fn put(kv: &mut Kv) {
        let put = Put { key: "k".into(), ..Put::default() };
        let command = KvCommand { operation: Some(KvOperation::Put(put)) };
        kv.apply(&command).expect("a put succeeds");
    }

    /// Writes a key at each tick, so tick n has revision 1 + n. Returns the tick and the revision of each compaction.
    fn run(wanted: AutoCompaction, ticks: u64, leads: impl Fn(u64) -> bool) -> Vec<(u64, i64)> {
        let (mut kv, mut compaction) = (Kv::default(), AutoCompactor::new(Some(wanted)));
        let mut done = Vec::new();
        for tick in 0..ticks {
            for command in compaction.due(&kv, leads(tick), true, tick) {
                let Command::Kv(command) = command else {
                    panic!("{command:?}")
                };
                compaction.proposal_result(true);
                if let Some(KvOperation::Compact(compact)) = &command.operation {
                    done.push((tick, compact.revision));
                }
                kv.apply(&command).expect("the revision can be compacted");
            }
            put(&mut kv);
        }
        done
    }

    #[test]
    fn a_leader_compacts_by_its_rule() {
        let periodic = |period| AutoCompaction::Periodic { period, hour: HOUR };
        let (long, short) = (periodic(10 * HOUR), periodic(300));
        let revisions = AutoCompaction::Revisions { keep: 100, check_interval_ticks: 300 };
        // The first compaction follows after one period. Later compactions lag by one check, as in etcd.
        let look = 360;
        let hourly = [
            (10 * HOUR, 1),
            (11 * HOUR, 9 * look + 1),
            (12 * HOUR, 19 * look + 1),
        ];
        for (wanted, ticks, leads_after, expected) in [
            (long, 13 * HOUR, None, &hourly[..]),
            (short, 1000, None, &[(300, 1), (600, 271), (900, 571)]),
            (short, 800, Some(500), &[(510, 181)]),
            (revisions, 700, None, &[(300, 201), (600, 501)]),
            (revisions, 700, Some(700), &[]),
        ] {
            let done = run(wanted, ticks, |tick| Some(tick) > leads_after);
            assert_eq!(done, expected, "{wanted:?}");
        }
    }

    #[test]
    fn an_idle_leader_finishes_the_sweep() {
        let (mut kv, mut compaction) = (Kv::default(), AutoCompactor::new(None));
        for _ in 0..3 {
            for key in 0..1000 {
                let (key, value) = (format!("k{key}").into(), vec![b'v'; 16 << 10].into());
                let put = KvOperation::Put(Put { key, value, ..Put::default() });
                kv.apply(&KvCommand { operation: Some(put) })
                    .expect("a put succeeds");
            }
        }
        let compact = KvOperation::Compact(Compact { revision: kv.revision().0 });
        kv.apply(&KvCommand { operation: Some(compact) })
            .expect("the revision can be compacted");
        assert!(
            compaction.due(&kv, false, true, 0).is_empty(),
            "a follower proposes nothing"
        );
        assert!(compaction.due(&kv, true, false, 0).is_empty(), "busy");
        let mut ticks = 0;
        while kv.is_sweeping() {
            ticks += 1;
            let due = compaction.due(&kv, true, true, ticks);
            assert_eq!(due.len(), SWEEPS_PER_TICK);
            for command in due {
                let Command::Kv(command) = command else {
                    panic!("{command:?}")
                };
                kv.apply(&command).expect("a sweep succeeds");
            }
        }
        assert!(ticks > 1);
        assert!(compaction.due(&kv, true, true, ticks + 1).is_empty());
    }

    #[test]
    fn a_rejected_compaction_is_due_again() {
        let (mut kv, mut compaction) = (
            Kv::default(),
            AutoCompactor::new(Some(AutoCompaction::Revisions {
                keep: 1,
                check_interval_ticks: 10,
            })),
        );
        put(&mut kv);
        put(&mut kv);
        let due = |compaction: &mut AutoCompactor, tick| {
            !compaction.due(&kv, true, true, tick).is_empty()
        };
        assert!(!due(&mut compaction, 1));
        assert!(due(&mut compaction, 11));
        compaction.proposal_result(false);
        assert!(!due(&mut compaction, 12));
        assert!(due(&mut compaction, 21));
        compaction.proposal_result(true);
        assert!(!due(&mut compaction, 31), "nothing has been written since");
    }
}

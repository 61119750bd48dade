//! Many runs, one per seed.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use crate::{
    counts::Counts,
    scenario::Scenario,
    world::{Verdict, Violation, World},
};

thread_local! {
    /// The current run, which is the origin of a panic.
    static CURRENT: Cell<Option<Scenario>> = const { Cell::new(None) };
}

/// Maximum percentage of long runs that may miss their goal, because some runs have no leader for a long time.
const LONG_RUNS_LACKING_PERCENT_MAX: u64 = 3;

/// Maximum number of seeds that a report lists for such runs.
const LACKING_NAMED: usize = 10;

/// Maximum percentage of refused requests, because refused requests prove little.
const REFUSED_PERCENT_MAX: u64 = 20;

/// Minimum number of runs for which a sweep must include every expected event, such as a denied caller or a failed sync.
const MANY_RUNS: u64 = 100;

/// The name under which a panic is reported. No invariant has this name.
const PANIC: &str = "panic";

/// Runs one scenario, with a trace if `traced` is set. Reports a panic as a violation.
pub fn run(scenario: Scenario, traced: bool) -> Verdict {
    judge(scenario, || World::new(scenario, traced))
}

/// Runs the world that `world` creates for a scenario. Reports a panic as a violation.
pub fn judge(scenario: Scenario, world: impl FnOnce() -> World) -> Verdict {
    remember(Some(scenario));
    let verdict = catch_unwind(AssertUnwindSafe(|| world().run()));
    remember(None);
    verdict.unwrap_or_else(|panic| Verdict {
        violation: Some(violation(panic)),
        trace: String::new(),
        counts: Counts::default(),
        lags: false,
    })
}

/// Returns the violation that has unwound a run, or a panic as a violation.
fn violation(panic: Box<dyn Any + Send>) -> Violation {
    let panic = match panic.downcast::<Violation>() {
        Ok(violation) => return *violation,
        Err(panic) => panic,
    };
    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| String::from(*text)));
    let what = text.unwrap_or_else(|| String::from("without a message"));
    Violation { invariant: PANIC, what, at: 0 }
}

fn remember(scenario: Option<Scenario>) {
    CURRENT.set(scenario);
}

/// Returns the current run of this thread, if any.
pub fn current() -> Option<Scenario> {
    CURRENT.get()
}

/// Returns the message of a failure: the invariant, the violation, and the command that reproduces it.
pub fn failure(scenario: &Scenario, violation: &Violation) -> String {
    let Violation { invariant, what, at } = violation;
    format!(
        "seed {} ({} members): {invariant} broken at {at}: {what}\n  reproduce: {}",
        scenario.seed,
        scenario.members,
        scenario.reproduce()
    )
}

/// The result of a sweep.
#[derive(Debug, Default)]
pub struct Swept {
    /// Every violation.
    pub violations: Vec<(Scenario, Violation)>,
    /// The sums of the counts of all runs.
    pub counts: Counts,
    /// Number of finished runs.
    pub runs: u64,
    /// Runs in which a member was down for a long time. The tuple has their number, the number without a snapshot, and the
    /// number without a cut of a leader's log in memory.
    pub long_runs: (u64, u64, u64),
    /// The first seeds of the runs without a snapshot.
    lacking: Vec<u64>,
}

impl Swept {
    /// Adds the result of a run.
    fn add(&mut self, scenario: Scenario, verdict: Verdict) {
        self.counts.add(&verdict.counts);
        self.runs += 1;
        if verdict.lags && verdict.violation.is_none() {
            self.long_runs.0 += 1;
            self.long_runs.1 += u64::from(verdict.counts.installs == 0);
            self.long_runs.2 += u64::from(verdict.counts.trims == 0);
            if verdict.counts.installs == 0 && self.lacking.len() < LACKING_NAMED {
                self.lacking.push(scenario.seed);
            }
        }
        if let Some(violation) = verdict.violation {
            self.violations.push((scenario, violation));
        }
    }

    /// Returns the goals that the runs did not reach.
    pub fn shortfalls(&self) -> Vec<String> {
        let mut short = Vec::new();
        let counts = self.counts;
        let Counts { asked, refused, .. } = counts;
        if refused * 100 > asked * REFUSED_PERCENT_MAX {
            short.push(format!("{refused} of {asked} requests were refused"));
        }
        let expected = [
            (counts.denied, "requests denied to their callers"),
            (counts.raised, "raised feature levels"),
            (counts.mistakes, "mistakes about a running leader"),
            (counts.rebuilds, "replaced states"),
            (counts.failed_syncs, "failed syncs"),
            (counts.lease_times, "queries of remaining TTLs"),
            (counts.forced, "clusters that continued with one member"),
            (counts.forced_interrupted, "power cuts at a forced start"),
            (counts.forced_lost, "entries lost by a forced start"),
            (counts.cold_reads, "blocks read from disk"),
            (counts.read_back, "states read back"),
            (counts.damaged, "damaged records found"),
        ];
        let missing = expected.iter().filter(|(count, _)| *count == 0);
        if self.runs >= MANY_RUNS {
            short.extend(missing.map(|(_, what)| format!("no {what}")));
        }
        let (long, no_install, no_trim) = self.long_runs;
        // A few seeds prove nothing.
        let most = (long * LONG_RUNS_LACKING_PERCENT_MAX).div_ceil(100);
        if no_install.max(no_trim) > most {
            short.push(format!(
                "of {long} long runs {no_install} had no snapshot (seeds {:?}) and {no_trim} no trim of \
                 the log",
                self.lacking
            ));
        }
        short
    }
}

/// Runs `seeds` seeds from `start` on all cores, one run per thread. Calls `progress` with the interim result after each run.
pub fn sweep(
    start: u64,
    seeds: u64,
    members: Option<usize>,
    progress: &(dyn Fn(&Swept) + Sync),
) -> Swept {
    let next = AtomicU64::new(start);
    let swept = Mutex::new(Swept::default());
    let lock = || swept.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= start + seeds {
                return;
            }
            let scenario = Scenario::new(seed, members);
            let verdict = run(scenario, false);
            let mut swept = lock();
            swept.add(scenario, verdict);
            progress(&swept);
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    swept.into_inner().unwrap_or_else(PoisonError::into_inner)
}

//! Many runs: one seed after the other, and how long it takes to find a known bug.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
};

use crate::{
    scenario::{Bug, Scenario},
    world::{Counts, Verdict, Violation, World},
};

/// The run that is under way, for whoever has to say where a panic came from.
static CURRENT: Mutex<Option<Scenario>> = Mutex::new(None);

/// The name under which a panic is reported: no invariant's.
pub const PANIC: &str = "panic";

/// Runs one scenario. A panic of the core is a violation like any other.
pub fn run(scenario: Scenario, traced: bool) -> Verdict {
    remember(Some(scenario));
    let verdict = catch_unwind(AssertUnwindSafe(|| World::new(scenario, traced).run()));
    remember(None);
    verdict.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| String::from(*text)));
        let what = text.unwrap_or_else(|| String::from("without a message"));
        let violation = Some(Violation {
            invariant: PANIC,
            what,
            at: 0,
        });
        Verdict {
            violation,
            trace: String::new(),
            counts: Counts::default(),
        }
    })
}

fn remember(scenario: Option<Scenario>) {
    if let Ok(mut current) = CURRENT.lock() {
        *current = scenario;
    }
}

/// The run that is under way.
pub fn current() -> Option<Scenario> {
    CURRENT.lock().ok().and_then(|current| *current)
}

/// What a failure says: the rule, what was seen, and how to see it again.
pub fn failure(scenario: &Scenario, violation: &Violation) -> String {
    let Violation {
        invariant,
        what,
        at,
    } = violation;
    format!(
        "seed {} ({} members): {invariant} broken at {at}: {what}\n  reproduce: {}",
        scenario.seed,
        scenario.members,
        scenario.reproduce()
    )
}

/// What a sweep came to.
#[derive(Debug, Default)]
pub struct Swept {
    /// Every violation.
    pub violations: Vec<(Scenario, Violation)>,
    /// What all runs did together.
    pub counts: Counts,
}

/// Runs `seeds` seeds from `start` on; `progress` is told after each.
pub fn sweep(
    start: u64,
    seeds: u64,
    members: Option<usize>,
    bug: Bug,
    progress: &mut dyn FnMut(u64, &Swept),
) -> Swept {
    let mut swept = Swept::default();
    for seed in start..start + seeds {
        let scenario = Scenario::new(seed, members, bug);
        let verdict = run(scenario, false);
        swept.counts.add(&verdict.counts);
        if let Some(violation) = verdict.violation {
            swept.violations.push((scenario, violation));
        }
        progress(seed - start + 1, &swept);
    }
    swept
}

/// Runs at most `seeds` seeds from `start` on with `bug`; how many it took until an invariant broke,
/// and which. Panics do not count.
pub fn hunt(
    start: u64,
    seeds: u64,
    members: Option<usize>,
    bug: Bug,
) -> Option<(u64, Scenario, Violation)> {
    (start..start + seeds).find_map(|seed| {
        let scenario = Scenario::new(seed, members, bug);
        let violation = run(scenario, false).violation?;
        (violation.invariant != PANIC).then(|| (seed - start + 1, scenario, violation))
    })
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.acknowledged += other.acknowledged;
        self.reads += other.reads;
        self.refused += other.refused;
        self.crashes += other.crashes;
        self.installs += other.installs;
        self.renewed += other.renewed;
        self.expired += other.expired;
        self.checkpoints += other.checkpoints;
        self.dropped += other.dropped;
        self.terms += other.terms;
    }
}

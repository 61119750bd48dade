//! The v3 dialect's key space, over gRPC and as JSON: one seeded sequence goes to Witan and etcd
//! 3.6, and one of the same seed to Witan and etcd 3.4.23, each to fresh clusters.
//!
//! What does *not* live here: leases, watches, members, authentication.
//!
//! Reading order: `step` (a request as a line) → `draw` (requests by chance) and `every` (those that
//! chance draws too seldom) → `body` (the ways in which JSON can say them) with `oddity` → `side` (a
//! server and its answers) → `known` (differences that are meant, with a reason) → `table` (what a
//! run must reach) with `cells` → `pair` (a sequence and what came out).

mod body;
mod cells;
mod draw;
mod every;
mod known;
mod oddity;
mod pair;
mod side;
mod step;
mod table;

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use crate::{plan::Plan, script::Script};
pub use pair::Outcome;

/// Which etcd stands beside Witan, and in whose manner the gateway is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// etcd 3.6, `/v3`.
    Present,
    /// etcd 3.4.23, `/v3beta` and `/v3alpha`.
    Former,
}

impl Era {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Present, Self::Former];

    /// In words, for tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Present => "3.6",
            Self::Former => "3.4",
        }
    }
}

/// Runs these seeds against both etcds and tells what came out, as it comes. Whether nothing
/// differed and everything was reached.
pub async fn check(seeds: &[u64], steps: usize, told: &mut dyn FnMut(&str)) -> bool {
    let mut passed = true;
    for era in Era::ALL {
        let mut coverage = table::coverage(era);
        let mut asked = 0;
        let mut known = BTreeMap::<&str, u64>::new();
        for seed in seeds {
            let outcome = pair::run(era, *seed, steps).await;
            asked += outcome.asked;
            coverage.add(&outcome.coverage);
            for (reason, count) in &outcome.known {
                *known.entry(reason).or_default() += count;
            }
            let name = era.name();
            let count = outcome.asked;
            let Some(difference) = outcome.difference else {
                told(&format!(
                    "v3 seed {seed} beside etcd {name}: {count} requests, no difference\n"
                ));
                continue;
            };
            passed = false;
            told(&format!(
                "DIFFERENT: {difference}\nNow the sequence is made shorter.\n"
            ));
            told(&format!("{}\n", difference.shorter().await));
        }
        told(&format!(
            "reached beside etcd {}, {asked} requests:\n{coverage}",
            era.name()
        ));
        for (reason, count) in known {
            told(&format!("  meant to differ, {count} times: {reason}\n"));
        }
        for gap in coverage.gaps() {
            passed = false;
            told(&format!("  {gap}\n"));
        }
    }
    passed
}

/// Beside which etcd a kept script was recorded: its first line of reasons says so.
fn era(script: &Script) -> Era {
    match script.why.first().is_some_and(|why| why.contains("3.4")) {
        true => Era::Former,
        false => Era::Present,
    }
}

/// Where Witan's answers to a kept script differ from etcd's, and are not meant to.
pub async fn differences(script: &Script) -> Vec<String> {
    let mut pair = pair::Replay::start(era(script), true).await;
    let mut differences = Vec::new();
    for (request, theirs) in script.requests.iter().zip(&script.answers) {
        let ours = pair.ask(request).await;
        if !ours.agrees(theirs) {
            differences.push(format!("{request}\n ours {}\netcd's {theirs}", ours.line()));
        }
    }
    differences
}

/// Runs what is planned and prints what came out. Whether nothing differed.
pub async fn run(plan: &Plan) -> bool {
    let mut out = io::stdout();
    if plan.record.is_empty() {
        return check(&plan.seeds, plan.steps, &mut |text| {
            // nothing is left to do if even this cannot be written
            let _ = write!(out, "{text}").and_then(|()| out.flush());
        })
        .await;
    }
    for path in &plan.record {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let mut script = Script::parse(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let mut etcd = pair::Replay::start(era(&script), false).await;
        script.answers.clear();
        for request in &script.requests {
            script
                .answers
                .push(etcd.ask(request).await.line().to_owned());
        }
        std::fs::write(path, script.to_string()).unwrap_or_else(|error| panic!("{error}"));
        let _ = writeln!(out, "{}: {} answers", path.display(), script.answers.len());
    }
    true
}

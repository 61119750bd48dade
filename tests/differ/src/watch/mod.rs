//! v3's watches over gRPC, against etcd 3.6: random writes and compactions while watchers with
//! random options come and go. Each watcher must hear the same, grouped into the same answers.
//!
//! Reading order: `step` (what can be done) → `draw` (chance to steps) → `side` (one server and its
//! streams) → this file (both of them).

mod draw;
mod side;
mod step;

use std::io::{self, Write};

use witan_e2e::Kind;

use crate::{coverage::Coverage, plan::Plan, rng::Rng, shrink};
use side::Side;
use step::{Step, TABLE};

/// Attempts to make a failing sequence shorter. Each starts both servers anew.
const SHRINK_ATTEMPTS: usize = 60;

/// Steps between two looks at what was heard.
const ROUND: usize = 6;

/// Runs what is planned and prints what came out. Whether nothing differed.
pub async fn run(plan: &Plan) -> bool {
    let mut out = io::stdout();
    sweep(&plan.seeds, plan.steps, &mut out).await
}

/// Runs a sequence of each seed, and writes what differs, made short, and what was reached. Whether
/// nothing differed and everything was reached.
pub async fn sweep(seeds: &[u64], count: usize, out: &mut impl Write) -> bool {
    let mut coverage = Coverage::new(TABLE);
    let mut passed = true;
    for seed in seeds {
        let mut rng = Rng::new(*seed);
        let steps: Vec<Step> = (0..count).map(|_| draw::step(&mut rng)).collect();
        let found = difference(&steps, &mut coverage).await;
        let verdict = found.as_deref().unwrap_or("no difference");
        // nothing is left to do if even this cannot be written
        let _ = writeln!(out, "watch seed {seed}: {count} steps, {verdict}");
        if found.is_some() {
            passed = false;
            let mut ignored = Coverage::new(TABLE);
            let short = shrink::shrink(steps, SHRINK_ATTEMPTS, async |some: &[Step]| {
                difference(some, &mut ignored).await.is_some()
            })
            .await;
            let found = difference(&short, &mut ignored).await;
            let _ = writeln!(out, "{short:#?}\n{}", found.unwrap_or_default());
        }
    }
    let _ = write!(out, "{coverage}");
    let gaps = coverage.gaps();
    for gap in &gaps {
        let _ = writeln!(out, "  {gap}");
    }
    passed && gaps.is_empty()
}

/// Does the steps on fresh servers. Where they differ first.
async fn difference(steps: &[Step], coverage: &mut Coverage) -> Option<String> {
    let mut ours = Side::start(Kind::Witan).await;
    let mut theirs = Side::start(Kind::Etcd36).await;
    for (at, round) in steps.chunks(ROUND).enumerate() {
        for step in round {
            let (got, want) = (ours.take(step).await, theirs.take(step).await);
            if got != want {
                return Some(format!("{step:?}\n ours {got}\netcd's {want}"));
            }
        }
        let (got, want) = (ours.heard().await, theirs.heard().await);
        for line in want.values().flatten() {
            step::reached(line, coverage);
        }
        if got != want {
            return Some(format!(
                "after round {at} {round:#?}\n ours {got:#?}\netcd's {want:#?}"
            ));
        }
    }
    None
}

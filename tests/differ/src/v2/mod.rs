//! v2's keys over HTTP/1.1, against etcd 3.4.23.
//!
//! Reading order: `step` (what can be done) → `generate` with `words` and `paths` (chance to steps) →
//! `answer` (what is compared) → `action` (what a run must reach) → `side` (one server) → `pair`
//! (both) → `excuse` (in what they differ on purpose).

mod action;
mod answer;
mod excuse;
mod generate;
mod pair;
mod paths;
mod side;
mod step;
mod words;

use std::{collections::BTreeMap, fs, io::Write, time::Duration};

use witan_e2e::Kind;

pub use excuse::Excuse;
pub use pair::{Difference, Stop, answers};

use crate::{coverage::Coverage, plan::Plan, script::Script, shrink};
use pair::{Pair, Walk};
use step::Step;

/// Attempts to make a failing sequence shorter. Each starts both servers anew.
const SHRINK_ATTEMPTS: usize = 200;
/// How often a sequence is tried that a busy machine was too slow for.
const SLOW_ATTEMPTS: usize = 5;

/// Runs what is planned and says what came out. Whether nothing differed and everything was
/// reached.
pub async fn run(plan: &Plan) -> bool {
    let mut out = std::io::stdout();
    let result = if !plan.record.is_empty() {
        record(plan, &mut out)
    } else if !plan.compare.is_empty() {
        compare(plan, &mut out)
    } else {
        sweep(plan, &mut out).await
    };
    match result {
        Ok(passed) => passed,
        Err(problem) => {
            // nothing is left to do if even this cannot be written
            let _ = writeln!(out, "{problem}");
            false
        }
    }
}

/// Runs a sequence of each seed, and writes what differs, made short, and what was reached.
///
/// # Errors
/// If `out` cannot be written to.
pub async fn sweep(plan: &Plan, out: &mut impl Write) -> Result<bool, String> {
    let count = plan.steps;
    let mut coverage = Coverage::new(action::TABLE);
    let mut excused: BTreeMap<Excuse, u64> = BTreeMap::new();
    let mut passed = true;
    for seed in &plan.seeds {
        let steps = generate::steps(*seed, count);
        match walk(&steps, plan.survey) {
            Ok(walk) => {
                say(
                    out,
                    format!("v2: seed {seed}: {count} steps, no difference"),
                )?;
                coverage.add(&walk.coverage);
                for (excuse, times) in walk.excused {
                    *excused.entry(excuse).or_default() += times;
                }
            }
            Err(Stop::Slow(took)) => {
                passed = false;
                say(
                    out,
                    format!("v2: seed {seed}: too slow a machine to tell ({took:?})"),
                )?;
            }
            Err(Stop::Differs(difference)) => {
                passed = false;
                say(out, format!("v2: seed {seed} differs at {difference}"))?;
                let (short, difference) = shortened(steps, difference).await;
                say(out, format!("v2: shrunk, it differs at {difference}"))?;
                let script = Script {
                    why: vec![format!("seed {seed}, shrunk")],
                    requests: short.iter().map(ToString::to_string).collect(),
                    answers: Vec::new(),
                };
                say(out, format!("v2: the script:\n{script}"))?;
            }
        }
    }
    say(out, format!("v2: reached:\n{coverage}"))?;
    for excuse in Excuse::ALL {
        let times = excused.get(&excuse).unwrap_or(&0);
        say(
            out,
            format!("v2: {times} times {excuse:?}: {}", excuse.reason()),
        )?;
    }
    for (what, reason) in excuse::NOT_ASKED {
        say(out, format!("v2: not compared: {what}: {reason}"))?;
    }
    for gap in coverage.gaps() {
        passed = false;
        say(out, format!("v2: {gap}"))?;
    }
    Ok(passed)
}

fn say(out: &mut impl Write, text: String) -> Result<(), String> {
    writeln!(out, "{text}").map_err(|error| error.to_string())
}

fn walk(steps: &[Step], survey: bool) -> Result<Walk, Stop> {
    let mut result = Err(Stop::Slow(Duration::ZERO));
    for _ in 0..SLOW_ATTEMPTS {
        result = Pair::start(survey).run(steps);
        if !matches!(result, Err(Stop::Slow(_))) {
            break;
        }
    }
    result
}

/// The shortest sequence found that still differs, and how.
async fn shortened(mut steps: Vec<Step>, found: Difference) -> (Vec<Step>, Difference) {
    steps.truncate(found.at + 1);
    let mut last = found;
    let short = shrink::shrink(steps, SHRINK_ATTEMPTS, async |some: &[Step]| {
        match walk(some, false) {
            Err(Stop::Differs(difference)) => {
                last = difference;
                true
            }
            Ok(_) | Err(Stop::Slow(_)) => false,
        }
    })
    .await;
    (short, last)
}

/// Asks both what scripts ask.
fn compare(plan: &Plan, out: &mut impl Write) -> Result<bool, String> {
    let mut passed = true;
    for path in &plan.compare {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        let requests = Script::parse(&text)?.requests;
        let steps: Result<Vec<Step>, String> =
            requests.iter().map(|line| Step::parse(line)).collect();
        let what = match walk(&steps?, false) {
            Ok(_) => "no difference".to_owned(),
            Err(stop) => {
                passed = false;
                format!("{stop:?}")
            }
        };
        say(out, format!("{}: {what}", path.display()))?;
    }
    Ok(passed)
}

/// Writes etcd's answers into scripts.
fn record(plan: &Plan, out: &mut impl Write) -> Result<bool, String> {
    for path in &plan.record {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        let mut script = Script::parse(&text)?;
        script.answers = answers(Kind::Etcd34, &script.requests, &[])?;
        fs::write(path, script.to_string()).map_err(|error| error.to_string())?;
        say(out, format!("recorded {}", path.display()))?;
    }
    Ok(true)
}

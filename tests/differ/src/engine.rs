//! The engine of all dialects. It sends a seed's sequence to Witan and to etcd and shortens a sequence that they answer
//! differently. It also runs kept scripts.
//!
//! A dialect defines the requests and which answers are equal.

use std::{
    fmt::Display,
    future::Future,
    io::{self, Write},
};

use witan_e2e::Kind;

use crate::{
    coverage::Row,
    plan::Plan,
    report::{Report, Stop},
    rng,
    script::{self, Script},
    shrink,
};

/// Maximum number of attempts at a sequence that the machine runs too slowly.
const SLOW_ATTEMPTS: usize = 5;
/// Maximum number of attempts to shorten a failing sequence. Each attempt starts both servers on empty directories.
const SHRINK_ATTEMPTS: usize = 200;

/// The constants of a dialect.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// The name of the dialect on the command line and of its directory of kept scripts.
    pub name: &'static str,
    /// The etcd release that is compared with Witan.
    pub etcd: Kind,
    /// The cells that a run must cover.
    pub table: &'static [Row],
}

/// Requests of one kind: how to draw, send and compare them.
pub trait Dialect {
    /// A request or another action on both servers. It is printed as a line of a script.
    type Step: Clone + Display;

    /// The requests and fields that are not sent or compared, with the reason.
    const NOT_COMPARED: &'static [(&'static str, &'static str)] = &[];

    /// Returns the constants of the dialect.
    fn profile(&self) -> Profile;

    /// Returns the sequence of steps for a seed.
    fn sequence(&self, seed: u64, count: usize) -> Vec<Self::Step>;

    /// Executes the steps on new servers. Fails at the first difference, or if the machine is too slow.
    fn run(
        &self,
        steps: &[Self::Step],
        report: &mut Report,
    ) -> impl Future<Output = Result<(), Stop>>;

    /// Parses the line of a step. Fails if it is not a step of this dialect, or if the dialect has no scripts.
    fn parse(&self, line: &str) -> Result<Self::Step, String> {
        Err(format!("this dialect has no scripts: {line}"))
    }

    /// Returns whether a script is for the etcd release of this dialect.
    fn owns(&self, _script: &Script) -> bool {
        true
    }
}

/// Runs a plan for each variant of a dialect and writes the results to `out`. Returns whether all answers were equal and all
/// cells were covered. Fails if a script contains an invalid line, or if reading or writing fails.
pub async fn run<D: Dialect>(
    dialects: &[D],
    plan: &Plan,
    out: &mut impl Write,
) -> io::Result<bool> {
    let mut passed = true;
    for path in &plan.compare {
        let script = script::read(path)?;
        let dialect = owner(dialects, &script);
        let steps = script.requests.iter().map(|line| dialect.parse(line));
        let steps = steps.collect::<Result<Vec<_>, _>>();
        let steps = steps.map_err(io::Error::other)?;
        let report = Engine::new(dialect).walk(&steps).await;
        writeln!(out, "{}: {report}", path.display())?;
        passed &= report.passed();
    }
    if plan.compare.is_empty() {
        for dialect in dialects {
            passed &= Engine::new(dialect).sweep(plan, out).await?;
        }
    }
    Ok(passed)
}

/// Runs these seeds, and the fresh seeds of [`fresh_seeds`](crate::rng::fresh_seeds). Panics if an answer differs or a cell is
/// not covered.
pub async fn verify<D: Dialect>(dialects: &[D], seeds: &[u64], steps: usize) {
    let plan = Plan {
        seeds: seeds.iter().copied().chain(rng::fresh_seeds()).collect(),
        steps,
        ..Plan::default()
    };
    must_pass(dialects, &plan).await;
}

/// Runs the kept scripts on both servers. Panics if an answer differs.
pub async fn verify_kept<D: Dialect>(dialects: &[D]) {
    let compare = script::kept(dialects[0].profile().name);
    must_pass(dialects, &Plan { compare, ..Plan::default() }).await;
}

async fn must_pass<D: Dialect>(dialects: &[D], plan: &Plan) {
    let mut output = Vec::new();
    let passed = run(dialects, plan, &mut output).await;
    let output = String::from_utf8_lossy(&output);
    assert!(
        passed.expect("writing succeeds and scripts are valid"),
        "{output}"
    );
}

/// Returns the variant of a dialect that a script is for.
fn owner<'a, D: Dialect>(dialects: &'a [D], script: &Script) -> &'a D {
    let owner = dialects.iter().find(|dialect| dialect.owns(script));
    owner.unwrap_or(&dialects[0])
}

/// Runs one variant of a dialect.
struct Engine<'a, D> {
    dialect: &'a D,
    profile: Profile,
}

impl<'a, D: Dialect> Engine<'a, D> {
    fn new(dialect: &'a D) -> Self {
        Self { dialect, profile: dialect.profile() }
    }

    /// Runs a sequence for each seed. Writes the differences with shortened sequences and the coverage. Returns whether the
    /// run succeeded.
    async fn sweep(&self, plan: &Plan, out: &mut impl Write) -> io::Result<bool> {
        let name = format!(
            "{} compared with {}",
            self.profile.name,
            self.profile.etcd.name()
        );
        let mut total = Report::new(self.profile.table);
        let mut passed = true;
        for seed in &plan.seeds {
            let steps = self.dialect.sequence(*seed, plan.steps);
            let count = steps.len();
            let report = self.walk(&steps).await;
            writeln!(out, "{name}: seed {seed}: {count} steps, {report}")?;
            passed &= report.passed();
            total.add(&report);
            if let Some(found) = &report.difference {
                let (script, report) = self.shortened(steps, found.at, report.clone()).await;
                writeln!(out, "{name}: shrunk, {report}")?;
                writeln!(out, "{name}: the script:\n# {name}, seed {seed}\n{script}")?;
            }
        }
        writeln!(out, "{name}: reached:\n{}", total.coverage)?;
        for (reason, times) in &total.excused {
            writeln!(out, "{name}: excused {times} times: {reason}")?;
        }
        for (what, reason) in D::NOT_COMPARED {
            writeln!(out, "{name}: not compared: {what}: {reason}")?;
        }
        let gaps = total.coverage.gaps();
        for gap in &gaps {
            writeln!(out, "{name}: {gap}")?;
        }
        Ok(passed && gaps.is_empty())
    }

    /// Executes the steps on new servers. Retries while the machine is too slow for a result.
    async fn walk(&self, steps: &[D::Step]) -> Report {
        let mut attempts = 0;
        loop {
            let mut report = Report::new(self.profile.table);
            attempts += 1;
            match self.dialect.run(steps, &mut report).await {
                Err(Stop::Slow(_)) if attempts < SLOW_ATTEMPTS => continue,
                Err(Stop::Slow(took)) => report.slow = Some(took),
                Err(Stop::Differs(difference)) => report.difference = Some(difference),
                Ok(()) => {}
            }
            return report;
        }
    }

    /// Returns the lines of the shortest sequence found that still differs, and its report.
    async fn shortened(
        &self,
        mut steps: Vec<D::Step>,
        at: usize,
        mut last: Report,
    ) -> (String, Report) {
        steps.truncate(at + 1);
        // Each attempt takes seconds, and none finds a difference that depends on timing.
        let attempts = match self.walk(&steps).await.difference {
            Some(_) => SHRINK_ATTEMPTS,
            None => 0,
        };
        let short = shrink::shrink(steps, attempts, async |some: &[D::Step]| {
            let report = self.walk(some).await;
            let differs = report.difference.is_some();
            if differs {
                last = report;
            }
            differs
        })
        .await;
        let lines: Vec<String> = short.iter().map(ToString::to_string).collect();
        (lines.join("\n"), last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A dialect of numbers in which a 7 after a 3 causes a difference.
    struct Numbers;

    impl Dialect for Numbers {
        type Step = u64;

        fn profile(&self) -> Profile {
            Profile {
                name: "numbers",
                etcd: Kind::Etcd37,
                table: &[("number", "sent")],
            }
        }

        fn sequence(&self, seed: u64, count: usize) -> Vec<u64> {
            (seed..).take(count).collect()
        }

        async fn run(&self, steps: &[u64], report: &mut Report) -> Result<(), Stop> {
            for (at, step) in steps.iter().enumerate() {
                report.coverage.hit("number", "sent");
                if *step == 7 && steps[..at].contains(&3) {
                    return Err(Stop::differs(at, step, &"a", &"b"));
                }
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_difference_is_found_and_shortened() {
        let plan = Plan::parse("v3 --seed 0 --steps 100".split(' ').map(str::to_owned));
        let mut out = Vec::new();
        let passed = run(&[Numbers], &plan.unwrap(), &mut out).await;
        let out = String::from_utf8(out).unwrap();
        assert!(!passed.unwrap() && out.contains("seed 0\n3\n7\n"), "{out}");
    }
}

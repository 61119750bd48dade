//! The engine: what all dialects share. A sequence of each seed goes to Witan and to etcd, a
//! sequence that they answer differently is made short, and so do kept scripts.
//!
//! What does *not* live here: what is asked and which answers count as the same (the dialects).

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

/// How often a sequence is tried that the machine is too slow for.
const SLOW_ATTEMPTS: usize = 5;
/// Sequences that are tried to make a failing one shorter. Each starts both servers anew.
const SHRINK_ATTEMPTS: usize = 200;

/// The constants of a dialect.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// On the command line, and of the folder of kept scripts.
    pub name: &'static str,
    /// The etcd that stands beside Witan.
    pub etcd: Kind,
    /// Everything that a run must reach.
    pub table: &'static [Row],
}

/// Requests of one kind: how they are drawn, sent and compared.
pub trait Dialect {
    /// A request, or another thing that is done to both servers. It prints as a line of a script.
    type Step: Clone + Display;

    /// The requests and fields that sequences and comparisons leave out, with the reason.
    const NOT_COMPARED: &'static [(&'static str, &'static str)] = &[];

    /// Its name, its etcd and its table.
    fn profile(&self) -> Profile;

    /// The steps of a seed.
    fn sequence(&self, seed: u64, count: usize) -> Vec<Self::Step>;

    /// Starts both servers and takes the steps on each, until the two differ. A survey goes on.
    fn run(
        &self,
        steps: &[Self::Step],
        report: &mut Report,
    ) -> impl Future<Output = Result<(), Stop>>;

    /// Reads what a step prints.
    ///
    /// # Errors
    /// If the line is no step, or no script holds such steps.
    fn parse(&self, line: &str) -> Result<Self::Step, String>;

    /// Whether a script is for the etcd of this dialect, and not for another one.
    fn owns(&self, _script: &Script) -> bool {
        true
    }
}

/// Does what is planned, for each variant of a dialect, and writes what came out. Whether nothing
/// differed and everything was reached.
///
/// # Errors
/// If a line of a script is no step, or a file or `out` fails.
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
        let report = Engine::new(dialect, false).walk(&steps).await;
        writeln!(out, "{}: {report}", path.display())?;
        passed &= report.passed();
    }
    if plan.compare.is_empty() {
        for dialect in dialects {
            passed &= Engine::new(dialect, plan.survey).sweep(plan, out).await?;
        }
    }
    Ok(passed)
}

/// Sweeps these seeds, and the fresh ones that a test is to add.
///
/// # Panics
/// If something differs or is not reached.
pub async fn verify<D: Dialect>(dialects: &[D], seeds: &[u64], steps: usize) {
    let plan = Plan {
        seeds: seeds.iter().copied().chain(rng::fresh_seeds()).collect(),
        steps,
        ..Plan::default()
    };
    must_pass(dialects, &plan).await;
}

/// Asks both what the kept scripts ask.
///
/// # Panics
/// If something differs.
pub async fn verify_kept<D: Dialect>(dialects: &[D]) {
    let compare = script::kept(dialects[0].profile().name);
    must_pass(dialects, &Plan { compare, ..Plan::default() }).await;
}

async fn must_pass<D: Dialect>(dialects: &[D], plan: &Plan) {
    let mut said = Vec::new();
    let passed = run(dialects, plan, &mut said).await;
    let said = String::from_utf8_lossy(&said);
    assert!(
        passed.expect("memory takes all, and scripts hold steps"),
        "{said}"
    );
}

/// The variant of a dialect that a script is for.
fn owner<'a, D: Dialect>(dialects: &'a [D], script: &Script) -> &'a D {
    let owner = dialects.iter().find(|dialect| dialect.owns(script));
    owner.unwrap_or(&dialects[0])
}

/// One variant of a dialect at work.
struct Engine<'a, D> {
    dialect: &'a D,
    profile: Profile,
    survey: bool,
}

impl<'a, D: Dialect> Engine<'a, D> {
    fn new(dialect: &'a D, survey: bool) -> Self {
        Self { dialect, profile: dialect.profile(), survey }
    }

    /// Runs a sequence of each seed, and writes what differs, made short, and what was reached.
    async fn sweep(&self, plan: &Plan, out: &mut impl Write) -> io::Result<bool> {
        let name = format!("{} beside {}", self.profile.name, self.profile.etcd.name());
        let mut total = Report::new(self.profile.table, self.survey);
        let mut passed = true;
        for seed in &plan.seeds {
            let steps = self.dialect.sequence(*seed, plan.steps);
            let count = steps.len();
            let report = self.walk(&steps).await;
            writeln!(out, "{name}: seed {seed}: {count} steps, {report}")?;
            passed &= report.passed();
            total.add(&report);
            if let (Some(found), false) = (report.differences.first(), self.survey) {
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

    /// Takes the steps on fresh servers, again if the machine is too slow to tell.
    async fn walk(&self, steps: &[D::Step]) -> Report {
        let mut attempts = 0;
        loop {
            let mut report = Report::new(self.profile.table, self.survey);
            attempts += 1;
            match self.dialect.run(steps, &mut report).await {
                Err(Stop::Slow(_)) if attempts < SLOW_ATTEMPTS => continue,
                Err(Stop::Slow(took)) => report.slow = Some(took),
                Err(Stop::Differs(difference)) => report.differences.push(difference),
                Ok(()) => {}
            }
            return report;
        }
    }

    /// The shortest sequence found that still differs, and how.
    async fn shortened(
        &self,
        mut steps: Vec<D::Step>,
        at: usize,
        mut last: Report,
    ) -> (Script, Report) {
        steps.truncate(at + 1);
        let short = shrink::shrink(steps, SHRINK_ATTEMPTS, async |some: &[D::Step]| {
            let report = self.walk(some).await;
            let differs = !report.differences.is_empty();
            if differs {
                last = report;
            }
            differs
        })
        .await;
        let script = Script {
            requests: short.iter().map(ToString::to_string).collect(),
            ..Script::default()
        };
        (script, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers, of which a 7 after a 3 is answered differently.
    struct Numbers;

    impl Dialect for Numbers {
        type Step = u64;

        fn profile(&self) -> Profile {
            Profile {
                name: "numbers",
                etcd: Kind::Etcd37,
                table: &[("number", "asked")],
            }
        }

        fn sequence(&self, seed: u64, count: usize) -> Vec<u64> {
            (seed..).take(count).collect()
        }

        async fn run(&self, steps: &[u64], report: &mut Report) -> Result<(), Stop> {
            for (at, step) in steps.iter().enumerate() {
                report.coverage.hit("number", "asked");
                if *step == 7 && steps[..at].contains(&3) {
                    report.differ(Stop::differs(at, step, &"a", &"b"))?;
                }
            }
            Ok(())
        }

        fn parse(&self, line: &str) -> Result<u64, String> {
            Err(line.into())
        }
    }

    #[tokio::test]
    async fn a_difference_is_found_and_made_short() {
        let plan = Plan::parse("v3 --seed 0 --steps 100".split(' ').map(str::to_owned));
        let mut out = Vec::new();
        let passed = run(&[Numbers], &plan.unwrap(), &mut out).await;
        let out = String::from_utf8(out).unwrap();
        assert!(!passed.unwrap() && out.contains("seed 0\n3\n7\n"), "{out}");
    }
}

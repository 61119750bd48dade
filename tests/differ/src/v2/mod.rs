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

use witan_e2e::Kind;

use crate::{
    engine::{Dialect, Profile},
    report::{Report, Stop},
    script::Script,
};
use pair::Pair;
use side::Side;
use step::Step;

/// v2's keys.
#[derive(Clone, Copy, Debug)]
pub struct Keys;

impl Dialect for Keys {
    type Step = Step;

    const NOT_COMPARED: &'static [(&'static str, &'static str)] = &excuse::NOT_ASKED;

    fn profile(&self) -> Profile {
        Profile { name: "v2", etcd: Kind::Etcd34, table: action::TABLE }
    }

    fn sequence(&self, seed: u64, count: usize) -> Vec<Step> {
        generate::steps(seed, count)
    }

    async fn run(&self, steps: &[Step], report: &mut Report) -> Result<(), Stop> {
        Pair::start(report).run(steps)
    }

    fn parse(&self, line: &str) -> Result<Step, String> {
        Step::parse(line)
    }

    async fn answers(&self, kind: Kind, script: &Script) -> Result<Vec<String>, String> {
        let mut side = Side::start(kind);
        let mut answers = Vec::new();
        for (at, line) in script.requests.iter().enumerate() {
            // a recorded watch says how much one is to wait for
            let told = script.answers.get(at).map(|line| answer::events_in(line));
            answers.push(side.perform(&Step::parse(line)?, told));
        }
        Ok(answers)
    }
}

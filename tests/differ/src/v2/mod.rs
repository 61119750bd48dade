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
};
use pair::Pair;
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
}

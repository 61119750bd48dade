//! Compares the v2 keys API over HTTP/1.1 with etcd 3.4.23's.
//!
//! Reading order: `step` (the possible steps) → `generate` with `words` and `paths` (random steps) → `answer` (the compared
//! parts) → `action` (the cells to cover) → `side` (one server) → `pair` (both servers) → `excuse` (deliberate differences).

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

/// The dialect of v2 keys.
#[derive(Clone, Copy, Debug)]
pub struct Keys;

impl Dialect for Keys {
    type Step = Step;

    const NOT_COMPARED: &'static [(&'static str, &'static str)] = &excuse::NOT_SENT;

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

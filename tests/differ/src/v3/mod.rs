//! Compares the v3 key space over gRPC and JSON with that of etcd 3.7 and of etcd 3.4.23. A sequence of each seed runs on new
//! servers.
//!
//! `calls` compares leases, users and roles, and `watch` compares watches.
//!
//! Reading order: `step` (a request as a line) → `draw` (random requests) and `every` (requests that are too rare) → `body`
//! (forms of JSON) with `oddity` → `sequence` (all of them) → `side` (a server and its answers) → `known` (deliberate
//! differences with reasons) → `table` (the cells to cover) with `cells` → this file (both servers).

mod body;
mod cells;
mod draw;
mod every;
mod known;
mod oddity;
mod sequence;
mod side;
mod step;
mod table;

use witan_e2e::Kind;

use crate::{
    engine::{Dialect, Profile},
    report::{Report, Stop},
    script::Script,
};
use side::{Answer, Side};
use step::{Ask, Now, Step};

/// The etcd release to compare with. It determines the gateway's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// etcd 3.7, `/v3`.
    Present,
    /// etcd 3.4.23, `/v3beta` and `/v3alpha`.
    Former,
}

/// The dialect of v3 keys.
#[derive(Clone, Copy, Debug)]
pub struct Keys(Era);

impl Keys {
    /// The dialect for each etcd release.
    pub const ALL: [Self; 2] = [Self(Era::Present), Self(Era::Former)];

    /// Returns the kind of etcd to run.
    fn etcd(self) -> Kind {
        match self.0 {
            Era::Present => Kind::Etcd37,
            Era::Former => Kind::Etcd34,
        }
    }
}

/// The state of a new cluster.
const START: Now = Now { revision: 1, compacted: 0 };

impl Dialect for Keys {
    type Step = Step;

    fn profile(&self) -> Profile {
        Profile { name: "v3", etcd: self.etcd(), table: table::table(self.0) }
    }

    fn sequence(&self, seed: u64, count: usize) -> Vec<Step> {
        sequence::of_seed(self.0, seed, count)
    }

    async fn run(&self, steps: &[Step], report: &mut Report) -> Result<(), Stop> {
        let mut witan = Side::start(Kind::Witan).await;
        let mut etcd = Side::start(self.etcd()).await;
        let mut now = START;
        for (at, step) in steps.iter().enumerate() {
            let ask = step::parse(&step.line, now).expect("a step is a request");
            let (ours, theirs) = (witan.ask(&ask).await, etcd.ask(&ask).await);
            follow(&mut now, &ask, &theirs);
            if ours != theirs {
                match known::reason(self.0, &ask, &ours.line, &theirs.line) {
                    Some(reason) => report.excuse(reason, 1),
                    None => return Err(Stop::differs(at, step, &theirs.line, &ours.line)),
                }
            }
            cells::hit(&mut report.coverage, self.0, step, &ask, &ours.line);
        }
        Ok(())
    }

    fn parse(&self, line: &str) -> Result<Step, String> {
        step::parse(line, START).map(|_| Step::new(line.into()))
    }

    /// A script is for etcd 3.4 if its reason names 3.4, otherwise for 3.7.
    fn owns(&self, script: &Script) -> bool {
        let names = |why: &String| why.contains("3.4") || why.contains(Kind::Etcd34.name());
        script.why.first().is_some_and(names) == (self.0 == Era::Former)
    }
}

/// Records the revisions that later requests refer to.
fn follow(now: &mut Now, ask: &Ask, answer: &Answer) {
    if let Some(revision) = answer.revision {
        now.revision = now.revision.max(revision);
        if let Some(compacted) = cells::compacted(ask) {
            now.compacted = now.compacted.max(compacted);
        }
    }
}

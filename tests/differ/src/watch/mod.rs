//! Compares v3 watches over gRPC with etcd 3.7's during random writes and compactions, while watchers with random options are
//! created and canceled. Each watcher must receive the same events, and all events of a revision in one answer.
//!
//! Reading order: `step` (the possible steps) → `draw` (random steps) → `side` (one server and its streams) → this file (both
//! servers).

mod draw;
mod side;
mod step;

use witan_e2e::Kind;

use crate::{
    engine::{Dialect, Profile},
    report::{Report, Stop},
    rng::Rng,
};
use side::Side;
use step::{Step, TABLE};

/// Number of steps between two comparisons of the received events.
const ROUND: usize = 6;

/// The dialect of v3 watches.
#[derive(Clone, Copy, Debug)]
pub struct Watches;

impl Dialect for Watches {
    type Step = Step;

    fn profile(&self) -> Profile {
        Profile { name: "watch", etcd: Kind::Etcd37, table: TABLE }
    }

    fn sequence(&self, seed: u64, count: usize) -> Vec<Step> {
        let mut rng = Rng::new(seed);
        (0..count).map(|_| draw::step(&mut rng)).collect()
    }

    async fn run(&self, steps: &[Step], report: &mut Report) -> Result<(), Stop> {
        let mut witan = Side::start(Kind::Witan).await;
        let mut etcd = Side::start(Kind::Etcd37).await;
        let mut at = 0;
        for round in steps.chunks(ROUND) {
            for step in round {
                let (ours, theirs) = (witan.take(step).await, etcd.take(step).await);
                if ours != theirs {
                    return Err(Stop::differs(at, step, &theirs, &ours));
                }
                at += 1;
            }
            let (ours, theirs) = (witan.received().await, etcd.received().await);
            for line in theirs.values().flatten() {
                step::reached(line, &mut report.coverage);
            }
            if ours != theirs {
                let compared = "the events of each watcher in this round";
                let [theirs, ours] = [theirs, ours].map(|received| format!("{received:#?}"));
                return Err(Stop::differs(at - 1, &compared, &theirs, &ours));
            }
        }
        Ok(())
    }
}

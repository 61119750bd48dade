//! Seeds that once broke an invariant, with what they found. They stay clean.

use witan_sim::{
    scenario::{Bug, Scenario},
    sweep::{failure, run},
};

/// A seed, its number of members and what it found.
const FOUND: [(u64, usize, &str); 0] = [];

#[test]
fn stay_clean() {
    for (seed, members, what) in FOUND {
        let scenario = Scenario::new(seed, Some(members), Bug::None);
        if let Some(violation) = run(scenario, false).violation {
            panic!("again ({what}): {}", failure(&scenario, &violation));
        }
    }
}

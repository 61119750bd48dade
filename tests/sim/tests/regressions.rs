//! Seeds that once broke an invariant, with what they found. They stay clean.

use witan_sim::{
    scenario::{Bug, Scenario},
    sweep::{failure, run},
};

/// A seed, its number of members and what it found, with the simulator of its day: when the
/// simulator changes, a seed gets another run, so each bug has a test of its own where it was.
const FOUND: [(u64, usize, &str); 4] = [
    // `Host::send`: what forwards a proposal arrives at most once.
    (
        1358,
        5,
        "a deletion that the network doubled was executed again after a later put",
    ),
    (
        1536,
        3,
        "a deletion that the network doubled was executed again after a later put",
    ),
    (
        1614,
        3,
        "a deletion that the network doubled was executed again after a later put",
    ),
    // server/crates/replica/src/replica/tests.rs
    (
        696,
        5,
        "a refused snapshot took the place of the accepted one that waited for its turn",
    ),
];

#[test]
fn stay_clean() {
    for (seed, members, what) in FOUND {
        let scenario = Scenario::new(seed, Some(members), Bug::None);
        if let Some(violation) = run(scenario, false).violation {
            panic!("again ({what}): {}", failure(&scenario, &violation));
        }
    }
}

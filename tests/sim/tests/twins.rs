//! The core is pure: for each process of each member a second core runs with the same start and the same inputs, and has the
//! same effects.

use witan_sim::{recordings::run_with_twins, scenario::Scenario};

/// Seeds for each number of members.
const SEEDS: u64 = 4;

#[test]
fn the_same_inputs_have_the_same_effects() {
    for members in [1, 2, 3, 5] {
        for seed in 0..SEEDS {
            let scenario = Scenario { seed, members };
            let twins = run_with_twins(scenario);
            assert!(
                twins.differs.is_empty(),
                "seed {seed}, {members} members: {}",
                twins.differs.join("\n")
            );
            assert!(twins.turns > 100, "seed {seed}: {} turns", twins.turns);
        }
    }
}

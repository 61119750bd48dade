//! The core is pure: for each process in a run, a second core with the same initial state and inputs has the same effects.

use witan_sim::{recordings::run_with_twins, scenario::Scenario};

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

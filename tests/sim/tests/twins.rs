//! A replica that was frozen goes on as the one that it was made of: beside each member a second core runs, made of its frozen
//! replica again and again, with the same inputs, through all that the simulator does.

use witan_sim::{recordings::run_with_twins, scenario::Scenario};

/// Seeds for each number of members.
const SEEDS: u64 = 4;

#[test]
fn a_frozen_replica_goes_on_as_the_one_that_it_was_made_of() {
    for members in [1, 2, 3, 5] {
        for seed in 0..SEEDS {
            let scenario = Scenario { seed, members };
            let twins = run_with_twins(scenario);
            assert!(
                twins.differs.is_empty(),
                "seed {seed}, {members} members: {}",
                twins.differs.join("\n")
            );
            assert!(
                twins.made > 10,
                "seed {seed}, {members} members: {}",
                twins.made
            );
        }
    }
}

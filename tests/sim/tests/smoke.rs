//! A few seeds for each cluster size. Every run ends without a violation, and together they reach their coverage goals.

use witan_sim::{
    counts::Counts,
    sweep::{failure, sweep},
};

const SEEDS: u64 = 20;

const FEW_SEEDS: u64 = 5;

fn clean(members: usize, seeds: u64) -> Counts {
    let swept = sweep(0, seeds, Some(members), &|_| {});
    let failures: Vec<String> = swept
        .violations
        .iter()
        .map(|(scenario, violation)| failure(scenario, violation))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let counts = swept.counts;
    assert!(
        counts.acknowledged > 10 * seeds && counts.reads > seeds,
        "{members} members: {counts:?}"
    );
    counts
}

#[test]
fn one_member() {
    let counts = clean(1, SEEDS);
    assert!(
        counts.renewed > SEEDS && counts.expired > SEEDS,
        "{counts:?}"
    );
    assert!(
        counts.crashes > SEEDS && counts.checkpoints > SEEDS,
        "{counts:?}"
    );
}

/// Sweeps clusters that elect leaders and send snapshots, and checks the coverage.
fn several(members: usize) {
    let counts = clean(members, SEEDS);
    assert!(counts.renewed > 0 && counts.expired > SEEDS, "{counts:?}");
    assert!(
        counts.installs > 0 && counts.dropped > SEEDS && counts.terms > SEEDS,
        "{counts:?}"
    );
}

#[test]
fn three_members() {
    several(3);
}

#[test]
fn five_members() {
    several(5);
}

#[test]
fn two_four_and_seven_members() {
    for members in [2, 4, 7] {
        clean(members, FEW_SEEDS);
    }
}

//! A few seeds for each cluster size. Every run ends without a violation, and together they reach their coverage goals.

use witan_sim::{
    counts::Counts,
    sweep::{failure, sweep},
};

const SEEDS: u64 = 20;

const FEW_SEEDS: u64 = 5;

/// Sweeps the first seeds and checks that there is no violation and enough requests were answered.
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
fn one_member_restarts_and_keeps_leases() {
    let counts = clean(1, SEEDS);
    let many = [
        counts.renewed,
        counts.expired,
        counts.crashes,
        counts.checkpoints,
    ];
    assert!(many.iter().all(|count| *count > SEEDS), "{counts:?}");
}

#[test]
fn three_and_five_members_elect_leaders_and_send_snapshots() {
    for counts in [3, 5].map(|members| clean(members, SEEDS)) {
        let many = [counts.expired, counts.dropped, counts.terms];
        assert!(many.iter().all(|count| *count > SEEDS), "{counts:?}");
        assert!(counts.renewed > 0 && counts.installs > 0, "{counts:?}");
    }
}

#[test]
fn two_four_and_seven_members() {
    for members in [2, 4, 7] {
        clean(members, FEW_SEEDS);
    }
}

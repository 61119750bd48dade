//! The simulator can fail: each known bug, switched on, is found by an invariant within a stated
//! number of seeds, and the same seeds are clean without it.
//!
//! The medians were measured with `--fault NAME --rounds 9` (nine sweeps from places of their own,
//! seeds needed until an invariant broke); each bound is a generous multiple.

use witan_sim::{
    scenario::Bug,
    sweep::{failure, hunt, sweep},
};

/// A known bug; the seeds that finding it took, median and worst of nine; the seeds it gets here.
const KNOWN: [(&str, u64, u64, u64); 11] = [
    // name, median, worst, bound
    ("ack-before-persist", 1, 3, 20),
    ("stale-read", 1, 3, 20),
    ("vote-not-persisted", 46, 173, 400),
    ("lost-read-retry", 1, 2, 20),
    ("cut-too-high", 1, 1, 20),
    ("position-ahead", 1, 1, 20),
    ("renewal-lost", 1, 3, 20),
    ("proposed-twice", 3, 8, 40),
    ("checkpoint-not-atomic", 2, 6, 30),
    ("cut-above-durable", 1, 1, 20),
    ("sync-lies", 1, 1, 20),
];

fn is_found(name: &str) {
    let (_, median, worst, bound) = *KNOWN
        .iter()
        .find(|known| known.0 == name)
        .expect("the bug is in the table");
    assert!(
        bound >= 5 * median && bound >= 2 * worst,
        "{name}: the bound is generous"
    );
    let bug = Bug::named(name).expect("the command line knows the bug");
    let (seeds, scenario, violation) =
        hunt(0, bound, None, bug).unwrap_or_else(|| panic!("{name} not found in {bound} seeds"));
    let clean = sweep(0, seeds, None, Bug::None, &mut |_, _| {});
    if let Some((other, also)) = clean.violations.first() {
        let (with, without) = (failure(&scenario, &violation), failure(other, also));
        panic!("{with}\nwithout {name}: {without}");
    }
}

#[test]
fn ack_before_persist() {
    is_found("ack-before-persist");
}

#[test]
fn stale_read() {
    is_found("stale-read");
}

#[test]
fn vote_not_persisted() {
    is_found("vote-not-persisted");
}

#[test]
fn lost_read_retry() {
    is_found("lost-read-retry");
}

#[test]
fn cut_too_high() {
    is_found("cut-too-high");
}

#[test]
fn position_ahead() {
    is_found("position-ahead");
}

#[test]
fn renewal_lost() {
    is_found("renewal-lost");
}

#[test]
fn checkpoint_not_atomic() {
    is_found("checkpoint-not-atomic");
}

#[test]
fn cut_above_durable() {
    is_found("cut-above-durable");
}

#[test]
fn sync_lies() {
    is_found("sync-lies");
}

#[test]
fn proposed_twice() {
    is_found("proposed-twice");
}

//! The simulator can fail: each known bug, switched on, is found by an invariant within a stated
//! number of seeds, and the same seeds are clean without it.
//!
//! The medians were measured with `--fault NAME --rounds 9` (nine sweeps from places of their own,
//! seeds needed until an invariant broke); each bound is a generous multiple.

use witan_sim::{
    scenario::Bug,
    sweep::{failure, hunt, run},
};

/// A known bug, what was measured, and the invariants that may find it.
struct Known {
    name: &'static str,
    /// Seeds needed, median of nine sweeps.
    median: u64,
    /// Seeds that this test gives it.
    bound: u64,
}

const KNOWN: [Known; 9] = [
    Known {
        name: "ack-before-persist",
        median: 1,
        bound: 20,
    },
    Known {
        name: "stale-read",
        median: 1,
        bound: 20,
    },
    Known {
        name: "vote-not-persisted",
        median: 1,
        bound: 20,
    },
    Known {
        name: "lost-read-retry",
        median: 1,
        bound: 20,
    },
    Known {
        name: "cut-too-high",
        median: 1,
        bound: 20,
    },
    Known {
        name: "position-ahead",
        median: 1,
        bound: 20,
    },
    Known {
        name: "checkpoint-not-atomic",
        median: 1,
        bound: 20,
    },
    Known {
        name: "cut-above-durable",
        median: 1,
        bound: 20,
    },
    Known {
        name: "sync-lies",
        median: 1,
        bound: 20,
    },
];

fn is_found(name: &str) {
    let known = KNOWN
        .iter()
        .find(|known| known.name == name)
        .expect("the bug is in the table");
    assert!(
        known.bound >= 5 * known.median,
        "{name}: the bound is generous"
    );
    let bug = Bug::named(name).expect("the command line knows the bug");
    let (_, scenario, violation) = hunt(0, known.bound, None, bug)
        .unwrap_or_else(|| panic!("{name} not found in {} seeds", known.bound));
    let clean = witan_sim::scenario::Scenario {
        bug: Bug::None,
        ..scenario
    };
    if let Some(other) = run(clean, false).violation {
        panic!(
            "{}\nalso without {name}: {}",
            failure(&scenario, &violation),
            failure(&clean, &other)
        );
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

//! Tests the plan against a fake cluster: named cases, and properties over random clusters and faults.

mod authority;
mod cases;
mod effects;
mod evidence;
mod faults;
mod forks;
mod judge;
mod life;
mod objects;
mod planned;
mod properties;
mod random;
mod recovery;
mod refusals;
mod restore;
mod shown;
mod space;
mod storage;
mod world;

use crate::model::{Step, Why};

/// Returns the reason if the step is a wait; `None` otherwise.
fn why(step: &Step) -> Option<&Why> {
    if let Step::Wait { why, .. } = step {
        Some(why)
    } else {
        None
    }
}

/// Asserts that the step is a wait for this reason.
#[track_caller]
fn waits(step: &Step, expected: &Why) {
    assert_eq!(why(step), Some(expected), "{step:?}");
}

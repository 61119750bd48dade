//! Waits for conditions. No other part of the tests pauses a thread.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Maximum time for a condition before the test fails. It suits a machine with two busy cores.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two checks of a condition.
const LOOK: Duration = Duration::from_millis(10);

/// Maximum number of attempts at a measurement that other processes can disturb.
const ATTEMPTS: usize = 5;

/// Checks `condition` until it returns a value. Panics with `what` after [`PATIENCE`].
pub fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, condition)
}

/// Like [`until`], with another limit. Panics with `what` after `limit`.
pub fn within<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not in {limit:?}: {what}");
        thread::sleep(LOOK);
    }
}

/// Checks `condition` until it is true. Panics with `what` after [`PATIENCE`].
pub fn until_true(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, || condition().then_some(()));
}

/// Repeats a measurement until it is within its bound. Panics if every attempt fails. Another process disturbs only some
/// attempts; a server that delays others disturbs all of them.
pub fn undisturbed(mut attempt: impl FnMut() -> Result<(), String>) {
    let mut wrong = Vec::new();
    while let Err(text) = attempt() {
        wrong.push(text);
        assert!(wrong.len() < ATTEMPTS, "in each attempt: {wrong:#?}");
    }
}

/// Sleeps. Use it only if wall time itself matters: for a TTL, or the absence of an event.
pub fn wall_time(duration: Duration) {
    thread::sleep(duration);
}

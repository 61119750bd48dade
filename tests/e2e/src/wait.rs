//! Waiting on conditions: the only place of the tests that pauses a thread.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a condition may take before the test fails: long enough for two busy cores.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two looks at a condition.
const LOOK: Duration = Duration::from_millis(10);

/// How often something is measured that other processes of the machine can disturb.
const ATTEMPTS: usize = 5;

/// Looks at `condition` until it gives something.
///
/// # Panics
/// After [`PATIENCE`], naming `what`.
pub fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, condition)
}

/// The same with a limit of the caller's: for what takes long on a busy machine.
///
/// # Panics
/// After `limit`, naming `what`.
pub fn within<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "waited {limit:?} without success: {what}"
        );
        thread::sleep(LOOK);
    }
}

/// Looks at `condition` until it holds.
///
/// # Panics
/// After [`PATIENCE`], naming `what`.
pub fn until_true(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, || condition().then_some(()));
}

/// Measures until a measure is within its bound. Another process that takes the machine or the disk for a moment disturbs
/// one attempt; a server that keeps others waiting does so in all of them.
///
/// # Panics
/// If every attempt says what was wrong.
pub fn undisturbed(mut attempt: impl FnMut() -> Result<(), String>) {
    let mut wrong = Vec::new();
    while let Err(text) = attempt() {
        wrong.push(text);
        assert!(wrong.len() < ATTEMPTS, "in each attempt: {wrong:#?}");
    }
}

/// Lets wall time pass. Only for what *is* wall time: a TTL, the absence of an event.
pub fn wall_time(duration: Duration) {
    thread::sleep(duration);
}

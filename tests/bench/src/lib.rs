//! Shared parts of the benchmarks. `main.rs` and the programs `cluster` and `scenes` in `bin/` compare Witan with etcd. The
//! program `memory` measures Witan's key space.
//!
//! Reading order: `load` (many clients, one measurement) with `paced` (at a rate) → `subject` (the measured servers) → `verb`
//! (the requests) → `h2`, `http1` (the two lean clients), `wire` (their common part), `dial` (their connections) → `scene`
//! (loads with several kinds of requests) with `stream` → `watched` (events with the time of their cause) → `cluster` (three
//! members) → `restart` (by size of the data) → `limited` (with little memory) → `program` (the compared servers), `floor`,
//! `table`.
#![expect(
    clippy::print_stdout,
    reason = "the program prints its results as tables"
)]

pub mod cluster;
mod dial;
pub mod floor;
pub mod h2;
pub mod http1;
pub mod limited;
pub mod load;
pub mod paced;
pub mod program;
pub mod restart;
pub mod scene;
pub mod stream;
pub mod subject;
pub mod table;
pub mod verb;
pub mod watched;
pub mod wire;

use std::{num::ParseIntError, time::Duration};

use tokio::task::LocalSet;

/// Runs `act` on one thread. Panics if the runtime cannot start.
pub fn run(act: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs only a thread");
    LocalSet::new().block_on(&runtime, act);
}

/// Returns a duration in microseconds.
pub(crate) fn micros(took: Duration) -> u32 {
    u32::try_from(took.as_micros()).unwrap_or(u32::MAX)
}

/// Parses a duration in seconds. Fails if it is not a number.
pub fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_secs)
}

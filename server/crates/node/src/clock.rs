//! The wall clock and a monotonic clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Returns the wall-clock time in Unix nanoseconds, or 0 before 1970.
pub fn now_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Returns the wall-clock time in whole Unix seconds, or 0 before 1970.
pub fn now_s() -> i64 {
    now_ns() / 1_000_000_000
}

/// A monotonic clock that starts at zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct MonotonicClock(Instant);

impl MonotonicClock {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    /// Returns the nanoseconds since the clock was created.
    pub(super) fn now_ns(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

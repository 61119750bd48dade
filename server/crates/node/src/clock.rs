//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

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

//! The one place where requests take the wall clock from.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in nanoseconds; 0 on a clock before 1970.
pub fn now_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

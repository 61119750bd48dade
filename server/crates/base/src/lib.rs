//! Parts shared by every layer of the server, independent of protocols, disks and Raft.
//!
//! Reading order: `account` → `panics` → `metrics` → `memory_limit` → `version` → this file (clock, mutex).

pub mod account;
pub mod memory_limit;
pub mod metrics;
pub mod panics;
pub mod version;

/// The wall clock.
pub mod clock {
    use std::time::{SystemTime, UNIX_EPOCH};

    /// Returns the wall-clock time in Unix nanoseconds, or 0 before 1970.
    pub fn now_ns() -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        i64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
    }

    /// Returns the wall-clock time in whole Unix seconds, or 0 before 1970.
    pub fn now_s() -> i64 {
        now_ns() / 1_000_000_000
    }
}

/// A mutex that stays usable after a panic.
pub mod sync {
    use std::sync::{self, MutexGuard, PoisonError};

    /// A mutex without poisoning. After a contained panic, the data is consistent, because code that changes the data cannot
    /// panic.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// Creates an unlocked mutex.
        pub const fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        /// Locks the mutex. Blocks until the mutex is free.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

//! Parts shared by every layer of the server, independent of protocols, disks and Raft.
//!
//! Reading order: `account` → `panics` → `metrics` → `memory_limit` → `version`.

pub mod account;
pub mod memory_limit;
pub mod metrics;
pub mod panics;
pub mod version;

/// A mutex that stays usable after a panic.
pub mod sync {
    use std::sync::{self, MutexGuard, PoisonError, TryLockError};

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

        /// Locks the mutex. Returns `None` if the mutex is not free.
        pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            match self.0.try_lock() {
                Ok(guard) => Some(guard),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            }
        }
    }
}

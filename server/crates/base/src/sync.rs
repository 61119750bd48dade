//! A mutex that stays usable after a panic.

use std::sync::{self, MutexGuard, PoisonError};

/// A mutex without poisoning. After a contained panic, the data is consistent, because code that changes the data cannot panic.
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

//! A mutex that stays usable after a panic.

use std::sync::{self, MutexGuard, PoisonError};

/// A mutex without poisoning. A contained panic leaves its data consistent, because steps that change it cannot panic.
#[derive(Debug, Default)]
pub struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Creates an unlocked mutex.
    pub const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    /// Locks the mutex and waits for it, like `std`'s.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! A mutex that can also be locked after a panic.

use std::sync::{self, MutexGuard, PoisonError};

/// A mutex without poisoning. A panic that is not contained ends the process. A contained panic leaves no partial change,
/// because the data in a mutex changes in steps that cannot panic.
#[derive(Debug, Default)]
pub struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Creates an unlocked mutex.
    pub const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    /// Locks the mutex, like `std`'s.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! A mutex that is locked after a panic, too.

use std::sync::{self, MutexGuard, PoisonError};

/// A mutex without poison. A panic ends the process unless it is contained; then no change of what a mutex guards is half
/// made, because nothing that may panic stands between two steps of one.
#[derive(Debug, Default)]
pub struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Makes an unlocked mutex.
    pub const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    /// Locks it, as `std`'s does.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! A mutex that is locked after a panic, too.

use std::sync::{self, MutexGuard, PoisonError};

/// A mutex without poison. A panic that is not contained ends the process; one that is contained leaves no half-made change
/// behind, because what a mutex guards changes in steps that cannot panic.
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

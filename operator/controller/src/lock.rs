//! Locking of shared state.

use std::sync::{Mutex, MutexGuard};

/// Locks shared state. Panics if another thread panicked while it held the lock.
pub(crate) fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state
        .lock()
        .expect("no code panics while it holds this lock")
}

//! The state after the last turn, for those who read this member alone: while nothing is written,
//! a worker takes it here and asks no other thread.
//!
//! Only the replica's thread shows a state, and it takes it back before anybody learns of a later
//! one. So whoever has seen a write answered, or was woken by it, reads that write.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use witan_replica::machine::view::View;

/// See the module's description. Empty until somebody asks, so that writes alone share nothing.
#[derive(Debug, Default)]
pub(super) struct Latest(Mutex<Option<Arc<View>>>);

impl Latest {
    /// The state after the last turn, if it was asked for since.
    pub(super) fn get(&self) -> Option<Arc<View>> {
        self.slot().clone()
    }

    /// Shows a state. Only for the replica's thread, between turns.
    pub(super) fn show(&self, view: Arc<View>) {
        *self.slot() = Some(view);
    }

    /// Takes it back: a later one comes.
    pub(super) fn clear(&self) {
        let taken = self.slot().take();
        // outside of the lock: it can hold the last reference to a lot of memory
        drop(taken);
    }

    /// A slot is whole at every step, so a panic elsewhere does not spoil it.
    fn slot(&self) -> MutexGuard<'_, Option<Arc<View>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The state after the last turn, for reads: while nothing is written, a worker takes it here and asks
//! no other thread.
//!
//! Only the replica's thread shows a state, and it takes it back before anybody learns of a later
//! one. So whoever has seen a write answered, or was woken by it, reads that write: where this member
//! is the only voter, what is shown is linearizable.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use witan_replica::machine::view::View;

/// See the module's description. Empty until a read requests it, so that a write-only load copies
/// nothing.
#[derive(Debug, Default)]
pub(super) struct LatestView(Mutex<Option<Shown>>);

#[derive(Debug)]
struct Shown {
    view: Arc<View>,
    linearizable: bool,
}

impl LatestView {
    /// The state after the last turn, if it was asked for since.
    pub(super) fn get(&self) -> Option<Arc<View>> {
        self.slot().as_ref().map(|shown| shown.view.clone())
    }

    /// The same, if a linearizable read may see it.
    pub(super) fn linearizable(&self) -> Option<Arc<View>> {
        let slot = self.slot();
        let shown = slot.as_ref().filter(|shown| shown.linearizable);
        shown.map(|shown| shown.view.clone())
    }

    /// Shows a state. Only for the replica's thread, between turns.
    pub(super) fn publish(&self, view: Arc<View>, linearizable: bool) {
        *self.slot() = Some(Shown { view, linearizable });
    }

    /// Withdraws the state before a later one.
    pub(super) fn clear(&self) {
        let taken = self.slot().take();
        // outside of the lock: it can hold the last reference to a lot of memory
        drop(taken);
    }

    /// A slot is whole at every step, so a panic elsewhere does not spoil it.
    fn slot(&self) -> MutexGuard<'_, Option<Shown>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The published state after the last turn. Workers read it without a request to the replica's thread.
//!
//! Only the replica's thread publishes a state, and it withdraws the state before any client can learn of a later state. A
//! client that has received the answer to a write therefore never reads an older state. If this member is the only voter, the
//! published state is linearizable.

use std::sync::Arc;

use witan_base::sync::Mutex;
use witan_machine::view::View;

/// The published state after the last turn, and whether it is linearizable. Empty until a read requests the state, so that a
/// write-only load copies no data.
#[derive(Debug, Default)]
pub(super) struct LatestView(Mutex<Option<(Arc<View>, bool)>>);

impl LatestView {
    /// Returns the published state, or `None` if no read has requested a state since the last turn.
    pub(super) fn get(&self) -> Option<Arc<View>> {
        let latest = self.0.lock();
        latest.as_ref().map(|(view, _)| view.clone())
    }

    /// Returns the published state if it is linearizable, otherwise `None`.
    pub(super) fn linearizable(&self) -> Option<Arc<View>> {
        let latest = self.0.lock();
        let (view, is_linearizable) = latest.as_ref()?;
        is_linearizable.then(|| view.clone())
    }

    /// Publishes a state. Only the replica's thread calls this, between turns.
    pub(super) fn publish(&self, view: Arc<View>, linearizable: bool) {
        *self.0.lock() = Some((view, linearizable));
    }

    /// Withdraws the published state. The replica's thread calls this before it changes its state.
    pub(super) fn clear(&self) {
        let taken = self.0.lock().take();
        // Drop the view after the unlock, because it can hold the last reference to a large amount of memory.
        drop(taken);
    }
}

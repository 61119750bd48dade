//! Limits how much a stream reads between two yields of its worker.

use super::limits::UNWANTED_SCAN_CHANGES;

/// Counts the changes that a stream has scanned since it last yielded, including changes that no watcher receives.
#[derive(Debug, Default)]
pub(super) struct WorkerTurn {
    changes: usize,
}

impl WorkerTurn {
    /// Counts scanned changes, at least one per call, because the search itself takes time.
    pub(super) fn count(&mut self, changes: usize) {
        self.changes += changes.max(1);
    }

    /// Returns whether the stream must yield before it scans more changes.
    pub(super) fn is_over(&self) -> bool {
        self.changes >= UNWANTED_SCAN_CHANGES
    }

    /// Yields the worker and starts the next turn.
    pub(super) async fn end(&mut self) {
        self.changes = 0;
        tokio::task::yield_now().await;
    }
}

//! The work of a stream between two yields of its worker.

use super::limits::UNWANTED_SCAN_CHANGES;

/// Counts the changes that a stream has looked at since it last yielded its worker, whether or not a watcher wants them. A
/// stream that only counted its events would never yield while it finds none, and block the other clients of the worker.
#[derive(Debug, Default)]
pub(super) struct WorkerTurn {
    changes: usize,
}

impl WorkerTurn {
    /// Counts changes that were looked at, at least one: what leads to them takes time, too.
    pub(super) fn count(&mut self, changes: usize) {
        self.changes += changes.max(1);
    }

    /// Whether the stream must yield before it looks at more changes.
    pub(super) fn is_over(&self) -> bool {
        self.changes >= UNWANTED_SCAN_CHANGES
    }

    /// Yields the worker.
    pub(super) async fn end(&mut self) {
        self.changes = 0;
        tokio::task::yield_now().await;
    }
}

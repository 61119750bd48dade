//! What a stream does before it yields its worker.

use super::limits::UNWANTED_SCAN_CHANGES;

/// Changes that a stream has looked at since it last yielded its worker. They are counted whether or not a watcher wants
/// them: a stream that finds nothing has no answer at which it would stop, and other clients of the worker wait meanwhile.
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

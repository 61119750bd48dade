//! Counts reads of the v2 tree through all dialects. The counters are local to the member.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers of reads since the process started. They are not replicated.
#[derive(Debug, Default)]
pub struct ReadCounters {
    found: AtomicU64,
    failed: AtomicU64,
}

impl ReadCounters {
    /// Counts one read as found or as failed.
    pub fn count(&self, found: bool) {
        let counter = if found { &self.found } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of reads that found a node.
    pub fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// Returns the number of reads that failed.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

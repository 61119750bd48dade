//! Counters of reads of the v2 tree by all dialects. They are local to the member.

use std::sync::atomic::{AtomicU64, Ordering};

/// Reads of keys since the process started; they are not replicated.
#[derive(Debug, Default)]
pub struct ReadCounters {
    found: AtomicU64,
    failed: AtomicU64,
}

impl ReadCounters {
    /// Counts one read, as found or as failed.
    pub fn count(&self, found: bool) {
        let counter = if found { &self.found } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads that found something.
    pub fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// Reads that found nothing.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

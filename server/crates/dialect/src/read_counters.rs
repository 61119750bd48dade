//! Counts the reads of the v2 tree through v1 and v2. The counters are local to this member.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers of reads since the process started.
#[derive(Debug, Default)]
pub struct ReadCounters {
    found: AtomicU64,
    failed: AtomicU64,
}

impl ReadCounters {
    /// Counts a read, by whether it found a node.
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

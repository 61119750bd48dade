//! Bounds of watch streams, and the sizes of their steps.

/// Memory that a stream reserves for each watcher; 132 bytes were measured.
pub(super) const WATCHER_BYTES: usize = 128;

/// Memory that it reserves for each range in addition to its keys; 655 bytes were measured for a 34-byte key and one watcher.
pub(super) const RANGE_BYTES: usize = 480;

/// Revisions in one answer, as in etcd's `watchBatchMaxRevs`.
pub(super) const BATCH_REVISIONS: usize = 1000;

/// Bytes of events after which an answer takes no further revision. A revision is never split, so an answer can exceed this by
/// one revision.
pub(super) const BATCH_BYTES: usize = 1 << 20;

/// Changes read before the task yields.
pub(super) const SCAN_CHANGES: usize = 4096;

/// Like `SCAN_CHANGES`, while no watcher wants any of them. Clients can cause such reads without limit, and other clients of
/// the worker wait while thousands of streams read.
pub(super) const UNWANTED_SCAN_CHANGES: usize = 512;

/// Changes of one key that are found by its links. For more, the history is scanned.
pub(super) const LINKED_CHANGES: usize = 8192;

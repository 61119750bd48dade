//! Bounds of watch streams, and the sizes of their steps, one sentence each.

/// Memory that a stream reserves for a watcher; 132 bytes were measured.
pub(super) const WATCHER_BYTES: usize = 128;

/// Memory that it reserves for each range in addition to its keys; 655 bytes were measured with a key of 34 and a watcher.
pub(super) const RANGE_BYTES: usize = 480;

/// Revisions in one answer, as etcd's `watchBatchMaxRevs`.
pub(super) const BATCH_REVISIONS: usize = 1000;

/// Bytes of events after which an answer takes no further revision. A revision is never split, so
/// an answer can exceed this by one revision.
pub(super) const BATCH_BYTES: usize = 1 << 20;

/// Changes read before the task yields.
pub(super) const SCAN_CHANGES: usize = 4096;

/// The same while no watcher wants any of them: a client can cause such reads without limit, and other clients of the
/// worker wait while thousands of streams do.
pub(super) const UNWANTED_SCAN_CHANGES: usize = 512;

/// Changes of one key that are found by its links; for more, the history is scanned.
pub(super) const LINKED_CHANGES: usize = 8192;

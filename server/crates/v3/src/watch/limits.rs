//! Limits and step sizes of watch streams.

/// Number of bytes of memory charged for each watcher. The measured use is 132 bytes.
pub(super) const WATCHER_BYTES: usize = 136;

/// Number of bytes of memory charged for each range in addition to its keys. With a 34-byte key and one watcher, a range uses 655
/// bytes.
pub(super) const RANGE_BYTES: usize = 496;

/// Maximum number of revisions in one response, as in etcd's `watchBatchMaxRevs`.
pub(super) const BATCH_REVISIONS: usize = 1000;

/// Size in bytes after which a response accepts no further revision. A response can exceed this size, because no revision is
/// split.
pub(super) const BATCH_BYTES: usize = 1 << 20;

/// Number of changes to read before the task yields.
pub(super) const SCAN_CHANGES: usize = 4096;

/// Like [`SCAN_CHANGES`], but for changes that no watcher receives. Clients can cause such reads without limit.
pub(super) const UNWANTED_SCAN_CHANGES: usize = 512;

/// Maximum number of changes of one key to find through the links between them. For more changes, the history is scanned.
pub(super) const LINKED_CHANGES: usize = 8192;

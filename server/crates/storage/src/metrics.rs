//! Log and checkpoint metrics.

use prometheus::{Histogram, IntCounter, IntGauge};
use witan_base::metrics::Register;

/// Metrics of the threads that write the log and checkpoints. Clones share the metrics.
#[derive(Clone, Debug)]
pub struct StorageMetrics {
    pub(super) wal_fsync: Histogram,
    pub(super) wal_write_bytes: IntGauge,
    pub(super) backend_commit: Histogram,
    /// Number of failed writes since startup, plus one if startup found the newest checkpoint damaged.
    pub(super) checkpoint_failures: IntCounter,
    pub(super) scrub_bytes: IntCounter,
    pub(super) scrub_damaged_runs: IntCounter,
}

impl StorageMetrics {
    #[rustfmt::skip]
    /// Registers the storage's metrics.
    pub fn register(on: &Register) -> Self {
        Self {
            wal_fsync: on.histogram("etcd_disk_wal_fsync_duration_seconds", "The latency distributions of synced writes to the Raft log.", 0.001, 14),
            wal_write_bytes: on.gauge("etcd_disk_wal_write_bytes_total", "Total number of bytes written to the Raft log."),
            backend_commit: on.histogram("etcd_disk_backend_commit_duration_seconds", "The latency distributions of writing durable checkpoints.", 0.001, 14),
            checkpoint_failures: on.counter("witan_checkpoint_failures_total", "Total number of failed checkpoints."),
            scrub_bytes: on.counter("witan_scrub_bytes_total", "Total number of checkpoint bytes that were read to find damage."),
            scrub_damaged_runs: on.counter("witan_scrub_damaged_runs_total", "Total number of checkpoint files that were found to be damaged."),
        }
    }
}

//! Metrics for snapshots between members, with etcd's metric names.

use std::time::Instant;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use witan_base::metrics::Register;
use witan_machine::member::MemberId;

/// Metrics of senders and receivers. Clones share the metrics.
#[derive(Clone, Debug)]
pub struct SnapshotMetrics {
    pub(super) sends: TransferSeries,
    pub(super) receives: TransferSeries,
}

/// Metrics of one direction, by the other member.
#[derive(Clone, Debug)]
pub(super) struct TransferSeries {
    inflights: IntGaugeVec,
    success: IntCounterVec,
    failures: IntCounterVec,
    durations: HistogramVec,
}

impl SnapshotMetrics {
    /// Registers the metrics of snapshots.
    #[rustfmt::skip]
    pub fn register(on: &Register) -> Self {
        Self {
            sends: TransferSeries {
                inflights: on.gauges("etcd_network_snapshot_send_inflights_total", "Total number of inflight snapshot sends.", &["To"]),
                success: on.counters("etcd_network_snapshot_send_success", "Total number of successful snapshot sends.", &["To"]),
                failures: on.counters("etcd_network_snapshot_send_failures", "Total number of snapshot send failures.", &["To"]),
                durations: on.histograms("etcd_network_snapshot_send_total_duration_seconds", "Total latency distributions of snapshot sends.", (0.1, 10), &["To"]),
            },
            receives: TransferSeries {
                inflights: on.gauges("etcd_network_snapshot_receive_inflights_total", "Total number of inflight snapshot receives.", &["From"]),
                success: on.counters("etcd_network_snapshot_receive_success", "Total number of successful snapshot receives.", &["From"]),
                failures: on.counters("etcd_network_snapshot_receive_failures", "Total number of snapshot receive failures.", &["From"]),
                durations: on.histograms("etcd_network_snapshot_receive_total_duration_seconds", "Total latency distributions of snapshot receives.", (0.1, 10), &["From"]),
            },
        }
    }

    /// Removes the metrics of a member that left the cluster.
    pub(in super::super) fn remove(&self, member: MemberId) {
        self.sends.remove(member);
        self.receives.remove(member);
    }
}

impl TransferSeries {
    fn remove(&self, member: MemberId) {
        let labels = &[&*member.to_string()];
        // An error means that the series did not exist.
        let _ = [
            self.inflights.remove_label_values(labels),
            self.success.remove_label_values(labels),
            self.failures.remove_label_values(labels),
            self.durations.remove_label_values(labels),
        ];
    }

    /// Starts to time a transfer. Dropping the timer without [`TransferTimer::succeeded`] counts a failure.
    pub(super) fn begin(&self, member: MemberId) -> TransferTimer {
        let labels = &[&*member.to_string()];
        let inflights = self.inflights.with_label_values(labels);
        inflights.inc();
        TransferTimer {
            inflights,
            success: self.success.with_label_values(labels),
            failures: self.failures.with_label_values(labels),
            durations: self.durations.with_label_values(labels),
            begun: Instant::now(),
            succeeded: false,
        }
    }
}

#[derive(Debug)]
pub(super) struct TransferTimer {
    inflights: IntGauge,
    success: IntCounter,
    failures: IntCounter,
    durations: Histogram,
    pub(super) begun: Instant,
    succeeded: bool,
}

impl TransferTimer {
    /// Counts the transfer as a success and records its duration.
    pub(super) fn succeeded(mut self) {
        self.succeeded = true;
    }
}

impl Drop for TransferTimer {
    /// Counts a success with its duration, or a failure.
    fn drop(&mut self) {
        self.inflights.dec();
        if self.succeeded {
            self.success.inc();
            let took = self.begun.elapsed().as_secs_f64();
            self.durations.observe(took);
        } else {
            self.failures.inc();
        }
    }
}

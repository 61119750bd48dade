//! Metrics of streams and snapshots between members, with etcd's metric names.

use std::time::Instant;

use prometheus::{
    GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};
use witan_base::{metrics::Register, panics::PanicMetrics};
use witan_machine::member::MemberId;

/// Metrics of links, the listener and snapshots. Clones share the metrics.
#[derive(Clone, Debug)]
pub struct PeerMetrics {
    sent_bytes: IntCounterVec,
    received_bytes: IntCounterVec,
    sent_failures: IntCounterVec,
    received_failures: IntCounterVec,
    round_trips: HistogramVec,
    active: IntGaugeVec,
    disconnected: IntCounterVec,
    refused: IntCounterVec,
    clocks: GaugeVec,
    pub(super) snapshot_sends: TransferSeries,
    pub(super) snapshot_receives: TransferSeries,
    pub(super) panics: PanicMetrics,
}

/// Metrics of the streams to and from one other member.
#[derive(Clone, Debug)]
pub(super) struct PeerSeries {
    pub(super) sent_bytes: IntCounter,
    pub(super) received_bytes: IntCounter,
    pub(super) sent_failures: IntCounter,
    pub(super) received_failures: IntCounter,
    pub(super) round_trips: Histogram,
    pub(super) active: IntGauge,
    pub(super) disconnected: IntCounter,
}

/// Metrics of snapshots in one direction, by the other member.
#[derive(Clone, Debug)]
pub(super) struct TransferSeries {
    inflights: IntGaugeVec,
    success: IntCounterVec,
    failures: IntCounterVec,
    durations: HistogramVec,
}

impl PeerMetrics {
    /// Registers the metrics for streams and snapshots between members. `panics` counts panics of requests.
    #[rustfmt::skip]
    pub fn register(on: &Register, panics: PanicMetrics) -> Self {
        Self {
            sent_bytes: on.counters("etcd_network_peer_sent_bytes_total", "The total number of bytes sent to peers.", &["To"]),
            received_bytes: on.counters("etcd_network_peer_received_bytes_total", "The total number of bytes received from peers.", &["From"]),
            sent_failures: on.counters("etcd_network_peer_sent_failures_total", "The total number of dropped messages to peers and of failed attempts to connect to them.", &["To"]),
            received_failures: on.counters("etcd_network_peer_received_failures_total", "The total number of streams from peers that ended with an error.", &["From"]),
            round_trips: on.histograms("etcd_network_peer_round_trip_time_seconds", "Round-Trip-Time histogram between peers.", (0.0001, 16), &["To"]),
            active: on.gauges("etcd_network_active_peers", "The current number of active peer connections.", &["Local", "Remote"]),
            disconnected: on.counters("etcd_network_disconnected_peers_total", "The total number of disconnected peers.", &["Local", "Remote"]),
            refused: on.counters("witan_peer_refused_total", "Total number of refused connections to the peer port, by reason.", &["reason"]),
            clocks: on.floats("witan_peer_clock_difference_seconds", "Difference between the clock of a peer and this member's clock in seconds. Positive if the peer's clock is ahead.", &["To"]),
            snapshot_sends: TransferSeries {
                inflights: on.gauges("etcd_network_snapshot_send_inflights_total", "Total number of inflight snapshot sends.", &["To"]),
                success: on.counters("etcd_network_snapshot_send_success", "Total number of successful snapshot sends.", &["To"]),
                failures: on.counters("etcd_network_snapshot_send_failures", "Total number of snapshot send failures.", &["To"]),
                durations: on.histograms("etcd_network_snapshot_send_total_duration_seconds", "Total latency distributions of snapshot sends.", (0.1, 10), &["To"]),
            },
            snapshot_receives: TransferSeries {
                inflights: on.gauges("etcd_network_snapshot_receive_inflights_total", "Total number of inflight snapshot receives.", &["From"]),
                success: on.counters("etcd_network_snapshot_receive_success", "Total number of successful snapshot receives.", &["From"]),
                failures: on.counters("etcd_network_snapshot_receive_failures", "Total number of snapshot receive failures.", &["From"]),
                durations: on.histograms("etcd_network_snapshot_receive_total_duration_seconds", "Total latency distributions of snapshot receives.", (0.1, 10), &["From"]),
            },
            panics,
        }
    }

    /// Returns the metrics that the member `own` keeps about `member`.
    pub(super) fn of(&self, own: MemberId, member: MemberId) -> PeerSeries {
        let (own, member) = (own.to_string(), member.to_string());
        let (one, both) = ([member.as_str()], [own.as_str(), member.as_str()]);
        PeerSeries {
            sent_bytes: self.sent_bytes.with_label_values(&one),
            received_bytes: self.received_bytes.with_label_values(&one),
            sent_failures: self.sent_failures.with_label_values(&one),
            received_failures: self.received_failures.with_label_values(&one),
            round_trips: self.round_trips.with_label_values(&one),
            active: self.active.with_label_values(&both),
            disconnected: self.disconnected.with_label_values(&both),
        }
    }

    /// Counts a connection that was refused for this reason.
    pub(super) fn refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    /// Records the number of seconds by which a member's clock is ahead.
    pub(super) fn clock(&self, member: MemberId, ahead_s: f64) {
        let to = member.to_string();
        self.clocks.with_label_values(&[&to]).set(ahead_s);
    }

    /// Removes the metrics of a member that left the cluster.
    pub(super) fn remove(&self, own: MemberId, member: MemberId) {
        let (own, member) = (own.to_string(), member.to_string());
        let (one, both) = ([member.as_str()], [own.as_str(), member.as_str()]);
        // An error means that the series did not exist.
        let _ = [
            self.sent_bytes.remove_label_values(&one),
            self.received_bytes.remove_label_values(&one),
            self.sent_failures.remove_label_values(&one),
            self.received_failures.remove_label_values(&one),
            self.round_trips.remove_label_values(&one),
            self.clocks.remove_label_values(&one),
            self.active.remove_label_values(&both),
            self.disconnected.remove_label_values(&both),
        ];
        self.snapshot_sends.remove(&one);
        self.snapshot_receives.remove(&one);
    }
}

impl TransferSeries {
    /// Removes the series of a member that left the cluster.
    fn remove(&self, labels: &[&str]) {
        // An error means that the series did not exist.
        let _ = [
            self.inflights.remove_label_values(labels),
            self.success.remove_label_values(labels),
            self.failures.remove_label_values(labels),
            self.durations.remove_label_values(labels),
        ];
    }

    /// Counts a transfer as in flight and starts to time it. Dropping the timer without [`TransferTimer::succeeded`] counts a
    /// failure.
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

/// Counts a transfer in progress. Dropping the timer before [`Self::succeeded`] counts a failed transfer.
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

//! Counts, by reason, the messages that the replica drops because no correct member sends them, and logs some of them. The
//! replica decides which messages are faulty.

use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntCounterVec};
use witan_machine::member::MemberId;
use witan_replica::replica::MessageFault;

/// Minimum interval between two log lines, because a leader repeats an unacknowledged append.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(super) struct MessageFaultSeries {
    malformed: IntCounter,
    corrupt_entry: IntCounter,
    unknown_entry: IntCounter,
    unsound: IntCounter,
}

impl MessageFaultSeries {
    /// Creates the counters for all reasons, so that they exist from startup with the value 0.
    pub(super) fn new(series: &IntCounterVec) -> Self {
        let of = |reason| series.with_label_values(&[reason]);
        Self {
            malformed: of("malformed"),
            corrupt_entry: of("corrupt_entry"),
            unknown_entry: of("unknown_entry"),
            unsound: of("unsound"),
        }
    }

    fn of(&self, fault: MessageFault) -> &IntCounter {
        match fault {
            MessageFault::Malformed => &self.malformed,
            MessageFault::CorruptEntry { .. } => &self.corrupt_entry,
            MessageFault::UnknownEntry { .. } => &self.unknown_entry,
            MessageFault::OtherState | MessageFault::Unsound => &self.unsound,
        }
    }
}

/// Counts and logs faulty messages for the replica's thread.
#[derive(Debug)]
pub(super) struct MessageFaults {
    series: MessageFaultSeries,
    logged: Option<Instant>,
    /// Number of messages dropped since the last log line.
    since: u64,
}

impl MessageFaults {
    /// Creates a counter without dropped messages.
    pub(super) fn new(series: MessageFaultSeries) -> Self {
        Self { series, logged: None, since: 0 }
    }

    /// Counts a dropped message. If a log line is due, returns the number of messages dropped since the last line, including
    /// this one. Otherwise returns `None`.
    fn count(&mut self, fault: MessageFault, now: Instant) -> Option<u64> {
        self.series.of(fault).inc();
        self.since += 1;
        let is_recent = |logged| now.saturating_duration_since(logged) < LOG_INTERVAL;
        if self.logged.is_some_and(is_recent) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.since))
    }

    /// Counts a dropped message from member `from`. Logs a warning unless it logged one within [`LOG_INTERVAL`].
    pub(super) fn report(&mut self, from: MemberId, fault: MessageFault) {
        if let Some(messages) = self.count(fault, Instant::now()) {
            let remote_peer_id = from.to_string();
            tracing::warn!(
                remote_peer_id,
                error = %fault,
                messages,
                "dropped messages of a peer; look for a damaged disk or another release there"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use witan_base::metrics::{MetricsPage, Register};

    #[test]
    fn each_dropped_message_is_counted_and_few_are_logged() {
        let on = Register::default();
        let series = on.counters("dropped", "Dropped messages.", &["reason"]);
        let mut faults = MessageFaults::new(MessageFaultSeries::new(&series));
        let page = MetricsPage::new(on);
        for reason in ["malformed", "corrupt_entry", "unknown_entry", "unsound"] {
            let line = format!("dropped{{reason=\"{reason}\"}} 0");
            assert!(page.render().contains(&line), "{line}");
        }
        let begun = Instant::now();
        let corrupt = MessageFault::CorruptEntry { index: 7 };
        assert_eq!(faults.count(corrupt, begun), Some(1));
        for _ in 0..1000 {
            assert_eq!(faults.count(corrupt, begun + LOG_INTERVAL / 2), None);
        }
        let unsound = faults.count(MessageFault::Unsound, begun + LOG_INTERVAL);
        assert_eq!(unsound, Some(1001));
        let page = page.render();
        assert!(page.contains("dropped{reason=\"corrupt_entry\"} 1001"));
        assert!(page.contains("dropped{reason=\"unsound\"} 1"));
    }
}

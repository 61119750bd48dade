//! Logs some of the messages that the replica drops because no correct member sends them.

use std::time::{Duration, Instant};

use witan_machine::member::MemberId;
use witan_replica::replica::MessageFault;

/// Minimum interval between two log lines, because a leader repeats an unacknowledged append.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Counts faulty messages between two log lines of the replica's thread.
#[derive(Debug, Default)]
pub(super) struct MessageFaults {
    logged: Option<Instant>,
    /// Number of messages dropped since the last log line.
    since: u64,
}

impl MessageFaults {
    /// Counts a dropped message. If a log line is due, returns the number of messages dropped since the last line, else `None`.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.since += 1;
        let is_recent = |logged| now.saturating_duration_since(logged) < LOG_INTERVAL;
        if self.logged.is_some_and(is_recent) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.since))
    }

    /// Logs a warning about a dropped message from member `from`, unless it has logged a warning within [`LOG_INTERVAL`].
    pub(super) fn report(&mut self, from: MemberId, fault: MessageFault) {
        if let Some(messages) = self.count(Instant::now()) {
            let remote_peer_id = from.to_string();
            tracing::warn!(
                remote_peer_id,
                error = %fault,
                messages,
                "dropped messages from a peer; check whether the peer's disk is damaged or the peer runs another release"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_messages_are_logged_once_per_interval() {
        let mut faults = MessageFaults::default();
        let begun = Instant::now();
        assert_eq!(faults.count(begun), Some(1));
        for _ in 0..1000 {
            assert_eq!(faults.count(begun + LOG_INTERVAL / 2), None);
        }
        assert_eq!(faults.count(begun + LOG_INTERVAL), Some(1001));
    }
}

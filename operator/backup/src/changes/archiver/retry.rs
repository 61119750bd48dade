//! Decides when to retry a failed backup. Each attempt reads an entire snapshot from a member.

use std::time::{Duration, Instant};

use crate::reason::BackupError;

/// The wait after the first failure of a backup. Each further consecutive failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(30);
/// Maximum wait before a retry; a longer wait is shortened to this one. A store that fails for hours costs a member at most two
/// snapshots an hour.
const WAIT_MAX: Duration = Duration::from_secs(1800);

#[derive(Debug, Default)]
pub(super) struct Retry {
    failed: Option<Failed>,
}

#[derive(Debug)]
struct Failed {
    message: String,
    wait: Duration,
    until: Instant,
}

impl Retry {
    pub(super) fn failed(&mut self, error: &BackupError, now: Instant) {
        let wait = self
            .failed
            .as_ref()
            .map_or(FIRST_WAIT, |last| last.wait * 2);
        let wait = wait.min(WAIT_MAX);
        let message = format!(
            "the stored changes cannot be restored yet, because the backup from which they start failed; the next attempt starts in {} s: {}",
            wait.as_secs(),
            error.message
        );
        self.failed = Some(Failed { message, wait, until: now + wait });
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.failed.as_ref().is_none_or(|last| now >= last.until)
    }

    /// Returns the message of the last failure; `None` after a success.
    pub(super) fn message(&self) -> Option<&str> {
        self.failed.as_ref().map(|last| last.message.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        let (now, mut retry) = (Instant::now(), Retry::default());
        assert!(retry.is_due(now));
        for wait in [30, 60, 120, 240, 480, 960, 1800, 1800] {
            retry.failed(&BackupError::new(Reason::StoreFull, "no space"), now);
            let wait = Duration::from_secs(wait);
            assert!(!retry.is_due(now + wait - Duration::from_millis(1)));
            assert!(retry.is_due(now + wait));
        }
        assert!(retry.message().unwrap().ends_with("no space"));
    }
}

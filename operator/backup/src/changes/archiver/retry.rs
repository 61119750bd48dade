//! When a backup that has failed is tried again: each try reads a whole snapshot of a member.

use std::time::{Duration, Instant};

use crate::reason::BackupError;

/// The wait after a failure: a store that is full or slow for hours costs a member at most six snapshots in an hour.
const WAIT: Duration = Duration::from_secs(600);

/// The last failure of a backup.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failed: Option<Failed>,
}

#[derive(Debug)]
struct Failed {
    message: String,
    until: Instant,
}

impl Retry {
    pub(super) fn failed(&mut self, error: &BackupError, now: Instant) {
        let message = format!(
            "the stored changes cannot be restored: the backup that they start from failed, and is tried again after {} s: {}",
            WAIT.as_secs(),
            error.message
        );
        self.failed = Some(Failed { message, until: now + WAIT });
    }

    /// Whether the backup may be tried.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.failed.as_ref().is_none_or(|last| now >= last.until)
    }

    /// Returns the last failure, for status and log.
    pub(super) fn message(&self) -> Option<&str> {
        self.failed.as_ref().map(|last| last.message.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    #[test]
    fn a_backup_is_due_after_the_wait() {
        let (now, mut retry) = (Instant::now(), Retry::default());
        assert!(retry.is_due(now));
        retry.failed(&BackupError::new(Reason::StoreFull, "no space"), now);
        assert!(!retry.is_due(now + WAIT - Duration::from_millis(1)));
        assert!(retry.is_due(now + WAIT));
        assert!(retry.message().unwrap().ends_with("no space"));
    }
}

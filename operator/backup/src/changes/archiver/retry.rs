//! Decides when to retry a failed backup. Each attempt reads an entire snapshot from a member.

use std::time::{Duration, Instant};

use crate::reason::BackupError;

/// The wait after the first failure of a backup. Each further consecutive failure doubles the wait.
const FIRST_WAIT: Duration = Duration::from_secs(30);
/// The wait at which the doubling stops. A store that fails for hours costs a member at most two snapshots an hour.
const LAST_WAIT: Duration = Duration::from_secs(1800);

/// A failed backup.
#[derive(Debug)]
pub(super) struct FailedBackup {
    pub(super) message: String,
    pub(super) retry_at: Instant,
    wait: Duration,
}

impl FailedBackup {
    /// Sets the time of the next attempt. `last` is the failure of the preceding attempt, whose wait is doubled.
    pub(super) fn after(last: Option<&Self>, error: &BackupError, now: Instant) -> Self {
        let wait = last.map_or(FIRST_WAIT, |last| last.wait * 2).min(LAST_WAIT);
        let message = format!(
            "the stored changes cannot be restored yet, because the backup from which they start failed; the next attempt starts in {} s: {}",
            wait.as_secs(),
            error.message
        );
        Self { message, retry_at: now + wait, wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        let (now, mut last) = (Instant::now(), None);
        for wait in [30, 60, 120, 240, 480, 960, 1800, 1800] {
            let error = BackupError::new(Reason::StoreFull, "no space");
            let failed = FailedBackup::after(last.as_ref(), &error, now);
            assert_eq!(failed.retry_at, now + Duration::from_secs(wait));
            assert!(failed.message.ends_with("no space"));
            last = Some(failed);
        }
    }
}

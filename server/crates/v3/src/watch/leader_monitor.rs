//! Checks periodically whether there is a leader, for streams that require one.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

use super::limits::{LEADER_CHECK_INTERVAL, LEADERLESS_MAX};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct LeaderMonitor {
    timer: Pin<Box<Sleep>>,
    leaderless: u32,
}

impl LeaderMonitor {
    /// Creates a monitor whose first check is due after `LEADER_CHECK_INTERVAL`.
    pub(crate) fn new() -> Self {
        Self {
            timer: Box::pin(sleep_until(Instant::now() + LEADER_CHECK_INTERVAL)),
            leaderless: 0,
        }
    }

    /// Resolves when the next check is due.
    pub(crate) async fn wait(&mut self) {
        self.timer.as_mut().await;
    }

    /// Records a check and schedules the next one. Returns false, so that the stream ends, after
    /// `LEADERLESS_MAX` checks in a row without a leader.
    pub(crate) fn observe(&mut self, has_leader: bool) -> bool {
        self.timer
            .as_mut()
            .reset(Instant::now() + LEADER_CHECK_INTERVAL);
        self.leaderless = if has_leader { 0 } else { self.leaderless + 1 };
        self.leaderless < LEADERLESS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_leader_may_be_missing_for_a_while() {
        let mut look = LeaderMonitor::new();
        let seen = [false, false, true, false, false, false];
        let goes_on = seen.map(|has_leader| look.observe(has_leader));
        assert_eq!(goes_on, [true, true, true, true, true, false]);
    }
}

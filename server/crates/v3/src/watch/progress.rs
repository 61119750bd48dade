//! Progress notifications: on request, and periodically for watchers with `progress_notify`.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep, sleep_until};
use witan_node::now_ns;

use super::watchers::StreamWatchers;
use witan_machine::revision::Revision;

/// The watch ID of responses that belong to no single watcher.
pub(super) const NO_WATCHER: i64 = -1;

/// Decides when to send progress notifications.
#[derive(Debug, Default)]
pub(super) struct ProgressNotifier {
    /// Number of progress requests without a response.
    unanswered: u32,
    is_due: bool,
    /// The revision up to which the stream must read before the next notification.
    pub(super) wanted: Revision,
    timer: Option<Pin<Box<Sleep>>>,
}

impl ProgressNotifier {
    /// Counts a progress request, to be answered when the stream has read up to `published`. As in etcd, ignores the request if
    /// the stream has no watcher, or a watcher that is compacted or waits for a future revision.
    pub(super) fn count(&mut self, watchers: &StreamWatchers, published: Revision) {
        if !watchers.by_id.is_empty() && watchers.all_reach(published) {
            self.unanswered = self.unanswered.saturating_add(1);
            self.wanted = published;
        }
    }

    /// If a watcher needs notifications (`wanted`), starts the timer with `interval` and a random delay, unless the timer is
    /// running. Otherwise, stops the timer.
    pub(super) fn keep_timer(&mut self, wanted: bool, interval: Duration) {
        if wanted && self.timer.is_none() {
            let at = Instant::now() + interval + jitter(interval);
            self.timer = Some(Box::pin(sleep_until(at)));
        } else if !wanted {
            self.timer = None;
        }
    }

    /// Waits until the timer for the periodic notification ends. Never resolves if there is no timer.
    pub(super) async fn due(&mut self) {
        match &mut self.timer {
            Some(timer) => timer.await,
            None => std::future::pending().await,
        }
    }

    /// Stops the timer and marks the periodic notification as due. The notification waits until the stream has read up to
    /// `published`.
    pub(super) fn mark_due(&mut self, published: Revision) {
        self.is_due = true;
        self.wanted = published;
        self.timer = None;
    }

    /// Takes the notifications that are due if the stream has read up to the wanted revision; otherwise, takes none. Returns
    /// the idle synced watchers to notify and the number of progress requests to answer. Progress requests wait until no
    /// watcher is unsynced (`caught_up`). If a periodic notification is due, marks the watchers with `progress_notify` as idle.
    pub(super) fn take_recipients(
        &mut self,
        watchers: &mut StreamWatchers,
        notified_revision: Revision,
        caught_up: bool,
    ) -> (Vec<i64>, u32) {
        let mut recipients = Vec::new();
        if notified_revision < self.wanted {
            return (recipients, 0);
        }
        if std::mem::take(&mut self.is_due) {
            let notified: Vec<i64> = watchers.notify.iter().copied().collect();
            for id in notified {
                let is_future = watchers.is_future(id, notified_revision);
                let Some(watcher) = watchers.by_id.get_mut(&id) else {
                    continue;
                };
                let flags = &mut watcher.flags;
                if flags.idle && !flags.unsynced && !flags.compacted && !is_future {
                    recipients.push(id);
                }
                flags.idle = true;
            }
        }
        let unanswered = if caught_up {
            std::mem::take(&mut self.unanswered)
        } else {
            0
        };
        (recipients, unanswered)
    }
}

/// Returns a random delay of up to a tenth of the interval, so that streams that started together do not notify together.
fn jitter(interval: Duration) -> Duration {
    let tenth = u64::try_from(interval.as_nanos() / 10).unwrap_or(u64::MAX);
    Duration::from_nanos(now_ns().unsigned_abs() % tenth.max(1))
}

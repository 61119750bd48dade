//! Logs the progress of a transfer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{task::JoinHandle, time::MissedTickBehavior};

const INTERVAL: Duration = Duration::from_secs(5);

/// Counts transferred bytes and logs the total at intervals until dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    done: Arc<AtomicU64>,
    lines: JoinHandle<()>,
}

impl Progress {
    /// Starts to log. `verb` describes the transfer, such as `saved`, and `total` is the expected number of bytes.
    pub(crate) fn start(verb: &'static str, total: u64) -> Self {
        let done = Arc::new(AtomicU64::new(0));
        let lines = tokio::spawn(log(verb, total, done.clone()));
        Self { done, lines }
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.done.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.lines.abort();
    }
}

/// Logs the transferred bytes and the rate every [`INTERVAL`]. Never returns.
async fn log(verb: &'static str, total: u64, done: Arc<AtomicU64>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick completes immediately.
    ticks.tick().await;
    let (mut before, mut at) = (0, Instant::now());
    loop {
        ticks.tick().await;
        let bytes = done.load(Ordering::Relaxed);
        let millis = u64::try_from(at.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let rate = (bytes - before).saturating_mul(1000) / millis;
        let (now, of, per_second) = (size(bytes), size(total), size(rate));
        tracing::info!(
            bytes,
            total,
            bytes_per_second = rate,
            "{verb} {now} of {of}, {per_second}/s"
        );
        (before, at) = (bytes, Instant::now());
    }
}

/// Formats a number of bytes, such as `512 B` or `1.5 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10 * 1024 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_human_readable() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536 << 10, "1.5 MiB"),
            ((1 << 30) - 1, "1023.9 MiB"),
            (3 << 40, "3.0 TiB"),
            (5000 << 40, "5000.0 TiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(size(bytes), text);
        }
    }
}

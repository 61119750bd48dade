//! Logs the progress of a transfer.

use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(5);

/// Counts transferred bytes and logs the total at intervals.
#[derive(Debug)]
pub(crate) struct Progress {
    verb: &'static str,
    total: u64,
    bytes: u64,
    /// The number of bytes in the last log line, and the time of that line.
    logged: (u64, Instant),
}

impl Progress {
    /// Starts counting. `verb` describes the transfer, such as `saved`, and `total` is the expected number of bytes.
    pub(crate) fn start(verb: &'static str, total: u64) -> Self {
        Self { verb, total, bytes: 0, logged: (0, Instant::now()) }
    }

    /// Adds transferred bytes. Logs the total at most every [`INTERVAL`].
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        let (before, at) = self.logged;
        let elapsed = at.elapsed();
        if elapsed < INTERVAL {
            return;
        }
        let (verb, bytes, total) = (self.verb, self.bytes, self.total);
        let rate = ((bytes - before) as f64 / elapsed.as_secs_f64()) as u64;
        let (now, of, per_second) = (size(bytes), size(total), size(rate));
        tracing::info!(
            bytes,
            total,
            bytes_per_second = rate,
            "{verb} {now} of {of}, {per_second}/s"
        );
        self.logged = (bytes, Instant::now());
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

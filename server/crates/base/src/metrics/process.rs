//! Process metrics, with the names that Prometheus clients and etcd use.

use std::fs;

use prometheus::{Counter, Gauge, IntGauge};

use super::{gauge, register::Register};
use crate::memory_limit::field;

/// Linux reports processor time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// Series of the process, read from the system at each scrape.
#[derive(Debug)]
pub struct ProcessSeries {
    cpu: Counter,
    start: Gauge,
    resident: Gauge,
    virtual_: Gauge,
    virtual_max: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    fd_used: IntGauge,
    fd_limit: IntGauge,
}

impl ProcessSeries {
    /// Registers all series.
    #[rustfmt::skip]
    pub fn register(on: &Register) -> Self {
        Self {
            cpu: on.seconds("process_cpu_seconds_total", "Total user and system CPU time spent in seconds."),
            start: on.float("process_start_time_seconds", "Start time of the process since unix epoch in seconds."),
            resident: on.float("process_resident_memory_bytes", "Resident memory size in bytes."),
            virtual_: on.float("process_virtual_memory_bytes", "Virtual memory size in bytes."),
            virtual_max: on.float("process_virtual_memory_max_bytes", "Maximum amount of virtual memory available in bytes."),
            open_fds: on.float("process_open_fds", "Number of open file descriptors."),
            max_fds: on.float("process_max_fds", "Maximum number of open file descriptors."),
            fd_used: on.gauge("os_fd_used", "The number of used file descriptors."),
            fd_limit: on.gauge("os_fd_limit", "The file descriptor limit."),
        }
    }

    /// Updates all series from `/proc` and the resource limits. If `/proc` cannot be read, processor time and start time keep
    /// their values, and the series of memory and open files become 0.
    pub fn update(&self) {
        let (open_fds, max_fds) = file_descriptors();
        self.fd_used.set(gauge(open_fds));
        self.fd_limit.set(gauge(max_fds));
        if let Some(seconds) = cpu_seconds() {
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        }
        if let Some(start) = start_seconds() {
            self.start.set(start);
        }
        let status = status();
        for (series, name) in [(&self.resident, "VmRSS:"), (&self.virtual_, "VmSize:")] {
            series.set(field(&status, name).unwrap_or(0) as f64 * 1024.0);
        }
        self.virtual_max
            .set(rlimit::Resource::AS.get_soft().unwrap_or(u64::MAX) as f64);
        self.open_fds.set(open_fds as f64);
        self.max_fds.set(max_fds as f64);
    }
}

/// Returns the resident memory of this process in bytes, or 0 if `/proc` cannot be read.
pub fn resident_bytes() -> u64 {
    field(&status(), "VmRSS:").unwrap_or(0) * 1024
}

/// Returns the resident and the swapped memory of this process in bytes, if possible without mapped files; 0 if `/proc` cannot
/// be read. Swapped pages are included because they need memory again when they are used.
pub fn anonymous_bytes() -> u64 {
    anonymous_kib(&status()) * 1024
}

/// Returns the memory of [`anonymous_bytes`] in KiB, from the text of `/proc/self/status`.
fn anonymous_kib(status: &str) -> u64 {
    let resident = field(status, "RssAnon:").or_else(|| field(status, "VmRSS:"));
    resident.unwrap_or(0) + field(status, "VmSwap:").unwrap_or(0)
}

/// Returns the number of open file descriptors, including the one that lists them, and their soft limit. Returns 0 for a number
/// that the system does not report.
pub fn file_descriptors() -> (u64, u64) {
    let used = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    (used, rlimit::Resource::NOFILE.get_soft().unwrap_or(0))
}

/// Returns the text of `/proc/self/status`, or an empty string if the file cannot be read.
fn status() -> String {
    fs::read_to_string("/proc/self/status").unwrap_or_default()
}

/// Returns the fields of `/proc/self/stat`, starting with the third field, with 0 for non-numeric fields. The second field is
/// in parentheses and can contain any text. Returns `None` if the file cannot be read or contains no parenthesis.
fn stat() -> Option<Vec<f64>> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(
        rest.split_whitespace()
            .map(|field| field.parse().unwrap_or(0.0))
            .collect(),
    )
}

/// Returns the processor time in user and system mode in seconds, or `None` if `/proc/self/stat` cannot be read.
fn cpu_seconds() -> Option<f64> {
    // Fields 14 and 15 of the file are user time and system time.
    let stat = stat()?;
    Some((stat.get(11)? + stat.get(12)?) / TICKS_PER_SECOND)
}

/// Returns this process's start time in Unix seconds, computed from the boot time, or `None` if a time cannot be read.
fn start_seconds() -> Option<f64> {
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot = system
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?;
    let boot: f64 = boot.parse().ok()?;
    Some(boot + stat()?.get(19)? / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_system_returns_plausible_values() {
        assert!(resident_bytes() > 1 << 20);
        assert!(anonymous_bytes() > 0);
        assert!(cpu_seconds().unwrap() >= 0.0);
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        let age = now.as_secs_f64() - start_seconds().unwrap();
        assert!((-2.0..24.0 * 3600.0).contains(&age), "{age}");
    }

    #[test]
    fn anonymous_memory_includes_swapped_memory() {
        let status = "VmRSS:\t  900 kB\nRssAnon:\t  500 kB\nVmSwap:\t  70 kB\n";
        assert_eq!(anonymous_kib(status), 570);
        assert_eq!(anonymous_kib("VmRSS:\t  900 kB\n"), 900);
    }
}

//! The kernel's counters of a process (CPU time, memory, written bytes), and the size of a directory.

use std::{fs, path::Path, time::Duration};

/// Clock ticks per second in `/proc/PID/stat`, which is part of the kernel's ABI.
const TICKS_PER_SECOND: u64 = 100;

/// Returns the user and system time of all threads. Panics if there is no such process.
pub fn cpu(pid: u32) -> Duration {
    let stat = read(pid, "stat");
    // The name in parentheses may contain blanks.
    let (_, fields) = stat.rsplit_once(')').expect("stat has a name");
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// Returns the resident memory in bytes. Panics if there is no such process.
pub fn resident_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmRSS:")
}

/// Returns the value in a line of `/proc/PID/status`, in bytes. Panics if there is no such process or line.
pub fn status_bytes(pid: u32, label: &str) -> u64 {
    number(&read(pid, "status"), label) * 1024
}

/// Resets the peak of the resident memory (`VmHWM` in `/proc/PID/status`). Panics if it cannot.
pub fn reset_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("an own child");
}

/// Returns the number of bytes that the process has written to disk. Panics if there is no such process.
pub fn written_bytes(pid: u32) -> u64 {
    number(&read(pid, "io"), "write_bytes:")
}

/// Returns the disk usage of a directory in bytes, or 0 if it cannot be read.
pub fn folder_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, data)| {
            if data.is_dir() {
                folder_bytes(&path)
            } else {
                data.blocks() * 512
            }
        })
        .sum()
}

fn read(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).expect("the process runs")
}

fn number(text: &str, label: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(label))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .expect("the kernel gives this number")
}

//! The lowest cost of a durable write on this machine: append the bytes of one put to a file, and fdatasync.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use crate::{load::Measured, verb::VALUE_BYTES};

/// Key, value, and about what a log adds to them.
const RECORD_BYTES: usize = 16 + VALUE_BYTES + 64;

/// Appends and syncs in `folder` for `length`.
///
/// # Panics
/// If the disk refuses.
pub fn measure(folder: &Path, length: Duration) -> Measured {
    let path = folder.join("floor");
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .append(true)
        .open(&path)
        .expect("the folder is writable");
    let record = [b'v'; RECORD_BYTES];
    let begun = Instant::now();
    let mut measured = Measured::default();
    while begun.elapsed() < length {
        let one = Instant::now();
        file.write_all(&record).expect("the disk has room");
        file.sync_data().expect("the disk keeps it");
        let took = one.elapsed().as_micros();
        measured
            .latencies
            .push(u32::try_from(took).unwrap_or(u32::MAX));
    }
    fs::remove_file(&path).expect("it is ours");
    measured.requests = measured.latencies.len() as u64;
    measured.elapsed = begun.elapsed();
    measured.latencies.sort_unstable();
    measured
}

//! Formats a snapshot's statistics as etcdutl does: `snapshot status` and `hashkv`.

use std::{
    fs::{File, TryLockError},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use witan_machine::revision::Revision;
use witan_snapshot::{self as snapshot, SnapshotKeys, digest};

use super::error::OfflineError;

const NEVER_COMPACTED: i64 = -1;

/// Interval between attempts to lock a file, as in bbolt.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// A value in the output: its title and text in a table, and its name and text in the output format `fields`.
type Column = (&'static str, String, &'static str, String);

/// Creates the column of a value that has the same text in all formats.
fn column(title: &'static str, name: &'static str, value: &dyn ToString) -> Column {
    (title, value.to_string(), name, value.to_string())
}

/// Formats the statistics of a snapshot. Fails for a format that etcdutl does not support, or a snapshot that this release
/// cannot read.
pub(super) fn status(path: &Path, format: &str) -> Result<String, OfflineError> {
    check_format(format)?;
    let (length, _) = digest::length("stat", path)?;
    let status = snapshot::status(path, length).map_err(OfflineError::broken(path))?;
    let (hash, bytes) = (status.hash, status.bytes);
    let columns = [
        ("HASH", format!("{hash:x}"), "Hash", hash.to_string()),
        column("REVISION", "Revision", &status.revision),
        column("TOTAL KEYS", "Keys", &status.keys),
        ("TOTAL SIZE", human(bytes), "Size", bytes.to_string()),
        column("VERSION", "Version", &status.version),
    ];
    show(format, &columns, &status)
}

/// Fails for an output format that etcdutl does not support.
fn check_format(format: &str) -> Result<(), OfflineError> {
    match format {
        "simple" | "table" | "json" | "fields" => Ok(()),
        "protobuf" => Err(OfflineError::NotInFormat("protobuf")),
        _ => Err(OfflineError::Format),
    }
}

/// Formats the columns, or `value` as JSON. The caller has checked the format.
fn show(
    format: &str,
    columns: &[Column],
    value: &impl serde::Serialize,
) -> Result<String, OfflineError> {
    let cells: Vec<&str> = columns.iter().map(|(_, cell, ..)| cell.as_str()).collect();
    match format {
        "simple" => Ok(format!("{}\n", cells.join(", "))),
        "table" => Ok(table(columns)),
        "fields" => {
            let fields = columns.iter();
            let fields = fields.map(|(_, _, name, value)| format!("\"{name}\" : {value}\n"));
            Ok(fields.collect())
        }
        _ => json(value),
    }
}

/// Formats a value as one line of JSON.
pub(super) fn json<T: serde::Serialize>(found: &T) -> Result<String, OfflineError> {
    match serde_json::to_string(found) {
        Ok(text) => Ok(format!("{text}\n")),
        Err(_) => Err(OfflineError::NotInFormat("json")),
    }
}

/// Formats the hash of the keys in a snapshot or in etcd's backend at `revision`; 0 means the last revision. Waits up to
/// `timeout` if another process holds the lock on the file. Fails with `Compacted` or `FutureRevision` if the revision is not
/// available.
pub(super) fn hash_kv(
    path: &Path,
    revision: i64,
    format: &str,
    timeout: Duration,
) -> Result<String, OfflineError> {
    check_format(format)?;
    // Like etcdutl, report a missing file first.
    digest::length("stat", path)?;
    let _locked = lock(path, timeout)?;
    let (length, _) = digest::length("stat", path)?;
    let keys = SnapshotKeys::read(path, length).map_err(OfflineError::broken(path))?;
    let kv = &keys.kv;
    let hash_revision = kv.hash_revision(Revision(revision));
    let hash_revision = hash_revision.map_err(|_| match revision < kv.compacted().0 {
        true => OfflineError::Compacted,
        false => OfflineError::FutureRevision,
    })?;
    let hash = keys.hash(hash_revision);
    let hash = hash.map_err(OfflineError::broken(path))?;
    let compact_revision = match kv.compacted().0 {
        0 => NEVER_COMPACTED,
        compacted => compacted,
    };
    let columns = [
        column("HASH", "Hash", &hash),
        column("HASH REVISION", "Hash revision", &hash_revision.0),
        column("COMPACT REVISION", "Compact revision", &compact_revision),
    ];
    let found = serde_json::json!({
        "hash": hash,
        "hashRevision": hash_revision.0,
        "compactRevision": compact_revision,
    });
    show(format, &columns, &found)
}

/// Takes the shared lock by which bbolt's readers exclude a writer, such as a running etcd. Closing the file releases the
/// lock. Fails if another process holds the lock for longer than `timeout`; 0 waits indefinitely.
fn lock(path: &Path, timeout: Duration) -> Result<File, OfflineError> {
    let file = File::open(path).map_err(OfflineError::open("open", path))?;
    let begun = Instant::now();
    loop {
        match file.try_lock_shared() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(OfflineError::open("lock", path)(error)),
            Err(TryLockError::WouldBlock) => {}
        }
        if !timeout.is_zero() && begun.elapsed() >= timeout {
            let path = path.display().to_string();
            return Err(OfflineError::Locked { path, timeout });
        }
        thread::sleep(LOCK_POLL);
    }
}

/// Formats a table with one row. Titles are centered, cells are right-aligned.
fn table(columns: &[Column]) -> String {
    let widths = columns
        .iter()
        .map(|(title, cell, ..)| title.len().max(cell.len()));
    let widths: Vec<usize> = widths.collect();
    let line = |begin: char, between: &str, end: char| {
        let dashes: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{begin}{}{end}\n", dashes.join(between))
    };
    let (mut titles, mut row) = (String::new(), String::new());
    for ((title, cell, ..), width) in columns.iter().zip(&widths) {
        titles += &format!("│ {title:^width$} ");
        row += &format!("│ {cell:>width$} ");
    }
    let [top, middle, bottom] = [
        line('┌', "┬", '┐'),
        line('├', "┼", '┤'),
        line('└', "┴", '┘'),
    ];
    format!("{top}{titles}│\n{middle}{row}│\n{bottom}")
}

/// Formats a size in decimal units (1 kB is 1000 bytes), with one decimal place below 10, except for bytes.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    if bytes < 10 {
        return format!("{bytes} B");
    }
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1000.0, unit + 1);
    }
    let value = (value * 10.0 + 0.5).floor() / 10.0;
    if value < 10.0 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_formatted_as_in_etcdutl() {
        for (bytes, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (82, "82 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (9_990, "10 kB"),
            (20_480, "20 kB"),
            (2_147_483_648, "2.1 GB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}

//! Prints a snapshot's statistics in etcdutl's formats: `snapshot status` and `hashkv`.

use std::{
    fs::{File, TryLockError},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use witan_snapshot::{self as snapshot, SnapshotKeys, SnapshotStatus, digest};

use super::error::OfflineError;
use witan_machine::revision::Revision;

const NEVER_COMPACTED: i64 = -1;

/// Interval at which a locked file is tried again, as in bbolt.
const LOCK_POLL: Duration = Duration::from_millis(50);

const TITLES: [&str; 5] = ["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "VERSION"];

pub(super) fn status(path: &Path, format: &str) -> Result<String, OfflineError> {
    let show: fn(&SnapshotStatus) -> Result<String, OfflineError> = match format {
        "simple" => |status| Ok(format!("{}\n", cells(status).join(", "))),
        "table" => |status| Ok(table(&TITLES, &cells(status))),
        "json" => json,
        "fields" => |status| Ok(fields(status)),
        _ => return Err(refused(format)),
    };
    let (length, _) = digest::length("stat", path)?;
    let status = snapshot::status(path, length).map_err(OfflineError::broken(path))?;
    show(&status)
}

/// Returns etcdutl's error for an unsupported output format.
fn refused(format: &str) -> OfflineError {
    match format {
        "protobuf" => OfflineError::NotInFormat("protobuf"),
        _ => OfflineError::Format,
    }
}

#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct KeysHash {
    hash: u32,
    hash_revision: i64,
    compact_revision: i64,
}

/// Formats the hash of the keys in a snapshot or in etcd's backend at `revision`; 0 means the last revision. Waits up to
/// `timeout` if another process holds the lock on the file.
pub(super) fn hash_kv(
    path: &Path,
    revision: i64,
    format: &str,
    timeout: Duration,
) -> Result<String, OfflineError> {
    let show: fn(&KeysHash) -> Result<String, OfflineError> = match format {
        "simple" => |found| Ok(format!("{}\n", found.cells().join(", "))),
        "table" => |found| Ok(table(&KeysHash::TITLES, &found.cells())),
        "json" => json,
        "fields" => |found| Ok(found.fields()),
        _ => return Err(refused(format)),
    };
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
    show(&KeysHash {
        hash: hash.map_err(OfflineError::broken(path))?,
        hash_revision: hash_revision.0,
        compact_revision: match kv.compacted().0 {
            0 => NEVER_COMPACTED,
            compacted => compacted,
        },
    })
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

impl KeysHash {
    const TITLES: [&str; 3] = ["HASH", "HASH REVISION", "COMPACT REVISION"];

    fn cells(&self) -> [String; 3] {
        [
            self.hash.to_string(),
            self.hash_revision.to_string(),
            self.compact_revision.to_string(),
        ]
    }

    fn fields(&self) -> String {
        let [hash, hash_revision, compact_revision] = self.cells();
        format!(
            "\"Hash\" : {hash}\n\"Hash revision\" : {hash_revision}\n\"Compact revision\" : {compact_revision}\n"
        )
    }
}

fn cells(status: &SnapshotStatus) -> [String; 5] {
    [
        format!("{:x}", status.hash),
        status.revision.to_string(),
        status.keys.to_string(),
        human(status.bytes),
        status.version.clone(),
    ]
}

pub(super) fn json<T: serde::Serialize>(found: &T) -> Result<String, OfflineError> {
    match serde_json::to_string(found) {
        Ok(text) => Ok(format!("{text}\n")),
        Err(_) => Err(OfflineError::NotInFormat("json")),
    }
}

fn fields(status: &SnapshotStatus) -> String {
    format!(
        "\"Hash\" : {}\n\"Revision\" : {}\n\"Keys\" : {}\n\"Size\" : {}\n\"Version\" : {}\n",
        status.hash, status.revision, status.keys, status.bytes, status.version
    )
}

/// Formats a table with one row. Titles are centered, cells are right-aligned.
fn table<const N: usize>(titles: &[&str; N], cells: &[String; N]) -> String {
    let widths: Vec<usize> = titles
        .iter()
        .zip(cells)
        .map(|(title, cell)| title.len().max(cell.len()))
        .collect();
    let line = |begin: char, between: &str, end: char| {
        let dashes: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{begin}{}{end}\n", dashes.join(between))
    };
    let titles: String = titles
        .iter()
        .zip(&widths)
        .map(|(title, width)| format!("│ {title:^width$} "))
        .collect();
    let row: String = cells
        .iter()
        .zip(&widths)
        .map(|(cell, width)| format!("│ {cell:>width$} "))
        .collect();
    let [top, middle, bottom] = [
        line('┌', "┬", '┐'),
        line('├', "┼", '┤'),
        line('└', "┴", '┘'),
    ];
    format!("{top}{titles}│\n{middle}{row}│\n{bottom}")
}

/// Formats a size in decimal units (1 kB is 1000 bytes), with one decimal place below 10.
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

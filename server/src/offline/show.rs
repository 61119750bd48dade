//! `witan snapshot status`: a snapshot's numbers in etcdutl's formats.

use std::path::Path;

use witan_snapshot::{self as snapshot, SnapshotStatus};

use super::{OfflineError, digest};

const TITLES: [&str; 5] = ["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "VERSION"];

/// Reads a snapshot's statistics and formats them; an error for an unknown format.
pub(super) fn status(path: &Path, format: &str) -> Result<String, OfflineError> {
    let show: fn(&SnapshotStatus) -> Result<String, OfflineError> = match format {
        "simple" => |status| Ok(format!("{}\n", cells(status).join(", "))),
        "table" => |status| Ok(table(&cells(status))),
        "json" => |status| json(status),
        "fields" => |status| Ok(fields(status)),
        "protobuf" => |_| Err(OfflineError::NotInFormat("protobuf")),
        _ => return Err(OfflineError::Format),
    };
    let (length, _) = digest::length("stat", path)?;
    let status = snapshot::status(path, length).map_err(OfflineError::broken(path))?;
    show(&status)
}

/// Returns the cells of the table that etcdutl prints.
fn cells(status: &SnapshotStatus) -> [String; 5] {
    [
        format!("{:x}", status.hash),
        status.revision.to_string(),
        status.keys.to_string(),
        human(status.bytes),
        status.version.clone(),
    ]
}

fn json(status: &SnapshotStatus) -> Result<String, OfflineError> {
    match serde_json::to_string(status) {
        Ok(text) => Ok(format!("{text}\n")),
        Err(_) => Err(OfflineError::NotInFormat("json")),
    }
}

/// Formats the statistics as etcdutl's output `fields`.
fn fields(status: &SnapshotStatus) -> String {
    format!(
        "\"Hash\" : {}\n\"Revision\" : {}\n\"Keys\" : {}\n\"Size\" : {}\n\"Version\" : {}\n",
        status.hash, status.revision, status.keys, status.bytes, status.version
    )
}

/// Formats a table with one row: titles are centered, cells aligned to the right.
fn table(cells: &[String; 5]) -> String {
    let widths: Vec<usize> = TITLES
        .iter()
        .zip(cells)
        .map(|(title, cell)| title.len().max(cell.len()))
        .collect();
    let line: String = widths
        .iter()
        .map(|width| format!("+{}", "-".repeat(width + 2)))
        .collect();
    let titles: String = TITLES
        .iter()
        .zip(&widths)
        .map(|(title, width)| format!("| {title:^width$} "))
        .collect();
    let row: String = cells
        .iter()
        .zip(&widths)
        .map(|(cell, width)| format!("| {cell:>width$} "))
        .collect();
    format!("{line}+\n{titles}|\n{line}+\n{row}|\n{line}+\n")
}

/// Formats a size with a decimal unit (1 kB is 1000 bytes), with one decimal place below 10.
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

    fn sample() -> SnapshotStatus {
        SnapshotStatus {
            hash: 0x1964_ab9a,
            revision: 5,
            keys: 1,
            bytes: 20_480,
            version: "3.6.0".into(),
        }
    }

    #[test]
    fn sizes_are_etcdutls() {
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

    #[test]
    fn a_table_is_etcdutls() {
        assert_eq!(
            table(&cells(&sample())),
            "\
+----------+----------+------------+------------+---------+
|   HASH   | REVISION | TOTAL KEYS | TOTAL SIZE | VERSION |
+----------+----------+------------+------------+---------+
| 1964ab9a |        5 |          1 |      20 kB |   3.6.0 |
+----------+----------+------------+------------+---------+
"
        );
    }

    #[test]
    fn json_and_fields_are_etcdutls() {
        assert_eq!(
            json(&sample()).unwrap(),
            "{\"hash\":426027930,\"revision\":5,\"totalKey\":1,\"totalSize\":20480,\"version\":\"3.6.0\"}\n"
        );
        assert!(fields(&sample()).ends_with("\"Size\" : 20480\n\"Version\" : 3.6.0\n"));
    }
}

//! `backup list` prints the backups in a location, newest first.

use serde_json::{Value, json};

use crate::{
    command::{ListFlags, ListFormat},
    inventory::{self, Entry},
    progress::size,
    reason::BackupError,
    store::Store,
};

/// Returns the text to print: a table or JSON.
pub(crate) async fn run(flags: &ListFlags) -> Result<String, BackupError> {
    let store = Store::open(&flags.from, &flags.s3)?;
    let entries = inventory::entries(&store).await?;
    match flags.output {
        ListFormat::Table => Ok(table(&entries)),
        ListFormat::Json => as_json(&entries),
    }
}

/// Formats backups as a JSON array that ends with a newline.
fn as_json(entries: &[Entry]) -> Result<String, BackupError> {
    let row = |entry: &Entry| {
        json!({
            "name": entry.name,
            "complete": entry.is_complete(),
            "storedBytes": entry.bytes,
            "record": entry.record,
        })
    };
    let rows: Value = entries.iter().map(row).collect();
    let text = serde_json::to_string_pretty(&rows);
    Ok(text.map_err(BackupError::internal)? + "\n")
}

/// Returns the cell of the column COMPLETE.
fn completeness(entry: &Entry) -> &'static str {
    match &entry.record {
        Some(record) if entry.is_complete() && record.unverified => "unverified",
        Some(record) if entry.is_complete() && record.unconfirmed => "unconfirmed",
        Some(_) if entry.is_complete() => "yes",
        Some(_) | None => "no",
    }
}

/// Formats backups as a table with a heading.
fn table(entries: &[Entry]) -> String {
    let head = [
        "NAME", "TAKEN AT", "REVISION", "SIZE", "CLUSTER", "VERSION", "RELEASE", "LEVEL",
        "COMPLETE",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for entry in entries {
        let unknown = || "-".to_owned();
        let record = entry.record.as_ref();
        rows.push([
            entry.name.clone(),
            entry.taken_at().to_string(),
            record.map_or_else(unknown, |record| record.revision.to_string()),
            entry.bytes.map_or_else(unknown, size),
            record.map_or_else(unknown, |record| record.cluster_id.clone()),
            record.map_or_else(unknown, |record| record.version.clone()),
            record
                .and_then(|record| record.release.clone())
                .unwrap_or_else(unknown),
            record
                .and_then(|record| record.level)
                .map_or_else(unknown, |level| level.to_string()),
            completeness(entry).to_owned(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<_> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::testing::record;

    /// Returns a complete backup and a backup without a record.
    fn entries() -> [Entry; 2] {
        let written_at = Timestamp::from_second(60).unwrap();
        let complete = record("nightly", 3);
        let bytes = Some(complete.bytes);
        [
            Entry {
                name: "nightly".into(),
                record: Some(complete),
                bytes,
                written_at,
            },
            Entry {
                name: "cut".into(),
                record: None,
                bytes: Some(5 << 20),
                written_at,
            },
        ]
    }

    #[test]
    fn a_table_is_human_readable() {
        let expected = "\
NAME     TAKEN AT              REVISION  SIZE     CLUSTER  VERSION  RELEASE  LEVEL  COMPLETE
nightly  1970-01-01T00:00:03Z  12        1.0 KiB  cafe     3.6.0    0.2.0    2      yes
cut      1970-01-01T00:01:00Z  -         5.0 MiB  -        -        -        -      no
";
        assert_eq!(table(&entries()), expected);
        assert_eq!(table(&[]).lines().count(), 1);
    }
}

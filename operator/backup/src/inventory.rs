//! Lists the backups in a location.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use witan_api::backup::BackupRecord;

use crate::{
    name::{DATA, RECORD},
    reason::BackupError,
    store::Store,
};

const READS_AT_ONCE: usize = 8;

/// A backup in a location, complete or not.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) record: Option<BackupRecord>,
    /// Size of the snapshot in bytes; `None` if there is no snapshot.
    pub(crate) bytes: Option<u64>,
    /// The time at which the later of the two files was written.
    pub(crate) written_at: Timestamp,
}

impl Entry {
    /// Returns whether the backup is complete: the snapshot exists and has the size in the record.
    pub(crate) fn is_complete(&self) -> bool {
        self.record
            .as_ref()
            .is_some_and(|record| Some(record.bytes) == self.bytes)
    }

    /// Returns the start time of the backup or, if it has no readable record, the time at which the later of its files was
    /// written.
    pub(crate) fn taken_at(&self) -> Timestamp {
        self.record
            .as_ref()
            .map_or(self.written_at, |record| record.started_at)
    }
}

/// Returns all backups in a location, complete or not, newest first. Ignores files without the suffix `.db` or `.json`.
pub(crate) async fn entries(store: &Store) -> Result<Vec<Entry>, BackupError> {
    // Each backup, and whether it has a file for its record.
    let mut named: BTreeMap<String, (Entry, bool)> = BTreeMap::new();
    for file in store.files().await? {
        let data = file.name.strip_suffix(DATA);
        let Some(name) = data.or(file.name.strip_suffix(RECORD)) else {
            continue;
        };
        let (entry, has_record) = named.entry(name.to_owned()).or_insert_with(|| {
            let (name, written_at) = (name.to_owned(), file.written_at);
            let entry = Entry { name, record: None, bytes: None, written_at };
            (entry, false)
        });
        entry.written_at = entry.written_at.max(file.written_at);
        entry.bytes = entry.bytes.or(data.map(|_| file.bytes));
        *has_record |= data.is_none();
    }
    let entries = stream::iter(named.into_values()).map(|(entry, has_record)| async move {
        let record = match has_record {
            true => store.record(&entry.name).await?,
            false => None,
        };
        Ok::<_, BackupError>(Entry { record, ..entry })
    });
    let mut entries: Vec<_> = entries
        .buffer_unordered(READS_AT_ONCE)
        .try_collect()
        .await?;
    entries.sort_by(|a, b| (b.taken_at(), &b.name).cmp(&(a.taken_at(), &a.name)));
    Ok(entries)
}

/// Returns the records of all complete backups, newest first.
pub(crate) async fn complete(store: &Store) -> Result<Vec<BackupRecord>, BackupError> {
    entries(store).await.map(complete_records)
}

/// Returns the records of the complete backups in `entries`, in the same order.
pub(crate) fn complete_records(entries: Vec<Entry>) -> Vec<BackupRecord> {
    let complete = entries.into_iter().filter(Entry::is_complete);
    complete.filter_map(|entry| entry.record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{command::S3Flags, location::Location, testing::TestFolder};

    /// The store cannot read the record, because the name of the record's file would be too long.
    #[tokio::test]
    async fn a_snapshot_without_a_record_is_listed_without_reading_one() {
        let folder = TestFolder::new("inventory");
        let name = "a".repeat(252);
        std::fs::write(folder.path().join(format!("{name}{DATA}")), "old").unwrap();
        let at = Location::Folder(folder.path().to_owned());
        let store = Store::open(&at, &S3Flags::default()).unwrap();
        let found = entries(&store).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].bytes, found[0].is_complete()), (Some(3), false));
    }
}

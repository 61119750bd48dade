//! Writes the record of an uploaded snapshot.
//!
//! Two processes can save the same backup at the same time, for example two pods of a job. Both upload a snapshot under the
//! same name, and the last upload remains. The record must describe that snapshot, because a fetch compares the snapshot with
//! the record.

use futures_util::StreamExt as _;
use witan_api::backup::BackupRecord;

use crate::{
    digest::{Digested, SnapshotDigest},
    name::{DATA, RECORD},
    reason::{BackupError, Reason},
    store::Store,
};

/// Makes the stored record describe the stored snapshot, and returns it. If another process may also have saved this backup,
/// reads the snapshot. Then keeps the stored record or replaces it with `record`, whichever describes the snapshot. If neither
/// does, deletes the stored record if it equals `record`, and fails, so that the process that uploaded the snapshot can write
/// its record. `e_tag` is the ETag of the upload.
pub(super) async fn settle_record(
    store: &Store,
    record: BackupRecord,
    e_tag: Option<&str>,
) -> Result<BackupRecord, BackupError> {
    let name = &record.name;
    let data = format!("{name}{DATA}");
    if store.put_new_record(&record).await?
        && let Some(found) = store.head(&data).await?
        && is_same(found.e_tag.as_deref(), e_tag)
    {
        return Ok(record);
    }
    tracing::info!(
        name,
        "reading the stored snapshot, because another process may have saved this backup at the same time"
    );
    let stored = digest(store, &data).await?;
    let describes =
        |record: &BackupRecord| record.bytes == stored.bytes && record.sha256 == stored.sha256;
    // Read the record last, because the other process may write it while this process reads the snapshot.
    let found = store.record(name).await?;
    let is_own = found.as_ref() == Some(&record);
    if let Some(found) = found.filter(describes) {
        return Ok(found);
    }
    if describes(&record) {
        store.put_record(&record).await?;
        return Ok(record);
    }
    // A third process may have replaced the snapshot and written its record since the snapshot was read.
    if is_own {
        store.delete(&format!("{name}{RECORD}")).await?;
    }
    let message = format!(
        "{}: another process has replaced the snapshot at the same time; try again",
        store.url(&data)
    );
    Err(BackupError::new(Reason::BackupBroken, message))
}

/// Returns whether two ETags are known and equal. Ignores quotes, because some stores omit them in some responses.
fn is_same(found: Option<&str>, uploaded: Option<&str>) -> bool {
    let bare = |tag: Option<&str>| tag.map(|tag| tag.trim_matches('"').to_owned());
    found.is_some() && bare(found) == bare(uploaded)
}

/// Reads a stored file to its end and returns its digest.
async fn digest(store: &Store, file: &str) -> Result<Digested, BackupError> {
    let (_, mut bytes) = store.read(file).await?;
    let mut digest = SnapshotDigest::default();
    while let Some(piece) = bytes.next().await {
        let piece = piece.map_err(|error| store.failed("read", file, &error))?;
        digest.update(&piece);
    }
    Ok(digest.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{hex, memory_store, record, snapshot};

    /// Uploads a snapshot of the backup `a`. Returns its record, which is not stored yet, and the ETag of the upload.
    async fn upload(store: &Store, bytes: usize) -> (BackupRecord, Option<String>) {
        let file = snapshot(bytes);
        let (bytes, sha256) = (file.len() as u64, hex(&file));
        store.put("a.db", file.into()).await.unwrap();
        let e_tag = store.head("a.db").await.unwrap().unwrap().e_tag;
        (BackupRecord { bytes, sha256, ..record("a", 1) }, e_tag)
    }

    async fn put(
        store: &Store,
        (record, e_tag): &(BackupRecord, Option<String>),
    ) -> Result<BackupRecord, BackupError> {
        settle_record(store, record.clone(), e_tag.as_deref()).await
    }

    /// The first process hangs after its upload, and a second process saves the backup.
    #[tokio::test]
    async fn a_late_process_keeps_the_record_of_the_stored_snapshot() {
        let store = memory_store();
        let late = upload(&store, 500).await;
        let other = upload(&store, 500 + 7).await;
        assert_eq!(put(&store, &other).await.as_ref(), Ok(&other.0));
        assert_eq!(put(&store, &late).await.as_ref(), Ok(&other.0));
        assert_eq!(store.record("a").await.unwrap(), Some(other.0));
    }

    /// The first process hangs before the end of its upload, which then replaces the snapshot of the second process.
    #[tokio::test]
    async fn the_process_whose_snapshot_remains_writes_its_record() {
        let store = memory_store();
        let other = upload(&store, 500).await;
        assert!(put(&store, &other).await.is_ok());
        let late = upload(&store, 500 + 7).await;
        assert_eq!(put(&store, &late).await.as_ref(), Ok(&late.0));
        assert_eq!(store.record("a").await.unwrap(), Some(late.0));
    }

    /// The snapshot is replaced before the process that uploaded it writes the record.
    #[tokio::test]
    async fn a_record_of_a_replaced_snapshot_does_not_stay() {
        let store = memory_store();
        let replaced = upload(&store, 500).await;
        let other = upload(&store, 500 + 7).await;
        let error = put(&store, &replaced).await.unwrap_err();
        assert_eq!(error.reason, Reason::BackupBroken);
        assert_eq!(store.record("a").await.unwrap(), None);
        assert_eq!(put(&store, &other).await.as_ref(), Ok(&other.0));
    }

    /// A third process saves the backup while the first process reads the snapshot of the second process.
    #[tokio::test]
    async fn the_record_of_another_process_is_not_deleted() {
        let store = memory_store();
        let replaced = upload(&store, 500).await;
        let third = upload(&store, 500 + 9).await;
        assert!(put(&store, &third).await.is_ok());
        let second = upload(&store, 500 + 7).await;
        let error = put(&store, &replaced).await.unwrap_err();
        assert_eq!(error.reason, Reason::BackupBroken);
        assert_eq!(store.record("a").await.unwrap(), Some(third.0));
        assert_eq!(put(&store, &second).await.as_ref(), Ok(&second.0));
        assert_eq!(store.record("a").await.unwrap(), Some(second.0));
    }

    #[test]
    fn tags_are_the_same_with_and_without_quotes() {
        assert!(is_same(Some("\"7\""), Some("7")));
        assert!(!is_same(Some("7"), Some("8")));
        assert!(!is_same(None, None), "a store without tags");
    }
}

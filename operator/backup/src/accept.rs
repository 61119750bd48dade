//! `backup accept` marks a backup as verified and applies the retention policy.

use witan_api::backup::BackupRecord;

use crate::{
    command::{AcceptFlags, read},
    name::{self, DATA},
    reason::{BackupError, Reason},
    save,
    stop::Stop,
    store::Store,
};

/// Marks the backup of `--record` as verified, writes its record as the result, and then applies the retention policy.
pub(crate) async fn run(flags: &AcceptFlags, stop: &Stop) -> Result<BackupRecord, BackupError> {
    let json = read("--record", &flags.record)?;
    let verified: BackupRecord = serde_json::from_slice(&json).map_err(|error| {
        let file = flags.record.display();
        BackupError::internal(format!(
            "--record {file}: {error}; use a file that fetch --record has written"
        ))
    })?;
    name::check(&verified.name)?;
    let store = Store::open(&flags.from, &flags.s3)?;
    let record = stop.or(accept(&store, &verified)).await?;
    let (kept, result) = (flags.retention, flags.result.as_deref());
    save::finish(&store, record, kept, (result, stop)).await
}

/// Marks a backup as verified in its record. Fails if the store no longer contains the verified backup.
async fn accept(store: &Store, verified: &BackupRecord) -> Result<BackupRecord, BackupError> {
    let name = &verified.name;
    let data = format!("{name}{DATA}");
    let stored = store.record(name).await?;
    let stored = stored.filter(|stored| stored.sha256 == verified.sha256);
    let size = store.head(&data).await?.map(|found| found.size);
    let Some(mut record) = stored.filter(|stored| size == Some(stored.bytes)) else {
        let message = format!(
            "{} is not the verified backup: another process has replaced or removed it; verify it again",
            store.url(&data)
        );
        return Err(BackupError::new(Reason::BackupBroken, message));
    };
    if record.unverified {
        record.unverified = false;
        store.put_record(&record).await?;
        tracing::info!(name, "marked the backup as verified");
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        command::Retention,
        testing::{memory_store, put_backup, record},
    };

    async fn left(store: &Store) -> Vec<String> {
        let complete = crate::inventory::complete(store).await.unwrap();
        complete.into_iter().map(|record| record.name).collect()
    }

    /// If a verification fails each day, the verified backups must stay, and rejected backups must not fill the store.
    #[tokio::test]
    async fn only_a_verified_backup_removes_verified_ones() {
        let (_asked, stop) = Stop::by_test();
        let store = memory_store();
        for (name, second) in [("a", 1), ("b", 2)] {
            put_backup(&store, &record(name, second)).await;
        }
        let all = save::finish(&store, record("b", 2), Retention::default(), (None, &stop)).await;
        assert!(all.unwrap().removed.is_empty(), "there is no limit");
        let kept = Retention { keep_last: Some(2), keep_within: None };
        for (name, second, removed) in [("c", 3, ""), ("d", 4, ""), ("e", 5, "c"), ("f", 6, "d")] {
            let rejected = BackupRecord { unverified: true, ..record(name, second) };
            put_backup(&store, &rejected).await;
            let done = save::finish(&store, rejected, kept, (None, &stop)).await;
            assert_eq!(done.unwrap().removed.concat(), removed, "{name}");
        }
        assert_eq!(left(&store).await, ["f", "e", "b", "a"]);
        let accepted = accept(&store, &record("f", 6)).await.unwrap();
        assert!(!accepted.unverified);
        assert_eq!(
            store.record("f").await.unwrap().as_ref(),
            Some(&accepted),
            "the store has the accepted record"
        );
        let done = save::finish(&store, accepted, kept, (None, &stop)).await;
        // The rejected backup stays, because it is newer than a verified backup that is kept.
        assert_eq!(done.unwrap().removed, ["a"]);
        assert_eq!(left(&store).await, ["f", "e", "b"]);
    }

    /// Another pod of the job can replace a backup while it is verified.
    #[tokio::test]
    async fn a_backup_that_was_replaced_is_not_accepted() {
        let store = memory_store();
        let verified = record("a", 1);
        let missing = accept(&store, &verified).await.unwrap_err();
        assert_eq!(missing.reason, Reason::BackupBroken);
        let sha256 = "11".to_owned();
        let other = BackupRecord { sha256, unverified: true, ..record("a", 1) };
        put_backup(&store, &other).await;
        let replaced = accept(&store, &verified).await.unwrap_err();
        assert_eq!(replaced.reason, Reason::BackupBroken);
        assert_eq!(store.record("a").await.unwrap(), Some(other));
    }
}

//! `backup save` streams a snapshot of a member to a store. `settle` writes its record.

mod settle;

use std::path::Path;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use witan_api::backup::{BackupRecord, KeysHash};

use crate::{
    command::{Retention, SaveFlags},
    digest::{Digested, SnapshotDigest},
    members::Members,
    name::{self, DATA, RECORD},
    progress::{Progress, size},
    reason::{BackupError, Reason},
    result::CommandResult,
    retention,
    source::{self, Report, Snapshot, Source},
    stop::Stop,
    store::Store,
    upload::PartUpload,
};

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NewBackup<'a> {
    pub(crate) name: &'a str,
    /// Whether a generation of changes starts from the backup.
    pub(crate) begins_changes: bool,
    pub(crate) hash_keys: bool,
    /// Whether the backup is marked as not verified.
    pub(crate) unverified: bool,
}

/// Saves a backup, writes its record as the result, and then applies the retention policy.
pub(crate) async fn run(flags: &SaveFlags, stop: &Stop) -> Result<BackupRecord, BackupError> {
    name::check_new(&flags.name)?;
    let members = Members::new(&flags.members.endpoints, &flags.members.client)?;
    let store = Store::create(&flags.to, &flags.s3)?;
    let new = NewBackup {
        name: &flags.name,
        begins_changes: false,
        hash_keys: flags.hash_keys,
        unverified: flags.unverified,
    };
    let record = save(&store, &members, new, stop).await?;
    let (kept, result) = (flags.retention, flags.result.as_deref());
    finish(&store, record, kept, (result, stop)).await
}

/// Writes the record of a backup to the file `result`, and then applies the retention policy. Fails only if the file cannot be
/// written. If the policy cannot be applied, or `stop` ends its application, adds a warning to the returned record.
pub(crate) async fn finish(
    store: &Store,
    record: BackupRecord,
    kept: Retention,
    (result, stop): (Option<&Path>, &Stop),
) -> Result<BackupRecord, BackupError> {
    if let Some(path) = result {
        // Write the result first. If a deadline ends the process during the retention, the backup has still succeeded.
        let noted = CommandResult::Backup(record.clone()).write(path);
        let failed = |error| BackupError::internal(format!("--result {}: {error}", path.display()));
        noted.map_err(failed)?;
    }
    Ok(retain(store, record, kept, stop).await)
}

/// Saves a backup. If a backup with this name exists, returns its record instead.
pub(crate) async fn save(
    store: &Store,
    source: &impl Source,
    new: NewBackup<'_>,
    stop: &Stop,
) -> Result<BackupRecord, BackupError> {
    match stop.or(existing_or_delete_stale(store, new.name)).await? {
        Some(record) => Ok(record),
        None => save_from_any(store, source, new, stop).await,
    }
}

/// Applies the retention policy. Adds the names of the removed backups to the record, or a warning if a removal failed.
async fn retain(
    store: &Store,
    mut record: BackupRecord,
    kept: Retention,
    stop: &Stop,
) -> BackupRecord {
    let mut removed = Vec::new();
    let removal = retention::apply(store, kept, &record.name, &mut removed);
    let applied = stop.or(removal).await;
    record.removed = removed;
    if let Err(error) = applied {
        let text = format!("failed to apply the retention policy: {error}");
        record.warning = join_warnings([record.warning, Some(text)]);
    }
    if let Some(warning) = &record.warning {
        tracing::warn!(name = record.name, "{warning}");
    }
    record
}

/// Joins the existing warnings with semicolons. Returns `None` if there are no warnings.
fn join_warnings<const N: usize>(warnings: [Option<String>; N]) -> Option<String> {
    let all: Vec<_> = warnings.into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Returns the record if the backup exists and is complete. Deletes a record whose snapshot is missing or has another size.
/// Fails if the file is not a record.
async fn existing_or_delete_stale(
    store: &Store,
    name: &str,
) -> Result<Option<BackupRecord>, BackupError> {
    let (file, data) = (format!("{name}{RECORD}"), format!("{name}{DATA}"));
    let Some(json) = store.small_file(&file).await? else {
        return Ok(None);
    };
    let Ok(record) = serde_json::from_slice::<BackupRecord>(&json) else {
        let message = format!(
            "{} exists but is not a record of a backup; use another name",
            store.url(&file)
        );
        return Err(BackupError::new(Reason::AlreadyExists, message));
    };
    let size = store.head(&data).await?.map(|found| found.size);
    if size == Some(record.bytes) {
        tracing::info!(name, "the backup exists already");
        return Ok(Some(record));
    }
    tracing::warn!(
        name,
        "the backup has a record but no matching snapshot; saving it again"
    );
    store.delete(&file).await?;
    Ok(None)
}

/// Tries the members in order until one backup is saved. A store error ends the attempts.
async fn save_from_any(
    store: &Store,
    source: &impl Source,
    new: NewBackup<'_>,
    stop: &Stop,
) -> Result<BackupRecord, BackupError> {
    let members = stop
        .or(async { source::in_order(source.survey().await) })
        .await?;
    let mut errors: Vec<BackupError> = Vec::new();
    for member in &members {
        match attempt(store, source, member, new, stop).await {
            Ok(record) => return Ok(record),
            Err(error) if error.is_of_source() => {
                tracing::warn!(endpoint = member.endpoint, %error, "failed to get a snapshot from a member");
                errors.push(error);
            }
            Err(error) => return Err(error),
        }
    }
    let reason = errors
        .last()
        .map_or(Reason::SourceUnreachable, |error| error.reason);
    let messages: Vec<_> = errors.into_iter().map(|error| error.message).collect();
    Err(BackupError::new(reason, messages.join("; ")))
}

/// Streams the snapshot of a member to the store and writes the record last. If another process has saved this backup in the
/// meantime, returns the record of the stored snapshot. If the key hash cannot be read, the record contains a warning.
async fn attempt(
    store: &Store,
    source: &impl Source,
    member: &Report,
    new: NewBackup<'_>,
    stop: &Stop,
) -> Result<BackupRecord, BackupError> {
    let (name, started_at) = (new.name, now());
    let (revision_digest, no_changes) = stop.or(revision_digest(source, member, new)).await?;
    let hash = || async { Ok::<_, BackupError>(keys_hash(source, member, new).await) };
    let before = stop.or(hash()).await?;
    let snapshot = stop.or(source.snapshot(&member.endpoint)).await?;
    let total = size(snapshot.total);
    tracing::info!(
        endpoint = member.endpoint,
        to = store.url(name),
        "saving {total}"
    );
    let stored = store_snapshot(store, snapshot, member, name, stop).await?;
    let (digested, e_tag) = match stored {
        Ok(stored) => stored,
        Err(earlier) => return Ok(earlier),
    };
    let (keys_hash, not_hashed) = match (before, stop.or(hash()).await?) {
        (Ok(before), Ok(after)) if before == after => (before, None),
        (Ok(_), Ok(_)) => {
            let why = "keys were compacted while the snapshot was taken";
            (None, Some(why.to_owned()))
        }
        (Err(error), _) | (Ok(_), Err(error)) => (None, Some(error.message)),
    };
    let not_hashed = not_hashed.map(|why| {
        format!(
            "the backup has no hash of the key space, so a restore cannot be compared with the cluster: {why}"
        )
    });
    let record = BackupRecord {
        name: name.to_owned(),
        location: store.url(&format!("{name}{DATA}")),
        revision: member.revision,
        bytes: digested.bytes,
        sha256: digested.sha256,
        cluster_id: format!("{:x}", member.cluster_id),
        version: member.version.clone(),
        release: member.running.release.clone(),
        level: member.running.cluster_level,
        keys_hash,
        started_at,
        completed_at: now(),
        revision_digest,
        unconfirmed: member.cut_off.is_some(),
        begins_changes: new.begins_changes,
        unverified: new.unverified,
        removed: Vec::new(),
        warning: join_warnings([member.cut_off.clone(), no_changes, not_hashed]),
    };
    let record = stop
        .or(settle::settle_record(store, record, e_tag.as_deref()))
        .await?;
    tracing::info!(
        name,
        bytes = record.bytes,
        revision = record.revision,
        "saved the backup"
    );
    Ok(record)
}

type Stored = (Digested, Option<String>);

/// Streams a snapshot to the store. Returns its digest and its ETag. After an error, nothing is left in the store. If another
/// process has saved this backup in the meantime, stores nothing, and the inner error is its record.
async fn store_snapshot(
    store: &Store,
    snapshot: Snapshot,
    member: &Report,
    name: &str,
    stop: &Stop,
) -> Result<Result<Stored, BackupRecord>, BackupError> {
    let mut upload = stop.or(store.upload(name)).await?;
    let failed = |error| store.failed("write", &format!("{name}{DATA}"), &error);
    let stored = stop.or(async {
        let digested = upload_snapshot(snapshot, member, &mut upload, failed).await?;
        if let Some(record) = existing_or_delete_stale(store, name).await? {
            return Ok(Err(record));
        }
        let e_tag = upload.complete().await.map_err(failed)?;
        Ok(Ok((digested, e_tag)))
    });
    let stored = stored.await;
    if !matches!(stored, Ok(Ok(_))) {
        upload.abort().await;
    }
    stored
}

/// Reads the hash of a member's keys at the reported revision, which the snapshot includes. Returns `None` if the backup needs
/// no hash.
async fn keys_hash(
    source: &impl Source,
    member: &Report,
    new: NewBackup<'_>,
) -> Result<Option<KeysHash>, BackupError> {
    if !new.hash_keys {
        return Ok(None);
    }
    source.keys_hash(member).await.map(Some)
}

/// Reads the digest of a member's newest revision. The digest connects stored changes to the backup. Returns the digest, or
/// `None` and the reason if the revision was compacted or the call fails; changes cannot be applied to such a backup. If the
/// backup begins changes, fails instead. The first revision has no digest and needs none.
async fn revision_digest(
    source: &impl Source,
    member: &Report,
    new: NewBackup<'_>,
) -> Result<(Option<String>, Option<String>), BackupError> {
    let missing = match source.revision_digest(member).await {
        Ok(None) if member.revision > 1 => {
            let message = format!(
                "{}: revision {} was compacted, so the backup cannot be matched with stored changes; the next backup has a later revision",
                member.endpoint, member.revision
            );
            BackupError::new(Reason::SourceRefused, message)
        }
        Ok(digest) => return Ok((digest, None)),
        Err(error) => error,
    };
    if new.begins_changes {
        return Err(missing);
    }
    let warning = format!("stored changes cannot be restored after this backup: {missing}");
    Ok((None, Some(warning)))
}

/// Writes a snapshot to `upload` and does not complete it. Fails with `SnapshotBroken` if the length or the digest of the
/// snapshot is wrong. `failed` converts an error of the store.
async fn upload_snapshot(
    mut snapshot: Snapshot,
    member: &Report,
    upload: &mut PartUpload,
    failed: impl Fn(object_store::Error) -> BackupError,
) -> Result<Digested, BackupError> {
    let mut progress = Progress::start("saved", snapshot.total);
    let mut digest = SnapshotDigest::default();
    while let Some(piece) = snapshot.pieces.next().await {
        let piece = piece?;
        digest.update(&piece);
        upload.write(&piece).await.map_err(&failed)?;
        progress.add(piece.len());
    }
    let digested = digest.finish();
    let broken = if digested.bytes != snapshot.total {
        format!("received {} of {} bytes", digested.bytes, snapshot.total)
    } else if !digested.sound {
        "the digest at its end does not match".to_owned()
    } else {
        return Ok(digested);
    };
    let message = format!("{}: the snapshot is damaged: {broken}", member.endpoint);
    Err(BackupError::new(Reason::SnapshotBroken, message))
}

/// Returns the time in whole milliseconds, the precision of a record.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

#[cfg(test)]
mod tests;

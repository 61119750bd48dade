//! `backup fetch` downloads a backup to a file and verifies its digest. `changes` fetches the changes after it.

mod changes;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use futures_util::StreamExt as _;
use witan_api::backup::{BackupRecord, FetchedBackup};

use crate::{
    command::FetchFlags,
    digest::{Digested, SnapshotDigest},
    inventory,
    name::{self, DATA},
    progress::{Progress, size},
    reason::{BackupError, Reason},
    stop::Stop,
    store::Store,
};
use changes::Until;

/// Fetches a backup. With `--unless-exists`, fetches it only if that directory is empty or does not exist. With `--record`,
/// also writes the record. Returns `None` if nothing was fetched or the file has no record.
pub(crate) async fn run(
    flags: &FetchFlags,
    stop: &Stop,
) -> Result<Option<FetchedBackup>, BackupError> {
    if let Some(folder) = &flags.unless_exists
        && has_entries(folder)?
    {
        tracing::info!(folder = %folder.display(), "the directory is not empty; nothing is fetched");
        return Ok(None);
    }
    if let Some(name) = &flags.name {
        name::check(name)?;
    }
    let store = Store::open(&flags.from, &flags.s3)?;
    let changes = flags.changes.as_deref();
    let changes = changes.map(|folder| (folder, Until::of(flags)));
    let fetched = fetch(&store, flags.name.as_deref(), changes, &flags.file);
    let fetched = stop.or(fetched).await?;
    if let (Some(path), Some(fetched)) = (&flags.record, &fetched) {
        let json = serde_json::to_vec(&fetched.record).map_err(io::Error::from);
        let written = json.and_then(|json| fs::write(path, json));
        written.map_err(|error| local_disk_error(path, &error))?;
    }
    Ok(fetched)
}

/// Returns whether a directory exists and is not empty.
fn has_entries(folder: &Path) -> Result<bool, BackupError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(local_disk_error(folder, &error)),
    }
}

/// Fetches a backup to a file and the changes after it to a directory. If `name` is `None`, fetches the newest backup that is
/// not later than the target, except backups that are not verified. If the backup has no record, checks only the digest at the
/// end of the file and returns `None`. Replaces the file `to` only once everything is fetched and verified.
async fn fetch(
    store: &Store,
    name: Option<&str>,
    changes: Option<(&Path, Until)>,
    to: &Path,
) -> Result<Option<FetchedBackup>, BackupError> {
    let (file, record) = choose(store, name, changes.map(|(_, until)| until)).await?;
    if let Some(doubt) = record.as_ref().and_then(doubt) {
        tracing::warn!("{doubt}");
    }
    let (total, mut bytes) = store.read(&file).await?;
    let url = store.url(&file);
    tracing::info!(from = url, to = %to.display(), "fetching {}", size(total));
    let mut partial = PartialFile::create(to)?;
    let mut progress = Progress::start("fetched", total);
    let mut digest = SnapshotDigest::default();
    while let Some(piece) = bytes.next().await {
        let piece = piece.map_err(|error| store.failed("read", &file, &error))?;
        digest.update(&piece);
        partial.write(&piece)?;
        progress.add(piece.len());
    }
    let digested = digest.finish();
    if let Some(broken) = mismatch(&digested, record.as_ref()) {
        let message = format!("{url} is damaged: {broken}. Fetch another backup");
        return Err(BackupError::new(Reason::BackupBroken, message));
    }
    let mut to_revision = None;
    if let (Some((folder, until)), Some(record)) = (changes, &record) {
        to_revision = Some(changes::fetch(store, record, until, folder).await?);
    }
    partial.keep()?;
    tracing::info!(path = %to.display(), bytes = digested.bytes, "fetched the backup and verified its digest");
    Ok(record.map(|record| FetchedBackup { record, to_revision }))
}

/// Returns the name of the file to fetch and the backup's record. If `name` is `None`, chooses the newest verified backup.
/// `until` is the target of the changes, if any are requested: a later backup is refused. The record can be missing only if
/// `name` ends in `.db` and no changes are requested.
async fn choose(
    store: &Store,
    name: Option<&str>,
    until: Option<Until>,
) -> Result<(String, Option<BackupRecord>), BackupError> {
    let admits = |record: &BackupRecord| until.is_none_or(|until| until.admits(record));
    let missing = |message: String| Err(BackupError::new(Reason::NotFound, message));
    let Some(name) = name else {
        let complete = inventory::complete(store).await?;
        let admitted = complete.into_iter().filter(admits);
        let (unverified, verified): (Vec<_>, Vec<_>) =
            admitted.partition(|record| record.unverified);
        if let Some(newest) = verified.into_iter().next() {
            return Ok((format!("{}{DATA}", newest.name), Some(newest)));
        }
        let before = until.filter(|until| *until != Until::Newest);
        let before = before.map(|until| format!(" at or before {until}"));
        let (before, url) = (before.unwrap_or_default(), &store.folder_url);
        return missing(match unverified.first() {
            Some(BackupRecord { name, .. }) => format!(
                "there is no verified backup{before} in {url}: the verification of {name} has not succeeded; to fetch it \
                 anyway, use --name {name}"
            ),
            None => format!("there is no complete backup{before} in {url}"),
        });
    };
    let stem = name.strip_suffix(DATA);
    let (file, url) = (format!("{}{DATA}", stem.unwrap_or(name)), store.url(name));
    match (store.record(stem.unwrap_or(name)).await?, until) {
        (Some(record), Some(until)) if !until.admits(&record) => missing(format!(
            "{url} was started at {} with revision {}, which is later than {until}; use an earlier backup",
            record.started_at, record.revision
        )),
        (Some(record), _) => Ok((file, Some(record))),
        (None, None) if stem.is_some() => Ok((file, None)),
        (None, Some(_)) => missing(format!(
            "{url} is not a complete backup: it has no record, so changes cannot be restored after it"
        )),
        (None, None) => missing(format!(
            "{url} is not a complete backup: it has no record. To fetch the file without a record, use --name {file}"
        )),
    }
}

/// Returns a warning about an unconfirmed backup; `None` if the backup is confirmed.
fn doubt(record: &BackupRecord) -> Option<String> {
    let name = &record.name;
    record.unconfirmed.then(|| match &record.warning {
        Some(why) => format!("the backup {name} is unconfirmed: {why}"),
        None => format!("the backup {name} is unconfirmed: it can lack acknowledged writes"),
    })
}

/// Returns how a fetched snapshot differs from its record or from its own digest; `None` if the snapshot is intact.
fn mismatch(found: &Digested, record: Option<&BackupRecord>) -> Option<String> {
    if let Some(record) = record {
        if found.bytes != record.bytes {
            return Some(format!(
                "its size is {} bytes instead of {}",
                found.bytes, record.bytes
            ));
        }
        if found.sha256 != record.sha256 {
            return Some(format!(
                "its SHA-256 is {} instead of {}",
                found.sha256, record.sha256
            ));
        }
    }
    (!found.sound).then(|| "it does not match the digest at its end".to_owned())
}

/// Creates the error for a file or directory of this machine that could not be read or written.
fn local_disk_error(path: &Path, error: &io::Error) -> BackupError {
    BackupError::new(Reason::LocalDisk, format!("{}: {error}", path.display()))
}

/// A file with a temporary name until [`PartialFile::keep`] renames it. If it is dropped before then, the file is deleted.
#[derive(Debug)]
struct PartialFile {
    file: File,
    partial: PathBuf,
    to: PathBuf,
}

impl PartialFile {
    /// Creates the temporary file and replaces a file that a killed process left. Only its owner can read the file, because a
    /// snapshot contains all secrets.
    fn create(to: &Path) -> Result<Self, BackupError> {
        let partial = PathBuf::from(format!("{}.part", to.display()));
        // A killed process may have left this file.
        drop(fs::remove_file(&partial));
        let mut options = File::options();
        let opened = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial);
        let file = opened.map_err(|error| local_disk_error(&partial, &error))?;
        Ok(Self { file, partial, to: to.to_owned() })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| local_disk_error(&self.to, &error))
    }

    /// Syncs the file to the disk and renames it to its final name, which replaces an existing file.
    fn keep(self) -> Result<(), BackupError> {
        let folder = self.to.parent().filter(|folder| *folder != Path::new(""));
        let kept = self
            .file
            .sync_all()
            .and_then(|()| fs::rename(&self.partial, &self.to))
            .and_then(|()| File::open(folder.unwrap_or(Path::new("."))))
            .and_then(|folder| folder.sync_all());
        kept.map_err(|error| local_disk_error(&self.to, &error))
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.partial));
    }
}

#[cfg(test)]
mod tests;

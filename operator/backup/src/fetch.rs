//! `backup fetch`: reads a backup into a file and checks its digest.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use futures_util::StreamExt as _;
use tokio::{fs::File, io::AsyncWriteExt as _};

use crate::{
    command::FetchFlags,
    digest::{Digested, SnapshotDigest},
    inventory,
    name::{self, DATA},
    progress::{Progress, size},
    reason::{BackupError, Reason},
    result::{BackupRecord, CommandResult, PlainFile},
    stop::Stop,
    store::Store,
};

/// Fetches a backup as the flags say; `None` if a folder exists already, so that nothing is fetched.
pub(crate) async fn run(
    flags: &FetchFlags,
    stop: &Stop,
) -> Result<Option<CommandResult>, BackupError> {
    if let Some(folder) = &flags.unless_exists
        && has_entries(folder)?
    {
        tracing::info!(folder = %folder.display(), "the folder is not empty: nothing is fetched");
        return Ok(None);
    }
    if let Some(name) = &flags.name {
        name::check(name)?;
    }
    let store = Store::open(&flags.from, &flags.s3)?;
    stop.or(fetch(&store, flags.name.as_deref(), &flags.file))
        .await
        .map(Some)
}

/// Whether a folder exists and is not empty.
fn has_entries(folder: &Path) -> Result<bool, BackupError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(of_disk(folder, &error)),
    }
}

/// Fetches a backup into a file. A file without a record only has to fit the digest at its end.
pub(crate) async fn fetch(
    store: &Store,
    name: Option<&str>,
    to: &Path,
) -> Result<CommandResult, BackupError> {
    let (file, record) = choose(store, name).await?;
    let (total, mut bytes) = store.read(&file).await?;
    let url = store.url(&file);
    tracing::info!(from = url, to = %to.display(), "fetching {}", size(total));
    let mut partial = PartialFile::create(to).await?;
    let progress = Progress::start("fetched", total);
    let mut digest = SnapshotDigest::default();
    while let Some(piece) = bytes.next().await {
        let piece = piece.map_err(|error| store.read_failed(&file, &error))?;
        digest.update(&piece);
        partial.write(&piece).await?;
        progress.add(piece.len());
    }
    let digested = digest.finish();
    if let Some(broken) = broken(&digested, record.as_ref()) {
        let message = format!("{url} is broken: {broken}; fetch another backup");
        return Err(BackupError::new(Reason::BackupBroken, message));
    }
    partial.keep().await?;
    tracing::info!(path = %to.display(), bytes = digested.bytes, "fetched the backup, its digest fits");
    Ok(match record {
        Some(record) => CommandResult::Backup(record),
        None => {
            let Digested { bytes, sha256, .. } = digested;
            CommandResult::File(PlainFile { name: file, location: url, bytes, sha256 })
        }
    })
}

/// Returns the file to fetch, and its record if there is one. Only the name of a file may do without.
async fn choose(
    store: &Store,
    name: Option<&str>,
) -> Result<(String, Option<BackupRecord>), BackupError> {
    let Some(name) = name else {
        let newest = inventory::complete(store).await?.into_iter().next();
        let newest = newest.ok_or_else(|| {
            let message = format!("there is no complete backup in {}", store.folder_url());
            BackupError::new(Reason::NotFound, message)
        })?;
        return Ok((format!("{}{DATA}", newest.name), Some(newest)));
    };
    if let Some(stem) = name.strip_suffix(DATA) {
        return Ok((name.to_owned(), store.record(stem).await?));
    }
    let file = format!("{name}{DATA}");
    match store.record(name).await? {
        Some(record) => Ok((file, Some(record))),
        None => {
            let url = store.url(name);
            let message = format!(
                "there is no complete backup {url}: it has no record; --name {file} fetches a file without one"
            );
            Err(BackupError::new(Reason::NotFound, message))
        }
    }
}

/// Returns what does not fit, if anything.
fn broken(found: &Digested, record: Option<&BackupRecord>) -> Option<String> {
    if let Some(record) = record {
        if found.bytes != record.bytes {
            return Some(format!(
                "it has {} bytes instead of {}",
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
    (!found.sound).then(|| "it does not fit the digest at its end".to_owned())
}

fn of_disk(path: &Path, error: &io::Error) -> BackupError {
    BackupError::new(Reason::LocalDisk, format!("{}: {error}", path.display()))
}

/// A file that has another name until it is complete; deleted when it is dropped before.
#[derive(Debug)]
struct PartialFile {
    file: File,
    partial: Option<PathBuf>,
    to: PathBuf,
}

impl PartialFile {
    /// Creates the file; only its owner reads it, as a snapshot holds all secrets.
    async fn create(to: &Path) -> Result<Self, BackupError> {
        let partial = PathBuf::from(format!("{}.part", to.display()));
        // of a process that was killed
        drop(fs::remove_file(&partial));
        let mut options = File::options();
        let opened = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)
            .await;
        let file = opened.map_err(|error| of_disk(&partial, &error))?;
        Ok(Self { file, partial: Some(partial), to: to.to_owned() })
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        let written = self.file.write_all(bytes).await;
        written.map_err(|error| of_disk(&self.to, &error))
    }

    /// Gives the file its name, after its bytes are on the disk.
    async fn keep(mut self) -> Result<(), BackupError> {
        let kept = async {
            self.file.flush().await?;
            self.file.sync_all().await?;
            if let Some(partial) = self.partial.take() {
                let renamed = tokio::fs::rename(&partial, &self.to).await;
                self.partial = renamed.is_err().then_some(partial);
                renamed?;
            }
            let folder = self.to.parent().filter(|folder| *folder != Path::new(""));
            File::open(folder.unwrap_or(Path::new(".")))
                .await?
                .sync_all()
                .await
        };
        let kept: io::Result<()> = kept.await;
        kept.map_err(|error| of_disk(&self.to, &error))
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            drop(fs::remove_file(partial));
        }
    }
}

#[cfg(test)]
mod tests;

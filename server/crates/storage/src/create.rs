//! Creates a data directory from a complete state: for a restore, and in a data directory of etcd.
//!
//! It is created beside its final path and renamed when it is complete and durable, so that a
//! failure or a crash leaves nothing at that path.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::Arc,
};

use witan_base::metrics::Register;
use witan_machine::view::View;
use witan_replica::host::LogBatch;

use super::{
    DataIdentity, OpenError, Storage, StorageMetrics, etcd, files::sync_dir, format, lock,
    make_dir, member_dir, open,
};

/// The folder in a data directory of etcd in which ours is made.
const ADOPTING: &str = "witan-adopting";

/// Our folders beside etcd's; the identity is moved after them.
const FOLDERS: [&str; 2] = ["log", "checkpoint"];

/// Creates the data directory of a member that starts from `view`. `dir` must be missing or empty.
pub fn create(dir: &Path, identity: &DataIdentity, view: &View) -> Result<(), OpenError> {
    let staged = staging(dir)?;
    if staged.exists() {
        // left by an earlier process with the same pid
        fs::remove_dir_all(&staged).map_err(|error| OpenError::io(&staged, error))?;
    }
    let made = fill(&staged, identity, view, None).and_then(|()| {
        let parent = match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        fs::rename(&staged, dir)
            .and_then(|()| sync_dir(parent))
            .map_err(|error| OpenError::io(dir, error))
    });
    if made.is_err() {
        // a leftover is harmless, and its name tells its origin
        let _ = fs::remove_dir_all(&staged);
    }
    made
}

/// Creates our files beside those of etcd in the data directory `dir`: `view` as the checkpoint, and `log`, which follows
/// it. etcd's files stay. The identity is moved last, so that what was interrupted begins again. Fails if the directory
/// has our files already.
pub fn adopt(
    dir: &Path,
    identity: &DataIdentity,
    view: &View,
    log: &LogBatch,
) -> Result<(), OpenError> {
    let member = member_dir(dir);
    let _lock = lock::LockFile::take(&member)?;
    if let Some(found) = format::read(&member)? {
        return Err(OpenError::Adopted { path: format::path(&member), found });
    }
    remove_unfinished(dir)?;
    let staged = dir.join(ADOPTING);
    make_dir(&staged)?;
    fill(&staged, identity, view, Some(log))?;
    let filled = member_dir(&staged);
    for folder in FOLDERS {
        let path = member.join(folder);
        fs::rename(filled.join(folder), &path).map_err(|error| OpenError::io(&path, error))?;
    }
    let path = format::path(&member);
    etcd::note_adopted(&member, view.position.index)
        .and_then(|()| sync_dir(&member))
        .and_then(|()| fs::rename(format::path(&filled), &path))
        .and_then(|()| sync_dir(&member))
        .map_err(|error| OpenError::io(&path, error))?;
    // holds nothing that is needed
    let _ = fs::remove_dir_all(&staged);
    Ok(())
}

/// Removes what an interrupted [`adopt`] has left.
fn remove_unfinished(dir: &Path) -> Result<(), OpenError> {
    let member = member_dir(dir);
    let folders = FOLDERS.map(|folder| member.join(folder));
    for path in folders.into_iter().chain([dir.join(ADOPTING)]) {
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|error| OpenError::io(&path, error))?;
        }
    }
    Ok(())
}

/// Returns the path, beside `dir`, of the directory that is filled before it is renamed to `dir`.
fn staging(dir: &Path) -> Result<PathBuf, OpenError> {
    let mut name = dir
        .file_name()
        .ok_or_else(|| OpenError::name(dir))?
        .to_owned();
    name.push(format!(".restoring-{}", process::id()));
    Ok(dir.with_file_name(name))
}

/// Sets up the empty directory `dir` with the identity, a log and `view` as its checkpoint.
fn fill(
    dir: &Path,
    identity: &DataIdentity,
    view: &View,
    batch: Option<&LogBatch>,
) -> Result<(), OpenError> {
    // an offline command has no metrics page
    let metrics = StorageMetrics::register(&Register::default());
    let (storage, _) = open(dir, identity, &Arc::default(), &metrics)?;
    let Storage { mut log, mut checkpoint, lock: hold, checkpoint_log_bytes: _ } = storage;
    let written = checkpoint.write(None, view);
    batch.map(|batch| log.append(batch));
    log.close();
    drop(hold);
    written.map_err(|error| OpenError::io(dir, error))
}

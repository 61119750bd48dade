//! Creates a data directory from a complete state, for a restore or inside an etcd data directory.
//!
//! The data is staged next to its final path, and renamed when it is complete and durable. A failure or a crash leaves
//! nothing at the final path.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::Arc,
};

use witan_base::metrics::Register;
use witan_machine::{values::BlockCache, view::View};
use witan_replica::host::LogBatch;

use super::{
    DataIdentity, OpenError, Storage, StorageMetrics, etcd,
    files::{self, sync_dir},
    format, lock, make_dir, member_dir, open,
};

/// The folder inside etcd's data directory in which Witan's data is staged.
const ADOPTING: &str = "witan-adopting";

/// Witan's folders next to etcd's. The identity is moved after them.
const FOLDERS: [&str; 2] = ["log", "checkpoint"];

/// Creates the data directory of a member that starts from `view`. `dir` must be missing or empty, and is filled in one step.
pub fn create(dir: &Path, identity: &DataIdentity, view: &View) -> Result<(), OpenError> {
    let staged = staging(dir)?;
    if staged.exists() {
        // An earlier process with the same pid may have left this folder.
        fs::remove_dir_all(&staged).map_err(|error| OpenError::io(&staged, error))?;
    }
    let made = fill(&staged, identity, view, None).and_then(|()| {
        fs::rename(&staged, dir)
            .and_then(|()| files::sync_parent(dir))
            .map_err(|error| OpenError::io(dir, error))
    });
    if made.is_err() {
        // A leftover is harmless, and its name shows its origin.
        let _ = fs::remove_dir_all(&staged);
    }
    made
}

/// Creates Witan's files next to etcd's in the data directory `dir`, with `view` as the checkpoint and `log` as the later
/// entries. Keeps etcd's files and its log in `wal`. The identity is moved last, so that an interrupted adoption is repeated.
/// The files get the owner of etcd's folder `snap`. Fails if the directory already contains Witan's files.
pub fn adopt(
    dir: &Path,
    wal: &Path,
    identity: &DataIdentity,
    view: &View,
    log: &LogBatch,
) -> Result<(), OpenError> {
    let member = member_dir(dir);
    let _lock = lock::DirectoryLock::take(&member)?;
    if let Some(found) = format::read(&member)? {
        return Err(OpenError::Adopted { path: format::path(&member), found });
    }
    remove_unfinished(dir)?;
    let staged = dir.join(ADOPTING);
    make_dir(&staged)?;
    fill(&staged, identity, view, Some(log))?;
    let filled = member_dir(&staged);
    etcd::note_adopted(&filled, wal, wal == member.join("wal"))
        .and_then(|()| files::give_to_owner_of(&member.join("snap"), &filled))
        .and_then(|()| files::give_to_owner_of(&member.join("snap"), &member.join(lock::FILE)))
        .map_err(|error| OpenError::io(&filled, error))?;
    let moved = |name: &str| {
        let path = member.join(name);
        fs::rename(filled.join(name), &path).map_err(|error| OpenError::io(&path, error))
    };
    FOLDERS.iter().try_for_each(|name| moved(name))?;
    moved(etcd::ADOPTED)?;
    sync_dir(&member).map_err(|error| OpenError::io(&member, error))?;
    moved(format::FILE)?;
    sync_dir(&member).map_err(|error| OpenError::io(&member, error))?;
    let _ = fs::remove_dir_all(&staged);
    Ok(())
}

/// Removes the files of an interrupted [`adopt`], whose staged identity was not moved yet. Refuses any other files with these
/// names, such as the files of a member whose identity was lost.
fn remove_unfinished(dir: &Path) -> Result<(), OpenError> {
    let member = member_dir(dir);
    let staged = dir.join(ADOPTING);
    let begun = format::path(&member_dir(&staged)).exists();
    for path in FOLDERS.map(|folder| member.join(folder)) {
        match fs::symlink_metadata(&path) {
            Ok(found) if begun && found.is_dir() => {
                fs::remove_dir_all(&path).map_err(|error| OpenError::io(&path, error))?;
            }
            Ok(_) => return Err(OpenError::InTheWay { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(OpenError::io(&path, error)),
        }
    }
    match fs::remove_dir_all(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(OpenError::io(&staged, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns the path of the staging directory next to `dir`, which is later renamed to `dir`.
fn staging(dir: &Path) -> Result<PathBuf, OpenError> {
    let mut name = dir
        .file_name()
        .ok_or_else(|| OpenError::name(dir))?
        .to_owned();
    name.push(format!(".restoring-{}", process::id()));
    Ok(dir.with_file_name(name))
}

/// Fills the empty directory `dir` with the identity, a log that contains `batch` (if any), and `view` as its checkpoint.
fn fill(
    dir: &Path,
    identity: &DataIdentity,
    view: &View,
    batch: Option<&LogBatch>,
) -> Result<(), OpenError> {
    // An offline command serves no metrics.
    let metrics = StorageMetrics::register(&Register::default());
    // Without a limit, because no value can be read from the staged directory once it is renamed.
    let (ledger, cache) = (Arc::default(), Arc::new(BlockCache::new()));
    let (storage, _) = open(dir, identity, &ledger, &cache, &metrics)?;
    let Storage {
        mut log,
        mut checkpoint,
        lock: hold,
        checkpoint_log_bytes: _,
        copy: _,
        store: _,
    } = storage;
    let written = checkpoint.write(None, view);
    batch.map(|batch| log.append(batch));
    log.close();
    drop(hold);
    written.map_err(|error| OpenError::io(dir, error))
}

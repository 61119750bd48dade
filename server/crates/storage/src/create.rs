//! Creates a data directory while its state is built: for a restore, or for the adoption of an etcd data directory.
//!
//! The data is staged next to the data directory, and moved into it when the data is complete and durable. If the data
//! directory exists, the data is staged inside it, because the directory may be a mount point. A failure or a crash leaves no
//! data at the final path. The state can be larger than memory, because parts of it are written while it is built. Its values
//! are read from the staged runs, so the state is dropped before the rename.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::Arc,
};

use witan_base::metrics::Register;
use witan_machine::{StateMachine, values::BlockCache, view::View};
use witan_replica::host::LogBatch;

use super::{
    DataIdentity, DirectoryLock, OpenError, Storage, StorageMetrics, etcd,
    files::{self, sync_dir},
    identity_file, lock, make_dir, member_dir, open,
};

/// The directory inside etcd's data directory in which Witan's data is staged.
const ADOPTING: &str = "witan-adopting";

/// The directory inside an existing data directory in which its data is staged.
const RESTORING: &str = "witan-restoring";

/// The directory that a new file system, such as ext4, has at its root.
const LOST_FOUND: &str = "lost+found";

/// Witan's directories next to etcd's. The identity is moved after these directories.
const FOLDERS: [&str; 2] = ["log", "checkpoint"];

/// A data directory that is being created. Dropping the value removes the files, unless [`Self::finish`] has succeeded.
#[derive(Debug)]
pub struct NewDirectory {
    dir: PathBuf,
    staged: StagedDirectory,
    /// The lock of the staging directory, released after its files are removed.
    _lock: DirectoryLock,
}

/// Returns whether a data directory can be created at `dir`: it is missing, empty, or has only `lost+found` and files of an
/// interrupted [`create`]. Fails if the directory cannot be read.
pub fn is_free(dir: &Path) -> io::Result<bool> {
    for entry in files::existing(fs::read_dir(dir))?.into_iter().flatten() {
        let name = entry?.file_name();
        if name != RESTORING && name != LOST_FOUND {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Starts to create the data directory of a member. `dir` must be free ([`is_free`]). [`NewDirectory::finish`] fills it
/// atomically. `cache` decides which values of the state stay in memory. Removes the files of an interrupted creation. Fails
/// with [`OpenError::Locked`] if another process is using the same staging directory.
pub fn create(
    dir: &Path,
    identity: &DataIdentity,
    cache: &Arc<BlockCache>,
) -> Result<NewDirectory, OpenError> {
    let staged = match dir.is_dir() {
        true => dir.join(RESTORING),
        false => staging(dir)?,
    };
    make_dir(&staged)?;
    // The lock inside `member` protects neither the creation nor the rename of `member`.
    let lock = DirectoryLock::take(&staged)?;
    // An earlier process may have left files.
    let left = member_dir(&staged);
    files::existing(fs::remove_dir_all(&left)).map_err(|error| OpenError::io(&left, error))?;
    let staged = StagedDirectory::open(staged, identity, cache)?;
    Ok(NewDirectory { dir: dir.to_owned(), staged, _lock: lock })
}

impl NewDirectory {
    /// Writes a part of the state that is being built; see [`super::Checkpoint::write_part`].
    pub fn write_part(&mut self, machine: &StateMachine) -> Result<(), OpenError> {
        self.staged.write_part(machine)
    }

    /// Completes the directory of a member that starts from `view`, and makes it durable. Fails if another process has filled
    /// the directory.
    pub fn finish(mut self, view: View) -> Result<(), OpenError> {
        self.staged.fill(view, None)?;
        make_dir(&self.dir)?;
        // `member` is the only entry of a data directory, so this rename is atomic. The rename fails if another process has
        // filled `member`.
        fs::rename(member_dir(&self.staged.path), member_dir(&self.dir))
            .and_then(|()| sync_dir(&self.dir))
            .and_then(|()| files::sync_parent(&self.dir))
            .map_err(|error| OpenError::io(&self.dir, error))
    }
}

/// Witan's files that are being created next to etcd's. Dropping the value removes the files, unless [`Self::finish`] has begun
/// to move them.
#[derive(Debug)]
pub struct Adoption {
    dir: PathBuf,
    wal: PathBuf,
    staged: StagedDirectory,
    /// Whether the adoption created the lock file.
    is_lock_new: bool,
    _lock: DirectoryLock,
}

impl Drop for Adoption {
    fn drop(&mut self) {
        if !self.staged.done && self.is_lock_new {
            // A refused adoption leaves the directory as it was. The lock is still held here.
            let _ = fs::remove_file(member_dir(&self.dir).join(lock::FILE));
        }
    }
}

/// Starts to create Witan's files next to etcd's in the data directory `dir`. Keeps etcd's files, including etcd's log in the
/// directory `wal`. Removes the files of an interrupted adoption. `cache` decides which values of the state stay in memory.
/// Fails if another process uses the directory, or if it already contains Witan's files.
pub fn adopt(
    dir: &Path,
    wal: &Path,
    identity: &DataIdentity,
    cache: &Arc<BlockCache>,
) -> Result<Adoption, OpenError> {
    let member = member_dir(dir);
    let is_lock_new = !member.join(lock::FILE).exists();
    let lock = DirectoryLock::take(&member)?;
    if let Some(found) = identity_file::stored(&member)? {
        let found = found.identity;
        let path = identity_file::path(&member);
        return Err(OpenError::Conflict(format!(
            "{} shows that this directory already contains Witan's data (member {} of cluster {:x}). Start witan with \
             this directory. To adopt etcd's data again, first move this file and the folders log and checkpoint away; \
             the member then lacks all writes since the first adoption",
            path.display(),
            found.member_id,
            found.cluster_id
        )));
    }
    remove_unfinished(dir)?;
    let staged = dir.join(ADOPTING);
    make_dir(&staged)?;
    Ok(Adoption {
        dir: dir.to_owned(),
        wal: wal.to_owned(),
        staged: StagedDirectory::open(staged, identity, cache)?,
        is_lock_new,
        _lock: lock,
    })
}

impl Adoption {
    /// Writes a part of the state that is being built; see [`super::Checkpoint::write_part`].
    pub fn write_part(&mut self, machine: &StateMachine) -> Result<(), OpenError> {
        self.staged.write_part(machine)
    }

    /// Completes the directory, with `view` as the checkpoint and `log` as the later entries. The identity is moved last, so
    /// that an interrupted adoption is repeated. The files get the owner of etcd's directory `snap`.
    pub fn finish(mut self, view: View, log: &LogBatch) -> Result<(), OpenError> {
        self.staged.fill(view, Some(log))?;
        let (member, wal) = (member_dir(&self.dir), &self.wal);
        let filled = member_dir(&self.staged.path);
        etcd::record_adopted(&filled, wal, *wal == member.join("wal"))
            .and_then(|()| files::give_to_owner_of(&member.join("snap"), &filled))
            .and_then(|()| files::give_to_owner_of(&member.join("snap"), &member.join(lock::FILE)))
            .map_err(|error| OpenError::io(&filled, error))?;
        let moved = |name: &str| {
            let path = member.join(name);
            fs::rename(filled.join(name), &path).map_err(|error| OpenError::io(&path, error))
        };
        // From now on, only the staged identity distinguishes an interrupted adoption from a member that has lost its identity.
        self.staged.done = true;
        FOLDERS.iter().try_for_each(|name| moved(name))?;
        moved(etcd::ADOPTED)?;
        sync_dir(&member).map_err(|error| OpenError::io(&member, error))?;
        moved(identity_file::FILE)?;
        sync_dir(&member).map_err(|error| OpenError::io(&member, error))?;
        let _ = fs::remove_dir_all(&self.staged.path);
        Ok(())
    }
}

/// Removes the files of an interrupted [`adopt`], whose staged identity was not moved yet. Refuses any other files with these
/// names, such as the files of a member whose identity was lost.
fn remove_unfinished(dir: &Path) -> Result<(), OpenError> {
    let member = member_dir(dir);
    let staged = dir.join(ADOPTING);
    let begun = identity_file::path(&member_dir(&staged)).exists();
    for path in FOLDERS.map(|folder| member.join(folder)) {
        let found = files::existing(fs::symlink_metadata(&path));
        match found.map_err(|error| OpenError::io(&path, error))? {
            None => {}
            Some(found) if begun && found.is_dir() => {
                fs::remove_dir_all(&path).map_err(|error| OpenError::io(&path, error))?;
            }
            Some(_) => {
                return Err(OpenError::Conflict(format!(
                    "{} already exists, but no adoption was interrupted. If it contains Witan's data, restore the file \
                     identity next to it. To adopt etcd's data again, move this folder away",
                    path.display()
                )));
            }
        }
    }
    files::existing(fs::remove_dir_all(&staged))
        .map(drop)
        .map_err(|error| OpenError::io(&staged, error))
}

/// Returns the path of the staging directory next to `dir`. The name contains the process id, so processes in different
/// containers can get the same path. Fails if `dir` has no last component, such as `/`.
fn staging(dir: &Path) -> Result<PathBuf, OpenError> {
    let mut name = dir
        .file_name()
        .ok_or_else(|| OpenError::not_utf8(dir))?
        .to_owned();
    name.push(format!(".restoring-{}", process::id()));
    Ok(dir.with_file_name(name))
}

/// A data directory that is staged until it is complete. Dropping the value removes the directory, unless `done` is set.
#[derive(Debug)]
struct StagedDirectory {
    path: PathBuf,
    /// The opened directory, until it is filled.
    storage: Option<Storage>,
    /// Whether some of its files may have been moved, so that the remaining files must stay.
    done: bool,
}

impl StagedDirectory {
    /// Creates the directory `path` with the identity, an empty log and no checkpoint.
    fn open(
        path: PathBuf,
        identity: &DataIdentity,
        cache: &Arc<BlockCache>,
    ) -> Result<Self, OpenError> {
        let mut staged = Self { path, storage: None, done: false };
        // An offline command serves no metrics.
        let metrics = StorageMetrics::register(&Register::default());
        let (storage, _) = open(&staged.path, identity, &Arc::default(), cache, &metrics)?;
        staged.storage = Some(storage);
        Ok(staged)
    }

    /// See [`super::Checkpoint::write_part`]. Panics after [`Self::fill`].
    fn write_part(&mut self, machine: &StateMachine) -> Result<(), OpenError> {
        let Some(storage) = &mut self.storage else {
            unreachable!("parts are written before the directory is filled");
        };
        let written = storage.checkpoint.write_part(machine);
        written.map_err(|error| OpenError::io(&self.path, error))
    }

    /// Publishes `view` as the checkpoint, adds `batch` (if any) to the log, and closes the directory. Panics on a second call.
    fn fill(&mut self, view: View, batch: Option<&LogBatch>) -> Result<(), OpenError> {
        let Some(storage) = self.storage.take() else {
            unreachable!("a directory is filled once");
        };
        let Storage { mut log, mut checkpoint, lock, .. } = storage;
        let written = checkpoint.write(None, &view);
        batch.map(|batch| log.append(batch));
        log.close();
        drop((view, checkpoint, lock));
        written.map_err(|error| OpenError::io(&self.path, error))
    }
}

impl Drop for StagedDirectory {
    fn drop(&mut self) {
        if !self.done {
            drop(self.storage.take());
            // A leftover is harmless, and its name shows its origin.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

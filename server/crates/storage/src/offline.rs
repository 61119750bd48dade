//! Reads a stopped member's data directory without writing to it. Startup repairs a torn last write and completes an
//! interrupted installation. This module runs the startup code in a temporary directory, with a copy of the log and links to
//! the runs. The temporary directory stays while the state is used, because values that are not in memory are read through its
//! links.

use std::{env, fs, io, os::unix::fs::symlink, path::Path, sync::Arc};

use witan_machine::values::BlockCache;
use witan_replica::host::Recovered;

use super::{
    DataIdentity, OpenError, StorageMetrics, check_log, files, heads::heads_number, identity,
    identity_file, lock::DirectoryLock, make_dir, member_dir, open_identity::OpenIdentity,
    open_parts, owner, run, wal_dir,
};

const CHECKPOINT: &str = "checkpoint";

/// Keeps a stopped member's directory locked and its temporary copy on disk, so that the values of its state can be read.
#[derive(Debug)]
pub struct ReadHold {
    _copy: files::ScratchDirectory,
    /// `None` if no process has ever locked the directory.
    _lock: Option<DirectoryLock>,
}

/// Reads the identity and the state of a stopped member, or returns `None` if the identity file is missing. `cache` decides
/// which values of the state are in memory. Other values can be read while the [`ReadHold`] exists. Fails if a process uses the
/// directory.
pub fn read(
    dir: &Path,
    cache: &Arc<BlockCache>,
    metrics: &StorageMetrics,
) -> Result<Option<(DataIdentity, Recovered, ReadHold)>, OpenError> {
    let member = member_dir(dir);
    identity(dir)?;
    let Some(stored) = identity_file::stored(&member)? else {
        return Ok(None);
    };
    let identity = stored.identity;
    let lock = DirectoryLock::take_existing(&member)?;
    check_log(&member, &identity, false)?;
    let origin = stored.origin(&member)?;
    let copy = copy_of(&member)?;
    let directory = Arc::new(OpenIdentity::new(&copy.0, stored));
    let (_, _, recovered) = open_parts(&directory, origin, &Arc::default(), cache, metrics)?;
    if let Some(view) = &recovered.checkpoint {
        identity_file::check_known(&identity, &view.machine.members, &member)?;
    }
    let hold = ReadHold { _copy: copy, _lock: lock };
    Ok(Some((identity, recovered, hold)))
}

/// Creates a temporary directory with a copy of the log and links to the runs of `member`. Leaves out missing files.
fn copy_of(member: &Path) -> Result<files::ScratchDirectory, OpenError> {
    let parent = env::temp_dir();
    let copy = files::ScratchDirectory::new(&parent, "witan-read-")
        .map_err(|error| OpenError::io(&parent, error))?;
    fill(&copy.0, member, wal_dir::LOG, |name| {
        name.ends_with(".raftlog") || name.ends_with(".rewrite") || name == owner::FILE
    })?;
    // Without the heads, the runs are read and checked completely.
    fill(&copy.0, member, CHECKPOINT, |name| {
        heads_number(Path::new(name)).is_none()
    })?;
    Ok(copy)
}

/// Copies the `wanted` files of `folder` in `member` to the same folder in `copy`. Links runs instead, because they never
/// change. A missing folder becomes an empty one. A file that vanishes ends the copying without an error.
fn fill(
    copy: &Path,
    member: &Path,
    folder: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), OpenError> {
    let (from, to) = (member.join(folder), copy.join(folder));
    make_dir(&to)?;
    let copied = || -> io::Result<()> {
        for file in fs::read_dir(fs::canonicalize(&from)?)? {
            let file = file?;
            let name = file.file_name();
            let Some(name) = name.to_str().filter(|name| wanted(name)) else {
                continue;
            };
            let to = to.join(name);
            if run::run_number(&file.path()).is_some() {
                symlink(file.path(), to)?;
            } else if file.file_type()?.is_file() {
                fs::copy(file.path(), to)?;
            }
        }
        Ok(())
    };
    // Opening the copy reports missing files.
    let copied = files::existing(copied()).map(drop);
    copied.map_err(|error| OpenError::io(&from, error))
}

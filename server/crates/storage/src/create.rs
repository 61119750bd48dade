//! Creates a data directory from a complete state, for a restore.
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

use super::{DataIdentity, OpenError, Storage, StorageMetrics, files::sync_dir, open};

/// Creates the data directory of a member that starts from `view`. `dir` must be missing or empty.
pub fn create(dir: &Path, identity: &DataIdentity, view: &View) -> Result<(), OpenError> {
    let staged = staging(dir)?;
    if staged.exists() {
        // left by an earlier process with the same pid
        fs::remove_dir_all(&staged).map_err(|error| OpenError::io(&staged, error))?;
    }
    let made = fill(&staged, identity, view).and_then(|()| {
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
fn fill(dir: &Path, identity: &DataIdentity, view: &View) -> Result<(), OpenError> {
    // an offline command has no metrics page
    let metrics = StorageMetrics::register(&Register::default());
    let (storage, _) = open(dir, identity, &Arc::default(), &metrics)?;
    let Storage { log, mut checkpoint, lock: hold, checkpoint_log_bytes: _ } = storage;
    let written = checkpoint.write(None, view);
    log.close();
    drop(hold);
    written.map_err(|error| OpenError::io(dir, error))
}

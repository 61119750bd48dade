//! The raft log outside of the data directory (`--wal-dir`): `member/log` is a symbolic link to the folder `log` there. So
//! offline commands, and a start without the flag, find it.
//!
//! A log that is in the data directory is copied, then folder and link are exchanged in one step: a crash leaves either.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{
    OpenError,
    files::{self, sync_dir, sync_file},
    ledger::BALLAST,
    lock, make_dir, member_dir,
};

/// The log in the member's folder and in the folder of `--wal-dir`.
pub(super) const LOG: &str = "log";

/// The link before the exchange, and the folder of the log after it.
const EXCHANGED: &str = "log.exchanged";

/// Has the raft log of the data directory `dir` in the folder `wal_dir`; moves it there if it is in the data directory.
/// Refuses a folder that has another log, and a log that is in a third place.
pub fn place_log(dir: &Path, wal_dir: &Path) -> Result<(), OpenError> {
    let member = member_dir(dir);
    make_dir(dir)?;
    make_dir(&member)?;
    let _lock = lock::LockFile::take(&member)?;
    make_dir(wal_dir)?;
    let target = fs::canonicalize(wal_dir).map_err(|error| OpenError::io(wal_dir, error))?;
    let target = target.join(LOG);
    let (log, exchanged) = (member.join(LOG), member.join(EXCHANGED));
    let failed = |error| OpenError::io(&target, error);
    if let Ok(placed) = fs::read_link(&log) {
        if placed != target {
            let what = format!("{} is a link to {}", log.display(), placed.display());
            return Err(OpenError::WalDir { path: target, what });
        }
        if exchanged.is_dir() {
            fs::remove_dir_all(&exchanged).map_err(failed)?;
        }
        return Ok(());
    }
    if fs::canonicalize(&log).is_ok_and(|log| log == target) {
        // the folder is the member's own
        return Ok(());
    }
    let is_begun = fs::read_link(&exchanged).is_ok_and(|link| link == target);
    if is_begun && target.exists() {
        // a copy that was never used
        fs::remove_dir_all(&target).map_err(failed)?;
    }
    if holds_files(&target).map_err(failed)? {
        let what = "a log is there already, of another member or of an earlier data directory";
        return Err(OpenError::WalDir { path: target, what: what.to_owned() });
    }
    if !is_begun {
        symlink(&target, &exchanged).map_err(failed)?;
    }
    sync_dir(&member).map_err(failed)?;
    match log.is_dir() {
        true => move_log(&log, &exchanged, &target),
        false => files::create_dirs(&target)
            .and_then(|()| sync_dir(wal_dir))
            .and_then(|()| fs::rename(&exchanged, &log)),
    }
    .and_then(|()| sync_dir(&member))
    .map_err(failed)?;
    // the ballast is made beside the log
    let _ = fs::remove_file(member.join(BALLAST));
    Ok(())
}

/// Copies the log into the empty folder `target`, and exchanges its folder and the link to the copy.
fn move_log(log: &Path, exchanged: &Path, target: &Path) -> io::Result<()> {
    tracing::info!(from = %log.display(), to = %target.display(), "moving the raft log to --wal-dir");
    files::create_dirs(target)?;
    for file in fs::read_dir(log)? {
        let from = file?.path();
        let to: PathBuf = target.join(from.file_name().unwrap_or_default());
        fs::copy(&from, &to)?;
        sync_file(&to)?;
    }
    sync_dir(target)?;
    target.parent().map_or(Ok(()), sync_dir)?;
    files::exchange(exchanged, log)?;
    log.parent().map_or(Ok(()), sync_dir)?;
    fs::remove_dir_all(exchanged)
}

/// Returns the folder that has the log's, where `--wal-dir` has placed it.
pub(super) fn folder_of_log(member: &Path) -> PathBuf {
    let placed = fs::canonicalize(member.join(LOG)).ok();
    let folder = placed.as_deref().and_then(Path::parent);
    folder.unwrap_or(member).to_owned()
}

fn holds_files(folder: &Path) -> io::Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut files) => Ok(files.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

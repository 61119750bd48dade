//! The raft log outside the data directory (`--wal-dir`). `member/log` is a symbolic link to the directory `log` in
//! `--wal-dir`, so that offline commands, and startup without the flag, find the log.
//!
//! A log in the data directory is copied, then its directory is exchanged with the link atomically. A crash leaves either the
//! directory or the link. The file `owner` in the log's directory names the link, and only [`place_log`] names another link. In
//! `--wal-dir`, startup deletes only an unused copy from this data directory, because other files may belong to another member.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process,
};

use super::{
    DataIdentity, OpenError,
    files::{self, sync_dir, sync_file, sync_parent},
    ledger::BALLAST,
    lock, make_dir, member_dir,
    owner::{self, LogLink, LogOwner},
};

/// Name of the log's directory or of the link to it in the member's directory. The directory in `--wal-dir` has the same name.
pub(super) const LOG: &str = "log";

/// Name of the link before the exchange with the log's directory, and of the old directory after the exchange.
const EXCHANGED: &str = "log.exchanged";

/// Places the raft log of the data directory `dir` in the directory `wal_dir`. Creates both directories if they are missing.
/// Moves a log from the data directory, or prepares `wal_dir` for a new log. Takes over a log that is already linked. Does
/// nothing if the log in the data directory is already in `wal_dir`. Fails if another process uses the data directory. Also
/// fails if the linked log names another link that still exists, if `wal_dir` contains another log, or if the link points
/// elsewhere.
pub fn place_log(dir: &Path, wal_dir: &Path, identity: &DataIdentity) -> Result<(), OpenError> {
    let member = member_dir(dir);
    make_dir(dir)?;
    make_dir(&member)?;
    let _lock = lock::DirectoryLock::take(&member)?;
    make_dir(wal_dir)?;
    let target = canonical(wal_dir)?.join(LOG);
    let log = member.join(LOG);
    if target == canonical(&member)?.join(LOG) {
        // The log in the data directory is already in `wal_dir`.
        return Ok(());
    }
    if !log.is_symlink() {
        match log.is_dir() {
            true => move_log(&log, &target, identity)?,
            false => begin_log(&log, &target, identity)?,
        }
    } else if !links_to(&log, &target) {
        let what = format!("{} is a link to another directory", log.display());
        return Err(misplaced(&target, &what));
    } else if target.exists() {
        claim_log(&log, &target, identity)?;
    }
    // The link must be durable before an entry is acknowledged through it, even if an earlier process created it.
    sync_dir(&member).map_err(|error| OpenError::io(&member, error))?;
    remove_move_leftovers(&member).map_err(|error| OpenError::io(&member, error))
}

/// Returns whether a link points to the directory `target`, which may be missing. [`super::open`] reports a missing directory.
fn links_to(link: &Path, target: &Path) -> bool {
    match fs::canonicalize(link) {
        Ok(found) => found == target,
        Err(_) => fs::read_link(link).is_ok_and(|named| named == target),
    }
}

/// Records this link as the owner of the linked log in `target`, unless the link already is the owner. Fails if the recorded
/// link still exists, or if the log belongs to another member.
fn claim_log(log: &Path, target: &Path, identity: &DataIdentity) -> Result<(), OpenError> {
    let Err(refusal) = owner::check_link(log) else {
        return Ok(());
    };
    if let Some(found) = LogOwner::read(target)? {
        found.check_ids(identity, (&member_of(log), target))?;
        if found.link.is_some_and(|link| link.still_points_to(target)) {
            return Err(refusal);
        }
    }
    tracing::warn!(log = %target.display(), "this data directory now owns the Raft log");
    name_link(log, log, target, identity)
}

/// Records the link at `at` as the owner of the directory `target`. `log` is the link's final path.
fn name_link(
    at: &Path,
    log: &Path,
    target: &Path,
    identity: &DataIdentity,
) -> Result<(), OpenError> {
    let path = canonical(&member_of(log))?.join(LOG);
    LogOwner::new(identity, LogLink::read(at, &path)?).write(target)
}

/// Returns the member's directory, which contains `log`.
fn member_of(log: &Path) -> PathBuf {
    log.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Creates the directory of a new log and a link to it. The directory must be missing or empty. Records the link in the
/// directory first.
fn begin_log(log: &Path, target: &Path, identity: &DataIdentity) -> Result<(), OpenError> {
    refuse_used(target)?;
    files::create_dirs(target)
        .and_then(|()| sync_parent(target))
        .map_err(|error| OpenError::io(target, error))?;
    let link = new_link(log, target)?;
    name_link(&link, log, target, identity)?;
    fs::rename(&link, log).map_err(|error| OpenError::io(log, error))
}

/// Creates a link to the directory `target` next to `log` and returns the link's path.
fn new_link(log: &Path, target: &Path) -> Result<PathBuf, OpenError> {
    let link = log.with_file_name(EXCHANGED);
    if link.is_symlink() {
        // An interrupted attempt may have left the link.
        fs::remove_file(&link).map_err(|error| OpenError::io(&link, error))?;
    }
    symlink(target, &link).map_err(|error| OpenError::io(&link, error))?;
    Ok(link)
}

/// Copies the log to the directory `target`, which must be missing or empty, then exchanges the log's directory with a link to
/// the copy. The old directory remains as [`EXCHANGED`].
fn move_log(log: &Path, target: &Path, identity: &DataIdentity) -> Result<(), OpenError> {
    remove_unused_copy(log, target)?;
    refuse_used(target)?;
    tracing::info!(from = %log.display(), to = %target.display(), "moving the Raft log to --wal-dir");
    let staged = target.with_file_name(format!("{LOG}.moving-{}", process::id()));
    if staged.exists() {
        // An earlier process with the same id may have left this directory. It may contain files that the log no longer has.
        fs::remove_dir_all(&staged).map_err(|error| OpenError::io(&staged, error))?;
    }
    // Remove the owner file, because a rename replaces only an empty directory.
    let _ = fs::remove_file(target.join(owner::FILE));
    let link = new_link(log, target)?;
    let copied = || -> Result<(), OpenError> {
        let failed = |error| OpenError::io(target, error);
        copy(log, &staged).map_err(failed)?;
        // Name the link in the copy before the copy is moved to `target`, so that an interrupted move can be repeated.
        name_link(&link, log, &staged, identity)?;
        sync_dir(&member_of(log)).map_err(failed)?;
        fs::rename(&staged, target).map_err(failed)?;
        sync_parent(target).map_err(failed)
    };
    copied().inspect_err(|_| {
        let _ = fs::remove_dir_all(&staged);
    })?;
    let exchanged = files::exchange(&link, log).map_err(|error| {
        let what = format!("cannot replace the directory of the log with a link: {error}");
        misplaced(target, &what)
    });
    exchanged.inspect_err(|_| {
        // The copy from this call is unused.
        let _ = fs::remove_dir_all(target);
        let _ = fs::remove_file(&link);
    })
}

/// Removes the copy of an interrupted move. No member has used the copy, because its owner, the link, has not replaced the log.
fn remove_unused_copy(log: &Path, target: &Path) -> Result<(), OpenError> {
    let link = log.with_file_name(EXCHANGED);
    let is_owner = link.is_symlink()
        && links_to(&link, target)
        && owner::check_link(&link).is_ok_and(|owner| owner.is_some());
    match is_owner {
        true => fs::remove_dir_all(target).map_err(|error| OpenError::io(target, error)),
        false => Ok(()),
    }
}

/// Durably copies the files of a directory to a new directory.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    files::create_dirs(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        let copy = to.join(file.file_name());
        fs::copy(file.path(), &copy)?;
        sync_file(&copy)?;
    }
    sync_dir(to)
}

/// Fails if the directory contains files other than the owner file, which an interrupted [`begin_log`] leaves.
fn refuse_used(target: &Path) -> Result<(), OpenError> {
    let files =
        files::existing(fs::read_dir(target)).map_err(|error| OpenError::io(target, error))?;
    let is_other =
        |file: io::Result<fs::DirEntry>| file.map_or(true, |file| file.file_name() != owner::FILE);
    match files.is_some_and(|mut files| files.any(is_other)) {
        true => Err(misplaced(target, "the directory already contains a log")),
        false => Ok(()),
    }
}

/// Creates the error for a log that cannot be in `target`, the directory that `--wal-dir` determines for it.
fn misplaced(target: &Path, reason: &str) -> OpenError {
    OpenError::Conflict(format!(
        "--wal-dir puts the Raft log in {}, but {reason}. Nothing was changed. Set the flag to its previous value, or move \
         the log folder there manually and make member/log in the data directory a link to it. If the files there \
         belong to an earlier data directory or an interrupted move, remove them",
        target.display()
    ))
}

/// Removes the old log directory ([`EXCHANGED`]) and the old ballast ([`ballast_of`]) after a move to `--wal-dir`. Missing
/// files are not an error. The removal is not made durable.
fn remove_move_leftovers(member: &Path) -> io::Result<()> {
    let exchanged = member.join(EXCHANGED);
    if exchanged.is_dir() && !exchanged.is_symlink() {
        fs::remove_dir_all(&exchanged)?;
    }
    files::existing(fs::remove_file(member.join(BALLAST))).map(drop)
}

/// Returns the path of the ballast, which is on the log's disk: next to the log's directory, or inside a directory in
/// `--wal-dir`.
pub(super) fn ballast_of(member: &Path) -> PathBuf {
    let log = member.join(LOG);
    match log.is_symlink() {
        true => log.join(BALLAST),
        false => member.join(BALLAST),
    }
}

fn canonical(dir: &Path) -> Result<PathBuf, OpenError> {
    fs::canonicalize(dir).map_err(|error| OpenError::io(dir, error))
}

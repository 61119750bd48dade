//! Detects etcd's data directories. etcd uses the same default directory as Witan and also names the member's directory
//! `member`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{OpenError, files, identity_file};

/// Returns etcd's `snap` or `wal` directory in the member's directory, or `None` if neither exists. A `wal` directory without
/// segments is ignored, because `--wal-dir` may name it.
pub(super) fn find(member: &Path) -> io::Result<Option<PathBuf>> {
    let (snap, wal) = (member.join("snap"), member.join("wal"));
    if snap.try_exists()? {
        return Ok(Some(snap));
    }
    Ok((wal.try_exists()? && !segments(&wal)?.is_empty()).then_some(wal))
}

/// Returns the paths of the segments of etcd's log (`*.wal`) in the directory `wal`, in no particular order.
fn segments(wal: &Path) -> io::Result<Vec<PathBuf>> {
    let files = fs::read_dir(wal)?.map(|file| file.map(|file| file.path()));
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wal");
    files
        .filter(|path| path.as_ref().map_or(true, is_segment))
        .collect()
}

/// Name of the file in the member's directory that records where etcd's log ended when it was adopted. It contains the log's
/// directory (empty for `wal` in the member's directory), and the name, length and checksum of the last segment without
/// trailing zeros.
pub(super) const ADOPTED: &str = "adopted";

/// Returns the name, the length in bytes and the CRC-32, separated by spaces, of the last segment of etcd's log in the
/// directory `wal`. Excludes the segment's trailing zeros. Returns `None` if the log has no segment.
fn end_of_log(wal: &Path) -> io::Result<Option<String>> {
    let Some(last) = segments(wal)?.into_iter().max() else {
        return Ok(None);
    };
    let bytes = fs::read(&last)?;
    let used = bytes.iter().rposition(|byte| *byte != 0);
    let used = &bytes[..used.map_or(0, |at| at + 1)];
    let name = last.file_name().unwrap_or_default().to_string_lossy();
    let (length, crc) = (used.len(), crc32fast::hash(used));
    Ok(Some(format!("{name} {length} {crc:08x}")))
}

/// Records the end of etcd's adopted log `wal` in the directory `filled`, which becomes the member's directory. `is_beside`
/// means that `wal` is the directory `wal` in the member's directory.
pub(super) fn record_adopted(filled: &Path, wal: &Path, is_beside: bool) -> io::Result<()> {
    let end = end_of_log(wal)?.unwrap_or_default();
    let place = match is_beside {
        true => String::new(),
        false => std::path::absolute(wal)?.display().to_string(),
    };
    files::replace(filled, ADOPTED, format!("{place}\n{end}\n").as_bytes())
}

/// Fails if etcd has run in the directory since its data was adopted, because etcd's later writes would be lost. Accepts a
/// directory that was not adopted, or whose etcd log was removed.
pub(super) fn refuse_newer(member: &Path) -> Result<(), OpenError> {
    let note = member.join(ADOPTED);
    let text = files::existing(fs::read_to_string(&note));
    let Some(text) = text.map_err(|error| OpenError::io(&note, error))? else {
        return Ok(());
    };
    let mut lines = text.lines();
    let wal = match lines.next() {
        None | Some("") => member.join("wal"),
        Some(place) => PathBuf::from(place),
    };
    let adopted = lines.next().filter(|end| !end.is_empty());
    let end = files::existing(end_of_log(&wal)).map_err(|error| OpenError::io(&wal, error))?;
    let end = end.flatten();
    if end.is_none() || end.as_deref() == adopted {
        return Ok(());
    }
    Err(OpenError::Conflict(format!(
        "{} has changed since etcd's data in this directory was adopted: etcd has run on it again. To discard etcd's later \
         writes, move away etcd's folder snap and its *.wal files. To keep etcd's later writes, move {} and the folders \
         log and checkpoint next to it away, and adopt the directory again; the writes to witan are then lost",
        wal.display(),
        identity_file::path(member).display()
    )))
}

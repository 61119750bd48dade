//! The on-disk format of a manifest: a sled database with one record per line, in one file with a checksum. Only this file uses
//! `sled`. `manifest` defines the lines.
//!
//! sled's `flush` does not order its writes, and sled repairs damage that looks like a torn write. Therefore, the database is
//! written in a scratch directory, closed and read back. Its bytes and their checksum are then written atomically. Reading
//! verifies the checksum before sled opens a copy of the bytes. The scratch directory is in memory, so that startup needs no
//! free disk space.

use std::{fs, io, path::Path, time::Duration};

use witan_base::panics::catch_in_library;

use super::{
    files::{ScratchDirectory, inject_failure, now_ns},
    lock::wait_until_unlocked,
};

/// sled's segment size, which is part of the format: a database can be opened only with the segment size with which it was
/// written. A line must fit into a quarter of a segment, because sled writes larger values to separate files.
const SEGMENT_BYTES: usize = 16 << 10;
/// Size in bytes of sled's cache. Each record is read once, so the cache is small.
const CACHE_BYTES: u64 = 1 << 20;
/// File of a closed database, from which sled restores the other files.
const DATABASE: &str = "db";
const SUM_BYTES: usize = 4;
const MEMORY: &str = "/dev/shm";
/// Prefix of a scratch directory's name.
const SCRATCH: &str = "witan-manifest-";
/// Age above which a scratch directory belongs to a killed process. A process uses its directory only for milliseconds.
const LEFT_AFTER: Duration = Duration::from_secs(60);

/// Encodes lines, each terminated by a line feed, as a file. Fails if the file cannot be read back. Uses a directory in `dir`
/// if an in-memory directory cannot be used.
pub(super) fn encode(lines: &str, dir: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = in_scratch(dir, |scratch| {
        let write = || -> io::Result<()> {
            inject_failure()?;
            let db = open(scratch)?;
            for (number, line) in (0_u32..).zip(lines.lines()) {
                db.insert(number.to_be_bytes(), line)?;
            }
            db.flush()?;
            Ok(())
        };
        catch_in_library(write).unwrap_or_else(panicked)?;
        let path = scratch.join(DATABASE);
        wait_until_unlocked(&path)?;
        inject_failure()?;
        fs::read(&path)
    })?;
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    if decode(&bytes, dir)?.as_deref() != Some(lines) {
        return Err(io::Error::other(
            "sled did not read back the lines that were written",
        ));
    }
    Ok(bytes)
}

/// Decodes the lines in a file. Returns `None` if the file is damaged, and fails if it cannot be checked. Uses a directory in
/// `dir` if an in-memory directory cannot be used.
pub(super) fn decode(bytes: &[u8], dir: &Path) -> io::Result<Option<String>> {
    let Some((bytes, sum)) = bytes.split_last_chunk::<SUM_BYTES>() else {
        return Ok(None);
    };
    if crc32fast::hash(bytes) != u32::from_le_bytes(*sum) {
        return Ok(None);
    }
    let lines = in_scratch(dir, |scratch| {
        let path = scratch.join(DATABASE);
        inject_failure()?;
        fs::write(&path, bytes)?;
        let read = || -> io::Result<Vec<u8>> {
            let mut lines = Vec::new();
            for record in &*open(scratch)? {
                lines.extend_from_slice(&record?.1);
                lines.push(b'\n');
            }
            Ok(lines)
        };
        let lines = catch_in_library(read).unwrap_or_else(panicked)?;
        // sled may write to the directory until it releases its lock.
        wait_until_unlocked(&path)?;
        Ok(lines)
    })?;
    Ok(String::from_utf8(lines).ok())
}

/// Removes the scratch directories of killed processes in memory and in `dir`. Ignores failures, which only waste space.
pub(super) fn remove_leftovers(dir: &Path) {
    for parent in [Path::new(MEMORY), dir] {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(is_leftover) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Returns whether a scratch directory with this name is too old to be in use.
fn is_leftover(name: &str) -> bool {
    let made_ns = name
        .strip_prefix(SCRATCH)
        .and_then(|name| name.rsplit('-').next()?.parse::<u128>().ok());
    made_ns.is_some_and(|made_ns| now_ns().saturating_sub(made_ns) > LEFT_AFTER.as_nanos())
}

/// Returns the error for a panic of sled.
fn panicked<T>() -> io::Result<T> {
    Err(io::Error::other("sled panicked"))
}

/// Runs `step` in an empty in-memory directory. If that fails, runs it in a directory in `dir`.
fn in_scratch<T>(dir: &Path, step: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    let run = |parent: &Path| {
        let scratch = ScratchDirectory::new(parent, SCRATCH)?;
        step(&scratch.0)
    };
    run(Path::new(MEMORY)).or_else(|_| run(dir))
}

/// Opens or creates the database in a directory, without background flushes.
fn open(folder: &Path) -> sled::Result<sled::Db> {
    sled::Config::new()
        .path(folder)
        .mode(sled::Mode::HighThroughput)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None)
        .open()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::TempDir;

    /// Returns `count` lines of the maximum length in a manifest.
    fn lines(count: u64) -> String {
        let line = |n| {
            format!(
                "run {} {} {} {n:08x} {}\n",
                u64::MAX - n,
                u64::MAX,
                u64::MAX,
                "00ff".repeat(16)
            )
        };
        (0..count).map(line).collect()
    }

    #[test]
    fn encoded_lines_are_decoded() {
        let dir = TempDir::new();
        for count in [0, 1, 10, 1000, 5000] {
            let bytes = encode(&lines(count), &dir.0).unwrap();
            assert!(
                decode(&bytes, &dir.0).unwrap() == Some(lines(count)),
                "{count}"
            );
        }
        assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 0);
    }

    #[test]
    fn the_folder_is_in_the_data_directory_if_none_can_be_in_memory() {
        let dir = TempDir::new();
        let tried = std::cell::RefCell::new(Vec::new());
        let found = in_scratch(&dir.0, |scratch| {
            tried.borrow_mut().push(scratch.to_owned());
            match scratch.starts_with(&dir.0) {
                true => Ok(1),
                false => Err(io::ErrorKind::StorageFull.into()),
            }
        });
        assert_eq!(found.unwrap(), 1);
        assert!(tried.borrow().last().unwrap().starts_with(&dir.0));
        assert!(tried.borrow().iter().all(|folder| !folder.exists()));
    }

    #[test]
    fn folders_of_killed_processes_are_removed_and_folders_in_use_are_kept() {
        let dir = TempDir::new();
        let killed = Path::new(MEMORY).join(format!("{SCRATCH}1-2"));
        // Create the directory in one call, because a startup in another test may remove the directory between two calls.
        fs::create_dir_all(&killed).unwrap();
        fs::create_dir_all(dir.0.join(format!("{SCRATCH}1-2/blobs"))).unwrap();
        let used = ScratchDirectory::new(&dir.0, SCRATCH).unwrap();
        remove_leftovers(&dir.0);
        assert!(!killed.exists());
        assert!(used.0.exists());
        assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 1);
    }

    #[test]
    fn every_flipped_bit_is_detected() {
        let dir = TempDir::new();
        let whole = encode(&lines(3), &dir.0).unwrap();
        for at in (0..whole.len()).step_by(97) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            assert_eq!(decode(&bytes, &dir.0).unwrap(), None, "byte {at}");
        }
        assert_eq!(decode(&[], &dir.0).unwrap(), None);
    }
}

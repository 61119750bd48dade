//! The form of a manifest on disk: a database of sled with a record for each line, in one file with a checksum. The only
//! file that names `sled`. Not here: what the lines say.
//!
//! sled's `flush` orders nothing to the platter, and sled repairs damage that looks like a torn write. So a database is
//! written in a scratch folder and closed. Its bytes and their checksum become the file in one step, which the caller makes
//! durable; they are checked before sled opens a copy of them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use witan_base::panics::catch_in_library;

use super::{files::create_dirs, lock::wait_until_unlocked};

/// sled's unit of writing. A line fits into a quarter of it: sled writes larger values into files of their own.
const SEGMENT_BYTES: usize = 16 << 10;
/// Size of sled's cache; small, because everything is read once.
const CACHE_BYTES: u64 = 1 << 20;
/// The file of a closed database from which sled derives its other ones.
const DATABASE: &str = "db";
/// Bytes of the checksum at the end of the file.
const SUM_BYTES: usize = 4;

/// Returns the bytes of a file with these lines. The database is written in a folder inside `dir`, by one thread at a time.
pub(super) fn encode(lines: &str, dir: &Path) -> io::Result<Vec<u8>> {
    let scratch = Scratch::new(dir.join("writing"))?;
    let write = || -> io::Result<()> {
        let db = open(&scratch.0)?;
        for (number, line) in (0_u32..).zip(lines.lines()) {
            db.insert(number.to_be_bytes(), line)?;
        }
        db.flush()?;
        Ok(())
    };
    catch_in_library(write).unwrap_or_else(|| Err(io::Error::other("sled panicked")))?;
    let mut bytes = scratch.take_database()?;
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    Ok(bytes)
}

/// Returns the lines of a file; `None` if it is damaged. The database is read in a folder inside `dir`, by one thread at a
/// time.
pub(super) fn decode(bytes: &[u8], dir: &Path) -> io::Result<Option<String>> {
    let Some((bytes, sum)) = bytes.split_last_chunk::<SUM_BYTES>() else {
        return Ok(None);
    };
    if crc32fast::hash(bytes) != u32::from_le_bytes(*sum) {
        return Ok(None);
    }
    let scratch = Scratch::new(dir.join("reading"))?;
    fs::write(scratch.0.join(DATABASE), bytes)?;
    let read = || -> io::Result<Option<String>> {
        let mut lines = String::new();
        for record in &*open(&scratch.0)? {
            let Ok(line) = std::str::from_utf8(&record?.1).map(|line| format!("{line}\n")) else {
                return Ok(None);
            };
            lines.push_str(&line);
        }
        Ok(Some(lines))
    };
    let lines = catch_in_library(read).unwrap_or(Ok(None))?;
    // until then sled may write into the folder
    scratch.take_database()?;
    Ok(lines)
}

/// Opens the database of a folder, or creates it if it is missing, without flushes in the background.
fn open(folder: &Path) -> sled::Result<sled::Db> {
    sled::Config::new()
        .path(folder)
        .mode(sled::Mode::HighThroughput)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None)
        .open()
}

/// A folder that a database is open in, removed when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    /// Creates the folder, after it removes what a crash has left of it.
    fn new(path: PathBuf) -> io::Result<Self> {
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        create_dirs(&path)?;
        Ok(Self(path))
    }

    /// Returns the bytes of the database, once sled has closed it. Larger values than a file has are an error.
    fn take_database(&self) -> io::Result<Vec<u8>> {
        let path = self.0.join(DATABASE);
        wait_until_unlocked(&path)?;
        if fs::read_dir(self.0.join("blobs"))?.next().is_some() {
            return Err(io::Error::other("a line is too long for the database"));
        }
        fs::read(&path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // the next one removes what remains
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::TempDir;

    fn lines(count: u32) -> String {
        (0..count)
            .map(|n| format!("run {n} 12345 8388608 {n:08x} {}\n", "00ff".repeat(16)))
            .collect()
    }

    #[test]
    fn lines_come_back() {
        let dir = TempDir::new();
        for count in [0, 1, 10, 1000, 20_000] {
            let started = std::time::Instant::now();
            let bytes = encode(&lines(count), &dir.0).unwrap();
            eprintln!("{count} {} {:?}", bytes.len(), started.elapsed());
            let started = std::time::Instant::now();
            assert!(
                decode(&bytes, &dir.0).unwrap() == Some(lines(count)),
                "{count}"
            );
            eprintln!("read {:?}", started.elapsed());
        }
        assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 0);
    }

    #[test]
    fn every_flipped_bit_shows() {
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

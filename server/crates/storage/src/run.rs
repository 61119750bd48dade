//! A run: records in ascending key order in a file of its own, written once. Not here: the meaning of records, and how
//! runs make a checkpoint.
//!
//! Each record is the length of its key and of its value, four bytes each and little-endian, then both. The manifest has the
//! number of records, the bytes and the checksum of the file, so that the file itself has nothing else.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use witan_machine::record::CorruptRecord;

use super::{
    error::CheckpointReadError,
    files::{create, sync_file},
};

/// End of the name of a run's file.
const SUFFIX: &str = ".run";
/// Records are sorted in memory up to this many bytes; then the next run begins.
pub(super) const RUN_BYTES: u64 = 8 << 20;
/// Bytes that are read or written at once.
const BUFFER_BYTES: usize = 128 << 10;
/// Marks a record without a value: the key is deleted.
pub(super) const REMOVED: u32 = u32::MAX;
/// Length of the key, length of the value.
pub(super) const HEADER_BYTES: usize = 8;

/// A key and its value; `None` for a deleted key.
pub(super) type RunItem = (Vec<u8>, Option<Vec<u8>>);

/// Returns the path of the run with this number.
pub(super) fn run_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}{SUFFIX}"))
}

/// Returns the number of a run from its path; `None` for other files.
pub(super) fn run_number(path: &Path) -> Option<u64> {
    path.file_name()?
        .to_str()?
        .strip_suffix(SUFFIX)?
        .parse()
        .ok()
}

/// Returns the bytes of an item in the file.
pub(super) fn item_bytes((key, value): &RunItem) -> usize {
    HEADER_BYTES + key.len() + value.as_ref().map_or(0, Vec::len)
}

/// Expected contents of a run, stored in the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RunContent {
    /// Number of records, including deletions.
    pub(super) records: u64,
    /// Bytes of the file.
    pub(super) bytes: u64,
    /// CRC-32 of the file.
    pub(super) sum: u32,
}

/// Writes a run into a new file at `path`; returns its content for the manifest. The run is durable on return; the name
/// of its file is not.
pub(super) fn write(path: &Path, items: &[RunItem]) -> io::Result<RunContent> {
    let mut writer = RunWriter {
        file: create(path)?,
        buffer: Vec::with_capacity(BUFFER_BYTES),
        sum: crc32fast::Hasher::new(),
        bytes: 0,
    };
    for (key, value) in items {
        let value_length = value.as_ref().map_or(Ok(REMOVED), |v| length(v))?;
        writer.add(&length(key)?.to_le_bytes())?;
        writer.add(&value_length.to_le_bytes())?;
        writer.add(key)?;
        writer.add(value.as_deref().unwrap_or_default())?;
    }
    writer.write_buffer()?;
    sync_file(path)?;
    Ok(RunContent {
        records: items.len() as u64,
        bytes: writer.bytes,
        sum: writer.sum.finalize(),
    })
}

/// Returns the length of a key or a value as it is written; an error if it is too long.
fn length(bytes: &[u8]) -> io::Result<u32> {
    let length = u32::try_from(bytes.len()).ok();
    length
        .filter(|length| *length != REMOVED)
        .ok_or_else(|| io::Error::other("a record of 4 GiB does not fit into a run"))
}

struct RunWriter {
    file: File,
    buffer: Vec<u8>,
    sum: crc32fast::Hasher,
    bytes: u64,
}

impl RunWriter {
    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.write_buffer()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            return self.write(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.write(&buffer)?;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// Reads a run, each record once.
pub(super) struct RunReader {
    file: File,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were taken.
    at: usize,
    /// Checksum of all bytes that were read.
    sum: crc32fast::Hasher,
    /// Records and bytes that were not taken yet.
    left: RunContent,
}

impl RunReader {
    /// Opens a run. Whether it is damaged is known at its end.
    pub(super) fn open(path: &Path, content: &RunContent) -> Result<Self, CheckpointReadError> {
        Ok(Self {
            file: File::open(path)?,
            buffer: Vec::new(),
            at: 0,
            sum: crc32fast::Hasher::new(),
            left: content.clone(),
        })
    }

    /// Reads the next record; `None` at the end. An error if the run is incomplete or its checksum
    /// is wrong.
    pub(super) fn next(&mut self) -> Result<Option<RunItem>, CheckpointReadError> {
        if self.left.records == 0 {
            self.check_end()?;
            return Ok(None);
        }
        self.left.records -= 1;
        let mut lengths = [[0; 4]; 2];
        self.fill(lengths.as_flattened_mut())?;
        let [key, value] = lengths.map(u32::from_le_bytes);
        let key = self.take(key)?;
        let value = match value {
            REMOVED => None,
            length => Some(self.take(length)?),
        };
        Ok(Some((key, value)))
    }

    /// Checks at the end that the file was the one that the manifest names.
    fn check_end(&mut self) -> Result<(), CheckpointReadError> {
        let more = self.at < self.buffer.len() || self.read_buffer()? > 0;
        let sum = std::mem::take(&mut self.sum).finalize();
        if more || self.left.bytes != 0 || sum != self.left.sum {
            return Err(CorruptRecord::new("a run fails its checksum").into());
        }
        Ok(())
    }

    /// Takes the next `length` bytes of the run; an error if it is shorter.
    fn take(&mut self, length: u32) -> Result<Vec<u8>, CheckpointReadError> {
        if u64::from(length) > self.left.bytes {
            return Err(too_short().into());
        }
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Takes as many bytes as `out` has; an error if the run is shorter.
    fn fill(&mut self, mut out: &mut [u8]) -> Result<(), CheckpointReadError> {
        let left = self.left.bytes.checked_sub(out.len() as u64);
        self.left.bytes = left.ok_or_else(too_short)?;
        while !out.is_empty() {
            if self.at == self.buffer.len() && self.read_buffer()? == 0 {
                return Err(too_short().into());
            }
            let fits = out.len().min(self.buffer.len() - self.at);
            let (now, later) = out.split_at_mut(fits);
            now.copy_from_slice(&self.buffer[self.at..self.at + fits]);
            self.at += fits;
            out = later;
        }
        Ok(())
    }

    /// Reads the next bytes of the file into the buffer, and returns how many.
    fn read_buffer(&mut self) -> io::Result<usize> {
        self.buffer.resize(BUFFER_BYTES, 0);
        let read = loop {
            match self.file.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.buffer.truncate(read);
        self.sum.update(&self.buffer);
        self.at = 0;
        Ok(read)
    }
}

fn too_short() -> CorruptRecord {
    CorruptRecord::new("a run is shorter than its records")
}

//! A run: records in ascending key order, in a file that is written once. `checkpoint` combines runs.
//!
//! The file contains a record stream (`record_stream`) and nothing else. The manifest contains the stream's record count, size
//! and checksum. Startup can read a smaller file with the run's keys and heads instead (`heads`).

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use witan_machine::record::CorruptRecord;

use super::{
    error::CheckpointReadError,
    files::{create, inject_failure, sync_file},
    record_stream::RecordTotals,
};

const SUFFIX: &str = ".run";
/// Size in bytes at which a run ends. This size bounds the memory in which the records of a run are sorted.
pub(super) const RUN_BYTES: u64 = 8 << 20;
const BUFFER_BYTES: usize = 128 << 10;
/// Value length that marks a deleted key.
pub(super) const REMOVED: u32 = u32::MAX;
pub(super) const HEADER_BYTES: usize = 8;

/// A key and its value, or `None` for a deleted key.
pub(super) type RunItem = (Vec<u8>, Option<Vec<u8>>);

/// A record of a run, or only its head.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RunValue {
    /// The record.
    Record(Vec<u8>),
    /// The head of a block's record and the length of the record in bytes.
    Head(Vec<u8>, u32),
}

impl RunValue {
    /// Returns the length of the record in bytes.
    pub(super) fn record_len(&self) -> u32 {
        match self {
            Self::Record(record) => {
                u32::try_from(record.len()).expect("a run stores the length in 32 bits")
            }
            Self::Head(_, record_len) => *record_len,
        }
    }

    /// Returns the bytes in memory: the record or its head.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Record(bytes) | Self::Head(bytes, _) => bytes,
        }
    }
}

pub(super) fn run_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}{SUFFIX}"))
}

/// Parses a run's number from its path, or returns `None` for other files.
pub(super) fn run_number(path: &Path) -> Option<u64> {
    number_before(path, SUFFIX)
}

/// Parses the number before a suffix of a file's name. Returns `None` for any other name.
pub(super) fn number_before(path: &Path, suffix: &str) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(suffix)?.parse().ok()
}

/// Returns the size of an item in a run's file in bytes, including the lengths before it.
pub(super) fn item_bytes((key, value): &RunItem) -> usize {
    HEADER_BYTES + key.len() + value.as_ref().map_or(0, Vec::len)
}

/// Writes a run to a new file at `path` and returns its totals for the manifest. Only the content is durable on return. Fails
/// for a key or a value of 4 GiB or more.
pub(super) fn write(path: &Path, items: &[RunItem]) -> io::Result<RecordTotals> {
    let mut writer = BufWriter::with_capacity(BUFFER_BYTES, SummedFile::new(create(path)?));
    for (key, value) in items {
        let value_length = value.as_ref().map_or(Ok(REMOVED), |v| length(v))?;
        writer.write_all(&length(key)?.to_le_bytes())?;
        writer.write_all(&value_length.to_le_bytes())?;
        writer.write_all(key)?;
        writer.write_all(value.as_deref().unwrap_or_default())?;
    }
    writer.flush()?;
    sync_file(path)?;
    let SummedFile { sum, bytes, .. } = writer.get_ref();
    Ok(RecordTotals {
        records: items.len() as u64,
        bytes: *bytes,
        sum: sum.clone().finalize(),
    })
}

/// Returns the length of a key or value. Fails if the length exceeds 32 bits or equals [`REMOVED`].
fn length(bytes: &[u8]) -> io::Result<u32> {
    let length = u32::try_from(bytes.len()).ok();
    length
        .filter(|length| *length != REMOVED)
        .ok_or_else(|| io::Error::other("a record exceeds the limit of 4 GiB"))
}

/// A file that counts and checksums all bytes read or written.
struct SummedFile {
    file: File,
    sum: crc32fast::Hasher,
    bytes: u64,
}

impl SummedFile {
    fn new(file: File) -> Self {
        Self { file, sum: crc32fast::Hasher::new(), bytes: 0 }
    }

    /// Adds bytes to the size and the checksum and returns their number.
    fn count(&mut self, bytes: &[u8]) -> usize {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        bytes.len()
    }
}

impl Write for SummedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        inject_failure()?;
        let written = self.file.write(bytes)?;
        Ok(self.count(&bytes[..written]))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for SummedFile {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(out)?;
        Ok(self.count(&out[..read]))
    }
}

pub(super) struct RunReader {
    file: BufReader<SummedFile>,
    /// Offset of the next record in the file.
    pub(super) offset: u64,
    /// Totals of the records that are left to read.
    left: RecordTotals,
}

impl RunReader {
    /// Opens a run. Some damage is detected only when the end of the run is read.
    pub(super) fn open(path: &Path, content: RecordTotals) -> Result<Self, CheckpointReadError> {
        let file = SummedFile::new(File::open(path)?);
        Ok(Self {
            file: BufReader::with_capacity(BUFFER_BYTES, file),
            offset: 0,
            left: content,
        })
    }

    /// Reads the next record, or returns `None` at the end. Fails if the run is incomplete or its checksum is wrong.
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

    /// Checks after the last record that the file's size and checksum match the manifest.
    fn check_end(&mut self) -> Result<(), CheckpointReadError> {
        let more = !self.file.fill_buf()?.is_empty();
        let sum = self.file.get_ref().sum.clone().finalize();
        if more || self.left.bytes != 0 || sum != self.left.sum {
            return Err(CorruptRecord::new("a run fails its checksum").into());
        }
        Ok(())
    }

    /// Reads the next `length` bytes. Fails before it allocates them if the run has fewer bytes left.
    fn take(&mut self, length: u32) -> Result<Vec<u8>, CheckpointReadError> {
        if u64::from(length) > self.left.bytes {
            return Err(too_short().into());
        }
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Fills `out` with the next bytes. Fails if the run has fewer bytes left.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), CheckpointReadError> {
        let left = self.left.bytes.checked_sub(out.len() as u64);
        self.left.bytes = left.ok_or_else(too_short)?;
        self.offset += out.len() as u64;
        match self.file.read_exact(out) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(too_short().into()),
            read => Ok(read?),
        }
    }
}

fn too_short() -> CorruptRecord {
    CorruptRecord::new("a run is shorter than its records")
}

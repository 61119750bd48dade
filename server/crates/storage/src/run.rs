//! A run: records in ascending key order in a sled database of its own, written once. The only file
//! that names `sled`. Not here: the meaning of records, and how runs make a checkpoint.
//!
//! The records are one stream of bytes, cut into chunks, and a few chunks make a tree of sled's:
//! so few that sled never consolidates or splits a page, which would write the same bytes again
//! (one record per key costs four times its bytes).
//!
//! Durable means: flushed, closed, and then the file and the folder synced. sled's `flush` alone
//! ends in `sync_file_range`, which orders nothing to the platter.
//!
//! Of a closed database only the file `db` is kept, and only its first bytes count: sled derives
//! its other files from it, and appends zeros to it with every start.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use witan_machine::record::CorruptRecord;

use super::{
    error::CheckpointReadError,
    files::{make_private, sync_dir, sync_file},
    lock::wait_until_unlocked,
};

/// sled's unit of writing. It fits the chunks of one tree and sled's overhead.
const SEGMENT_BYTES: usize = 1 << 20;
/// A quarter of a segment would be too much: sled writes larger ones into files of their own.
const CHUNK_BYTES: usize = (128 << 10) - 512;
/// Chunks in a tree: sled rewrites a page at its eleventh change.
const CHUNKS_PER_TREE: u32 = 8;
/// Size of sled's cache; small, because everything is read once.
const CACHE_BYTES: u64 = 1 << 20;
/// Records are sorted in memory up to this many bytes; then the next run begins.
pub(super) const RUN_BYTES: u64 = 8 << 20;
/// Marks a record without a value: the key is deleted.
pub(super) const REMOVED: u32 = u32::MAX;
/// Length of the key, length of the value.
pub(super) const HEADER_BYTES: usize = 8;
/// The database file in a run's folder.
const DATABASE: &str = "db";

/// A key and its value; `None` for a deleted key.
pub(super) type RunItem = (Vec<u8>, Option<Vec<u8>>);

/// Returns the bytes of an item in the stream.
pub(super) fn item_bytes((key, value): &RunItem) -> usize {
    HEADER_BYTES + key.len() + value.as_ref().map_or(0, Vec::len)
}

/// Expected contents of a run, stored in the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RunContent {
    /// Number of records, including deletions.
    pub(super) records: u64,
    /// Bytes of the stream.
    pub(super) bytes: u64,
    /// CRC-32 of the stream.
    pub(super) stream_sum: u32,
    /// Length of the database file when it was closed.
    pub(super) file_bytes: u64,
    /// CRC-32 of that many bytes of the file.
    pub(super) file_sum: u32,
}

/// Writes a run into a new folder at `path`; returns its content for the manifest. The run is
/// durable on return; the name of its folder is not.
pub(super) fn write(path: &Path, items: &[RunItem]) -> io::Result<RunContent> {
    fs::create_dir(path)?;
    let mut writer = RunWriter {
        db: open(path)?,
        chunk: Vec::with_capacity(CHUNK_BYTES),
        chunks: 0,
        sum: crc32fast::Hasher::new(),
        content: RunContent { records: items.len() as u64, ..RunContent::default() },
    };
    for (key, value) in items {
        let length = value
            .as_ref()
            .map_or(Ok(REMOVED), |v| u32::try_from(v.len()));
        let length = length.map_err(io::Error::other)?;
        let key_length = u32::try_from(key.len()).map_err(io::Error::other)?;
        writer.add(&key_length.to_le_bytes())?;
        writer.add(&length.to_le_bytes())?;
        writer.add(key)?;
        writer.add(value.as_deref().unwrap_or_default())?;
    }
    writer.put_chunk()?;
    let RunWriter { db, content, sum, .. } = writer;
    db.flush()?;
    drop(db);
    wait_until_unlocked(&path.join(DATABASE))?;
    strip(path)?;
    // a file system without modes was warned of at the start
    let _ = make_private(path);
    let file = path.join(DATABASE);
    sync_file(&file)?;
    sync_dir(path)?;
    let file_bytes = file.metadata()?.len();
    Ok(RunContent {
        stream_sum: sum.finalize(),
        file_bytes,
        file_sum: file_sum(&file, file_bytes)?,
        ..content
    })
}

struct RunWriter {
    db: sled::Db,
    chunk: Vec<u8>,
    chunks: u32,
    sum: crc32fast::Hasher,
    content: RunContent,
}

impl RunWriter {
    /// Appends bytes to the stream, and stores each chunk that becomes full.
    fn add(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.content.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let fits = bytes.len().min(CHUNK_BYTES - self.chunk.len());
            let (now, later) = bytes.split_at(fits);
            self.chunk.extend_from_slice(now);
            if self.chunk.len() == CHUNK_BYTES {
                self.put_chunk()?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// Stores the current chunk, unless it is empty.
    fn put_chunk(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let (tree, key) = tree_and_key(self.chunks);
        self.db
            .open_tree(tree)?
            .insert(key, self.chunk.as_slice())?;
        self.chunks += 1;
        self.chunk.clear();
        Ok(())
    }
}

/// Returns the name of the tree that holds a chunk, and its key there.
fn tree_and_key(chunk: u32) -> ([u8; 4], [u8; 1]) {
    let at = u8::try_from(chunk % CHUNKS_PER_TREE).expect("a tree holds few chunks");
    ((chunk / CHUNKS_PER_TREE).to_be_bytes(), [at])
}

/// Opens the database of a run, or creates it if it is missing, without flushes in the background.
fn open(path: &Path) -> sled::Result<sled::Db> {
    sled::Config::new()
        .path(path)
        .mode(sled::Mode::HighThroughput)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None)
        .open()
}

impl From<sled::Error> for CheckpointReadError {
    fn from(error: sled::Error) -> Self {
        let text = error.to_string();
        if let sled::Error::Io(error) = error {
            Self::Io(error)
        } else {
            Self::Database(text)
        }
    }
}

/// Removes all files of a run's folder except the database file.
fn strip(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() {
            // The folder must be empty; otherwise a chunk was too large for the file, which is an
            // error.
            fs::remove_dir(&path)?;
        } else if !path.ends_with(DATABASE) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Removes what sled has added to a run by opening it, once it is closed: the file's bytes behind the first
/// `file_bytes`, and all other files.
fn cut(path: &Path, file_bytes: u64) -> io::Result<()> {
    let file = path.join(DATABASE);
    wait_until_unlocked(&file)?;
    if file.metadata()?.len() > file_bytes {
        let file = File::options().write(true).open(&file)?;
        file.set_len(file_bytes)?;
    }
    strip(path)
}

/// Computes the CRC-32 of the first `bytes` bytes of a file, or of all of it if it is shorter.
fn file_sum(path: &Path, bytes: u64) -> io::Result<u32> {
    let mut file = File::open(path)?.take(bytes);
    let mut sum = crc32fast::Hasher::new();
    let mut part = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut part)? {
            0 => return Ok(sum.finalize()),
            length => sum.update(&part[..length]),
        }
    }
}

/// Reads a run, each record once.
pub(super) struct RunReader {
    db: sled::Db,
    chunk: sled::IVec,
    /// Bytes of the chunk that were read.
    at: usize,
    chunks: u32,
    sum: crc32fast::Hasher,
    /// Records, bytes and other content that were not read yet.
    left: RunContent,
}

impl RunReader {
    /// Checks the checksum of a run's file, cuts what an earlier use has added, and opens it.
    pub(super) fn open(path: &Path, content: &RunContent) -> Result<Self, CheckpointReadError> {
        // first, because sled repairs damage that looks like a torn write
        if file_sum(&path.join(DATABASE), content.file_bytes)? != content.file_sum {
            return Err(CorruptRecord::new("the database file fails its checksum").into());
        }
        cut(path, content.file_bytes)?;
        Ok(Self {
            db: open(path)?,
            chunk: sled::IVec::default(),
            at: 0,
            chunks: 0,
            sum: crc32fast::Hasher::new(),
            left: content.clone(),
        })
    }

    /// Reads the next record; `None` at the end. An error if the run is incomplete or its checksum
    /// is wrong.
    pub(super) fn next(&mut self) -> Result<Option<RunItem>, CheckpointReadError> {
        if self.left.records == 0 {
            let sum = std::mem::take(&mut self.sum).finalize();
            if self.left.bytes != 0 || sum != self.left.stream_sum {
                return Err(CorruptRecord::new("a run fails its checksum").into());
            }
            return Ok(None);
        }
        self.left.records -= 1;
        let header = self.take(HEADER_BYTES as u64)?;
        let (key, value) = header.split_at(4);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, b| n << 8 | u32::from(*b));
        let key = self.take(number(key).into())?;
        let value = match number(value) {
            REMOVED => None,
            length => Some(self.take(length.into())?),
        };
        Ok(Some((key, value)))
    }

    /// Reads the next `length` bytes of the run; an error if it is shorter.
    fn take(&mut self, length: u64) -> Result<Vec<u8>, CheckpointReadError> {
        let short = || CorruptRecord::new("a run is shorter than its records");
        self.left.bytes = self.left.bytes.checked_sub(length).ok_or_else(short)?;
        let length = usize::try_from(length).map_err(|_| short())?;
        let mut out = Vec::with_capacity(length);
        while out.len() < length {
            if self.at == self.chunk.len() {
                self.chunk = self.next_chunk()?.ok_or_else(short)?;
                self.at = 0;
            }
            let fits = (length - out.len()).min(self.chunk.len() - self.at);
            out.extend_from_slice(&self.chunk[self.at..self.at + fits]);
            self.at += fits;
        }
        self.sum.update(&out);
        Ok(out)
    }

    /// Reads the next chunk of the stream; `None` if there is none.
    fn next_chunk(&mut self) -> Result<Option<sled::IVec>, CheckpointReadError> {
        let (tree, key) = tree_and_key(self.chunks);
        self.chunks += 1;
        // Opening a missing tree would create it.
        if key == [0] && !self.db.tree_names().contains(&tree.as_slice().into()) {
            return Ok(None);
        }
        Ok(self.db.open_tree(tree)?.get(key)?)
    }
}

/// Reads a whole run and removes what sled wrote to open it: on a full disk the runs of a chain
/// cannot all be open at once.
pub(super) fn read_whole(
    path: &Path,
    content: &RunContent,
) -> Result<Vec<RunItem>, CheckpointReadError> {
    let mut reader = RunReader::open(path, content)?;
    let mut items = Vec::new();
    while let Some(item) = reader.next()? {
        items.push(item);
    }
    drop(reader);
    cut(path, content.file_bytes)?;
    Ok(items)
}

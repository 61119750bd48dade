//! Test support: a record file in memory, and the records of a state.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::{BlockCache, Place, RecordFile};
use crate::{
    kv::{Kv, checkpoint::block_head},
    record::{CorruptRecord, Emit, RecordChange},
    view::View,
};

/// A [`RecordFile`] in memory. [`RecordFile::fail`] panics.
#[derive(Debug)]
pub struct MemoryFile {
    bytes: Vec<u8>,
    cache: Arc<BlockCache>,
    failures: AtomicUsize,
    on_read: fn(),
}

impl MemoryFile {
    /// Creates a file with this content.
    pub fn new(cache: Arc<BlockCache>, bytes: Vec<u8>) -> Arc<Self> {
        Self::observed(cache, bytes, || {})
    }

    /// Creates a file that calls `on_read` on the reading thread.
    pub fn observed(cache: Arc<BlockCache>, bytes: Vec<u8>, on_read: fn()) -> Arc<Self> {
        Arc::new(Self { bytes, cache, failures: AtomicUsize::new(0), on_read })
    }

    /// Makes the next `reads` reads fail.
    pub fn fail_reads(&self, reads: usize) {
        self.failures.store(reads, Relaxed);
    }
}

impl RecordFile for MemoryFile {
    /// Calls `on_read`, even if the read then fails.
    fn read(&self, offset: u64, len: u32) -> io::Result<Vec<u8>> {
        (self.on_read)();
        let failing = self.failures.load(Relaxed);
        if failing > 0 {
            self.failures.store(failing - 1, Relaxed);
            return Err(io::Error::other("a planted failure"));
        }
        let begin = offset as usize;
        let part = self.bytes.get(begin..begin + len as usize);
        Ok(part.ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }

    fn fail(&self, what: &str) -> ! {
        panic!("{what}")
    }

    fn cache(&self) -> &Arc<BlockCache> {
        &self.cache
    }
}

/// Returns all records of a view.
pub fn records(view: &View) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records = BTreeMap::new();
    view.changes(None, &mut |change| match change {
        RecordChange::Put { key, value } => drop(records.insert(key, value)),
        RecordChange::Delete { key } => panic!("{key:?} is in no earlier state"),
    });
    records
}

/// Stores all records of a view in a file in memory and drops the values of the view's closed blocks. Calls `on_read` at each
/// read of the file, on the reading thread. Returns the cache, whose target is 0.
pub fn drop_values(view: &View, on_read: fn()) -> Arc<BlockCache> {
    move_to_file(
        &|emit| view.changes(None, emit),
        &|key, place| view.settle(key, place),
        on_read,
    )
}

/// Drops the values of a key space's closed blocks, like [`drop_values`].
pub fn drop_kv_values(kv: &Kv) -> Arc<BlockCache> {
    move_to_file(
        &|emit| kv.changes(None, emit),
        &|key, place| kv.settle(key, place),
        || {},
    )
}

/// Loads a key space from its records. Loads closed blocks from their heads, so their values are not in memory.
pub fn load_kv_heads(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Kv, CorruptRecord> {
    let (mut kv, cache) = (Kv::default(), Arc::new(BlockCache::new()));
    cache.set_target(0);
    for (key, record) in records {
        let head = block_head(key, record).filter(|_| !kv.is_open_block(key));
        let Some(head) = head else {
            kv.load(key, record)?;
            continue;
        };
        let (file, len) = (
            MemoryFile::new(cache.clone(), record.clone()),
            record.len() as u32,
        );
        kv.load_head(key, &head, Place { file, offset: 0, len })?;
    }
    kv.finish_load()?;
    Ok(kv)
}

/// Writes all records to a file, sets their places in the file and drops the values from memory. `on_read` is called at each
/// read of the file. Returns the file's cache, whose target is 0.
fn move_to_file(
    changes: &dyn Fn(&mut Emit<'_>),
    settle: &dyn Fn(&[u8], Place),
    on_read: fn(),
) -> Arc<BlockCache> {
    let cache = Arc::new(BlockCache::new());
    cache.set_target(0);
    let (mut bytes, mut records) = (Vec::new(), Vec::new());
    changes(&mut |change| {
        if let RecordChange::Put { key, value } = change {
            records.push((key, bytes.len() as u64, value.len() as u32));
            bytes.extend(value);
        }
    });
    let file = MemoryFile::observed(cache.clone(), bytes, on_read);
    for (key, offset, len) in records {
        settle(&key, Place { file: file.clone(), offset, len });
    }
    cache.trim();
    cache
}

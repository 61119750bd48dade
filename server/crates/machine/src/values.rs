//! The values of closed blocks, which can be dropped from memory once the blocks are durable.
//!
//! Keys, versions and the index always stay in memory. When a checkpoint has stored a block's record, the block has a [`Place`]
//! in a file. [`BlockCache`] then decides whether the values of the block also stay in memory. A read of evicted values waits
//! for the file. Results do not depend on which values are in memory.
//!
//! The core does not open files: the storage, or a test, implements [`RecordFile`].

#![expect(
    clippy::disallowed_types,
    reason = "whether values are in memory is not part of the state, and threads share it"
)]

mod cache;
#[doc(hidden)]
pub mod test_support;

use std::{
    fmt, io,
    ops::Range,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use bytes::Bytes;

pub use cache::{BlockCache, CacheHold};

/// Number of attempts to read a valid record.
const READ_ATTEMPTS: usize = 2;

/// A file that contains records of blocks. The file exists while any [`Place`] refers to it.
pub trait RecordFile: Send + Sync + fmt::Debug {
    /// Reads `len` bytes at `offset`. Waits for the disk and retries transient failures.
    fn read(&self, offset: u64, len: u32) -> io::Result<Vec<u8>>;

    /// Ends the process, because a record of this file is unreadable or damaged. `what` names the record and the error.
    fn fail(&self, what: &str) -> !;

    /// Returns the cache that counts the values of this file's blocks.
    fn cache(&self) -> &Arc<BlockCache>;
}

/// The place of a block's record, including its checksum, in a durable file.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file.
    pub file: Arc<dyn RecordFile>,
    /// Offset of the record in bytes.
    pub offset: u64,
    /// Length of the record in bytes.
    pub len: u32,
}

impl Place {
    /// Reads the record. Ends the process if all attempts fail, because the file cannot be read or `decode` rejects the record.
    /// The error names the block with the number `block`.
    pub(crate) fn read<T>(&self, block: u64, decode: impl Fn(&[u8]) -> Option<T>) -> T {
        let mut error = String::new();
        for _ in 0..READ_ATTEMPTS {
            match self.file.read(self.offset, self.len) {
                Ok(record) => match decode(&record) {
                    Some(decoded) => {
                        self.file.cache().count_read(record.len());
                        return decoded;
                    }
                    None => "the record is damaged".clone_into(&mut error),
                },
                Err(failed) => error = failed.to_string(),
            }
        }
        self.file.fail(&format!("block {block}: {error}"))
    }
}

/// How a reader uses values that it reads from disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadPattern {
    /// The reader may read the values again soon.
    Random,
    /// The reader reads all blocks in order, so the values of the next blocks replace these values first.
    Scan,
}

/// Holds the values of one closed block.
pub(crate) trait Holder: Send + Sync + fmt::Debug {
    /// Returns the values.
    fn values(&self) -> &BlockValues;
}

/// The values of one closed block: in memory, on disk, or both.
#[derive(Debug)]
pub(crate) struct BlockValues {
    state: RwLock<State>,
    /// Whether a reader has used the values since the cache last examined them.
    used: AtomicBool,
}

#[derive(Debug)]
struct State {
    bytes: Option<Bytes>,
    settled: Option<Settled>,
}

/// The location at which values are durable, and the block to which they belong.
#[derive(Debug)]
struct Settled {
    place: Place,
    holder: Weak<dyn Holder>,
}

impl State {
    /// If the cache counts the values (they are in memory and also on disk), returns the cache and the size of the values in
    /// bytes. Otherwise, returns `None`.
    fn counted(&self) -> Option<(&Arc<BlockCache>, usize)> {
        match (&self.bytes, &self.settled) {
            (Some(bytes), Some(settled)) => Some((settled.place.file.cache(), bytes.len())),
            (_, _) => None,
        }
    }
}

impl BlockValues {
    /// Creates values without a place. For `None`, the values are only on disk, and the caller must call [`Self::settle`].
    pub(crate) fn new(bytes: Option<Bytes>) -> Self {
        Self {
            state: RwLock::new(State { bytes, settled: None }),
            used: AtomicBool::new(false),
        }
    }

    // The lock is not held during disk I/O, and code that holds the lock cannot panic.
    fn read_state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_state(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a part of the values, or `None` if they are only on disk. Copies a small part if the cache may soon evict the
    /// values, because a slice would keep all values in memory. Marks the values as used, even if they are only on disk.
    pub(crate) fn part(&self, part: Range<usize>) -> Option<Bytes> {
        let state = self.read_state();
        let found = state.bytes.as_ref().map(|bytes| match state.counted() {
            Some((cache, _)) if cache.is_nearly_full() => small_copy(bytes, part),
            Some(_) | None => bytes.slice(part),
        });
        drop(state);
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
        found
    }

    /// Returns the values if they are in memory, and their place if they have one. Does not mark the values as used.
    pub(crate) fn parts(&self) -> (Option<Bytes>, Option<Place>) {
        let state = self.read_state();
        let place = state.settled.as_ref().map(|settled| settled.place.clone());
        (state.bytes.clone(), place)
    }

    /// Returns whether the values can be read without the disk.
    pub(crate) fn are_in_memory(&self) -> bool {
        self.read_state().bytes.is_some()
    }

    /// Returns the values. If they are only on disk, reads them with `read` and keeps them in memory; otherwise, marks them as
    /// used. Evicts other values if the cache is full.
    pub(crate) fn get(&self, pattern: ReadPattern, read: impl FnOnce(&Place) -> Bytes) -> Bytes {
        let place = match self.parts() {
            (Some(bytes), _) => {
                self.used.store(true, Relaxed);
                return bytes;
            }
            (None, place) => place.expect("values without a place are in memory"),
        };
        let bytes = read(&place);
        let cache = place.file.cache();
        cache.make_room(bytes.len());
        let mut state = self.write_state();
        let holder = state.settled.as_ref().map(|settled| settled.holder.clone());
        if state.bytes.is_none()
            && let Some(holder) = holder
        {
            state.bytes = Some(bytes.clone());
            drop(state);
            self.used.store(false, Relaxed);
            cache.add(holder, bytes.len(), pattern);
        }
        bytes
    }

    /// Sets the place of the durable record, so that the cache can evict the values from `holder`. The caller then trims the
    /// cache.
    pub(crate) fn settle(&self, place: Place, holder: Weak<dyn Holder>) {
        let cache = place.file.cache().clone();
        let mut state = self.write_state();
        let known = match state.counted() {
            Some((counting, bytes)) => {
                let is_same = Arc::ptr_eq(counting, &cache);
                if !is_same {
                    counting.subtract(bytes);
                }
                is_same
            }
            None => false,
        };
        let earlier = state
            .settled
            .replace(Settled { place, holder: holder.clone() });
        let bytes = state.bytes.as_ref().map(Bytes::len);
        drop(state);
        // Dropping the last place of a file removes the file, so drop the place after the unlock.
        drop(earlier);
        if let Some(bytes) = bytes.filter(|_| !known) {
            cache.add(holder, bytes, ReadPattern::Random);
        }
    }

    /// Drops the values from memory if they have a place. Returns `false` only if the values stay because the cache is held.
    fn evict(&self) -> bool {
        let mut state = self.write_state();
        let Some((cache, bytes)) = state.counted() else {
            return true;
        };
        // Check this under the lock, because values that a thread finds in memory after `BlockCache::hold` must stay in memory.
        if cache.is_held() {
            return false;
        }
        cache.subtract(bytes);
        cache.count_dropped(bytes);
        let dropped = state.bytes.take();
        drop(state);
        drop(dropped);
        true
    }

    /// Returns whether a reader has used the values since the last call.
    fn take_used(&self) -> bool {
        self.used.swap(false, Relaxed)
    }
}

/// Returns a part of a block's values. A part smaller than half of the values is a copy, so that the part does not keep all
/// values in memory.
pub(crate) fn small_copy(bytes: &Bytes, part: Range<usize>) -> Bytes {
    if part.len() < bytes.len() / 2 {
        Bytes::copy_from_slice(&bytes[part])
    } else {
        bytes.slice(part)
    }
}

impl Drop for BlockValues {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((cache, bytes)) = state.counted() {
            cache.subtract(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{test_support::MemoryFile, *};

    impl Holder for BlockValues {
        fn values(&self) -> &BlockValues {
            self
        }
    }

    fn in_memory(bytes: &'static [u8]) -> Arc<BlockValues> {
        Arc::new(BlockValues::new(Some(Bytes::from_static(bytes))))
    }

    fn settle(values: &Arc<BlockValues>, cache: &Arc<BlockCache>) {
        let holder: Arc<dyn Holder> = values.clone();
        values.settle(place(cache), Arc::downgrade(&holder));
    }

    /// Returns values that are only on disk; see `place` for their bytes.
    fn on_disk(cache: &Arc<BlockCache>) -> Arc<BlockValues> {
        let values = Arc::new(BlockValues::new(None));
        settle(&values, cache);
        values
    }

    fn place(cache: &Arc<BlockCache>) -> Place {
        Place {
            file: MemoryFile::new(cache.clone(), b"on disk".to_vec()),
            offset: 0,
            len: 7,
        }
    }

    /// Returns the values, which are the entire record if they are read from disk.
    fn read(values: &Arc<BlockValues>, pattern: ReadPattern) -> Bytes {
        values.get(pattern, |place| {
            place.read(0, |record| Some(Bytes::copy_from_slice(record)))
        })
    }

    #[test]
    fn values_without_a_place_are_never_dropped() {
        let cache = Arc::new(BlockCache::new());
        cache.set_target(0);
        let values = in_memory(b"dirty");
        assert!(values.evict());
        assert_eq!(values.parts().0.as_deref(), Some(&b"dirty"[..]));
        settle(&values, &cache);
        cache.trim();
        assert_eq!((values.are_in_memory(), cache.resident_bytes()), (false, 0));
        assert_eq!(read(&values, ReadPattern::Random), "on disk");
        assert_eq!(cache.reads(), 1);
    }

    #[test]
    fn the_cache_counts_values_that_can_be_dropped() {
        let cache = Arc::new(BlockCache::new());
        let values = in_memory(b"1234567");
        assert_eq!(cache.resident_bytes(), 0);
        settle(&values, &cache);
        settle(&values, &cache);
        assert_eq!(cache.resident_bytes(), 7);
        let other = in_memory(b"123");
        settle(&other, &cache);
        assert_eq!(cache.resident_bytes(), 10);
        drop(other);
        cache.set_target(0);
        cache.trim();
        assert_eq!(cache.resident_bytes(), 0);
        read(&values, ReadPattern::Scan);
        assert_eq!(cache.resident_bytes(), 7);
        drop(values);
        assert_eq!(cache.resident_bytes(), 0);
    }

    #[test]
    fn a_held_cache_drops_nothing() {
        let cache = Arc::new(BlockCache::new());
        let values = in_memory(b"1234567");
        settle(&values, &cache);
        cache.set_target(0);
        let holds = [cache.hold(), cache.hold()];
        for hold in holds {
            cache.trim();
            assert!(!values.evict());
            assert!(values.are_in_memory());
            drop(hold);
        }
        cache.trim();
        assert!(!values.are_in_memory());
    }

    #[test]
    fn values_that_move_to_a_file_of_another_cache_count_there() {
        let caches = [(); 2].map(|()| Arc::new(BlockCache::new()));
        let values = in_memory(b"1234567");
        let resident = || caches.each_ref().map(|cache| cache.resident_bytes());
        settle(&values, &caches[0]);
        assert_eq!(resident(), [7, 0]);
        settle(&values, &caches[1]);
        assert_eq!(resident(), [0, 7]);
        drop(values);
        assert_eq!(resident(), [0, 0]);
    }

    #[test]
    fn a_scan_replaces_only_values_that_it_has_read() {
        let cache = Arc::new(BlockCache::new());
        let all: Vec<_> = (0..20).map(|_| on_disk(&cache)).collect();
        cache.set_target(70);
        all[..8]
            .iter()
            .for_each(|values| drop(read(values, ReadPattern::Random)));
        all[8..]
            .iter()
            .for_each(|values| drop(read(values, ReadPattern::Scan)));
        let resident: Vec<_> = (0..20).filter(|at| all[*at].are_in_memory()).collect();
        assert_eq!(resident, [0, 1, 2, 3, 4, 5, 6, 7, 18, 19]);
        // A random read replaces the scanned values first, then unused values.
        all[..4]
            .iter()
            .for_each(|values| drop(read(values, ReadPattern::Random)));
        all[8..14]
            .iter()
            .for_each(|values| drop(read(values, ReadPattern::Random)));
        let resident: Vec<_> = (0..20).filter(|at| all[*at].are_in_memory()).collect();
        assert_eq!(resident, [0, 1, 2, 3, 8, 9, 10, 11, 12, 13]);
    }

    #[test]
    fn a_failed_read_is_retried_and_a_damaged_record_ends_the_process() {
        let cache = Arc::new(BlockCache::new());
        let file = MemoryFile::new(cache, b"record".to_vec());
        let place = Place { file: file.clone(), offset: 0, len: 6 };
        file.fail_reads(READ_ATTEMPTS - 1);
        assert_eq!(place.read(7, |record| Some(record.len())), 6);
        file.fail_reads(READ_ATTEMPTS);
        for decode in [|_: &[u8]| Some(()), |_: &[u8]| None] {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                place.read(7, decode);
            }));
            let what = ended.unwrap_err();
            assert!(what.downcast_ref::<String>().unwrap().contains("block 7"));
        }
    }
}

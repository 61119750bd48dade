//! Determines whether commands may have to read values from disk.

use witan_machine::{
    kv::{Kv, ValueSource},
    values::BlockCache,
};

/// The last search for values that are only on disk. After a startup or an eviction, values stay on disk until they are read,
/// even if they would fit in memory again.
#[derive(Debug, Default)]
pub(super) struct ValueSearch {
    /// [`BlockCache::dropped_bytes`] before the search that found all values in memory. `None` if no search has found this for
    /// the current state.
    all_in_memory_at: Option<u64>,
}

impl ValueSearch {
    /// Searches the current state for values that are only on disk. Does nothing if the last result is still valid and was that
    /// all values are in memory.
    pub(super) fn search(&mut self, cache: &BlockCache, kv: &Kv) {
        // Read this first, so that an eviction during the search makes the result invalid.
        let dropped_bytes = cache.dropped_bytes();
        if self.all_in_memory_at != Some(dropped_bytes) && kv.values_are_in_memory() {
            self.all_in_memory_at = Some(dropped_bytes);
        }
    }

    /// Makes the last result invalid, because a snapshot may replace the state.
    pub(super) fn state_may_be_replaced(&mut self) {
        self.all_in_memory_at = None;
    }

    /// Returns memory if the last search found all values there and no value has been evicted since. Otherwise returns the disk.
    pub(super) fn source(&self, cache: &BlockCache) -> ValueSource {
        match self.all_in_memory_at == Some(cache.dropped_bytes()) {
            true => ValueSource::Memory,
            false => ValueSource::Disk,
        }
    }
}

#[cfg(test)]
mod tests {
    use witan_machine::{
        kv::{KvCommand, KvOperation, Put, Range},
        values::test_support::drop_kv_values,
    };

    use super::*;

    #[test]
    fn commands_read_from_disk_until_a_search_finds_all_values_in_memory() {
        let mut kv = Kv::default();
        for number in 0..100 {
            let put = Put {
                key: format!("key-{number}").into(),
                value: vec![0; 1000].into(),
                ..Put::default()
            };
            let operation = Some(KvOperation::Put(put));
            kv.apply(&KvCommand { operation }).expect("a valid command");
        }
        let read_all = || {
            let all = Range { key: "\0".into(), range_end: "\0".into(), ..Range::default() };
            kv.range(&all, ValueSource::Disk).expect("all pairs");
        };
        let cache = drop_kv_values(&kv);
        // From now on, all values fit in memory.
        cache.set_target(u64::MAX);
        let mut values = ValueSearch::default();
        values.search(&cache, &kv);
        assert_eq!(values.source(&cache), ValueSource::Disk);
        read_all();
        values.search(&cache, &kv);
        assert_eq!(values.source(&cache), ValueSource::Memory);

        cache.set_target(0);
        cache.trim();
        cache.set_target(u64::MAX);
        assert_eq!(values.source(&cache), ValueSource::Disk);
        values.search(&cache, &kv);
        assert_eq!(values.source(&cache), ValueSource::Disk);
        read_all();
        values.search(&cache, &kv);
        assert_eq!(values.source(&cache), ValueSource::Memory);
        values.state_may_be_replaced();
        assert_eq!(values.source(&cache), ValueSource::Disk);
    }
}

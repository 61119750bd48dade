//! etcd's hashes of its store: CRC-32 (Castagnoli) over names, keys and values.

use std::io;

use witan_replica::machine::{kv::Kv, view::View};

use super::{
    record::KeyRecord,
    schema::{self, BucketSink, CONSISTENT_INDEX, KEY, META, STORAGE_VERSION, TERM},
};

/// Computes the hash of `HashKV` for the key space at a revision, which [`Kv::hash_revision`] has
/// accepted.
pub fn of_keys(kv: &Kv, revision: i64) -> u32 {
    let mut crc = crc32c::crc32c(KEY.as_bytes());
    let mut record = KeyRecord::default();
    for written in kv.hashed_versions(revision) {
        record.fill(&written);
        crc = crc32c::crc32c_append(crc, &record.key);
        crc = crc32c::crc32c_append(crc, &record.value);
    }
    crc
}

/// Computes the hash of `Hash` over all of etcd's buckets, except what differs between members.
pub fn of_store(view: &View) -> io::Result<u32> {
    let mut crc = StoreHasher::default();
    schema::walk(view, &mut crc)?;
    Ok(crc.sum)
}

#[derive(Default)]
struct StoreHasher {
    sum: u32,
    in_meta: bool,
}

impl BucketSink for StoreHasher {
    fn bucket(&mut self, name: &str) -> io::Result<()> {
        self.sum = crc32c::crc32c_append(self.sum, name.as_bytes());
        self.in_meta = name == META;
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        // these differ between members of one cluster
        let own = [CONSISTENT_INDEX, TERM, STORAGE_VERSION];
        if self.in_meta && own.iter().any(|name| name.as_bytes() == key) {
            return Ok(());
        }
        self.sum = crc32c::crc32c_append(self.sum, key);
        self.sum = crc32c::crc32c_append(self.sum, value);
        Ok(())
    }
}

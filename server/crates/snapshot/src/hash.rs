//! etcd's hashes of its store: CRC-32C of names, keys and values.

use std::{io, path::Path};

use witan_bolt::BoltError;
use witan_machine::{
    kv::{KeyChange, Kv},
    record::RecordChange,
    revision::Revision,
    view::View,
};

use super::{
    read::SnapshotBuckets,
    record::{KeyRecord, Values, parse_revision},
    schema::{self, BucketSink, CONSISTENT_INDEX, KEY, META, STORAGE_VERSION, TERM},
};

/// Computes the hash of `HashKV` for the key space at a revision, which [`Kv::hash_revision`] must have accepted.
pub fn of_keys(kv: &Kv, revision: Revision) -> u32 {
    of_versions(kv.hashed_versions(revision))
}

/// Computes the hash of [`of_keys`] from the versions in [`Kv::hashed_versions`].
pub fn of_versions<'a>(versions: impl Iterator<Item = KeyChange<'a>>) -> u32 {
    let mut crc = crc32c::crc32c(KEY.as_bytes());
    let mut record = KeyRecord::default();
    for written in versions {
        record.fill(&written, Values::Contents);
        crc = crc32c::crc32c_append(crc, &record.key);
        crc = crc32c::crc32c_append(crc, &record.value);
    }
    crc
}

/// The keys of a snapshot file. The values stay in the file.
pub struct SnapshotKeys {
    file: SnapshotBuckets,
    /// The key space. All values are empty.
    pub kv: Kv,
}

impl SnapshotKeys {
    /// Reads all keys in the first `length` bytes of a file. Fails if any part of the snapshot is invalid, not only a key.
    pub fn read(path: &Path, length: u64) -> Result<Self, BoltError> {
        let file = SnapshotBuckets::open(path, length)?;
        let all = Revision(i64::MAX);
        let found = file.read(all, false, &mut |_, _| Ok::<(), BoltError>(()))?;
        Ok(Self { file, kv: found.machine.kv })
    }

    /// Computes the same hash as [`of_keys`] at `revision`, with the values in the file. [`Kv::hash_revision`] must have
    /// accepted the revision.
    pub fn hash(&self, revision: Revision) -> Result<u32, BoltError> {
        let mut crc = crc32c::crc32c(KEY.as_bytes());
        let mut hashed = self.kv.hashed_versions(revision).peekable();
        self.file.keys(&mut |key, value| {
            let found = parse_revision(key).map(|(main, sub, _)| (main, sub));
            if hashed
                .next_if(|next| Some((next.revision(), next.sub())) == found)
                .is_some()
            {
                crc = crc32c::crc32c_append(crc, key);
                crc = crc32c::crc32c_append(crc, value);
            }
            Ok(())
        })?;
        Ok(crc)
    }
}

/// The two hashes of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChecksums {
    /// The hash of `HashKV` at the state's revision.
    pub keys: u32,
    /// The hash of all checkpoint records except v3 keys and the position.
    pub others: u32,
}

/// Computes the hashes of a state. The hashes are equal on members that have applied the same entries. Returns `None` soon
/// after `must_end` returns true, but computes `others` first.
pub fn of_state(view: &View, must_end: impl Fn() -> bool) -> Option<StateChecksums> {
    let machine = &view.machine;
    let mut others = 0;
    machine.changes_except_keys(None, &mut |change| match change {
        RecordChange::Put { key, value } => {
            others = crc32c::crc32c_append(others, &key);
            others = crc32c::crc32c_append(others, &value);
        }
        RecordChange::Delete { key } => unreachable!("{key:?} does not exist in an earlier state"),
    });
    let hashed = machine.kv.hashed_versions(machine.kv.revision());
    let keys = of_versions(hashed.take_while(|_| !must_end()));
    (!must_end()).then_some(StateChecksums { keys, others })
}

/// Computes the hash that `Maintenance.Hash` returns: a CRC-32C over etcd's buckets, excluding keys whose values differ between
/// members. Fails soon after `must_end` returns true.
pub fn of_store(view: &View, must_end: &dyn Fn() -> bool) -> io::Result<u32> {
    let mut crc = StoreHasher::default();
    let cluster_version = &view.machine.members.cluster_version;
    schema::walk(view, cluster_version, Values::Contents, must_end, &mut crc)?;
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

    /// Adds a record to the hash. Skips keys whose values differ between the members of a cluster.
    fn record(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let own = [CONSISTENT_INDEX, TERM, STORAGE_VERSION];
        if self.in_meta && own.iter().any(|name| name.as_bytes() == key) {
            return Ok(());
        }
        self.sum = crc32c::crc32c_append(self.sum, key);
        self.sum = crc32c::crc32c_append(self.sum, value);
        Ok(())
    }
}

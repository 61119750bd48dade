//! Writes data directories in etcd's format, in the temporary directory.

#![expect(
    clippy::unwrap_used,
    reason = "clippy allows unwrap only in test functions, not in their helpers"
)]

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use prost::Message as _;
use witan_bolt::{Layout, Writer};
use witan_etcd::{
    ConfState, EtcdDirectory, EtcdError, HardState, InternalRaftRequest, SegmentEncoder,
    raft_messages::{
        RaftEntry, RaftEntryKind, SnapFile, SnapMessage, SnapMetadata, WalMetadata, WalSnapshot,
    },
};

pub(crate) const OWNER: WalMetadata = WalMetadata { member_id: 0xa1, cluster_id: 0xc1 };

/// Number of preallocated bytes in a segment.
pub(crate) const SPARE: usize = 2048;

static NUMBER: AtomicU32 = AtomicU32::new(0);

type Records<'a> = &'a [(&'a str, &'a [u8])];

/// A data directory that is deleted on drop.
pub(crate) struct Directory {
    pub(crate) root: PathBuf,
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

impl Directory {
    /// Creates a directory without a log, whose backend has applied `consistent_index` entries.
    pub(crate) fn new(consistent_index: u64) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("witan-etcd-{}-{number}", std::process::id());
        let directory = Self { root: std::env::temp_dir().join(name) };
        fs::create_dir_all(directory.wal()).unwrap();
        fs::create_dir_all(directory.snap()).unwrap();
        let index = consistent_index.to_be_bytes();
        directory.backend("db", &[("meta", &[("consistent_index", &index)])]);
        directory
    }

    pub(crate) fn wal(&self) -> PathBuf {
        self.root.join("member/wal")
    }

    pub(crate) fn snap(&self) -> PathBuf {
        self.root.join("member/snap")
    }

    /// Writes a backend. Buckets and keys must be in ascending order.
    pub(crate) fn backend(&self, name: &str, buckets: &[(&str, Records<'_>)]) {
        let fill = |writer: &mut Writer<'_>| {
            for (name, records) in buckets {
                writer.bucket(name.as_bytes())?;
                for (key, value) in *records {
                    writer.record(key.as_bytes(), value)?;
                }
            }
            Ok(())
        };
        let mut bytes = Vec::new();
        let mut take = |part: &[u8]| -> io::Result<()> {
            bytes.extend_from_slice(part);
            Ok(())
        };
        Layout::of(fill).unwrap().write(&mut take, fill).unwrap();
        fs::write(self.snap().join(name), bytes).unwrap();
    }

    /// Writes a segment, followed by zeros as etcd preallocates them. Returns its path.
    pub(crate) fn segment(&self, sequence: u64, index: u64, bytes: &[u8]) -> PathBuf {
        let path = self.wal().join(SegmentEncoder::name(sequence, index));
        fs::write(&path, [bytes, &[0; SPARE]].concat()).unwrap();
        path
    }

    /// Writes a `.snap` file and returns its path.
    pub(crate) fn snapshot(&self, index: u64, term: u64) -> PathBuf {
        let conf_state = ConfState { voters: vec![OWNER.member_id], ..ConfState::default() };
        let metadata = SnapMetadata { conf_state: Some(conf_state), index, term };
        let message = SnapMessage { data: "{}".into(), metadata: Some(metadata) };
        let data = message.encode_to_vec();
        let file = SnapFile { crc: crc32c::crc32c(&data), data: data.into() };
        let path = self.snap().join(format!("{term:016x}-{index:016x}.snap"));
        fs::write(&path, file.encode_to_vec()).unwrap();
        path
    }

    pub(crate) fn open(&self) -> Result<EtcdDirectory, EtcdError> {
        witan_etcd::open(&self.root, None)
    }

    pub(crate) fn refused(&self) -> String {
        self.open().unwrap_err().to_string()
    }

    pub(crate) fn refuses(&self, why: &str) {
        let error = self.refused();
        assert!(error.contains(why), "{error}");
    }
}

/// Returns the index and the term of each entry.
pub(crate) fn positions(read: &EtcdDirectory) -> Vec<(u64, u64)> {
    read.entries
        .iter()
        .map(|entry| (entry.index, entry.term))
        .collect()
}

/// Starts the first segment of a log, with the reference to an empty snapshot.
pub(crate) fn first_segment() -> SegmentEncoder {
    let mut segment = SegmentEncoder::new(0, OWNER);
    segment.snapshot(&WalSnapshot::default());
    segment
}

/// Returns an entry that puts a value of `bytes` bytes.
pub(crate) fn put(index: u64, term: u64, bytes: usize) -> RaftEntry {
    use witan_api::v3::etcdserverpb::PutRequest;
    let put = PutRequest {
        key: format!("key {index}").into_bytes().into(),
        value: vec![b'v'; bytes].into(),
        ..PutRequest::default()
    };
    normal(
        index,
        term,
        InternalRaftRequest { id: index, put: Some(put), ..Default::default() }.encode_to_vec(),
    )
}

pub(crate) fn normal(index: u64, term: u64, data: Vec<u8>) -> RaftEntry {
    let kind = RaftEntryKind::Normal as i32;
    RaftEntry { kind, term, index, data: data.into() }
}

pub(crate) fn commit(term: u64, commit: u64) -> HardState {
    HardState { term, vote: OWNER.member_id, commit }
}

pub(crate) fn wal_snapshot(index: u64, term: u64) -> WalSnapshot {
    WalSnapshot { index, term, conf_state: None }
}

/// Returns the offset of the damage if `error` reports damage in `path`.
pub(crate) fn damaged_at(error: &EtcdError, path: &Path) -> Option<u64> {
    let EtcdError::Damaged { path: named, offset, .. } = error else {
        return None;
    };
    (named == path).then_some(*offset)
}

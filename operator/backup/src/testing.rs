//! Test helpers of this crate.

pub(crate) mod changes;
pub(crate) mod s3;

use std::{
    collections::VecDeque,
    env, fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use object_store::memory::InMemory;
use sha2::{Digest as _, Sha256};
use witan_api::backup::{BackupRecord, KeysHash};
use witan_members::RunningRelease;

use crate::{
    reason::{BackupError, Reason},
    source::{Report, Snapshot, Source},
    store::Store,
};

pub(crate) fn hex(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Returns an empty store in memory.
pub(crate) fn memory_store() -> Store {
    Store::of_test(Arc::new(InMemory::new()))
}

/// Stores the record of a backup, and a file of its size.
pub(crate) async fn put_backup(store: &Store, record: &BackupRecord) {
    let file = vec![7; usize::try_from(record.bytes).unwrap()];
    let name = format!("{}.db", record.name);
    store.put(&name, file.into()).await.unwrap();
    store.put_record(record).await.unwrap();
}

/// Returns a snapshot with `bytes` bytes before its digest.
pub(crate) fn snapshot(bytes: usize) -> Vec<u8> {
    let mut file: Vec<u8> = (0..bytes)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect();
    let digest = Sha256::digest(&file);
    file.extend_from_slice(&digest);
    file
}

/// Returns the record of a backup that was started at `second`.
pub(crate) fn record(name: &str, second: i64) -> BackupRecord {
    BackupRecord {
        name: name.to_owned(),
        location: format!("s3://test/of/test/{name}.db"),
        revision: 12,
        bytes: 1032,
        sha256: "00".to_owned(),
        cluster_id: "cafe".to_owned(),
        version: "3.6.0".to_owned(),
        release: Some("0.2.0".to_owned()),
        level: Some(2),
        keys_hash: None,
        started_at: Timestamp::from_second(second).unwrap(),
        completed_at: Timestamp::from_second(second + 1).unwrap(),
        revision_digest: None,
        unconfirmed: false,
        begins_changes: false,
        unverified: false,
        removed: Vec::new(),
        warning: None,
    }
}

/// Returns the report of a healthy follower.
pub(crate) fn report(endpoint: &str) -> Report {
    Report {
        endpoint: endpoint.to_owned(),
        is_leader: false,
        is_learner: false,
        cluster_id: 0xcafe,
        revision: 12,
        applied: 100,
        db_bytes: 1 << 20,
        version: "3.6.0".to_owned(),
        running: RunningRelease {
            release: Some("0.3.0".to_owned()),
            level: Some(3),
            cluster_level: Some(2),
        },
        cut_off: None,
    }
}

/// The response of a test member: its announced size and its pieces.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) total: u64,
    pub(crate) pieces: Vec<Result<Bytes, BackupError>>,
    /// Whether the stream stays open after the pieces.
    pub(crate) stays_open: bool,
}

impl Sent {
    /// Splits a file into pieces of 32 KiB, like etcd.
    pub(crate) fn file(file: &[u8]) -> Self {
        let pieces = file
            .chunks(32 << 10)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)));
        Self {
            total: file.len() as u64,
            pieces: pieces.collect(),
            stays_open: false,
        }
    }
}

/// Members that answer one after the other with the specified responses.
#[derive(Debug)]
pub(crate) struct TestSource {
    sent: Mutex<VecDeque<Sent>>,
    /// The members' answer to the call for the digest of their revision.
    pub(crate) revision_digest: Result<Option<String>, BackupError>,
    /// Whether a snapshot of the members is unconfirmed.
    pub(crate) cut_off: bool,
    /// Key hashes that the members return, one after the other. Further calls fail.
    pub(crate) hashes: Mutex<VecDeque<KeysHash>>,
}

impl TestSource {
    /// Each request for a snapshot receives the next response in `sent`. A survey finds one member for each remaining response.
    pub(crate) fn new(sent: impl IntoIterator<Item = Sent>) -> Self {
        let sent = Mutex::new(sent.into_iter().collect());
        Self {
            sent,
            revision_digest: Ok(Some("ab".to_owned())),
            cut_off: false,
            hashes: Mutex::default(),
        }
    }

    pub(crate) fn left(&self) -> usize {
        self.sent.lock().unwrap().len()
    }
}

impl Source for TestSource {
    async fn survey(&self) -> Vec<Result<Report, BackupError>> {
        let cut_off = self.cut_off.then(|| "no leader".to_owned());
        (0..self.left())
            .map(|at| {
                let cut_off = cut_off.clone();
                Ok(Report { cut_off, ..report(&format!("http://{at}")) })
            })
            .collect()
    }

    async fn revision_digest(&self, _member: &Report) -> Result<Option<String>, BackupError> {
        self.revision_digest.clone()
    }

    async fn snapshot(&self, _endpoint: &str) -> Result<Snapshot, BackupError> {
        let Sent { total, pieces, stays_open } = self.sent.lock().unwrap().pop_front().unwrap();
        let pieces = stream::iter(pieces);
        let pieces = if stays_open {
            pieces.chain(stream::pending()).boxed()
        } else {
            pieces.boxed()
        };
        Ok(Snapshot { total, pieces })
    }

    async fn keys_hash(&self, _member: &Report) -> Result<KeysHash, BackupError> {
        let known = self.hashes.lock().unwrap().pop_front();
        known.ok_or_else(|| BackupError::new(Reason::SourceUnreachable, "no answer"))
    }
}

/// A temporary directory that is deleted when dropped.
#[derive(Debug)]
pub(crate) struct TestFolder(PathBuf);

impl TestFolder {
    /// Creates an empty directory below the system's temporary directory.
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(format!("witan-backup-{name}-{process}-{count}"));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

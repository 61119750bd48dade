//! Errors of reading a data directory.

use std::{
    io,
    path::{Path, PathBuf},
};

use witan_bolt::BoltError;

/// Why a data directory cannot be read, and what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum EtcdError {
    /// The directory is not a data directory, or is one of etcd 2.
    #[error(
        "{}: there is no such file, so this is not the data directory of a member of etcd 3.4 to 3.7; it is the folder \
         that etcd gets as --data-dir, which contains the folder \"member\"",
        path.display()
    )]
    NoData { path: PathBuf },
    #[error(
        "{}: another process has locked it: stop etcd (or etcdutl) on this data directory, and wait until it has ended",
        path.display()
    )]
    Running { path: PathBuf },
    #[error("{}: {error}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error(
        "{}: byte {offset}: {what}. The log is damaged, and entries would be lost: take another member's data directory, \
         or a backup",
        path.display()
    )]
    Damaged {
        path: PathBuf,
        offset: u64,
        what: String,
    },
    #[error(
        "{}: the log is not complete: {what}. Look for missing files, and whether etcd ran with --wal-dir; otherwise take \
         another member's data directory, or a backup",
        path.display()
    )]
    Log {
        /// The log's directory.
        path: PathBuf,
        what: String,
    },
    #[error(
        "entry {index} of the log cannot be decoded: {what}. Start the etcd that wrote it once more with a small \
         --snapshot-count, write some keys and stop it: the log then begins after this entry"
    )]
    Entry { index: u64, what: String },
    #[error(
        "{}: it ends at entry {index}, before raft's snapshot at entry {snapshot}, and {} is missing: take another \
         member's data directory, or a backup",
        path.display(), received.display()
    )]
    BackendTooOld {
        path: PathBuf,
        index: u64,
        snapshot: u64,
        /// The backend that would belong to the snapshot.
        received: PathBuf,
    },
    #[error("{}: {error}", path.display())]
    Backend {
        path: PathBuf,
        #[source]
        error: BoltError,
    },
}

impl EtcdError {
    /// Creates the error for a file that cannot be read.
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.into(), error }
    }
}

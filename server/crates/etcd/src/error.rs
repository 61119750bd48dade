//! Why a data directory cannot be read.

use std::{
    io,
    path::{Path, PathBuf},
};

use witan_bolt::BoltError;

/// Why a data directory cannot be read, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// The folder is not a data directory, or is one of etcd 2.
    #[error(
        "{}: there is no such file, so this is not the data directory of a member of etcd 3.4 to 3.7; it is the folder \
         that etcd gets as --data-dir, which contains the folder \"member\"",
        path.display()
    )]
    NoData {
        /// The backend.
        path: PathBuf,
    },
    /// Something else uses it.
    #[error(
        "{}: another process has locked it: stop etcd (or etcdutl) on this data directory, and wait until it has ended",
        path.display()
    )]
    Running {
        /// The backend.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A segment of the log is damaged.
    #[error(
        "{}: byte {offset}: {what}. The log is damaged, and entries would be lost: take another member's data directory, \
         or a backup",
        path.display()
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The log as a whole is wrong.
    #[error(
        "{}: the log is not complete: {what}. Look for missing files, and whether etcd ran with --wal-dir; otherwise take \
         another member's data directory, or a backup",
        path.display()
    )]
    Log {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// An entry cannot be decoded.
    #[error(
        "entry {index} of the log cannot be decoded: {what}. Start the etcd that wrote it once more with a small \
         --snapshot-count, write some keys and stop it: the log then begins after this entry"
    )]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        what: String,
    },
    /// The backend is older than the snapshot.
    #[error(
        "{}: it ends at entry {index}, before raft's snapshot at entry {snapshot}, and {} is missing: take another \
         member's data directory, or a backup",
        path.display(), received.display()
    )]
    BackendTooOld {
        /// The backend.
        path: PathBuf,
        /// Its last entry.
        index: u64,
        /// The snapshot's last entry.
        snapshot: u64,
        /// The backend that would belong to it.
        received: PathBuf,
    },
    /// The backend cannot be read.
    #[error("{}: {error}", path.display())]
    Backend {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: BoltError,
    },
}

impl EtcdError {
    /// The error of a file that cannot be read.
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.into(), error }
    }
}

//! Errors from reading a data directory.

use std::{
    io,
    path::{Path, PathBuf},
};

use witan_bolt::BoltError;

/// The reason why a data directory cannot be read, and what the user can do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the Display texts describe the variants")]
pub enum EtcdError {
    /// The directory is not a data directory, or it belongs to etcd 2.
    #[error(
        "{}: the file does not exist, so this is not the data directory of a member of etcd 3.4 to 3.7. Use the folder \
         of etcd's --data-dir, which contains the folder \"member\"",
        path.display()
    )]
    NoData { path: PathBuf },
    #[error(
        "{}: the file is locked by another process. Stop etcd or etcdutl on this data directory, and wait until \
         the process has ended",
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
        "{}: byte {offset}: {what}. The log is damaged, and continuing would lose entries. Use another member's data \
         directory or a backup",
        path.display()
    )]
    Damaged {
        path: PathBuf,
        offset: u64,
        what: String,
    },
    #[error(
        "{}: the log is incomplete: {what}. Check whether files are missing or etcd used --wal-dir. \
         If you cannot recover the files, use another member's data directory or a backup",
        path.display()
    )]
    Log {
        /// The log's directory.
        path: PathBuf,
        what: String,
    },
    #[error(
        "entry {index} of the log cannot be decoded: {what}. Start the etcd release that wrote the entry with a small \
         --snapshot-count, write some keys, and stop etcd, so that the log starts after this entry"
    )]
    Entry { index: u64, what: String },
    #[error(
        "{}: the file ends at entry {index}, before the Raft snapshot at entry {snapshot}, and {} is missing. Use the \
         data directory of another member, or a backup",
        path.display(), received.display()
    )]
    BackendTooOld {
        path: PathBuf,
        index: u64,
        snapshot: u64,
        /// The missing backend that belongs to the snapshot.
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
    /// Creates the error for a file or directory that could not be read or written.
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.into(), error }
    }

    /// Returns the error for a log in `dir` that lacks segments or entries. `gap` describes the gap.
    pub(crate) fn incomplete_log(dir: &Path, gap: impl Into<String>) -> Self {
        Self::Log { path: dir.into(), what: gap.into() }
    }
}

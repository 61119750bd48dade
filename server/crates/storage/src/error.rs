//! Errors that prevent opening a data directory. Each error has a message (path, cause, remedy) and an exit code for scripts.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::io::Errno;
use witan_machine::record::CorruptRecord;

use super::{formats, identity_file::DataIdentity};

/// Exit code of a process that failed to write its log or to read a value while it was running. The next startup checks the
/// data.
pub const EXIT_DISK_FAILED: i32 = 29;

/// The reason why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the directory. Contains the lock file, and the process id if it is readable.
    #[error(
        "the data directory is in use by {}: {} is locked. Stop that process, or use another directory with --data-dir",
        .1.map_or("another process".to_owned(), |pid| format!("process {pid}")), .0.display()
    )]
    Locked(PathBuf, Option<u32>),
    /// Another release wrote the data. Contains the identity file, its format, and the first release that reads the format, if
    /// the file names the release.
    #[error(
        "{} has format {}, but this release reads {}{}, or restore a snapshot into an empty directory",
        .0.display(), .1, formats::readable(), remedy(.2.as_deref())
    )]
    OtherFormat(PathBuf, u32, Option<String>),
    /// A later release wrote a part of the data that this release does not know.
    #[error(
        "a later release wrote {}: {what}. Start the release that wrote it, or restore a snapshot into an empty directory",
        path.display()
    )]
    LaterRelease {
        /// The file or directory.
        path: PathBuf,
        /// Names the unknown part.
        what: String,
    },
    /// The data belongs to another member or cluster. Contains the identity file, its identity, and the configured identity.
    #[error(
        "{} belongs to member {} of cluster {:x}, but this is member {} of cluster {:x}. Use the directory of this \
         member with --data-dir, or check --name and --initial-cluster",
        .0.display(), .1.member_id, .1.cluster_id, .2.member_id, .2.cluster_id
    )]
    Foreign(PathBuf, DataIdentity, DataIdentity),
    /// etcd wrote the data. Contains etcd's directory.
    #[error(
        "this is an etcd data directory: {} belongs to etcd. Nothing was changed. To continue with its data, run \
         witan adopt --data-dir DIR, or start with --adopt-etcd; etcd's files stay unchanged", .0.display()
    )]
    Etcd(PathBuf),
    /// The directory contains files that contradict each other or a flag. The message names the files and the remedy.
    #[error("{0}")]
    Conflict(String),
    /// Data exists, but the identity file is missing, damaged, or belongs to another directory. Contains the file and a
    /// description.
    #[error(
        "{} {}. Restore this file to the data directory. If you have no copy of the file, remove the member and add it \
         again with an empty directory. Alternatively, restore a backup into an empty directory", .0.display(), .1
    )]
    Unreadable(PathBuf, String),
    /// The user lacks permission, or the file system is mounted read-only.
    #[error(
        "{} cannot be written: {}. Make it writable for the user of this process, or use another directory with --data-dir",
        .0.display(), .1
    )]
    NotWritable(PathBuf, #[source] io::Error),
    /// The file system has no free space.
    #[error(
        "the disk is full: {} cannot be written: {}. Free some space on the file system and start again. No data is lost",
        .0.display(), .1
    )]
    Full(PathBuf, #[source] io::Error),
    /// Any other failure of the file system.
    #[error("{} cannot be used: {source}. Check the disk and the system log", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// The raft log has damage that a crash cannot cause. Contains a file or the log's directory, an offset and a description.
    #[error(
        "the Raft log is corrupt: {} at byte {}: {}. The member does not start, because acknowledged writes would be lost. \
         Check the disk, and restore a backup into an empty directory, or remove this member from its cluster and add it \
         again", .0.display(), .1, .2
    )]
    Log(PathBuf, usize, String),
    /// The checkpoint is damaged. Contains a file or the checkpoint's directory, and a description.
    #[error(
        "the checkpoint is corrupt: {}: {}. Check the disk, and restore a backup into an empty directory, or remove this \
         member from its cluster and add it again", .0.display(), .1
    )]
    Checkpoint(PathBuf, String),
}

impl OpenError {
    /// Returns the process's exit code for this error. Errors with the same code have the same remedy.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Locked(..) => 20,
            Self::OtherFormat(..) | Self::LaterRelease { .. } => 21,
            Self::Foreign(..) => 22,
            Self::Unreadable(..) => 23,
            Self::NotWritable(..) => 24,
            Self::Full(..) => 25,
            Self::Io { .. } => 26,
            Self::Log(..) => 27,
            Self::Checkpoint(..) => 28,
            Self::Etcd(_) => 37,
            Self::Conflict(_) => 39,
        }
    }

    /// Creates the error for a file system failure: full, not writable, or another failure. An exceeded quota or file size
    /// limit is treated as full.
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if lacks_space(&source) || source.kind() == io::ErrorKind::FileTooLarge {
            return Self::Full(path, source);
        }
        if matches!(
            source.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        ) {
            return Self::NotWritable(path, source);
        }
        Self::Io { path, source }
    }

    /// Creates the error for a path that is not UTF-8.
    pub(super) fn not_utf8(path: &Path) -> Self {
        Self::io(
            path,
            io::Error::new(io::ErrorKind::InvalidInput, "its name is not UTF-8"),
        )
    }

    /// Creates the error for an identity file that is damaged or contradicts other files.
    pub(super) fn identity(path: PathBuf, defect: impl Into<String>) -> Self {
        Self::Unreadable(path, defect.into())
    }

    /// Creates the error for a log or one of its files, which is damaged at byte `offset`.
    pub(super) fn log(path: &Path, offset: usize, defect: impl Into<String>) -> Self {
        Self::Log(path.to_owned(), offset, defect.into())
    }

    /// Creates the error for a damaged or missing part of the checkpoint.
    pub(super) fn checkpoint(path: &Path, defect: impl Into<String>) -> Self {
        Self::Checkpoint(path.to_owned(), defect.into())
    }
}

/// Returns the end of a message about another format: the release to start, which is unknown if `release` is `None`.
fn remedy(release: Option<&str>) -> String {
    match release {
        Some(release) => format!(": start release {release} or later"),
        None => ". Start the release that wrote this directory".to_owned(),
    }
}

/// Returns whether a write failed because no space is free or the quota is used up.
pub(super) fn lacks_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Returns whether a read error means damage: the file is missing, or the disk reports `EIO`.
pub(super) fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

/// The reason why a checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckpointReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Record(#[from] CorruptRecord),
    /// An error with the file of the run in which it occurred.
    #[error("{1}")]
    At(PathBuf, #[source] Box<CheckpointReadError>),
}

impl CheckpointReadError {
    /// Returns whether a later release wrote the checkpoint.
    pub(super) fn is_later(&self) -> bool {
        match self {
            Self::Io(_) => false,
            Self::Record(error) => error.is_later(),
            Self::At(_, error) => error.is_later(),
        }
    }

    /// Converts the error to an [`OpenError`] that names the damaged file, or the checkpoint's directory `dir` if the file is
    /// unknown. A record from a later release becomes [`OpenError::LaterRelease`]; an invalid record or a missing file becomes
    /// [`OpenError::Checkpoint`]. Other I/O errors stay I/O errors.
    pub(super) fn refusal(self, dir: &Path) -> OpenError {
        let (path, error) = match self {
            Self::At(path, error) => (path, *error),
            error @ (Self::Io(_) | Self::Record(_)) => (dir.to_owned(), error),
        };
        match error {
            Self::Io(error) if error.kind() != io::ErrorKind::NotFound => {
                OpenError::io(&path, error)
            }
            Self::Record(CorruptRecord::Later(what)) => OpenError::LaterRelease { path, what },
            error @ (Self::Io(_) | Self::Record(CorruptRecord::Invalid(_)) | Self::At(_, _)) => {
                OpenError::checkpoint(&path, error.to_string())
            }
        }
    }
}

//! Why a data directory cannot be opened. Each error has a text for people (the path, the cause,
//! the remedy) and an exit code for scripts.

use std::{
    io,
    path::{Path, PathBuf},
};

use witan_machine::record::CorruptRecord;

use super::format::{DataIdentity, FORMAT};

/// Exit code of a process that could not write its log while running.
pub const EXIT_WRITE_FAILED: i32 = 29;

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the directory.
    #[error(
        "the data directory is in use by {}: {} is locked. Stop that process, or choose another \
         directory with --data-dir",
        pid.map_or("another process".to_owned(), |pid| format!("process {pid}")), path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The holder, if it could be read.
        pid: Option<u32>,
    },
    /// Another release wrote the data.
    #[error(
        "{} says format {found}, and this release reads format {FORMAT}. Start the release that \
         wrote it; this one continues from its snapshot, restored into an empty directory", path.display()
    )]
    OtherFormat {
        /// The identity file.
        path: PathBuf,
        /// The version in it.
        found: u32,
    },
    /// The data belongs to another member or cluster.
    #[error(
        "{} belongs to member {} of cluster {:x}, but this is member {} of cluster {:x}. \
         Choose this member's own directory with --data-dir, or check --name and \
         --initial-cluster", path.display(), found.member_id, found.cluster_id, own.member_id,
        own.cluster_id
    )]
    Foreign {
        /// The identity file.
        path: PathBuf,
        /// The identity in it.
        found: DataIdentity,
        /// The configured identity.
        own: DataIdentity,
    },
    /// etcd wrote the data.
    #[error(
        "this is a data directory of etcd: {} is etcd's. Nothing was changed. To go on with its data: witan adopt \
         --data-dir DIR, or start with --adopt-etcd; etcd's files stay as they are", path.display()
    )]
    Etcd {
        /// etcd's folder.
        path: PathBuf,
    },
    /// The data of etcd were adopted before.
    #[error(
        "{} says that this directory has data of Witan already, of member {} of cluster {:x}. Start witan on it; or, to \
         adopt etcd's data again, remove this file first: what was written since the first adoption is lost then",
        path.display(), found.member_id, found.cluster_id
    )]
    Adopted {
        /// The identity file.
        path: PathBuf,
        /// The identity in it.
        found: DataIdentity,
    },
    /// Something has the name of our files.
    #[error(
        "{} is in the way: it is not of an adoption that was interrupted. Move it away", path.display()
    )]
    InTheWay {
        /// The file or folder.
        path: PathBuf,
    },
    /// `--wal-dir` contradicts where the log is.
    #[error(
        "the raft log belongs in {} by --wal-dir, but {what}. Nothing was changed. Give the flag as before; or move the \
         folder of the log there by hand and make member/log in the data directory a link to it; or remove what is there, \
         if it is of an earlier data directory or of a move that was interrupted", path.display()
    )]
    WalDir {
        /// The folder of the log by the flag.
        path: PathBuf,
        /// Says which other log or link was found.
        what: String,
    },
    /// The link to the raft log points to the log of another data directory.
    #[error(
        "{} leads to a raft log that does not name it: {what}. Nothing was changed. If this directory is a copy, copy the \
         folder of the log, too, and have the link lead to that copy. If the original is gone, start once with --wal-dir: \
         then the log is this directory's", path.display()
    )]
    OtherLog {
        /// The link.
        path: PathBuf,
        /// Names the owner of the log.
        what: String,
    },
    /// etcd ran on the directory after its data were adopted.
    #[error(
        "{} has changed since the data of etcd in this directory were adopted: etcd has run on it again. If what was \
         written through etcd does not count, move etcd's folder snap and its files *.wal away. If it counts, remove {} \
         and adopt the directory again: what was written through witan is lost then", etcd.display(), identity.display()
    )]
    EtcdRanSince {
        /// The folder of etcd's log.
        etcd: PathBuf,
        /// The identity file.
        identity: PathBuf,
    },
    /// The identity file is missing although data exists, is damaged, or belongs to another directory.
    #[error(
        "{} {what}. Put back the file of this data directory. Without it, remove this member from its cluster and add \
         it again with an empty directory, or restore a backup into one", path.display()
    )]
    Unreadable {
        /// The identity file.
        path: PathBuf,
        /// Describes what is wrong with the file.
        what: String,
    },
    /// No permission, or mounted read-only.
    #[error(
        "{} cannot be written: {source}. Make it writable for the user that runs this process, \
         or choose another directory with --data-dir", path.display()
    )]
    NotWritable {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// No space left.
    #[error(
        "the disk is full: {} cannot be written: {source}. Free some space on that file system \
         and start again; nothing is lost", path.display()
    )]
    Full {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Any other failure of the file system.
    #[error("{} cannot be used: {source}. Check the disk and the system's log", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The raft log is damaged in a way that no crash explains.
    #[error(
        "the raft log is corrupt: {} at byte {offset}: {what}. Starting would lose acknowledged \
         writes. Check the disk; restore a backup into an empty directory, or remove this member \
         from its cluster and add it anew", path.display()
    )]
    Log {
        /// The file, or the log's folder.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// Description of the damage.
        what: String,
    },
    /// The checkpoint is damaged.
    #[error(
        "the checkpoint is corrupt: {}: {what}. Check the disk; restore a backup into an empty \
         directory, or remove this member from its cluster and add it anew", path.display()
    )]
    Checkpoint {
        /// The folder, or a file in it.
        path: PathBuf,
        /// Description of the damage.
        what: String,
    },
}

impl OpenError {
    /// Returns the exit code of the process that this error ends, one for each variant.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Locked { .. } => 20,
            Self::OtherFormat { .. } => 21,
            Self::Foreign { .. } => 22,
            Self::Unreadable { .. } => 23,
            Self::NotWritable { .. } => 24,
            Self::Full { .. } => 25,
            Self::Io { .. } => 26,
            Self::Log { .. } => 27,
            Self::Checkpoint { .. } => 28,
            Self::Etcd { .. } => 37,
            Self::Adopted { .. }
            | Self::InTheWay { .. }
            | Self::WalDir { .. }
            | Self::OtherLog { .. }
            | Self::EtcdRanSince { .. } => 39,
        }
    }

    /// Makes the error for a failure of the file system: full, not writable, or any other.
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_full(&source) {
            return Self::Full { path, source };
        }
        if matches!(
            source.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        ) {
            return Self::NotWritable { path, source };
        }
        Self::Io { path, source }
    }

    /// Makes the error for a path that is not UTF-8.
    pub(super) fn name(path: &Path) -> Self {
        Self::io(
            path,
            io::Error::new(io::ErrorKind::InvalidInput, "its name is not UTF-8"),
        )
    }

    pub(super) fn identity(path: PathBuf, what: impl Into<String>) -> Self {
        Self::Unreadable { path, what: what.into() }
    }

    pub(super) fn log(path: &Path, offset: usize, what: impl Into<String>) -> Self {
        Self::Log {
            path: path.to_owned(),
            offset: offset as u64,
            what: what.into(),
        }
    }

    pub(super) fn checkpoint(path: &Path, what: impl Into<String>) -> Self {
        Self::Checkpoint { path: path.to_owned(), what: what.into() }
    }
}

/// Whether an error means that there is no space, quota or allowed file size left.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Why a checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckpointReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Record(#[from] CorruptRecord),
    /// Another error, and the file of the run in which it occurred.
    #[error("{1}")]
    At(PathBuf, #[source] Box<CheckpointReadError>),
}

//! The errors of offline commands, with etcdutl's messages and exit codes.

use std::{io, path::Path, time::Duration};

use witan_adopt::AdoptError;
use witan_config::ConfigError;
use witan_gocompat::text;
use witan_machine::record::CorruptRecord;
use witan_snapshot::{BoltError, digest::DigestError};
use witan_storage::OpenError;

use super::changes::ChangesError;

/// etcdutl's exit code for general failures.
const EXIT_ERROR: u8 = 1;
/// etcdutl's exit code for an unknown output format.
const EXIT_BAD_FEATURE: u8 = 4;
/// etcdutl's exit code for invalid arguments.
const EXIT_BAD_ARGUMENTS: u8 = 128;

/// The reason why a command failed. All variants except [`Self::Usage`] are printed after `Error: `.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the Display texts describe the variants")]
pub enum OfflineError {
    /// Invalid arguments or a request for help, which clap prints.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    #[error("--mark-compacted required if --revision-bump > 0")]
    Bump,
    #[error("unsupported output format")]
    Format,
    #[error("{0} not supported as output format")]
    NotInFormat(&'static str),
    #[error("{verb} {path}: {}", text::io_error(source))]
    Open {
        /// The failed operation: `open`, `lock`, `read`, `stat` or `remove`.
        verb: &'static str,
        path: String,
        source: io::Error,
    },
    #[error("{path}: another process has locked the file for longer than --timeout={timeout:?}")]
    Locked { path: String, timeout: Duration },
    #[error("snapshot file {path} is damaged or not a snapshot: {source}")]
    Broken { path: String, source: BoltError },
    #[error("snapshot file {path}: {what}")]
    LaterSnapshot { path: String, what: String },
    #[error("snapshot missing hash but --skip-hash-check=false")]
    NoDigest,
    #[error(transparent)]
    Digest(#[from] DigestError),
    #[error("data-dir \"{0}\" not empty or could not be read")]
    DirectoryNotEmpty(String),
    #[error("mvcc: required revision has been compacted")]
    Compacted,
    #[error("mvcc: required revision is a future revision")]
    FutureRevision,
    #[error("--compare {path}: {reason}")]
    Record { path: String, reason: String },
    #[error("{0}")]
    OtherKeys(String),
    #[error("{0} has no member data")]
    NoData(String),
    #[error("--target-version {0}: not one of 3.5, 3.6 and 3.7")]
    TargetVersion(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Storage(#[from] OpenError),
    #[error(transparent)]
    Recording(#[from] witan_recorder::ReadError),
    #[error("{0}")]
    NotReproduced(String),
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    #[error("write {path}: {source}")]
    Export { path: String, source: io::Error },
    #[error(
        "{0}: this member has not received the state of its cluster; use another member's directory"
    )]
    NoState(String),
    #[error("{0}: this member was removed from its cluster; use another member's directory")]
    NotAMember(String),
    #[error(transparent)]
    Changes(#[from] ChangesError),
    #[error("{dir}: {source}")]
    Corrupt { dir: String, source: CorruptRecord },
}

impl OfflineError {
    /// Returns a function that creates [`Self::Open`] for the snapshot at `path`, for `map_err`. `verb` is the failed
    /// operation.
    pub(super) fn open(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Open { verb, path, source }
    }

    /// Returns a function that creates [`Self::Broken`] or [`Self::LaterSnapshot`] for the snapshot at `path`, for `map_err`.
    pub(super) fn broken(path: &Path) -> impl FnOnce(BoltError) -> Self {
        let path = path.display().to_string();
        move |source| match source {
            BoltError::Later(what) => Self::LaterSnapshot { path, what },
            BoltError::Io(_) | BoltError::Invalid(_) => Self::Broken { path, source },
        }
    }

    /// Returns a function that creates [`Self::Export`] for the data directory at `path`, for `map_err`.
    pub(super) fn export(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Export { path, source }
    }

    /// Returns the exit code that etcdutl uses for this error.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Bump) {
            EXIT_BAD_ARGUMENTS
        } else if matches!(self, Self::Format | Self::NotInFormat(_)) {
            EXIT_BAD_FEATURE
        } else {
            EXIT_ERROR
        }
    }
}

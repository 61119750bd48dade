//! Why a command about backups fails.

use serde::{Deserialize, Serialize};

/// The closed list of reasons, which programs compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reason {
    /// No endpoint answers.
    SourceUnreachable,
    /// The members answer with a refusal: a wrong user or password, no permission, too many snapshots at once.
    SourceRefused,
    /// The stream of the snapshot ended early, or the digest at its end does not fit.
    SnapshotBroken,
    /// The store does not answer, or it answers with an error that is none of the others.
    StoreUnreachable,
    /// The store does not accept the credentials, there are none, or they lack a permission.
    WrongCredentials,
    /// The bucket does not exist.
    NoSuchBucket,
    /// The store has no space, or a quota is used up.
    StoreFull,
    /// The backup does not exist, or it is incomplete.
    NotFound,
    /// The name is taken by an object that is not a backup.
    AlreadyExists,
    /// The stored file does not fit its digest.
    BackupBroken,
    /// Another version of this program has written the stored file.
    ForeignFormat,
    /// Changes after a snapshot are not stored, or not yet.
    ChangesMissing,
    /// The file on the local disk cannot be written.
    LocalDisk,
    /// Anything else: a flag that cannot be used, a signal, a fault of this program.
    Internal,
}

/// A failure: why, for programs, and what was wrong, where, and what to do, as text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub(crate) struct BackupError {
    pub(crate) reason: Reason,
    /// The fault and what to do about it, as text.
    pub(crate) message: String,
}

impl BackupError {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// Makes a failure of which no other reason tells.
    pub(crate) fn internal(message: impl ToString) -> Self {
        Self::new(Reason::Internal, message.to_string())
    }

    /// Whether another member may have what this one did not give.
    pub(crate) fn is_of_source(&self) -> bool {
        [
            Reason::SourceUnreachable,
            Reason::SourceRefused,
            Reason::SnapshotBroken,
        ]
        .contains(&self.reason)
    }
}

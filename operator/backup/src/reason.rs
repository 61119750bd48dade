//! The reason why a backup command failed.

use serde::{Deserialize, Serialize};

/// A machine-readable reason for a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reason {
    /// No endpoint answered.
    SourceUnreachable,
    /// The members refused: a wrong user or password, a missing permission, or too many concurrent snapshots.
    SourceRefused,
    /// The snapshot stream ended early, or its digest does not match.
    SnapshotBroken,
    /// The store did not answer, or returned an error that no other reason covers.
    StoreUnreachable,
    /// The store refused the credentials, the credentials lack a permission, or there are no credentials.
    WrongCredentials,
    NoSuchBucket,
    /// The store or a quota is full.
    StoreFull,
    /// The backup does not exist or is incomplete.
    NotFound,
    /// Another object has the name of this backup or segment.
    AlreadyExists,
    /// The stored file does not match its digest, or was replaced.
    BackupBroken,
    /// Another version of this program wrote the stored file.
    ForeignFormat,
    /// Changes after a snapshot are missing or are not stored yet.
    ChangesMissing,
    /// A local file or directory cannot be read or written.
    LocalDisk,
    /// Any other failure: an invalid flag, a signal, or a bug.
    Internal,
}

/// A failure, with a machine-readable reason and a message that describes the problem and its solution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub(crate) struct BackupError {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

impl BackupError {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// Creates an error with [`Reason::Internal`].
    pub(crate) fn internal(message: impl ToString) -> Self {
        Self::new(Reason::Internal, message.to_string())
    }

    /// Returns whether the member caused the failure, so that another member might succeed.
    pub(crate) fn is_of_source(&self) -> bool {
        [
            Reason::SourceUnreachable,
            Reason::SourceRefused,
            Reason::SnapshotBroken,
        ]
        .contains(&self.reason)
    }
}

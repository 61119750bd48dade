//! The reasons why a member stops, and their exit codes.

use std::path::Path;

use witan_adopt::AdoptError;
use witan_bootstrap::{EtcdMember, discover::DiscoverError, join::JoinError};
use witan_config::ConfigError;
use witan_corruption::InconsistentState;
use witan_follow::SeedError;
use witan_machine::record::CorruptRecord;
use witan_node as node;
use witan_storage::OpenError;
use witan_transport::{BindError, TlsError};

/// Exit code of [`BootError::Corrupt`]. `storage` defines the exit codes of its own errors.
const CORRUPT_EXIT_CODE: i32 = 30;

/// Exit code of [`BootError::Inconsistent`].
const INCONSISTENT_EXIT_CODE: i32 = 36;

/// The reason why a member could not start or had to stop.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the Display texts describe the variants")]
pub enum BootError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Discovery(#[from] DiscoverError),
    #[error(transparent)]
    Storage(#[from] OpenError),
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error(transparent)]
    Follow(#[from] SeedError),
    #[error(
        "data directory {dir}: {source}. Restore a backup into an empty directory; \
         nothing here was changed"
    )]
    Corrupt { dir: String, source: CorruptRecord },
    #[error(
        "data directory {dir}: --force-new-cluster needs the state of the cluster, and this member joined \
         without receiving it. Use the flag on a member that has the state, or restore a backup into an \
         empty directory"
    )]
    ForcedWithoutState { dir: String },
    #[error(transparent)]
    Inconsistent(#[from] InconsistentState),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("this member was removed from the cluster")]
    Removed,
    #[error("failed to {action}: {source}")]
    Io {
        action: String,
        source: std::io::Error,
    },
}

impl BootError {
    /// Returns a function that creates [`Self::Io`], for `map_err`. `action` names the failed action, such as `open the disk`.
    pub(super) fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// Creates the error for an unusable state in `dir`. A record from a later release becomes [`OpenError::LaterRelease`].
    pub(super) fn corrupt(dir: &Path, source: CorruptRecord) -> Self {
        match source {
            CorruptRecord::Later(what) => {
                Self::Storage(OpenError::LaterRelease { path: dir.to_owned(), what })
            }
            CorruptRecord::Invalid(_) => Self::Corrupt { dir: dir.display().to_string(), source },
        }
    }

    /// Returns the exit code of the process. Reasons that need different actions have different codes.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Storage(error) => error.exit_code(),
            Self::Corrupt { .. } => CORRUPT_EXIT_CODE,
            Self::Inconsistent(_) => INCONSISTENT_EXIT_CODE,
            Self::Removed => node::EXIT_REMOVED,
            Self::Join(JoinError::Bootstrapped(_) | JoinError::Alone) => node::EXIT_LOG_LOST,
            Self::Join(JoinError::Etcd(_)) => EtcdMember::EXIT_CODE,
            Self::Adopt(AdoptError::Storage(error)) => error.exit_code(),
            Self::Config(_)
            | Self::Adopt(_)
            | Self::Follow(_)
            | Self::Discovery(_)
            | Self::ForcedWithoutState { .. }
            | Self::Join(_)
            | Self::Bind(_)
            | Self::Tls(_)
            | Self::Io { .. } => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use witan_machine::member::MemberId;

    use super::*;

    /// The operator replaces a member whose process exits with this code.
    #[test]
    fn a_member_that_has_lost_its_data_has_its_own_exit_code() {
        for error in [JoinError::Alone, JoinError::Bootstrapped(MemberId(1))] {
            assert_eq!(BootError::from(error).exit_code(), 35);
        }
    }

    #[test]
    fn data_of_a_later_release_and_damaged_data_have_different_exit_codes() {
        let dir = Path::new("/data");
        let later = BootError::corrupt(dir, CorruptRecord::later("hard state: unknown fields"));
        assert_eq!(later.exit_code(), 21);
        let text = later.to_string();
        assert!(
            text.contains("/data: hard state: unknown fields. Start the release that"),
            "{text}"
        );
        let damaged = BootError::corrupt(dir, CorruptRecord::new("the log has a gap"));
        assert_eq!(damaged.exit_code(), CORRUPT_EXIT_CODE);
    }
}

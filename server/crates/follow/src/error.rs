//! The reasons why a session with the source ends. The next session retries.

use std::time::Duration;

use witan_machine::follow::FollowError;
use witan_node::NodeError;

use super::{fence::FenceError, seed::SeedError, source::SourceError};

#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(
        "the source has compacted revisions after {revision} that this cluster has not copied yet; stop the members of this \
         cluster, remove their data directories, and start over"
    )]
    Compacted { revision: i64 },
    #[error(
        "{endpoint} is a member of cluster {found:x}, but this cluster follows {expected:x}; name the members of the followed \
         cluster with --from"
    )]
    OtherCluster {
        endpoint: String,
        found: u64,
        expected: u64,
    },
    #[error(transparent)]
    Refused(#[from] FollowError),
    #[error(
        "revision {revision} of the source, with {writes} writes, is too large for one log entry; stop this cluster's members, \
         remove their data directories, and start over after that revision"
    )]
    TooLarge { revision: i64, writes: usize },
    #[error(transparent)]
    Fence(#[from] FenceError),
    #[error("users or roles changed on the source during the cut-over; try again")]
    UsersChanged,
    #[error("the cut-over took longer than {0:?}")]
    Late(Duration),
    #[error(transparent)]
    Users(#[from] SeedError),
    #[error("this cluster: {0}")]
    Node(#[from] NodeError),
}

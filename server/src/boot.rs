//! The composition root: disk, then how to start, then the replica's thread, then the listeners;
//! wait for the end; drain. It reads as the story of a process.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch;
use witan_replica::{
    host::Recovered,
    machine::{
        Reply,
        command::{ClusterVersion, Command, Publish},
        view::View,
    },
    replica::{self, Fault as KnownBug, Replica},
};

use crate::{
    api::{self, Context},
    bootstrap::{self, Start},
    config::Config,
    metrics::Metrics,
    node::{self, Identity, Node, Parts, now_ns},
    notify,
    storage::{self, Checkpointer, OpenError, Storage},
    transport,
};

/// A request gives up after this and two election timeouts, as etcd's.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Wait before a publication that failed is tried again.
const PUBLISH_RETRY: Duration = Duration::from_millis(100);

/// Why a member could not start or go on. Each has an exit code of its own.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// Log and checkpoint contradict each other.
    #[error(
        "data directory {dir}: {source}. Restore a backup into an empty directory; \
         nothing here was changed"
    )]
    Corrupt {
        /// Which.
        dir: String,
        /// What contradicts.
        source: witan_replica::machine::record::Corrupt,
    },
    /// A thread, a socket or a signal handler was refused.
    #[error("{what}: {source}")]
    Io {
        /// What was asked for.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl BootError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Storage(error) => error.exit_code(),
            Self::Corrupt { .. } => CORRUPT_EXIT_CODE,
            Self::Io { .. } => 1,
        }
    }
}

/// Exit code of [`BootError::Corrupt`]; the disk's own refusals have theirs in `storage`.
const CORRUPT_EXIT_CODE: i32 = 20;

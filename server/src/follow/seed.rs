//! The first state of a cluster that follows: a snapshot of the source.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use witan_base::panics;
use witan_machine::{StateMachine, alarm::Alarms};
use witan_snapshot::{self as snapshot, BoltError};

use super::source::{Source, SourceError, SourceSession};
use crate::{
    api_client::tls::ClientTlsError,
    offline::{OfflineError, digest},
};

/// Why a cluster does not begin to follow.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum SeedError {
    #[error("--from: {0}")]
    Tls(#[from] ClientTlsError),
    #[error(
        "witan follow --from URLS starts a cluster that follows; \"witan follow --help\" says what else there is"
    )]
    NoSource,
    #[error(
        "--from: a cluster that follows begins with one member, whose --initial-cluster names it alone; add the others \
         afterward (etcdctl member add) and start them without --from"
    )]
    NotAlone,
    #[error("--from: {} gives no snapshot: {}", .0.endpoint, .0.status.message())]
    Source(#[from] SourceError),
    #[error("--from: write {path}: {source}")]
    File { path: String, source: io::Error },
    #[error("--from: {0}")]
    Digest(#[from] OfflineError),
    #[error("--from: the snapshot of the source cannot be read: {0}")]
    Snapshot(#[from] BoltError),
}

/// Reads the state of the source from a snapshot, which is kept in a file of the data directory until it is read. Tries each
/// endpoint once. The state has no members, but the id of the source.
pub(crate) async fn seed(source: &Source, data_dir: &Path) -> Result<StateMachine, SeedError> {
    let mut last = None;
    for _ in source.endpoints() {
        let read = match source.open().await {
            Ok(session) => state(&session, data_dir).await,
            Err(error) => Err(error.into()),
        };
        match read {
            Ok(machine) => return Ok(machine),
            Err(error) => {
                tracing::warn!(%error, "failed to get a snapshot of the source");
                last = Some(error);
            }
        }
    }
    Err(last.expect("there is an endpoint"))
}

/// Reads the state of the source from a snapshot of this member.
pub(super) async fn state(
    session: &SourceSession<'_>,
    data_dir: &Path,
) -> Result<StateMachine, SeedError> {
    let source = session.read().await?;
    let file = SnapshotFile::below(data_dir);
    file.receive(session).await?;
    let read = panics::run_blocking(move || file.read()).await;
    let failed = |error: tokio::task::JoinError| SeedError::File {
        path: data_dir.display().to_string(),
        source: error.into(),
    };
    let mut machine = read.map_err(failed)??;
    // the alarms are those of other members
    machine.alarms = Alarms::default();
    machine.members.source_cluster_id = source.cluster_id;
    Ok(machine)
}

/// The received snapshot, which is deleted when it is dropped.
struct SnapshotFile(PathBuf);

impl SnapshotFile {
    fn below(data_dir: &Path) -> Self {
        Self(data_dir.join("source-snapshot"))
    }

    /// Writes what the member sends. The file holds password hashes: only its owner reads it.
    async fn receive(&self, session: &SourceSession<'_>) -> Result<(), SeedError> {
        let failed = |source| SeedError::File { path: self.0.display().to_string(), source };
        if let Some(dir) = self.0.parent() {
            let mut builder = DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(failed)?;
        }
        // of a process that was killed
        drop(fs::remove_file(&self.0));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&self.0).map_err(failed)?;
        let mut parts = session.snapshot().await?;
        let mut received = 0;
        let mut shown = 0;
        let broken = |status| session.error(status);
        while let Some(part) = parts.message().await.map_err(broken)? {
            file.write_all(&part.blob).map_err(failed)?;
            received += part.blob.len() as u64;
            let total = received + part.remaining_bytes;
            let tenth = received * 10 / total.max(1);
            if tenth > shown {
                shown = tenth;
                tracing::info!(received, total, "receiving the snapshot of the source");
            }
        }
        Ok(())
    }

    /// Checks the digest at the end of the file and reads the state before it.
    fn read(&self) -> Result<StateMachine, SeedError> {
        let (length, has_digest) = digest::length("stat", &self.0)?;
        if !has_digest {
            return Err(OfflineError::NoDigest.into());
        }
        digest::check(&self.0, length, &mut |_| {})?;
        let found = snapshot::read(&self.0, length, None, &mut |_| {})?;
        Ok(found.machine)
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        // the next snapshot overwrites it
        let _ = fs::remove_file(&self.0);
    }
}

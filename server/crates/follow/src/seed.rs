//! The first state of a following cluster: a snapshot of the source.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::PathBuf,
};

use witan_base::panics;
use witan_client::ClientTlsError;
use witan_config::{Config, SpaceConfig};
use witan_machine::{StateMachine, alarm::Alarms, member::MemberRegistry};
use witan_snapshot::{
    self as snapshot, BoltError,
    digest::{self, DigestError},
};
use witan_storage as storage;

use super::{
    fence::FenceError,
    source::{Source, SourceError, SourceSession},
};

/// The reason why a cluster cannot start to follow.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum SeedError {
    #[error("--from: {0}")]
    Tls(#[from] ClientTlsError),
    #[error(
        "witan follow --from URLS starts a cluster that follows; see \"witan follow --help\" for its other commands"
    )]
    NoSource,
    #[error(
        "--from: a cluster that follows begins with one member, whose --initial-cluster names it alone; add the others \
         afterward (etcdctl member add) and start them without --from"
    )]
    NotAlone,
    #[error("--from: {} gives no snapshot: {}", .0.endpoint, .0.status.message())]
    Source(#[from] SourceError),
    #[error(
        "--from: the snapshot of the source has {bytes} bytes, which leaves less than --disk-reserve-bytes free in {path}"
    )]
    NoRoom { bytes: u64, path: String },
    #[error(
        "--from: the source sends more bytes of a snapshot than the {announced} that it announced"
    )]
    Longer { announced: u64 },
    #[error("--from: {0}")]
    Fenced(#[from] FenceError),
    #[error("--from: write {path}: {source}")]
    File { path: String, source: io::Error },
    #[error("--from: {0}")]
    Digest(#[from] DigestError),
    #[error("--from: the snapshot of the source does not end with a digest")]
    NoDigest,
    #[error("--from: the snapshot of the source cannot be read: {0}")]
    Snapshot(#[from] BoltError),
}

/// The folder in which a snapshot is stored until it is read.
#[derive(Clone, Debug)]
pub(super) struct SnapshotFolder {
    /// The data directory.
    dir: PathBuf,
    /// The disk space that must stay free there.
    disk: SpaceConfig,
}

impl SnapshotFolder {
    pub(super) fn of(config: &Config) -> Self {
        Self { dir: config.data_dir.clone(), disk: config.disk }
    }
}

/// Reads the source's state from a snapshot, which is temporarily stored in the data directory. Tries each endpoint once. The
/// state has the source's cluster id and no members.
pub async fn seed(source: &Source, config: &Config) -> Result<StateMachine, SeedError> {
    let folder = SnapshotFolder::of(config);
    let mut last = None;
    for _ in source.endpoints() {
        let read = match source.open().await {
            Ok(session) => first_state(&session, &folder).await,
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

/// Reads the state of a source. Fails if the source is fenced, because another cluster has replaced it or is about to. Alarms
/// of the source's own members do not matter.
async fn first_state(
    session: &SourceSession<'_>,
    folder: &SnapshotFolder,
) -> Result<StateMachine, SeedError> {
    session.fences(&MemberRegistry::default()).await?.check()?;
    download_state(session, folder).await
}

/// Reads the source's state from a snapshot of the session's member, without alarms.
pub(super) async fn download_state(
    session: &SourceSession<'_>,
    folder: &SnapshotFolder,
) -> Result<StateMachine, SeedError> {
    let source = session.read().await?;
    let file = SnapshotFile(folder.dir.join("source-snapshot"));
    file.receive(session, folder.disk).await?;
    let read = panics::run_blocking(move || file.read()).await;
    let failed = |error: tokio::task::JoinError| SeedError::File {
        path: folder.dir.display().to_string(),
        source: error.into(),
    };
    let mut machine = read.map_err(failed)??;
    // These alarms belong to the source's members.
    machine.alarms = Alarms::default();
    machine.members.source_cluster_id = source.cluster_id;
    Ok(machine)
}

/// The received snapshot file, which is deleted on drop.
struct SnapshotFile(PathBuf);

impl SnapshotFile {
    /// Receives a snapshot into the file. Fails if it is larger than its first part announces or leaves too little disk space.
    /// Only the owner can read the file, because it holds password hashes.
    async fn receive(
        &self,
        session: &SourceSession<'_>,
        disk: SpaceConfig,
    ) -> Result<(), SeedError> {
        let path = || self.0.display().to_string();
        let failed = |source| SeedError::File { path: path(), source };
        if let Some(dir) = self.0.parent() {
            let mut builder = DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(failed)?;
        }
        // A killed process may have left this file.
        drop(fs::remove_file(&self.0));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&self.0).map_err(failed)?;
        let mut parts = session.snapshot().await?;
        let mut received = 0;
        let mut shown = 0;
        let mut announced = None;
        let broken = |status| session.error(status);
        while let Some(part) = session.more(parts.message()).await?.map_err(broken)? {
            received += part.blob.len() as u64;
            let total = received.saturating_add(part.remaining_bytes);
            let announced = match announced {
                Some(announced) => announced,
                None if storage::has_room(disk, &self.0, total) => *announced.insert(total),
                None => return Err(SeedError::NoRoom { bytes: total, path: path() }),
            };
            if received > announced.saturating_add(digest::DIGEST_BYTES) {
                return Err(SeedError::Longer { announced });
            }
            file.write_all(&part.blob).map_err(failed)?;
            let tenth = received * 10 / total.max(1);
            if tenth > shown {
                shown = tenth;
                tracing::info!(received, total, "receiving the snapshot of the source");
            }
        }
        Ok(())
    }

    /// Checks the digest at the end of the file and reads the state. Fails if the digest is missing or wrong.
    fn read(&self) -> Result<StateMachine, SeedError> {
        let (length, has_digest) = digest::length("stat", &self.0)?;
        if !has_digest {
            return Err(SeedError::NoDigest);
        }
        digest::check(&self.0, length, &mut |_| {})?;
        let found = snapshot::read(&self.0, length, None, &mut |_| {})?;
        Ok(found.machine)
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        // If this fails, the next snapshot overwrites the file.
        let _ = fs::remove_file(&self.0);
    }
}

//! The first state of a cluster that follows: a snapshot of the source.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::PathBuf,
};

use witan_base::panics;
use witan_client::ClientTlsError;
use witan_config::{Config, SpaceConfig};
use witan_machine::{StateMachine, alarm::Alarms, auth::Auth, member::MemberRegistry};
use witan_snapshot::{
    self as snapshot, BoltError,
    digest::{self, DigestError},
};
use witan_storage::{self as storage, Checkpoint};

use super::{
    fence::FenceError,
    source::{Source, SourceError, SourceSession},
};

/// The reason why a cluster cannot start to follow.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the Display texts describe the variants")]
pub enum SeedError {
    #[error("--from: {0}")]
    Tls(#[from] ClientTlsError),
    #[error(
        "witan follow --from URLS starts a cluster that follows; see \"witan follow --help\" for its other commands"
    )]
    NoSource,
    #[error(
        "--from: the cluster that follows begins with one member, whose --initial-cluster names only this member; add the \
         others afterward (etcdctl member add) and start them without --from"
    )]
    NotAlone,
    #[error("--from: {} sent no snapshot: {}", .0.endpoint, .0.status.message())]
    Source(#[from] SourceError),
    #[error(
        "--from: the snapshot of the source has {bytes} bytes, which leaves less than --disk-reserve-bytes free in {path}"
    )]
    NoRoom { bytes: u64, path: String },
    #[error(
        "--from: the source sent more than the {announced} bytes that it announced for the snapshot"
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

/// The data directory, in which a snapshot is stored until it has been read, and the settings for its free disk space.
#[derive(Clone, Debug)]
pub(super) struct SnapshotFolder {
    dir: PathBuf,
    disk: SpaceConfig,
}

impl SnapshotFolder {
    pub(super) fn of(config: &Config) -> Self {
        Self { dir: config.data_dir.clone(), disk: config.disk }
    }
}

/// A snapshot of the source in the data directory, with a verified digest. Dropping the value deletes the file.
#[derive(Debug)]
pub struct Seed {
    path: PathBuf,
    /// Size of the file in bytes without its digest.
    length: u64,
    source_cluster_id: u64,
}

/// Downloads a snapshot of the source to the data directory. Tries each endpoint once. Fails with the last error, for example
/// because another cluster has fenced the source.
pub async fn seed(source: &Source, config: &Config) -> Result<Seed, SeedError> {
    let folder = SnapshotFolder::of(config);
    let mut last = None;
    for _ in source.endpoints() {
        let downloaded = async {
            let session = source.open().await?;
            // A fence shows that another cluster has replaced the source or is about to replace it.
            session.fences(&MemberRegistry::default()).await?.check()?;
            download(&session, &folder).await
        };
        match downloaded.await {
            Ok(seed) => return Ok(seed),
            Err(error) => {
                tracing::warn!(%error, "failed to get a snapshot of the source");
                last = Some(error);
            }
        }
    }
    Err(last.expect("the source has an endpoint"))
}

/// Downloads a snapshot from the session's member into the folder and checks its digest.
async fn download(session: &SourceSession<'_>, folder: &SnapshotFolder) -> Result<Seed, SeedError> {
    let mut seed = Seed {
        path: folder.dir.join("source-snapshot"),
        length: 0,
        source_cluster_id: session.read().await?.cluster_id,
    };
    seed.receive(session, folder.disk).await?;
    run_blocking(folder, move || {
        seed.length = seed.check()?;
        Ok(seed)
    })
    .await
}

/// Downloads a snapshot of the session's member and reads its users and roles.
pub(super) async fn download_auth(
    session: &SourceSession<'_>,
    folder: &SnapshotFolder,
) -> Result<Auth, SeedError> {
    let seed = download(session, folder).await?;
    run_blocking(folder, move || {
        Ok(snapshot::read_auth(&seed.path, seed.length)?)
    })
    .await
}

/// Runs `work`, which reads a snapshot in `folder`, on a blocking thread. If `work` panics, fails with an error that names the
/// folder.
async fn run_blocking<T: Send + 'static>(
    folder: &SnapshotFolder,
    work: impl FnOnce() -> Result<T, SeedError> + Send + 'static,
) -> Result<T, SeedError> {
    let failed = |error: tokio::task::JoinError| SeedError::File {
        path: folder.dir.display().to_string(),
        source: error.into(),
    };
    panics::run_blocking(work).await.map_err(failed)?
}

impl Seed {
    /// Reads the source's state without its alarms and members, but with its cluster id, and deletes the file. Writes parts of
    /// the state to `checkpoint`, in which no checkpoint may have been published.
    pub fn read(self, checkpoint: &mut Checkpoint) -> Result<StateMachine, SeedError> {
        let path = &self.path;
        let found = snapshot::read(path, self.length, None, &mut |machine, _| {
            let written = checkpoint.write_part(machine);
            written.map_err(|source| SeedError::File { path: path.display().to_string(), source })
        });
        let mut machine = found?.machine;
        // These alarms belong to the source's members.
        machine.alarms = Alarms::default();
        machine.members.source_cluster_id = self.source_cluster_id;
        Ok(machine)
    }

    /// Receives a snapshot into the file, which it replaces. Fails if the snapshot is larger than announced or leaves too
    /// little disk space. Only the owner can read the file, because it contains password hashes. Logs the progress.
    async fn receive(
        &self,
        session: &SourceSession<'_>,
        disk: SpaceConfig,
    ) -> Result<(), SeedError> {
        let path = || self.path.display().to_string();
        let failed = |source| SeedError::File { path: path(), source };
        if let Some(dir) = self.path.parent() {
            let mut builder = DirBuilder::new();
            let created = builder.recursive(true).mode(0o700).create(dir);
            created.map_err(failed)?;
        }
        // A killed process may have left this file.
        drop(fs::remove_file(&self.path));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&self.path).map_err(failed)?;
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
                None if storage::has_room(disk, &self.path, total) => *announced.insert(total),
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

    /// Checks the digest at the end of the file. Returns the size of the snapshot in bytes, without the digest. Fails if the
    /// digest is missing or wrong.
    fn check(&self) -> Result<u64, SeedError> {
        let (length, has_digest) = digest::length("stat", &self.path)?;
        if !has_digest {
            return Err(SeedError::NoDigest);
        }
        digest::check(&self.path, length, &mut |_| {})?;
        Ok(length)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        // If this fails, the next snapshot replaces the file.
        let _ = fs::remove_file(&self.path);
    }
}

//! Replaces the state on disk with a received snapshot. Replacing the file `current` atomically makes the snapshot's runs the
//! checkpoint (I4) and marks the log as void. The log then restarts after the snapshot. The next startup completes an
//! interrupted installation.
//!
//! If the snapshot has a higher feature level, the directory first gets the level's format. An earlier release then refuses the
//! directory instead of considering its manifest damaged (`open_identity`).
//!
//! The previous checkpoint and log are not kept: a member that has acknowledged a snapshot must not fall back behind it.

use std::path::Path;

use witan_machine::view::View;

use super::{
    Checkpoint, Checkpointer, EXIT_DISK_FAILED, OpenError, RaftLog,
    checkpointer::InstalledSnapshot,
    files::sync_dir,
    folder::CheckpointFolder,
    manifest::{Install, Manifest},
    received::{NotifyInstalled, ReceivedSnapshot},
};

/// Makes `received` the checkpoint and restarts the log after it. Hands the state `replaced` to the checkpoint thread, which
/// drops it, and calls the callback of `received`, if any. The checkpoint is durable on return. Runs on the replica's thread,
/// which waits only for small files to be written. A disk error ends the process.
pub fn install(
    log: &mut RaftLog,
    checkpointer: &Checkpointer,
    received: ReceivedSnapshot,
    replaced: View,
) {
    let (snapshot, installed) = publish(log, &checkpointer.folder, received);
    checkpointer.continue_from(snapshot, replaced);
    if let Some(installed) = installed {
        (installed.0)();
    }
}

/// Publishes a received snapshot and restarts the log after it. If publishing fails, deletes the ballast and retries once; a
/// second failure ends the process. Returns the snapshot for the checkpoint thread and the callback for the completed
/// installation.
pub(super) fn publish(
    log: &mut RaftLog,
    folder: &CheckpointFolder,
    received: ReceivedSnapshot,
) -> (InstalledSnapshot, Option<NotifyInstalled>) {
    let ReceivedSnapshot { view, mut files, installed } = received;
    let index = view.position.index;
    let install = Some(Install { index, log_last: log.last_index() });
    let try_publish = || {
        folder.identity.raise(view.machine.members.level())?;
        let format = folder.identity.format();
        folder.install(&Manifest { install, ..Manifest::new(format, files.chain()) })
    };
    let published = try_publish().or_else(|error| {
        tracing::warn!(%error, "failed to publish a received snapshot; deleting the ballast and retrying");
        folder.ledger.release();
        try_publish()
    });
    if let Err(error) = published {
        let dir = folder.dir.display();
        tracing::error!(%dir, %error, "failed to publish a received snapshot; exiting");
        std::process::exit(EXIT_DISK_FAILED);
    }
    log.restart(index);
    files.on_published();
    let installs = folder.state().installs;
    let snapshot = InstalledSnapshot { view, files, installs };
    (snapshot, installed)
}

/// Completes an interrupted installation, if there is one, by dropping the log's entries. Fails if the log has not restarted
/// and does not end at the recorded index.
pub(super) fn finish(
    member: &Path,
    log: &mut RaftLog,
    checkpoint: &mut Checkpoint,
) -> Result<(), OpenError> {
    let Some(Install { index, log_last }) = checkpoint.manifest.install else {
        return Ok(());
    };
    if log.log_start.begin <= index {
        let last = log.last_index();
        if last != log_last {
            let what = format!(
                "it ends at entry {last}, but it ended at entry {log_last} when the snapshot at entry {index} replaced \
                 it"
            );
            return Err(OpenError::log(&member.join("log"), 0, what));
        }
        // A killed process may have published the manifest without making it durable. Until it is durable, the previous
        // checkpoint may return and needs these entries.
        let dir = &checkpoint.folder.dir;
        sync_dir(dir).map_err(|error| OpenError::io(dir, error))?;
        log.restart(index);
        tracing::info!(index, "finished the installation of a received snapshot");
    }
    checkpoint
        .finish_install()
        .map_err(|error| OpenError::io(member, error))
}

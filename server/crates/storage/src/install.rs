//! How a received snapshot replaces the state on disk: one step, the replacement of the file `current`, makes its runs
//! the checkpoint (I4) and marks the earlier log as void. Then the log restarts behind it. A crash between the two is
//! finished by the next start.
//!
//! The checkpoint and the log before it do not stay: a member that has acknowledged a snapshot must
//! not go back below it.

use std::path::Path;

use witan_machine::view::View;

use super::{
    Checkpoint, Checkpointer, EXIT_WRITE_FAILED, OpenError, RaftLog,
    checkpointer::InstalledSnapshot,
    folder::CheckpointFolder,
    manifest::{Install, Manifest},
    received::{NotifyInstalled, ReceivedSnapshot},
};

/// Makes `received` the checkpoint in place of `replaced`; durable when it returns. Called on the
/// replica's thread: it waits for writes of small files only, of which one is first made in memory. A disk error ends the process.
pub fn install(
    log: &mut RaftLog,
    checkpointer: &Checkpointer,
    received: ReceivedSnapshot,
    replaced: View,
) {
    let (snapshot, installed) = publish(log, checkpointer.folder(), received);
    checkpointer.continue_from(snapshot, replaced);
    if let Some(installed) = installed {
        (installed.0)();
    }
}

/// Publishes a received snapshot and restarts the log behind it. Returns what the checkpoint thread adopts, and
/// the callback to call after it.
pub(super) fn publish(
    log: &mut RaftLog,
    folder: &CheckpointFolder,
    received: ReceivedSnapshot,
) -> (InstalledSnapshot, Option<NotifyInstalled>) {
    let ReceivedSnapshot { view, mut files, installed } = received;
    let index = view.position.index;
    let manifest = Manifest {
        chain: files.chain(),
        install: Some(Install { index, log_last: log.last_index() }),
        ..Manifest::default()
    };
    if let Err(error) = folder.install(&manifest) {
        let dir = folder.dir.display();
        tracing::error!(%dir, %error, "a received snapshot cannot be published: the process ends");
        std::process::exit(EXIT_WRITE_FAILED);
    }
    log.restart(index);
    files.on_published();
    let snapshot = InstalledSnapshot { view, files, installs: folder.installs() };
    (snapshot, installed)
}

/// Finishes an installation that a crash has interrupted, by dropping the log's entries; an error if the log
/// ends elsewhere than at the installation.
pub(super) fn finish(
    member: &Path,
    log: &mut RaftLog,
    checkpoint: &mut Checkpoint,
) -> Result<(), OpenError> {
    let Some(Install { index, log_last }) = checkpoint.install() else {
        return Ok(());
    };
    if log.log_start().begin <= index {
        let last = log.last_index();
        if last != log_last {
            let what = format!(
                "it ends at entry {last}, but it ended at {log_last} when the snapshot of entry {index} \
                 replaced it"
            );
            return Err(OpenError::log(&member.join("log"), 0, what));
        }
        log.restart(index);
        tracing::info!(index, "finished the installation of a received snapshot");
    }
    checkpoint
        .finish_install()
        .map_err(|error| OpenError::io(member, error))
}

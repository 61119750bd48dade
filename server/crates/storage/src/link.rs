//! Writes the runs of a new link of the chain, without publishing them. Blocks of the key space, which are most of the data,
//! have their own runs. `base_plan` can keep these runs, and each run has its own key range, so startup has few runs open at a
//! time.

use std::{fs, io, mem};

use witan_machine::record::{self, RecordChange};

use super::{
    files::sync_dir,
    folder::CheckpointFolder,
    manifest::Run,
    run::{RunItem, item_bytes, run_path},
    run_file::RunBlocks,
};

/// A run whose records are being collected.
#[derive(Default)]
struct PendingRun {
    items: Vec<RunItem>,
    /// Size in bytes that the items take in the file.
    bytes: u64,
}

/// Writes the runs of one link.
pub(super) struct LinkWriter<'a> {
    folder: &'a CheckpointFolder,
    /// Number of snapshots that the process had installed when it published the current chain.
    installs: u64,
    /// Size in bytes at which a run ends.
    run_bytes: u64,
    blocks: PendingRun,
    others: PendingRun,
    written: Vec<(Run, RunBlocks)>,
    outcome: io::Result<()>,
}

impl<'a> LinkWriter<'a> {
    /// Starts a link whose runs end at `run_bytes` bytes. The next run fails with [`Superseded`](super::folder::Superseded)
    /// once the process has published more than `installs` snapshots or is stopping.
    pub(super) fn new(folder: &'a CheckpointFolder, installs: u64, run_bytes: u64) -> Self {
        Self {
            folder,
            installs,
            run_bytes,
            blocks: PendingRun::default(),
            others: PendingRun::default(),
            written: Vec::new(),
            outcome: Ok(()),
        }
    }

    /// Adds a record or its deletion, and writes the run if it is full. Does nothing after an error, which [`Self::finish`]
    /// returns.
    pub(super) fn add(&mut self, change: RecordChange) {
        if self.has_failed() {
            return;
        }
        let item = match change {
            RecordChange::Put { key, value } => (key, Some(value)),
            RecordChange::Delete { key } => (key, None),
        };
        let run = match record::is_block(&item.0) {
            true => &mut self.blocks,
            false => &mut self.others,
        };
        run.bytes += item_bytes(&item) as u64;
        run.items.push(item);
        if run.bytes >= self.run_bytes {
            let full = mem::take(run);
            self.write_run(full);
        }
    }

    /// Returns whether a write has failed. [`Self::finish`] returns the error.
    pub(super) fn has_failed(&self) -> bool {
        self.outcome.is_err()
    }

    /// Writes the runs that are being collected, so that the next records get new runs.
    pub(super) fn end_runs(&mut self) {
        for rest in [mem::take(&mut self.blocks), mem::take(&mut self.others)] {
            if !self.has_failed() && !rest.items.is_empty() {
                self.write_run(rest);
            }
        }
    }

    /// Writes the last runs and makes the link durable. Returns the runs of the link and their blocks. After an error, removes
    /// the runs of the link.
    pub(super) fn finish(mut self) -> io::Result<(Vec<Run>, Vec<RunBlocks>)> {
        self.end_runs();
        let Self { folder, written, outcome, .. } = self;
        if let Err(error) = outcome.and_then(|()| sync_dir(&folder.dir)) {
            for (run, _) in written {
                // The next checkpoint removes a leftover file.
                let _ = fs::remove_file(run_path(&folder.dir, run.number));
            }
            return Err(error);
        }
        Ok(written.into_iter().unzip())
    }

    /// Writes the collected records as a run, if the link is still needed. The run's content is durable on return, but not its
    /// file name. Stores an error in `outcome`.
    fn write_run(&mut self, mut pending: PendingRun) {
        let needed = self.folder.check_needed(self.installs);
        match needed.and_then(|()| self.folder.write_run(&mut pending.items, false)) {
            Ok(written) => self.written.push(written),
            Err(error) => self.outcome = Err(error),
        }
    }
}

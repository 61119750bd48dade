//! State shared by the writers of the checkpoint's directory: the checkpoint thread, the snapshot receivers, and the replica's
//! thread, which publishes received snapshots. The scrub reads the published chain and reports damage.
//!
//! No thread waits for another thread while holding the lock. Publishing replaces the file `current` under the lock.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io, mem,
    path::{Path, PathBuf},
    sync::{
        Arc, MutexGuard, OnceLock, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use witan_base::sync::Mutex;
use witan_machine::values::BlockCache;

use super::{
    error::lacks_space,
    files::{existing, inject_failure, remove, replace},
    heads::{self, heads_number, heads_path},
    ledger::Ledger,
    manifest::{CURRENT, Chain, Manifest, Run, copy_name, copy_number},
    manifest_file,
    open_identity::OpenIdentity,
    record_stream::RecordCounter,
    retention,
    run::{self, RunItem, run_number, run_path},
    run_file::{RunBlocks, RunFile},
};

/// Callback that is called when a checkpoint is durable, or dropped without a call if the checkpoint fails.
pub type OnDurable = Box<dyn FnOnce() + Send>;

/// Identity of a snapshot: the last raft entry that its state includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotId {
    /// Index of the last entry.
    pub index: u64,
    /// Term of the last entry.
    pub term: u64,
}

#[derive(Debug, Default)]
pub(super) enum ReceiverState {
    /// No snapshot is being received.
    #[default]
    Idle,
    /// A snapshot is being received or has been received but is not published yet.
    Busy,
    /// The stream of this snapshot broke. A new stream can continue after these records, until a newer checkpoint is durable.
    Parked(SnapshotId, Box<DurableRecords>),
}

/// The part of a received snapshot that is on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct DurableRecords {
    pub(super) runs: Vec<Run>,
    pub(super) count: RecordCounter,
    pub(super) last_key: Vec<u8>,
}

/// State shared by the writers of the checkpoint's directory.
pub(super) struct CheckpointFolder {
    pub(super) dir: PathBuf,
    /// Decides whether a run fits on the disk.
    pub(super) ledger: Arc<Ledger>,
    /// Provides the format of new runs and manifests.
    pub(super) identity: Arc<OpenIdentity>,
    /// Decides which values of blocks stay in memory.
    pub(super) cache: Arc<BlockCache>,
    state: Mutex<FolderState>,
    /// Whether the disk has lacked space. Later runs then get no heads, so that heads do not fill the disk again.
    lacked_space: AtomicBool,
    /// Whether the scrub has found damage in the published chain that [`Self::take_damage`] has not returned yet.
    damaged: AtomicBool,
    /// Whether the member is stopping, so that the checkpoint in progress is not needed.
    stopping: AtomicBool,
    /// Tells the checkpoint thread to remove discarded runs.
    garbage: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for CheckpointFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckpointFolder")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
pub(super) struct FolderState {
    /// The next run number. No earlier run has used it.
    next: u64,
    last_copy: u64,
    /// The published chain, which the scrub reads.
    pub(super) published: Chain,
    /// Runs of unpublished snapshots, which the checkpoint thread must not remove.
    received: BTreeSet<u64>,
    /// The runs from which blocks can be read, by number. These runs must not be removed.
    files: BTreeMap<u64, Weak<RunFile>>,
    /// Number of snapshots that this process has published.
    pub(super) installs: u64,
    pub(super) receiver: ReceiverState,
}

/// Error for a chain that was not published, because an installed snapshot has replaced its state or the member is stopping.
#[derive(Debug, thiserror::Error)]
#[error("a received snapshot has replaced this state, or the member is stopping")]
pub(super) struct Superseded;

/// Returns whether an error is [`Superseded`], which is not a failure of the disk.
pub(super) fn is_superseded(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<Superseded>())
}

impl CheckpointFolder {
    /// Creates the shared state. `next` must exceed the number of every run in the directory. `last_copy` is the number of the
    /// newest manifest copy, or 0 if there is none.
    pub(super) fn new(
        dir: PathBuf,
        ledger: Arc<Ledger>,
        identity: Arc<OpenIdentity>,
        cache: Arc<BlockCache>,
        (next, last_copy): (u64, u64),
    ) -> Arc<Self> {
        let state = FolderState { next, last_copy, ..FolderState::default() };
        Arc::new(Self {
            dir,
            ledger,
            identity,
            cache,
            state: Mutex::new(state),
            lacked_space: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            garbage: OnceLock::new(),
        })
    }

    /// Sets the function to call when runs are discarded or their last place is dropped. The function must not block.
    pub(super) fn on_garbage(&self, garbage: impl Fn() + Send + Sync + 'static) {
        // There is only one checkpoint thread, so the function is not set yet.
        let _ = self.garbage.set(Box::new(garbage));
    }

    /// Calls the function that [`Self::on_garbage`] has set, if any.
    pub(super) fn report_garbage(&self) {
        if let Some(garbage) = self.garbage.get() {
            garbage();
        }
    }

    /// Ends the checkpoint in progress: its next run fails with [`Superseded`]. A checkpoint whose runs are complete is still
    /// published.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    /// Fails with [`Superseded`] if a chain of this process is no longer needed, because the process has published more than
    /// `installs` snapshots or is stopping.
    pub(super) fn check_needed(&self, installs: u64) -> io::Result<()> {
        match self.stopping.load(Relaxed) || self.state().installs != installs {
            true => Err(io::Error::other(Superseded)),
            false => Ok(()),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, FolderState> {
        self.state.lock()
    }

    /// Returns the [`RunFile`] that the places of a run's blocks refer to. Creates it if there is none. The run is not removed
    /// while the returned value exists.
    pub(super) fn run_file(self: &Arc<Self>, number: u64) -> Arc<RunFile> {
        let mut state = self.state();
        state.run_file(number).unwrap_or_else(|| {
            let file = Arc::new(RunFile::new(run_path(&self.dir, number), self));
            state.files.insert(number, Arc::downgrade(&file));
            file
        })
    }

    /// Writes a run and returns it with the locations of its blocks. Also writes the heads, unless space is short. Sorts
    /// `items`, which must not be empty, and empties them unless the write fails. Of several items with the same key, keeps the
    /// last. The run's content is durable on return, but not its file name. A `received` run belongs to a snapshot and is kept
    /// until the snapshot is published or discarded.
    pub(super) fn write_run(
        &self,
        items: &mut Vec<RunItem>,
        received: bool,
    ) -> io::Result<(Run, RunBlocks)> {
        // The sort is stable, so the later change of a key is kept.
        items.sort_by(|a, b| b.0.cmp(&a.0));
        items.reverse();
        items.dedup_by(|a, b| a.0 == b.0);
        let bytes: usize = items.iter().map(run::item_bytes).sum();
        let number = self.state().take_number(received);
        let path = run_path(&self.dir, number);
        let written = self
            .ledger
            .begin_run(&self.dir, bytes as u64)
            .and_then(|_claim| {
                run::write(&path, items).inspect_err(|_| {
                    // Remove the file before the ledger stops counting it, because the log then relies on the space.
                    let _ = fs::remove_file(&path);
                })
            });
        if let Err(error) = &written {
            self.state().received.remove(&number);
            if lacks_space(error) {
                self.lacked_space.store(true, Relaxed);
            }
        }
        let run = Run::new(number, &items[0].0, written?);
        if !self.lacked_space.load(Relaxed) && retention::has_room(&self.dir) {
            heads::write(&path, &run, items);
        }
        let blocks = RunBlocks::of(number, items);
        items.clear();
        Ok((run, blocks))
    }

    /// Publishes a manifest atomically (I4) and returns the number of its copy. `outdated_bytes` is the size of the records in
    /// the chain that are known to be outdated. Fails with [`Superseded`] if this process has published more than `installs`
    /// snapshots.
    pub(super) fn publish(
        &self,
        manifest: &Manifest,
        installs: u64,
        outdated_bytes: u64,
    ) -> io::Result<u64> {
        let bytes = manifest_file::encode(&manifest.encode(), &self.dir)?;
        let mut state = self.state();
        if state.installs != installs {
            return Err(io::Error::other(Superseded));
        }
        self.replace_current(&mut state, (manifest, outdated_bytes), &bytes)
    }

    /// Replaces the file `current` with `bytes`, which encode `manifest`, and records the chain as published. `outdated_bytes`
    /// has the same meaning as in [`Self::publish`]. Writes a copy of the file and returns the copy's number. A failure to
    /// write the copy is only logged.
    fn replace_current(
        &self,
        state: &mut FolderState,
        (manifest, outdated_bytes): (&Manifest, u64),
        bytes: &[u8],
    ) -> io::Result<u64> {
        replace(&self.dir, CURRENT, bytes)?;
        let checkpoint_bytes = manifest.chain.bytes().saturating_sub(outdated_bytes);
        self.ledger
            .checkpoint_bytes
            .store(checkpoint_bytes, Relaxed);
        state.published.clone_from(&manifest.chain);
        state.last_copy += 1;
        let number = state.last_copy;
        if let Err(error) = replace(&self.dir, &copy_name(number), bytes) {
            tracing::warn!(dir = %self.dir.display(), %error, "failed to copy the list of the checkpoint's runs");
        }
        Ok(number)
    }

    /// Removes the manifest copies whose numbers do not satisfy `kept`.
    fn remove_copies(&self, kept: impl Fn(u64) -> bool) -> io::Result<()> {
        let mut numbers = copies(&self.dir)?;
        numbers.retain(|number| !kept(*number));
        let mut names = numbers.into_iter().map(copy_name);
        names.try_for_each(|name| remove(&self.dir.join(name)))
    }

    /// Publishes a received snapshot atomically (I4) and clears the reported damage. A chain that another writer has started is
    /// then [`Superseded`]. Removes copies of earlier manifests first, because a member that has acknowledged the snapshot must
    /// not fall back behind it.
    pub(super) fn install(&self, manifest: &Manifest) -> io::Result<()> {
        let bytes = manifest_file::encode(&manifest.encode(), &self.dir)?;
        let mut state = self.state();
        self.remove_copies(|_| false)?;
        self.replace_current(&mut state, (manifest, 0), &bytes)?;
        // The new chain contains no earlier run.
        self.damaged.store(false, Relaxed);
        state.installs += 1;
        Ok(())
    }

    /// If the published chain contains a run, records that the run is damaged. Returns whether the chain contains it.
    pub(super) fn report_damage(&self, number: u64) -> bool {
        let state = self.state();
        let published = state.published.contains(number);
        // Store the flag under the lock, so that a later installation clears it.
        self.damaged.fetch_or(published, Relaxed);
        published
    }

    /// See [`super::Checkpointer::take_damage`]. Does not take the lock, which a thread holds while it publishes a chain.
    pub(super) fn take_damage(&self) -> bool {
        let bytes = self.ledger.checkpoint_bytes.load(Relaxed);
        self.damaged.load(Relaxed)
            && self.ledger.has_room(&self.dir, bytes)
            && self.damaged.swap(false, Relaxed)
    }

    /// Returns whether runs of `bytes` bytes fit on the disk. If the runs do not fit, removes all heads and checks again.
    pub(super) fn make_room(&self, bytes: u64) -> bool {
        let has_room = || self.ledger.has_room(&self.dir, bytes);
        if has_room() {
            return true;
        }
        self.remove_heads();
        has_room()
    }

    /// Removes the heads of all runs to free space. Startup then reads the runs instead. Later runs get no heads.
    pub(super) fn remove_heads(&self) {
        self.lacked_space.store(true, Relaxed);
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if heads_number(&entry.path()).is_some() {
                // The next checkpoint that finds no space tries again.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Keeps the runs that are in `named` or that a receiver or the place of a block holds. Removes all other runs, and all
    /// heads without a kept run. Also removes the manifest copies that are not in `copies`. Keeps all copies if `copies` is
    /// empty, or if more than `installs` snapshots were published, because `copies` then lacks the newest one. Records in the
    /// ledger the size of the runs that only places hold. When the last place of such a run is dropped,
    /// [`Self::report_garbage`] is called.
    pub(super) fn remove_others(
        &self,
        named: impl Iterator<Item = u64>,
        copies: &BTreeSet<u64>,
        installs: u64,
    ) -> io::Result<()> {
        // List the directory before taking the lock, so that every listed run is known. Later runs are not listed.
        inject_failure()?;
        let listed: Vec<PathBuf> = fs::read_dir(&self.dir)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()?;
        let mut state = self.state();
        let mut kept: BTreeSet<u64> = named.chain(state.received.iter().copied()).collect();
        let held = state.held_runs(&kept);
        let copies_removed = match state.installs == installs && !copies.is_empty() {
            true => self.remove_copies(|number| copies.contains(&number)),
            false => Ok(()),
        };
        drop(state);
        let mut held_bytes = 0;
        for (number, file) in held {
            kept.insert(number);
            let run = fs::metadata(run_path(&self.dir, number));
            held_bytes += run.map_or(0, |run| run.len());
            // If the last place has been dropped since, this is the last reference, and its drop reports the run.
            file.outdated.store(true, Relaxed);
        }
        self.ledger.held_bytes.store(held_bytes, Relaxed);
        copies_removed?;
        for path in listed {
            let number = run_number(&path).or_else(|| heads_number(&path));
            if number.is_some_and(|number| !kept.contains(&number)) {
                // Another thread may have removed the file.
                existing(remove(&path))?;
            }
        }
        Ok(())
    }

    /// Stops protecting received runs, so that the checkpoint thread can remove these runs unless they are published.
    pub(super) fn forget<'a>(&self, runs: impl IntoIterator<Item = &'a Run>) {
        let mut state = self.state();
        for run in runs {
            state.received.remove(&run.number);
        }
    }

    /// Deletes the runs of a parked snapshot that is older than `index`, because this member no longer needs it.
    pub(super) fn discard_parked_before(&self, index: u64) {
        let mut state = self.state();
        match mem::take(&mut state.receiver) {
            ReceiverState::Parked(id, records) if id.index < index => {
                drop(state);
                self.discard(&records.runs);
            }
            receiver @ (ReceiverState::Idle | ReceiverState::Busy | ReceiverState::Parked(..)) => {
                state.receiver = receiver;
            }
        }
    }

    /// Deletes received runs that will not be published, and their heads. Ignores failures.
    pub(super) fn discard(&self, runs: &[Run]) {
        for run in runs {
            // The next checkpoint or startup removes a leftover file.
            let path = run_path(&self.dir, run.number);
            let _ = fs::remove_file(&path);
            let _ = fs::remove_file(heads_path(&path));
        }
        self.forget(runs);
    }
}

/// Lists the numbers of the manifest copies in a directory, newest first.
pub(super) fn copies(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        numbers.extend(entry?.file_name().to_str().and_then(copy_number));
    }
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    Ok(numbers)
}

impl FolderState {
    /// Returns the next run number. A `received` run is protected until it is published or discarded.
    fn take_number(&mut self, received: bool) -> u64 {
        let number = self.next;
        self.next += 1;
        if received {
            self.received.insert(number);
        }
        number
    }

    /// Returns the file of a run, or `None` if no block has its place in the run.
    pub(super) fn run_file(&self, number: u64) -> Option<Arc<RunFile>> {
        self.files.get(&number).and_then(Weak::upgrade)
    }

    /// Returns the runs that only places hold, because they are not in `kept`. Forgets runs without places.
    fn held_runs(&mut self, kept: &BTreeSet<u64>) -> Vec<(u64, Arc<RunFile>)> {
        self.files.retain(|_, file| file.strong_count() > 0);
        let held = self
            .files
            .iter()
            .filter(|(number, _)| !kept.contains(*number));
        held.filter_map(|(number, file)| Some((*number, file.upgrade()?)))
            .collect()
    }
}

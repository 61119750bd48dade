//! The thread that writes checkpoints. It works on a frozen view, so requests do not wait for the thread.

use std::{
    io,
    sync::{
        Arc, Condvar, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::SyncSender,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use witan_base::{panics, sync::Mutex};
use witan_machine::{levels::Level, values::CacheHold, view::View};

use super::{
    Checkpoint, StorageMetrics,
    error::lacks_space,
    folder::{CheckpointFolder, OnDurable, is_superseded},
    low_priority::run_at_low_priority,
    received::{ReceivedFiles, SnapshotReceiver},
    scrub::{self, Scrub},
};

/// Pause after the first failed write. Each further failure doubles the pause, up to [`RETRY_LONGEST`].
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LONGEST: Duration = Duration::from_secs(30);

/// Handle of the checkpoint thread. Dropping it stops the thread like [`Self::stop`].
pub struct Checkpointer {
    pub(super) folder: Arc<CheckpointFolder>,
    shared: Arc<CheckpointerState>,
    thread: Option<JoinHandle<()>>,
    /// Dropping this sender stops the scrub.
    scrub: Option<SyncSender<()>>,
}

#[derive(Default)]
struct CheckpointerState {
    slot: Mutex<CheckpointRequest>,
    changed: Condvar,
    failing: AtomicBool,
}

/// The thread's next work. At most one view waits: a newer view replaces it.
#[derive(Default)]
struct CheckpointRequest {
    view: Option<View>,
    options: WriteOptions,
    stop: bool,
    /// A published snapshot from which the next chain starts.
    installed: Option<InstalledSnapshot>,
    /// Whether this thread must remove runs: a receiver has discarded them, or their last place was dropped.
    clean: bool,
    /// States that installed snapshots have replaced since the last turn, including queued views. This thread drops these
    /// states, because dropping them would block the replica's thread.
    replaced: Vec<View>,
}

#[derive(Default)]
struct WriteOptions {
    /// Whether to write the entire state, because the chain on disk is damaged or has an earlier format.
    whole: bool,
    /// Keeps the values of the view in memory if the disk cannot provide them.
    hold: Option<CacheHold>,
    /// Whether to write a new base at low priority, so that the checkpoint has no outdated records.
    clean_base: bool,
    /// Callbacks to call when a clean base is durable. The limit on concurrent requests bounds their number.
    rewrites: Vec<OnDurable>,
}

/// An installed snapshot from which the thread continues.
#[derive(Debug)]
pub(super) struct InstalledSnapshot {
    pub(super) view: View,
    pub(super) files: ReceivedFiles,
    /// Number of snapshots that this process has installed.
    pub(super) installs: u64,
}

impl Checkpointer {
    /// Starts the thread. `base` is the state of the checkpoint on disk. The thread calls `durable` with the applied index of
    /// each checkpoint that it has made durable. If startup used an earlier chain, or the chain has an earlier format, writes
    /// `base` again immediately. In the first case, counts a failed checkpoint, and [`Self::healthy`] returns false until the
    /// write succeeds.
    pub fn start(
        checkpoint: Checkpoint,
        base: Option<View>,
        metrics: StorageMetrics,
        durable: impl FnMut(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(CheckpointerState::default());
        let folder = checkpoint.folder.clone();
        let cleaned = shared.clone();
        folder.on_garbage(move || {
            cleaned.slot.lock().clean = true;
            cleaned.changed.notify_all();
        });
        if checkpoint.fell_back || checkpoint.has_earlier_format() {
            // Replace a damaged checkpoint or a chain in an earlier format now.
            let mut slot = shared.slot.lock();
            (slot.view, slot.options.whole) = (base.clone(), base.is_some());
        }
        if checkpoint.fell_back {
            shared.failing.store(true, Ordering::Relaxed);
            metrics.checkpoint_failures.inc();
        }
        let mut writer = CheckpointWriter {
            checkpoint,
            base: base.as_ref().map(View::diff_base),
            durable: Box::new(durable),
            shared: shared.clone(),
            metrics,
        };
        let thread = panics::start_thread("checkpoint", move || while writer.turn() {})?;
        Ok(Self { folder, shared, thread: Some(thread), scrub: None })
    }

    /// Starts the scrub, which reads the published runs until the checkpointer stops.
    pub fn start_scrub(&mut self, metrics: StorageMetrics) -> io::Result<()> {
        self.scrub = Some(Scrub::start(self.folder.clone(), metrics, scrub::PERIOD)?);
        Ok(())
    }

    /// Returns whether the scrub has found damage since the last call that returned `true`. An installed snapshot clears the
    /// damage, because it replaces all runs. Returns `false` until another checkpoint fits on the disk. Without that space, a
    /// member would wait for a snapshot and accept no entries, or a base would block all later checkpoints.
    pub fn take_damage(&self) -> bool {
        self.folder.take_damage()
    }

    /// Returns a receiver for other members' snapshots, which writes into the checkpoint's directory.
    pub fn receiver(&self) -> SnapshotReceiver {
        SnapshotReceiver::new(self.folder.clone())
    }

    /// Makes the thread continue from an installed snapshot, which supersedes the state `replaced` and all offered views.
    /// Cancels a rewrite of damaged runs, because the snapshot has replaced these runs.
    pub(super) fn continue_from(&self, installed: InstalledSnapshot, replaced: View) {
        let mut slot = self.shared.slot.lock();
        slot.replaced.push(replaced);
        let outdated = slot.view.take();
        slot.replaced.extend(outdated);
        slot.options.whole = false;
        let hold = slot.options.hold.take();
        let superseded = slot.installed.replace(installed);
        drop(slot);
        self.shared.changed.notify_all();
        // Drop these values after the unlock, because dropping them takes the lock to wake the thread.
        drop((superseded, hold));
    }

    /// Queues a frozen view for the next checkpoint. Replaces a queued view whose write has not started. A view with the index
    /// of the checkpoint on disk is not written.
    pub fn offer(&self, view: View) {
        self.queue(view, |_| ());
    }

    /// Queues a frozen view to be written as a new base without outdated records. Calls `done` when this view, a newer one or
    /// an installed snapshot is durable. If the base does not fit on the disk, drops `done` and writes a difference. Also drops
    /// `done` if the thread stops first.
    pub fn rewrite(&self, view: View, done: OnDurable) {
        self.queue(view, |options| {
            options.clean_base = true;
            options.rewrites.push(done);
        });
    }

    /// Queues a frozen view to be written as a new base without kept runs, because runs are damaged. Releases `hold` when the
    /// base or an installed snapshot is durable.
    pub fn rewrite_all_runs(&self, view: View, hold: CacheHold) {
        self.queue(view, |options| {
            options.whole = true;
            options.hold = Some(hold);
            // This option also gives the write a low priority.
            options.clean_base = true;
        });
    }

    /// Queues a view, lets `change` adjust the options of its write, and wakes the thread.
    fn queue(&self, view: View, change: impl FnOnce(&mut WriteOptions)) {
        let mut slot = self.shared.slot.lock();
        let replaced = slot.view.replace(view);
        change(&mut slot.options);
        drop(slot);
        self.shared.changed.notify_all();
        // Drop the view after the unlock, because it can hold the last reference to a lot of memory.
        drop(replaced);
    }

    /// Returns whether the directory has an earlier format than the format of `level`. The next checkpoint of a state with this
    /// level then upgrades the directory.
    pub fn awaits_format_of(&self, level: Level) -> bool {
        self.folder.identity.is_behind(level)
    }

    /// Returns whether the last write succeeded or, before the first write, the newest checkpoint was readable at startup. Also
    /// returns `true` after a snapshot has been installed.
    pub fn healthy(&self) -> bool {
        !self.shared.failing.load(Ordering::Relaxed)
    }

    /// Tells the scrub to stop and waits until the checkpoint thread has ended. The thread writes no further run of a
    /// checkpoint in progress, because the log contains the changes. It abandons a base after the current run, but a difference
    /// only after reading all of its records. Queued views are not written.
    pub fn stop(&mut self) {
        self.scrub = None;
        self.shared.slot.lock().stop = true;
        // The thread must find `stop` set when the checkpoint fails.
        self.folder.stop();
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread has panicked");
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop();
    }
}

struct CheckpointWriter {
    checkpoint: Checkpoint,
    /// The state of the checkpoint on disk, reduced to the data that the next difference needs.
    base: Option<View>,
    durable: Box<dyn FnMut(u64) + Send>,
    shared: Arc<CheckpointerState>,
    metrics: StorageMetrics,
}

impl CheckpointWriter {
    /// Waits for one request and executes it, or removes outdated files whose retention has ended. Handles an installed
    /// snapshot first, which also satisfies requested rewrites. Returns `false` if the thread must stop.
    fn turn(&mut self) -> bool {
        let mut slot = self.shared.slot.lock();
        let view = loop {
            if slot.stop {
                return false;
            }
            if let Some(installed) = slot.installed.take() {
                let replaced = std::mem::take(&mut slot.replaced);
                // An installed snapshot has no outdated records, so it satisfies requested rewrites.
                let rewrites = std::mem::take(&mut slot.options.rewrites);
                slot.options.clean_base = false;
                drop(slot);
                self.adopt(installed);
                rewrites.into_iter().for_each(|done| done());
                drop(replaced);
                return true;
            }
            let outdated_due_in = self.checkpoint.outdated.due_in();
            if std::mem::take(&mut slot.clean) || outdated_due_in.is_some_and(|time| time.is_zero())
            {
                drop(slot);
                self.checkpoint.remove_others();
                return true;
            }
            match slot.view.take() {
                Some(view) => break view,
                None => {
                    let time = outdated_due_in.unwrap_or(Duration::MAX);
                    let changed = self.shared.changed.wait_timeout(slot, time);
                    slot = changed.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        };
        let options = std::mem::take(&mut slot.options);
        drop(slot);
        self.write_until_durable(view, options)
    }

    /// Makes the installed snapshot the base of the next checkpoint and removes the files that it replaced. Clears a reported
    /// write failure. If the removal fails, logs the error; the next checkpoint tries again.
    fn adopt(&mut self, installed: InstalledSnapshot) {
        let InstalledSnapshot { view, files, installs } = installed;
        let index = view.position.index;
        self.base = Some(view.diff_base());
        drop(view);
        let adopted = self.checkpoint.adopt(files.chain(), installs);
        // Published files are not discarded when `files` is dropped.
        drop(files);
        self.shared.failing.store(false, Ordering::Relaxed);
        if let Err(error) = adopted
            && !is_superseded(&error)
        {
            // The next checkpoint tries again.
            tracing::warn!(index, %error, "failed to remove old files after installing a snapshot");
        }
    }

    /// Writes a view, unless the state on disk has the same index and no base is requested. After a failure, retries with the
    /// newest view until a checkpoint is durable or superseded. If runs are no longer needed, removes them and retries early.
    /// After a success, reports the durable index and calls the callbacks of rewrites. Returns `false` if the thread must stop.
    fn write_until_durable(&mut self, mut view: View, mut options: WriteOptions) -> bool {
        let mut pause = RETRY_FIRST;
        let known = self.base.as_ref().map(|base| base.position.index);
        let anew = options.whole || options.clean_base;
        if !anew && known == Some(view.position.index) {
            return true;
        }
        let mut begun = Instant::now();
        while let Err(error) = self.write(&view, &options) {
            let superseded = is_superseded(&error);
            if !superseded {
                self.shared.failing.store(true, Ordering::Relaxed);
                self.metrics.checkpoint_failures.inc();
                let index = view.position.index;
                tracing::error!(index, %error, "failed to write a checkpoint; retrying");
                let is_full = lacks_space(&error);
                self.free_space(is_full);
                // The cleanup after the first failure may have freed enough space for the base.
                if pause > RETRY_FIRST && is_full {
                    self.give_up_base(&mut options);
                }
            }
            let mut slot = self.shared.slot.lock();
            if !slot.stop && !superseded {
                let waits =
                    |s: &mut CheckpointRequest| !s.stop && s.installed.is_none() && !s.clean;
                let wait = self.shared.changed.wait_timeout_while(slot, pause, waits);
                slot = wait.unwrap_or_else(PoisonError::into_inner).0;
            }
            if slot.stop {
                return false;
            }
            if superseded || slot.installed.is_some() {
                // The installed snapshot is the clean checkpoint that these requests wait for.
                slot.options.rewrites.append(&mut options.rewrites);
                return true;
            }
            if std::mem::take(&mut slot.clean) {
                // The next attempt may need the space of runs whose last reader has ended.
                drop(slot);
                self.checkpoint.remove_others();
                slot = self.shared.slot.lock();
            }
            if let Some(newer) = slot.view.take() {
                let newest = std::mem::take(&mut slot.options);
                drop(slot);
                // Drop the older view after the unlock, because dropping the last reference to a run takes the lock to wake the
                // thread.
                view = newer;
                options.whole |= newest.whole;
                options.hold = newest.hold.or(options.hold);
                options.clean_base |= newest.clean_base;
                options.rewrites.extend(newest.rewrites);
            }
            pause = (pause * 2).min(RETRY_LONGEST);
            begun = Instant::now();
        }
        self.shared.failing.store(false, Ordering::Relaxed);
        let index = view.position.index;
        self.base = Some(view.diff_base());
        drop(view);
        let took = begun.elapsed();
        self.metrics.backend_commit.observe(took.as_secs_f64());
        self.checkpoint.folder.discard_parked_before(index);
        (self.durable)(index);
        options.rewrites.into_iter().for_each(|done| done());
        true
    }

    /// Removes outdated runs after a failed write. If the disk is full, also removes all heads, and the previous chain if the
    /// write must be a base in a later format.
    fn free_space(&mut self, is_full: bool) {
        if is_full {
            self.checkpoint.folder.remove_heads();
            if let Err(error) = self.checkpoint.drop_before() {
                tracing::warn!(%error, "failed to remove the previous checkpoint");
            }
        }
        self.checkpoint.remove_others();
    }

    /// Lets the next attempt write a difference instead of a base. If each attempt wrote a base, a base that does not fit would
    /// block all checkpoints. The log would grow until the disk is full. An earlier format and runs that the scrub found
    /// damaged still require a base. Drops the callbacks that wait for a rewrite.
    fn give_up_base(&mut self, options: &mut WriteOptions) {
        if options.hold.is_none() && (options.whole || options.clean_base) {
            tracing::warn!(
                "not enough disk space to rewrite the checkpoint; writing only the changes"
            );
            (options.whole, options.clean_base) = (false, false);
            options.rewrites.clear();
            self.checkpoint.base_required = false;
        }
    }

    /// Makes one attempt to write `view` with these options. Writes a requested base at low priority.
    fn write(&mut self, view: &View, options: &WriteOptions) -> io::Result<()> {
        let since = self.base.as_ref().filter(|_| !options.whole);
        if options.clean_base {
            // Use low priority, because only the requester waits for this base.
            let checkpoint = &mut self.checkpoint;
            run_at_low_priority(|| checkpoint.rewrite(since, view))
        } else {
            self.checkpoint.write(since, view)
        }
    }
}

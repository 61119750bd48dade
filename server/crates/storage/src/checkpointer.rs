//! The thread that writes checkpoints. Clients do not wait for it, because it works on a frozen view while the replica
//! continues. The log contains all entries since the last checkpoint.

use std::{
    io,
    sync::{
        Arc, Condvar, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use witan_base::{panics, sync::Mutex};
use witan_machine::view::View;

use super::{
    Checkpoint, StorageMetrics,
    folder::{CheckpointFolder, OnDurable, is_superseded},
    low_priority::run_at_low_priority,
    received::{ReceivedFiles, SnapshotReceiver},
};

/// Pause after a failed write. Each further failure doubles it.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Maximum pause after a failed write.
const RETRY_LONGEST: Duration = Duration::from_secs(30);

/// Handle of the thread.
pub struct Checkpointer {
    folder: Arc<CheckpointFolder>,
    shared: Arc<CheckpointerState>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct CheckpointerState {
    slot: Mutex<CheckpointRequest>,
    changed: Condvar,
    failing: AtomicBool,
}

/// The thread's next work. At most one view waits; a newer view replaces it.
#[derive(Default)]
struct CheckpointRequest {
    view: Option<View>,
    /// Whether to write the whole state, because the view does not descend from the checkpoint on disk.
    whole: bool,
    /// Whether to write a new base, so that the disk has no outdated records.
    whole_and_clean: bool,
    stop: bool,
    /// Callbacks of requested rewrites. The number of concurrent requests limits their number.
    rewrites: Vec<OnDurable>,
    /// A published snapshot from which the next chain starts.
    installed: Option<InstalledSnapshot>,
    /// Whether a receiver has discarded runs that this thread must remove.
    clean: bool,
    /// States to drop on this thread, because dropping them would block the replica's thread. Each snapshot installed since
    /// the last turn adds one state.
    replaced: Vec<View>,
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
    /// Starts the thread. `base` is the state of the checkpoint on disk. The thread calls `durable` with the index of each
    /// checkpoint that becomes durable.
    pub fn start(
        checkpoint: Checkpoint,
        base: Option<View>,
        metrics: StorageMetrics,
        durable: impl FnMut(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(CheckpointerState::default());
        let folder = checkpoint.folder().clone();
        let cleaned = shared.clone();
        folder.on_garbage(move || {
            cleaned.slot.lock().clean = true;
            cleaned.changed.notify_all();
        });
        if checkpoint.fell_back() {
            // Startup fell back to the last readable checkpoint, so write a second checkpoint at once.
            let mut slot = shared.slot.lock();
            (slot.view, slot.whole) = (base.clone(), base.is_some());
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
        Ok(Self { folder, shared, thread: Some(thread) })
    }

    /// Returns the receiver of other members' snapshots, which writes into the checkpoint's folder.
    pub fn receiver(&self) -> SnapshotReceiver {
        SnapshotReceiver::new(self.folder.clone())
    }

    pub(super) fn folder(&self) -> &CheckpointFolder {
        &self.folder
    }

    /// Makes the thread continue from a published snapshot. The snapshot supersedes the state `replaced` and all offered
    /// views. Does not block.
    pub(super) fn continue_from(&self, installed: InstalledSnapshot, replaced: View) {
        let mut slot = self.shared.slot.lock();
        slot.replaced.push(replaced);
        let outdated = slot.view.take();
        slot.replaced.extend(outdated);
        slot.whole = false;
        let superseded = slot.installed.replace(installed);
        drop(slot);
        self.shared.changed.notify_all();
        // Dropped after the unlock, because the drop wakes the thread.
        drop(superseded);
    }

    /// Queues a frozen view for the next checkpoint. Replaces a queued view whose write has not started.
    pub fn offer(&self, view: View) {
        let mut slot = self.shared.slot.lock();
        let replaced = slot.view.replace(view);
        drop(slot);
        self.shared.changed.notify_all();
        // dropped outside the lock, because a view can hold the last reference to much memory
        drop(replaced);
    }

    /// Queues a frozen view to be written as a new base, so that the disk has no outdated records. Calls `done` when this
    /// view or a newer view is durable.
    pub fn rewrite(&self, view: View, done: OnDurable) {
        let mut slot = self.shared.slot.lock();
        let replaced = slot.view.replace(view);
        slot.whole_and_clean = true;
        slot.rewrites.push(done);
        drop(slot);
        self.shared.changed.notify_all();
        drop(replaced);
    }

    /// Returns whether the last write succeeded. Before the first write, returns whether startup could read the newest
    /// checkpoint.
    pub fn healthy(&self) -> bool {
        !self.shared.failing.load(Ordering::Relaxed)
    }

    /// Stops the thread after the write in progress.
    pub fn stop(&mut self) {
        self.shared.slot.lock().stop = true;
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

impl CheckpointerState {
    /// Waits for a request, at most for `time` if it is set.
    fn wait<'a>(
        &self,
        slot: MutexGuard<'a, CheckpointRequest>,
        time: Option<Duration>,
    ) -> MutexGuard<'a, CheckpointRequest> {
        let Some(time) = time else {
            let changed = self.changed.wait(slot);
            return changed.unwrap_or_else(PoisonError::into_inner);
        };
        let changed = self.changed.wait_timeout(slot, time);
        changed.unwrap_or_else(PoisonError::into_inner).0
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
    /// Waits for a request and executes it. Returns `false` when the thread must stop.
    fn turn(&mut self) -> bool {
        let mut slot = self.shared.slot.lock();
        let view = loop {
            if slot.stop {
                return false;
            }
            if let Some(installed) = slot.installed.take() {
                let replaced = std::mem::take(&mut slot.replaced);
                // the new checkpoint has no outdated records
                let rewrites = std::mem::take(&mut slot.rewrites);
                slot.whole_and_clean = false;
                drop(slot);
                self.adopt(installed);
                rewrites.into_iter().for_each(|done| done());
                drop(replaced);
                return true;
            }
            let outdated_due_in = self.checkpoint.outdated_due_in();
            if std::mem::take(&mut slot.clean) || outdated_due_in.is_some_and(|time| time.is_zero())
            {
                drop(slot);
                self.checkpoint.remove_others();
                return true;
            }
            match slot.view.take() {
                Some(view) => break view,
                None => slot = self.shared.wait(slot, outdated_due_in),
            }
        };
        let request = WriteRequest {
            view,
            whole: std::mem::take(&mut slot.whole),
            whole_and_clean: std::mem::take(&mut slot.whole_and_clean),
            rewrites: std::mem::take(&mut slot.rewrites),
        };
        drop(slot);
        self.write_until_durable(request)
    }

    /// Continues from an installed snapshot.
    fn adopt(&mut self, installed: InstalledSnapshot) {
        let InstalledSnapshot { view, files, installs } = installed;
        let index = view.position.index;
        self.base = Some(view.diff_base());
        drop(view);
        let adopted = self.checkpoint.adopt(files.chain(), installs);
        // The manifest now names the files.
        drop(files);
        self.shared.failing.store(false, Ordering::Relaxed);
        if let Err(error) = adopted
            && !is_superseded(&error)
        {
            // the next checkpoint retries
            tracing::warn!(index, %error, "failed to remove old files after a snapshot was installed");
        }
    }

    /// Writes a view, or a newer view, until it is durable. Returns `false` when the thread must stop.
    fn write_until_durable(&mut self, mut request: WriteRequest) -> bool {
        let mut pause = RETRY_FIRST;
        let known = self.base.as_ref().map(|base| base.position.index);
        let anew = request.whole || request.whole_and_clean;
        if !anew && known == Some(request.view.position.index) {
            return true;
        }
        let mut begun = Instant::now();
        while let Err(error) = self.write(&request) {
            let superseded = is_superseded(&error);
            if !superseded {
                self.shared.failing.store(true, Ordering::Relaxed);
                self.metrics.checkpoint_failures.inc();
                let index = request.view.position.index;
                tracing::error!(index, %error, "failed to write a checkpoint; retrying");
                // Removing outdated runs may free space.
                self.checkpoint.remove_others();
            }
            let mut slot = self.shared.slot.lock();
            if !slot.stop && !superseded {
                let wait = self
                    .shared
                    .changed
                    .wait_timeout_while(slot, pause, |s| !s.stop && s.installed.is_none());
                slot = wait.unwrap_or_else(PoisonError::into_inner).0;
            }
            if slot.stop {
                return false;
            }
            if superseded || slot.installed.is_some() {
                // The snapshot is the checkpoint for which these requests wait.
                slot.rewrites.append(&mut request.rewrites);
                return true;
            }
            if let Some(newer) = slot.view.take() {
                request.view = newer;
                request.whole |= std::mem::take(&mut slot.whole);
                request.whole_and_clean |= std::mem::take(&mut slot.whole_and_clean);
                request.rewrites.append(&mut slot.rewrites);
            }
            pause = (pause * 2).min(RETRY_LONGEST);
            begun = Instant::now();
        }
        self.shared.failing.store(false, Ordering::Relaxed);
        let WriteRequest { view, rewrites, .. } = request;
        let index = view.position.index;
        self.base = Some(view.diff_base());
        drop(view);
        let took = begun.elapsed();
        self.metrics.backend_commit.observe(took.as_secs_f64());
        (self.durable)(index);
        rewrites.into_iter().for_each(|done| done());
        true
    }

    /// Writes the requested view as a difference to the base, as the whole state, or as a new base without outdated records.
    /// The new base is written at low priority.
    fn write(&mut self, request: &WriteRequest) -> io::Result<()> {
        let since = self.base.as_ref().filter(|_| !request.whole);
        if request.whole_and_clean {
            // Low priority, because only the requester waits for it.
            let (checkpoint, view) = (&mut self.checkpoint, &request.view);
            run_at_low_priority(|| checkpoint.rewrite(since, view))
        } else {
            self.checkpoint.write(since, &request.view)
        }
    }
}

/// A view to write as the checkpoint.
struct WriteRequest {
    view: View,
    /// Whether to write the whole state instead of the difference to the last checkpoint.
    whole: bool,
    /// Whether to rewrite the base without outdated records, at low priority.
    whole_and_clean: bool,
    rewrites: Vec<OnDurable>,
}

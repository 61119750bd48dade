//! The scrub: a thread that reads all published runs, to find damage on the disk while memory or other members still have the
//! values. It only reports damage: the replica's thread decides how to replace the checkpoint. Damage never ends the process.
//!
//! - **A pass reads each run once** and compares its size and its checksum with the manifest. A pass begins one period after
//!   the previous pass began. Each pass begins at a random run, because nothing on disk records its progress: even a process
//!   that restarts often eventually reads all runs.
//! - **A pass reads the disk**, not the kernel's cached pages, which can be intact even though the disk is damaged.
//! - **Only damage in a published run is reported.** The file of a run that a newer chain has replaced may be missing.
//! - **A run is damaged if two attempts fail**, with a pause between them. The disk can also report damage as `EIO`. Any other
//!   error, for example a lack of file descriptors, is logged, and the next pass reads the run again.

use std::{
    collections::hash_map::RandomState,
    fs::File,
    hash::BuildHasher as _,
    io::{self, Read as _},
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use witan_base::panics;

use super::{
    StorageMetrics, error::is_damage, files::drop_cached_pages, folder::CheckpointFolder,
    low_priority::lower_priority, manifest::Run, run::run_path,
};

/// Time between the starts of two passes.
pub(super) const PERIOD: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Minimum rate in bytes per second. The rate is higher if a pass would otherwise take longer than the period.
const BYTES_PER_SECOND: u64 = 1 << 20;
const BUFFER_BYTES: usize = 256 << 10;
/// Divisor of the period. The quotient is the pause between two attempts to read a run: two seconds for seven days.
const PAUSE_DIVISOR: u32 = 300_000;

pub(super) struct Scrub {
    pub(super) folder: Arc<CheckpointFolder>,
    pub(super) metrics: StorageMetrics,
    pub(super) period: Duration,
    /// A channel that is disconnected when the thread must stop.
    pub(super) stopped: Receiver<()>,
}

impl Scrub {
    /// Starts the thread. Dropping the returned sender stops the thread without waiting for its end.
    pub(super) fn start(
        folder: Arc<CheckpointFolder>,
        metrics: StorageMetrics,
        period: Duration,
    ) -> io::Result<SyncSender<()>> {
        let (stop, stopped) = sync_channel(0);
        let scrub = Self { folder, metrics, period, stopped };
        panics::start_thread("scrub", move || {
            lower_priority();
            while scrub.turn().is_continue() {}
        })?;
        Ok(stop)
    }

    /// Makes a pass and waits for the time of the next one. Returns `Break` if the thread must stop.
    fn turn(&self) -> ControlFlow<()> {
        let begun = Instant::now();
        self.pass()?;
        self.pause(self.period.saturating_sub(begun.elapsed()))
    }

    /// Reads the runs that are published now, except runs that are no longer published when their turn comes. Returns `Break`
    /// if the thread must stop.
    pub(super) fn pass(&self) -> ControlFlow<()> {
        let mut runs: Vec<Run> = self.folder.state().published.runs().cloned().collect();
        let begin = RandomState::new().hash_one(0) % (runs.len() as u64).max(1);
        runs.rotate_left(usize::try_from(begin).unwrap_or_default());
        for run in runs {
            let is_published = self.folder.state().published.contains(run.number);
            if is_published {
                self.verify_run(&run)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Reads a run. Reports damage if two attempts find damage and the run is still published. Returns `Break` if the thread
    /// must stop. After damage, removes the heads if the next checkpoint needs their space.
    pub(super) fn verify_run(&self, run: &Run) -> ControlFlow<()> {
        let path = run_path(&self.folder.dir, run.number);
        if self.damage(&path, run)?.is_none() {
            return ControlFlow::Continue(());
        }
        self.pause(self.period / PAUSE_DIVISOR)?;
        if let Some(damage) = self.damage(&path, run)?
            && self.folder.report_damage(run.number)
        {
            let path = path.display();
            tracing::error!(%path, damage, "a file of the checkpoint is damaged");
            self.metrics.scrub_damaged_runs.inc();
            let bytes = self.folder.ledger.checkpoint_bytes.load(Relaxed);
            if !self.folder.make_room(bytes) {
                tracing::error!(
                    "the damaged checkpoint remains until the disk has space for another one"
                );
            }
        }
        ControlFlow::Continue(())
    }

    /// Reads the file of a run. Returns a description of the damage, or `Break` if the thread must stop. Returns `None` if no
    /// damage is found, or if the file cannot be read, which is logged.
    fn damage(&self, path: &Path, run: &Run) -> ControlFlow<(), Option<String>> {
        match self.read(path) {
            Ok(None) => ControlFlow::Break(()),
            Ok(Some(found)) => {
                let is_sound = found == (run.content.bytes, run.content.sum);
                let damage = "its size or its checksum is wrong".to_owned();
                ControlFlow::Continue((!is_sound).then_some(damage))
            }
            Err(error) if is_damage(&error) => ControlFlow::Continue(Some(error.to_string())),
            Err(error) => {
                let path = path.display();
                tracing::error!(%path, %error, "failed to check a file of the checkpoint for damage; retrying later");
                ControlFlow::Continue(None)
            }
        }
    }

    /// Reads a file at the scrub's rate, without leaving it in the page cache. Returns its size in bytes and its CRC-32, or
    /// `None` if the thread must stop.
    fn read(&self, path: &Path) -> io::Result<Option<(u64, u32)>> {
        let mut file = File::open(path)?;
        let rate = self.bytes_per_second();
        let (mut bytes, mut sum) = (0, crc32fast::Hasher::new());
        let mut buffer = vec![0; BUFFER_BYTES];
        drop_cached_pages(&file);
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            sum.update(&buffer[..read]);
            bytes += read as u64;
            self.metrics.scrub_bytes.inc_by(read as u64);
            let time = Duration::from_micros(read as u64 * 1_000_000 / rate);
            if self.pause(time).is_break() {
                return Ok(None);
            }
        }
        drop_cached_pages(&file);
        Ok(Some((bytes, sum.finalize())))
    }

    /// Returns the rate in bytes per second at which a pass takes at most the period. The rate is at least
    /// [`BYTES_PER_SECOND`].
    fn bytes_per_second(&self) -> u64 {
        let bytes = self.folder.state().published.bytes();
        (bytes / self.period.as_secs().max(1)).max(BYTES_PER_SECOND)
    }

    /// Waits for this time. Returns `Break` immediately if the thread must stop.
    fn pause(&self, time: Duration) -> ControlFlow<()> {
        match self.stopped.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => ControlFlow::Continue(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => ControlFlow::Break(()),
        }
    }
}

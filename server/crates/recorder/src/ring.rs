//! A recording in production: the replica's thread encodes turns into a bounded queue, and another thread writes them to the
//! files of a ring. While the queue is full, turns are omitted and the file records the gap.
//!
//! Turns are written every [`WRITE_INTERVAL`]. A killed process loses the turns of the last interval.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use witan_replica::{host::Recovered, replica::Config};

use crate::{
    files::Files,
    format::{FRAME_BYTES_MAX, Gap, Head, Part, Turn},
    frame,
    recorded::Sink,
};

const WRITE_INTERVAL: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct Queued {
    start: Option<Box<(Config, Recovered)>>,
    frames: Vec<u8>,
    /// The first and the last turn omitted since the last write.
    omitted: Option<(u64, u64)>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Queue {
    queued: Mutex<Queued>,
    closing: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sink that writes to the files of a ring.
pub struct Ring {
    is_low: Box<dyn Fn() -> bool + Send>,
    queue: Arc<Queue>,
    values_in_clear: bool,
    thread: Option<JoinHandle<()>>,
}

impl Ring {
    /// Creates a missing directory and the next file, and starts the writing thread. `bytes` is the maximum total size of all
    /// files, unless a single turn is larger. `is_low` returns whether the recorder must leave the free disk space to the log.
    /// If it returns true, this function fails with `StorageFull`, and later turns are omitted.
    pub fn open(
        folder: PathBuf,
        bytes: u64,
        head: Head,
        is_low: Box<dyn Fn() -> bool + Send>,
    ) -> io::Result<Self> {
        if is_low() {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "the disk has too little free space",
            ));
        }
        let values_in_clear = head.values_in_clear;
        let files = Files::open(folder, bytes, head)?;
        let queue = Arc::new(Queue::default());
        let thread = thread::Builder::new().name("recorder".into());
        let shared = queue.clone();
        let thread = Some(thread.spawn(move || run(&shared, files))?);
        Ok(Self { is_low, queue, values_in_clear, thread })
    }
}

impl Sink for Ring {
    fn values_in_clear(&self) -> bool {
        self.values_in_clear
    }

    fn start(&mut self, config: Config, recovered: Recovered) {
        self.queue.lock().start = Some(Box::new((config, recovered)));
    }

    /// Queues a turn with the current time for the writing thread, or omits the turn if the queue or the disk is full. Also
    /// omits the following turns until the thread has written the gap.
    fn turn(&mut self, turn: Turn) {
        let mut queued = self.queue.lock();
        let is_full = queued.frames.len() > FRAME_BYTES_MAX || queued.omitted.is_some();
        if is_full || (self.is_low)() {
            let first = queued.omitted.map_or(turn.number, |(first, _)| first);
            queued.omitted = Some((first, turn.number));
            return;
        }
        let turn = Turn { at_ns: now_ns(), ..turn };
        turn.append(&mut queued.frames);
    }
}

impl Drop for Ring {
    /// Makes the thread write all queued turns and waits until it has ended.
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.closing.notify_all();
        if let Some(thread) = self.thread.take() {
            // The panic of the thread has already been reported.
            let _ = thread.join();
        }
    }
}

/// Returns the wall-clock time in Unix nanoseconds, or 0 before 1970.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    })
}

/// Writes queued frames until the ring is closed. If writing fails, logs the error and returns, and later turns are omitted.
fn run(queue: &Queue, mut files: Files) {
    loop {
        let queued = queue.lock();
        let waited = queue
            .closing
            .wait_timeout_while(queued, WRITE_INTERVAL, |queued| !queued.closed);
        let (mut queued, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let closed = queued.closed;
        let work = std::mem::take(&mut *queued);
        queued.closed = closed;
        drop(queued);
        if let Err(error) = write(&mut files, work) {
            let folder = files.folder.display();
            tracing::error!(%folder, %error, "failed to write to the flight recorder; recording stops");
            // From now on, all turns are omitted.
            queue.lock().omitted = Some((0, 0));
            return;
        }
        if closed {
            return;
        }
    }
}

/// Writes the start, then the queued frames and the gap after them.
fn write(files: &mut Files, mut work: Queued) -> io::Result<()> {
    if let Some((config, recovered)) = work.start.as_deref() {
        let mut start = Vec::new();
        files.head.start(config, recovered, &mut start);
        files.write(&start)?;
    }
    if let Some((from, to)) = work.omitted {
        frame::put(&mut work.frames, Part::Gap(Gap { from, to }));
    }
    files.write(&work.frames)
}

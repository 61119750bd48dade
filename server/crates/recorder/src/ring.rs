//! A recording in production: the replica's thread puts turns into a bounded queue, and a thread of its own writes them to the
//! files of a ring. When the queue holds as much as the largest turn, further ones are left out and the file says so.
//!
//! Each file begins with the replica as it is then, so that the ring can be executed when its first files have gone: the
//! replica's thread is asked to freeze the replica after its next turn, and again until that is possible.
//!
//! Turns are written every [`WRITE_INTERVAL`]: those of the last one are lost when the process is killed.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use witan_replica::{
    host::Recovered,
    replica::{Config, FrozenReplica},
};

use crate::{
    encode::Encoder, files::Files, format::FRAME_BYTES_MAX, hide::Hider, noted::NotedTurn,
    recorded::Sink,
};

/// How often the thread writes.
const WRITE_INTERVAL: Duration = Duration::from_millis(20);

/// Where a ring is, how large it is, and whose.
#[derive(Clone, Debug)]
pub struct RingSettings {
    /// The folder, which is made.
    pub folder: PathBuf,
    /// Total bytes of all files. A larger turn is the only one kept.
    pub bytes: u64,
    /// The member.
    pub member: u64,
    /// The version of the program.
    pub version: String,
    /// Whether values are kept in clear.
    pub values_in_clear: bool,
}

#[derive(Debug, Default)]
struct Queued {
    start: Option<Box<(Config, Recovered)>>,
    noted: Vec<Noted>,
    bytes: usize,
    /// Memory for frames.
    spare: Vec<u8>,
    /// Whether the replica is to be frozen after a turn.
    freezes: bool,
    /// Whether a frozen replica is queued.
    is_frozen: bool,
    /// Turns that were left out since the last that was queued.
    left_out: Option<(u64, u64)>,
    closed: bool,
}

impl Queued {
    /// Returns the frames at the end of the queue; adds an empty entry for them if the last one is of another kind.
    fn frames(&mut self) -> &mut Vec<u8> {
        if !matches!(self.noted.last(), Some(Noted::Frames(_))) {
            self.noted
                .push(Noted::Frames(std::mem::take(&mut self.spare)));
        }
        match self.noted.last_mut() {
            Some(Noted::Frames(frames)) => frames,
            Some(Noted::Turn(..) | Noted::Frozen(..)) | None => &mut self.spare,
        }
    }
}

/// An item of the queue of the thread.
#[derive(Debug)]
pub(crate) enum Noted {
    /// Turns as a file holds them.
    Frames(Vec<u8>),
    /// A turn that is not yet encoded, and when it ended.
    Turn(i64, NotedTurn),
    /// The replica after the turn of this number.
    Frozen(u64, Box<FrozenReplica>),
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

/// Whether the disk has so little room that nothing is recorded: what is left belongs to the log.
pub type IsLow = Box<dyn Fn() -> bool + Send>;

/// See the module's description.
pub struct Ring {
    is_low: IsLow,
    queue: Arc<Queue>,
    encoder: Encoder,
    thread: Option<JoinHandle<()>>,
}

impl Ring {
    /// Makes the folder and the first file, and starts the thread.
    pub fn open(settings: RingSettings, is_low: IsLow) -> io::Result<Self> {
        if is_low() {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "the disk has too little room",
            ));
        }
        let files = Files::open(settings)?;
        let queue = Arc::new(Queue::default());
        let thread = thread::Builder::new().name("recorder".into());
        let (shared, encoder) = (queue.clone(), files.encoder.clone());
        let thread = Some(thread.spawn(move || run(&shared, files))?);
        Ok(Self { is_low, queue, encoder, thread })
    }
}

impl Sink for Ring {
    fn start(&mut self, config: Config, recovered: Recovered) -> Hider {
        self.queue.lock().start = Some(Box::new((config, recovered)));
        self.encoder.hider()
    }

    /// Queues a turn for the thread that writes, and takes the contents of one that is not yet encoded; leaves it out
    /// if the queue or the disk is full. Returns whether the caller is to freeze the replica as it is after this turn
    /// and hand it to [`Self::frozen`].
    fn turn(&mut self, turn: &mut NotedTurn) -> bool {
        let bytes = turn.bytes();
        let mut queued = self.queue.lock();
        let is_full = queued.bytes + bytes > FRAME_BYTES_MAX || queued.left_out.is_some();
        if is_full || (self.is_low)() {
            let first = queued.left_out.map_or(turn.number, |(first, _)| first);
            queued.left_out = Some((first, turn.number));
            return false;
        }
        queued.bytes += bytes;
        match turn.is_encoded() {
            true => self.encoder.turn(turn, now_ns(), queued.frames()),
            false => queued.noted.push(Noted::Turn(now_ns(), turn.take())),
        }
        queued.freezes
    }

    fn frozen(&mut self, after: u64, replica: Box<FrozenReplica>) {
        let mut queued = self.queue.lock();
        (queued.freezes, queued.is_frozen) = (false, true);
        queued.noted.push(Noted::Frozen(after, replica));
    }

    fn close(&mut self) {
        self.queue.lock().closed = true;
        self.queue.closing.notify_all();
        if let Some(thread) = self.thread.take() {
            // its panic was reported
            let _ = thread.join();
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.close();
    }
}

/// Unix time.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    })
}

/// Writes what is queued until the ring is closed, or a file cannot be written.
fn run(queue: &Queue, mut files: Files) {
    loop {
        let queued = queue.lock();
        let waited = queue
            .closing
            .wait_timeout_while(queued, WRITE_INTERVAL, |queued| !queued.closed);
        let (mut queued, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let closed = queued.closed;
        let start = queued.start.take();
        let noted = std::mem::take(&mut queued.noted);
        let left_out = queued.left_out.take();
        (queued.bytes, queued.is_frozen) = (0, false);
        drop(queued);
        match files.write_all(start, noted, left_out) {
            Ok(freezes) => {
                let mut queued = queue.lock();
                queued.freezes = freezes && !queued.is_frozen;
                queued.spare = files.take_spare();
            }
            Err(error) => {
                let folder = files.folder.display();
                tracing::error!(%folder, %error, "the flight recorder ends: its file cannot be written");
                // turns are left out from now on
                queue.lock().left_out = Some((0, 0));
                return;
            }
        }
        if closed {
            return;
        }
    }
}

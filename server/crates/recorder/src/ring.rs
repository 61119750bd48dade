//! The files of a recording in production: a ring of [`SEGMENTS`] files, the oldest of which goes when another one begins. A
//! thread of its own makes the frames and writes them. The replica's thread only puts a turn into a bounded queue; when that
//! is full, turns are left out and the file says so.
//!
//! Each file begins with the replica as it is then, so that the ring can be executed when its first files have gone. When a
//! file is nearly full, the replica's thread is asked to freeze the replica after its next turn, and again until that is
//! possible; a file that is full before ends all the same. The same is asked for once in a file behind turns that were left
//! out.
//!
//! Turns are written every [`WRITE_INTERVAL`]: those of the last one are lost when the process is killed.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use witan_replica::{
    host::Recovered,
    replica::{Config, FrozenReplica},
};

use crate::{
    encode::Encoder,
    format::Head,
    recorded::{RawTurn, Sink},
};

/// Files of a ring.
const SEGMENTS: u64 = 8;

/// A file begins with a frozen replica as soon as the one before has this part of its size, in percent.
const FREEZE_PERCENT: u64 = 75;

/// A frozen replica takes this part of a file at most.
const FROZEN_PARTS: u64 = 4;

/// The ending of their names; before it stands their number.
pub(crate) const ENDING: &str = "rec";

/// Bytes of turns that wait for the thread.
const QUEUE_BYTES_MAX: usize = 16 << 20;

/// How often the thread writes.
const WRITE_INTERVAL: Duration = Duration::from_millis(20);

/// Where a ring is, how large it is, and whose.
#[derive(Clone, Debug)]
pub struct RingSettings {
    /// The folder, which is made.
    pub folder: PathBuf,
    /// Bytes of all files together, but for the frame that each ends with.
    pub bytes: u64,
    /// The member.
    pub member: u64,
    /// The version of the program.
    pub version: String,
    /// Whether values are kept in clear.
    pub values: bool,
}

#[derive(Debug, Default)]
struct Queued {
    start: Option<Box<(Config, Recovered)>>,
    noted: VecDeque<Noted>,
    bytes: usize,
    /// Whether the replica is to be frozen after a turn.
    freezes: bool,
    /// Whether a frozen replica is queued.
    is_frozen: bool,
    /// Turns that were left out since the last that was queued.
    left_out: Option<(u64, u64)>,
    closed: bool,
}

/// What waits for the thread.
#[derive(Debug)]
pub(crate) enum Noted {
    /// A turn, and when it ended.
    Turn(i64, RawTurn),
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

/// See the module's description.
#[derive(Debug)]
pub struct Ring {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Ring {
    /// Makes the folder and the first file, and starts the thread.
    pub fn open(settings: RingSettings) -> io::Result<Self> {
        let files = Files::open(settings)?;
        let queue = Arc::new(Queue::default());
        let thread = thread::Builder::new().name("recorder".into());
        let shared = queue.clone();
        let thread = Some(thread.spawn(move || run(&shared, files))?);
        Ok(Self { queue, thread })
    }
}

impl Sink for Ring {
    fn start(&mut self, config: Config, recovered: Recovered) {
        self.queue.lock().start = Some(Box::new((config, recovered)));
    }

    fn turn(&mut self, turn: RawTurn) -> bool {
        let bytes = turn.bytes();
        let mut queued = self.queue.lock();
        if queued.bytes + bytes > QUEUE_BYTES_MAX || queued.left_out.is_some() {
            let first = queued.left_out.map_or(turn.number, |(first, _)| first);
            queued.left_out = Some((first, turn.number));
            return false;
        }
        queued.bytes += bytes;
        queued.noted.push_back(Noted::Turn(now_ns(), turn));
        queued.freezes
    }

    fn frozen(&mut self, after: u64, replica: Box<FrozenReplica>) {
        let mut queued = self.queue.lock();
        (queued.freezes, queued.is_frozen) = (false, true);
        queued.noted.push_back(Noted::Frozen(after, replica));
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

fn now_ns() -> i64 {
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

/// The files of a ring on the side of their thread.
#[derive(Debug)]
pub(crate) struct Files {
    encoder: Encoder,
    folder: PathBuf,
    segment_bytes: u64,
    number: u64,
    file: Option<File>,
    /// Bytes in the present file.
    written: u64,
    frames: Vec<u8>,
    /// Whether turns were left out behind which the present file has no frozen replica, and may have one.
    has_gap: bool,
    /// Whether the present file may have no other frozen replica.
    is_frozen: bool,
}

impl Files {
    /// Makes the folder and the first file.
    pub(crate) fn open(settings: RingSettings) -> io::Result<Self> {
        let head = Head {
            began_ns: now_ns(),
            member: settings.member,
            version: settings.version,
            values: settings.values,
        };
        let mut files = Self {
            encoder: Encoder::new(head),
            folder: settings.folder,
            segment_bytes: settings.bytes / SEGMENTS,
            number: 0,
            file: None,
            written: 0,
            frames: Vec::new(),
            has_gap: false,
            is_frozen: false,
        };
        fs::create_dir_all(&files.folder)?;
        files.number = numbers(&files.folder)?.last().copied().unwrap_or(0);
        files.begin_next()?;
        Ok(files)
    }

    /// Writes what was queued. Returns whether the replica is to be frozen.
    pub(crate) fn write_all(
        &mut self,
        start: Option<Box<(Config, Recovered)>>,
        noted: VecDeque<Noted>,
        left_out: Option<(u64, u64)>,
    ) -> io::Result<bool> {
        if let Some((config, recovered)) = start.map(|start| *start) {
            self.encoder.start(&config, &recovered, &mut self.frames);
        }
        for noted in noted {
            match noted {
                Noted::Turn(at_ns, turn) => self.encoder.turn(turn, at_ns, &mut self.frames),
                Noted::Frozen(after, replica) => self.frozen(after, *replica)?,
            }
            if self.frames.len() as u64 >= self.segment_bytes {
                self.write()?;
            }
        }
        if let Some((from, to)) = left_out {
            self.encoder.gap(from, to, &mut self.frames);
            self.has_gap = !self.is_frozen;
        }
        self.write()?;
        Ok(self.is_nearly_full() || self.has_gap)
    }

    fn is_nearly_full(&self) -> bool {
        self.written >= self.segment_bytes / 100 * FREEZE_PERCENT
    }

    /// Begins a file with a frozen replica, or puts one behind a gap into the present file.
    fn frozen(&mut self, after: u64, replica: FrozenReplica) -> io::Result<()> {
        self.write()?;
        if self.is_nearly_full() {
            self.begin_next()?;
        } else {
            self.is_frozen = true;
        }
        self.has_gap = false;
        let bytes_max = usize::try_from(self.segment_bytes / FROZEN_PARTS).unwrap_or(usize::MAX);
        self.encoder
            .frozen(after, replica, bytes_max, &mut self.frames);
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        if self.frames.is_empty() {
            return Ok(());
        }
        if self.written >= self.segment_bytes {
            self.begin_next()?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(&self.frames)?;
        }
        self.written += self.frames.len() as u64;
        self.frames.clear();
        Ok(())
    }

    /// Begins the next file, and removes those that are too old.
    fn begin_next(&mut self) -> io::Result<()> {
        self.number += 1;
        let mut options = OpenOptions::new();
        // keys are in clear
        let options = options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(path(&self.folder, self.number))?;
        let mut head = Vec::new();
        self.encoder.head(&mut head);
        file.write_all(&head)?;
        self.written = head.len() as u64;
        self.file = Some(file);
        (self.has_gap, self.is_frozen) = (false, false);
        for old in numbers(&self.folder)? {
            if old + SEGMENTS <= self.number {
                fs::remove_file(path(&self.folder, old))?;
            }
        }
        Ok(())
    }
}

/// The file of this number.
pub(crate) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.{ENDING}"))
}

/// The numbers of the files in a folder, ascending.
pub(crate) fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        if path.extension().is_some_and(|ending| ending == ENDING) {
            numbers.extend(name.and_then(|name| name.parse::<u64>().ok()));
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

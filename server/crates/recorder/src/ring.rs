//! The files of a recording in production: a ring of [`SEGMENTS`] files, the oldest of which goes when another one begins. A
//! thread of its own makes the frames and writes them. The replica's thread only puts a turn into a bounded queue; when that
//! is full, turns are left out and the file says so.
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

use witan_replica::{host::Recovered, replica::Config};

use crate::{
    encode::Encoder,
    format::Head,
    recorded::{RawTurn, Sink},
};

/// Files of a ring.
const SEGMENTS: u64 = 8;

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
    turns: VecDeque<(i64, RawTurn)>,
    bytes: usize,
    /// Turns that were left out since the last that was queued.
    left_out: Option<(u64, u64)>,
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

/// See the module's description.
#[derive(Debug)]
pub struct Ring {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Ring {
    /// Makes the folder and the first file, and starts the thread.
    pub fn open(settings: RingSettings) -> io::Result<Self> {
        let head = Head {
            began_ns: now_ns(),
            member: settings.member,
            version: settings.version,
            values: settings.values,
        };
        let mut files = Files {
            encoder: Encoder::new(head),
            folder: settings.folder,
            segment_bytes: settings.bytes / SEGMENTS,
            number: 0,
            file: None,
            written: 0,
        };
        fs::create_dir_all(&files.folder)?;
        files.number = numbers(&files.folder)?.last().copied().unwrap_or(0);
        files.begin_next()?;
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

    fn turn(&mut self, turn: RawTurn) {
        let bytes = turn.bytes();
        let mut queued = self.queue.lock();
        if queued.bytes + bytes > QUEUE_BYTES_MAX || queued.left_out.is_some() {
            let first = queued.left_out.map_or(turn.number, |(first, _)| first);
            queued.left_out = Some((first, turn.number));
            return;
        }
        queued.bytes += bytes;
        queued.turns.push_back((now_ns(), turn));
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
    let mut frames = Vec::new();
    loop {
        let queued = queue.lock();
        let waited = queue
            .closing
            .wait_timeout_while(queued, WRITE_INTERVAL, |queued| !queued.closed);
        let (mut queued, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let closed = queued.closed;
        let start = queued.start.take();
        let turns = std::mem::take(&mut queued.turns);
        let left_out = queued.left_out.take();
        queued.bytes = 0;
        drop(queued);
        if let Some((config, recovered)) = start.map(|start| *start) {
            files.encoder.start(&config, &recovered, &mut frames);
        }
        let mut written = Ok(());
        for (at_ns, turn) in turns {
            files.encoder.turn(turn, at_ns, &mut frames);
            if frames.len() as u64 >= files.segment_bytes {
                written = written.and_then(|()| files.write(&mut frames));
            }
        }
        if let Some((from, to)) = left_out {
            Encoder::gap(from, to, &mut frames);
        }
        if let Err(error) = written.and_then(|()| files.write(&mut frames)) {
            let folder = files.folder.display();
            tracing::error!(%folder, %error, "the flight recorder ends: its file cannot be written");
            // turns are left out from now on
            queue.lock().left_out = Some((0, 0));
            return;
        }
        if closed {
            return;
        }
    }
}

struct Files {
    encoder: Encoder,
    folder: PathBuf,
    segment_bytes: u64,
    number: u64,
    file: Option<File>,
    written: u64,
}

impl Files {
    fn write(&mut self, frames: &mut Vec<u8>) -> io::Result<()> {
        if frames.is_empty() {
            return Ok(());
        }
        if self.written >= self.segment_bytes {
            self.begin_next()?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(frames)?;
        }
        self.written += frames.len() as u64;
        frames.clear();
        Ok(())
    }

    /// Begins the next file, and removes those that are too old.
    fn begin_next(&mut self) -> io::Result<()> {
        self.number += 1;
        let path = self.folder.join(format!("{:08}.{ENDING}", self.number));
        let mut options = OpenOptions::new();
        // keys are in clear
        let options = options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(path)?;
        let mut head = Vec::new();
        self.encoder.head(&mut head);
        file.write_all(&head)?;
        self.written = head.len() as u64;
        self.file = Some(file);
        for old in numbers(&self.folder)? {
            if old + SEGMENTS <= self.number {
                fs::remove_file(self.folder.join(format!("{old:08}.{ENDING}")))?;
            }
        }
        Ok(())
    }
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

//! The files of a recording in production: a ring of files, the oldest of which go when another one begins, so that all
//! together keep to their size. A thread of its own writes them. The replica's thread only puts a turn into a bounded queue;
//! when that is full, turns are left out and the file says so.
//!
//! Each file begins with the replica as it is then, so that the ring can be executed when its first files have gone. When a
//! file is nearly full, the replica's thread is asked to freeze the replica after its next turn, and again until that is
//! possible; a file that is full before ends all the same. The same is asked for once in a file behind turns that were left
//! out.
//!
//! Turns are written every [`WRITE_INTERVAL`]: those of the last one are lost when the process is killed.

use std::{
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
    frame,
    hide::Hider,
    noted::{NotedTurn, TURN_BYTES_MAX},
    recorded::Sink,
};

/// Full files of a ring.
const SEGMENTS: u64 = 8;

/// A file counts at least so much: starts one behind the other make as many small files as a folder should have, and not
/// more.
const COUNTED_BYTES_MIN: u64 = 64 << 10;

/// A file begins with a frozen replica as soon as the one before has this part of its size, in percent.
const FREEZE_PERCENT: u64 = 75;

/// A frozen replica takes this part of a file at most.
const FROZEN_PARTS: u64 = 4;

/// The ending of their names; before it stands their number.
pub(crate) const ENDING: &str = "rec";

/// Bytes of turns that wait for the thread.
const QUEUE_BYTES_MAX: usize = TURN_BYTES_MAX;

/// Memory of the queue that is kept for the next turns.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// How often the thread writes.
const WRITE_INTERVAL: Duration = Duration::from_millis(20);

/// Where a ring is, how large it is, and whose.
#[derive(Clone, Debug)]
pub struct RingSettings {
    /// The folder, which is made.
    pub folder: PathBuf,
    /// Bytes of all files together, but for a frame that is larger than a file.
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
    /// The frames at the end of the queue.
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

/// What waits for the thread.
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

/// See the module's description.
#[derive(Debug)]
pub struct Ring {
    queue: Arc<Queue>,
    encoder: Encoder,
    thread: Option<JoinHandle<()>>,
}

impl Ring {
    /// Makes the folder and the first file, and starts the thread.
    pub fn open(settings: RingSettings) -> io::Result<Self> {
        let files = Files::open(settings)?;
        let queue = Arc::new(Queue::default());
        let thread = thread::Builder::new().name("recorder".into());
        let (shared, encoder) = (queue.clone(), files.encoder.clone());
        let thread = Some(thread.spawn(move || run(&shared, files))?);
        Ok(Self { queue, encoder, thread })
    }
}

impl Sink for Ring {
    fn start(&mut self, config: Config, recovered: Recovered) -> Hider {
        self.queue.lock().start = Some(Box::new((config, recovered)));
        self.encoder.hider.clone()
    }

    fn turn(&mut self, turn: &mut NotedTurn) -> bool {
        let bytes = turn.bytes();
        let mut queued = self.queue.lock();
        if queued.bytes + bytes > QUEUE_BYTES_MAX || queued.left_out.is_some() {
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

/// The files of a ring on the side of their thread.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) encoder: Encoder,
    folder: PathBuf,
    /// Bytes of all files.
    bytes: u64,
    /// Bytes of a full one.
    segment_bytes: u64,
    number: u64,
    file: Option<File>,
    /// Bytes in the present file.
    written: u64,
    /// Whether there is more in it than its head.
    has_frames: bool,
    /// Memory of frames that were written.
    spare: Vec<u8>,
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
            bytes: settings.bytes,
            segment_bytes: settings.bytes / SEGMENTS,
            number: 0,
            file: None,
            written: 0,
            has_frames: false,
            spare: Vec::new(),
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
        noted: Vec<Noted>,
        left_out: Option<(u64, u64)>,
    ) -> io::Result<bool> {
        let mut frames = Vec::new();
        if let Some((config, recovered)) = start.map(|start| *start) {
            self.encoder.start(&config, &recovered, &mut frames);
            self.write(&frames)?;
        }
        for noted in noted {
            frames.clear();
            match noted {
                Noted::Frames(encoded) => {
                    self.write(&encoded)?;
                    self.spare = encoded;
                }
                Noted::Turn(at_ns, turn) => self.encoder.turn(&turn, at_ns, &mut frames),
                Noted::Frozen(after, replica) => {
                    self.begin_frozen()?;
                    let bytes_max = self.segment_bytes / FROZEN_PARTS;
                    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
                    self.encoder.frozen(after, *replica, bytes_max, &mut frames);
                }
            }
            self.write(&frames)?;
        }
        if let Some((from, to)) = left_out {
            frames.clear();
            self.encoder.gap(from, to, &mut frames);
            self.write(&frames)?;
            self.has_gap = !self.is_frozen;
        }
        Ok(self.is_nearly_full() || self.has_gap)
    }

    /// The memory of frames that were written, for the next ones.
    fn take_spare(&mut self) -> Vec<u8> {
        let mut spare = std::mem::take(&mut self.spare);
        spare.clear();
        spare.shrink_to(SPARE_BYTES_MAX);
        spare
    }

    fn is_nearly_full(&self) -> bool {
        self.written >= self.segment_bytes / 100 * FREEZE_PERCENT
    }

    /// Begins a file for a frozen replica, or has it follow a gap in the present file.
    fn begin_frozen(&mut self) -> io::Result<()> {
        if self.is_nearly_full() {
            self.begin_next()?;
        } else {
            self.is_frozen = true;
        }
        self.has_gap = false;
        Ok(())
    }

    /// Writes frames, into the next file if the present one has no room for them.
    fn write(&mut self, mut frames: &[u8]) -> io::Result<()> {
        while !frames.is_empty() {
            let mut bytes = frame::first_frames(frames, self.room());
            if bytes == 0 {
                if self.has_frames {
                    self.begin_next()?;
                }
                // one that is larger than a file is a file
                bytes = frame::first_frames(frames, self.room()).max(frame::first_frame(frames));
            }
            let (first, rest) = frames.split_at(bytes);
            if let Some(file) = &mut self.file {
                file.write_all(first)?;
            }
            self.written += bytes as u64;
            self.has_frames = true;
            frames = rest;
        }
        Ok(())
    }

    /// Bytes for which the present file has room.
    fn room(&self) -> u64 {
        self.segment_bytes.saturating_sub(self.written)
    }

    /// Begins the next file, and removes the oldest ones for which the ring has no room then.
    fn begin_next(&mut self) -> io::Result<()> {
        let mut room = self.bytes.saturating_sub(self.segment_bytes);
        let least = COUNTED_BYTES_MIN.min(self.segment_bytes);
        for old in numbers(&self.folder)?.into_iter().rev() {
            let path = path(&self.folder, old);
            let counted = fs::metadata(&path)?.len().max(least);
            match room.checked_sub(counted) {
                Some(left) => room = left,
                None => {
                    room = 0;
                    fs::remove_file(path)?;
                }
            }
        }
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
        (self.has_frames, self.has_gap, self.is_frozen) = (false, false, false);
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

//! The checkpoint on disk, on `sled`; the only file that names the crate. It does not know what a
//! record means, and it does not decide when one is taken (`checkpointer` does).
//!
//! Two ways to write, both atomic (I4):
//! - **A difference** goes into the present database as one sled batch, position included.
//! - **The whole state** (the first checkpoint, an installed snapshot, a difference too large for
//!   one batch, or anything after a failed write) goes in small batches into a database of its
//!   own, which nobody reads until the file `current` names it. Renaming that file is the atomic
//!   step; before it a crash leaves the old database as it was, after it the new one is complete
//!   and durable.
//!
//! Why sled's `flush` is not enough: it ends in `sync_file_range`, which orders nothing to the
//! platter. So [`Checkpoint::write`] returns only after a sync of the file `db` itself. Pages
//! above a quarter of a segment would become files of their own that sled never syncs; the sizes
//! below keep that from happening, and a test watches it.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use witan_replica::machine::{
    record::{Change, Corrupt},
    view::View,
};

use super::{
    OpenError,
    format::{replace, sync_dir},
    pieces,
};

/// A page above a quarter of this would leave the database file.
const SEGMENT_BYTES: usize = 4 << 20;
/// sled's own cache. Everything is read once, at start, so it need not be large.
const CACHE_BYTES: u64 = 8 << 20;
/// A difference above this is written as a whole state instead: sled keeps an atomic batch in
/// memory several times over.
const DIFFERENCE_BYTES_MAX: usize = 64 << 20;
/// A whole state is written in batches of about this size.
const CHUNK_BYTES: usize = 1 << 20;
/// While a whole state is written, sled's dirty pages are written out after this many bytes.
const FLUSH_BYTES: usize = 16 << 20;
/// sled looks at its cache's size only after 64 accesses to pages of the same 256th of it. With
/// pages as large as ours that is never, and the whole database would stay in memory. So a record
/// is looked up once more for every so many of its bytes, which makes the count.
const BYTES_PER_TOUCH: usize = 4 << 10;
/// Records read before their pages are touched: those of about one page.
const TOUCHED_TOGETHER: usize = 16;
/// How often a database that sled itself still holds is tried again, and how long between.
const REOPEN_TRIES: u32 = 100;
const REOPEN_PAUSE: Duration = Duration::from_millis(10);
/// Names the valid database.
const CURRENT: &str = "current";

/// Emits the changes to write.
pub(super) type Changes<'a> = dyn Fn(&mut dyn FnMut(Change)) + 'a;
/// Key and value, or why they cannot be read.
pub(super) type Record = Result<(Vec<u8>, Vec<u8>), Broken>;

/// The checkpoint of one member.
pub struct Checkpoint {
    dir: PathBuf,
    db: Option<sled::Db>,
    generation: u64,
    /// Records in more than one piece, with their number of pieces: a new value with fewer must
    /// remove the others. Only large values are here.
    pieces: HashMap<Vec<u8>, u32>,
    /// After a failed write nothing is known about the database.
    doubtful: bool,
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint")
            .field("dir", &self.dir)
            .field("generation", &self.generation)
            .finish()
    }
}

impl Checkpoint {
    /// Opens the folder and reads the checkpoint that is there, if one is.
    pub(super) fn open(dir: &Path) -> Result<(Self, Option<View>), OpenError> {
        fs::create_dir_all(dir).map_err(|e| OpenError::io(dir, e))?;
        let mut checkpoint = Self::closed(dir)?;
        if checkpoint.generation == 0 {
            return Ok((checkpoint, None));
        }
        let path = checkpoint.path();
        // After a kill without a power cut sled would believe what only the page cache holds.
        let synced = File::open(path.join("db")).and_then(|file| file.sync_all());
        synced.map_err(|e| {
            if e.kind() == io::ErrorKind::NotFound {
                OpenError::checkpoint(&path, "the database is missing")
            } else {
                OpenError::io(&path, e)
            }
        })?;
        let refusal = |broken| {
            if let Broken::Sled(sled::Error::Io(e)) = broken {
                OpenError::io(&path, e)
            } else {
                OpenError::checkpoint(&path, broken.to_string())
            }
        };
        let loaded = guarded(&path, || checkpoint.load()).map_err(refusal)?;
        Ok((checkpoint, Some(loaded)))
    }

    /// The folder's checkpoint, not read yet. Generation 0 is that of a folder without one.
    pub(super) fn closed(dir: &Path) -> Result<Self, OpenError> {
        let current = dir.join(CURRENT);
        let generation = match fs::read_to_string(&current) {
            Ok(name) => name.trim().parse().ok().filter(|number| *number > 0),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Some(0),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => None,
            Err(e) => return Err(OpenError::io(&current, e)),
        };
        Ok(Self {
            dir: dir.to_owned(),
            db: None,
            generation: generation
                .ok_or_else(|| OpenError::checkpoint(&current, "it does not name a database"))?,
            pieces: HashMap::new(),
            doubtful: false,
        })
    }

    fn path(&self) -> PathBuf {
        self.dir.join(format!("{:08}", self.generation))
    }

    fn load(&mut self) -> Result<View, Broken> {
        self.read(|records| View::restore(records))
    }

    /// Streams all records in key order through `restore`.
    pub(super) fn read<T>(
        &mut self,
        restore: impl FnOnce(&mut dyn Iterator<Item = Record>) -> Result<T, Broken>,
    ) -> Result<T, Broken> {
        let db = open_db(&self.path())?;
        let mut read = Vec::new();
        let pairs = db.iter().map(|pair| {
            let (name, piece) = pair?;
            read.push((name.clone(), piece.len()));
            if read.len() >= TOUCHED_TOGETHER {
                touch(&db, &mut read)?;
            }
            Ok((name, piece))
        });
        let mut records = pieces::Joined::new(pairs);
        let restored = restore(&mut &mut records)?;
        self.pieces = records.into_split();
        // A new handle begins with an empty cache; what was read is in the view now.
        drop(db);
        self.db = Some(reopen_db(&self.path())?);
        Ok(restored)
    }

    /// Makes the checkpoint one of `view`; durable when it returns. `since` is what the last
    /// successful write (or the start) left on disk; `None` writes everything anew.
    pub fn write(&mut self, since: Option<&View>, view: &View) -> io::Result<()> {
        let whole: &Changes<'_> = &|emit| view.changes(None, emit);
        match since {
            Some(since) => self.store(Some(&|emit| view.changes(Some(since), emit)), whole),
            None => self.store(None, whole),
        }
    }

    /// Writes the difference if that is possible, otherwise the whole state.
    pub(super) fn store(
        &mut self,
        difference: Option<&Changes<'_>>,
        whole: &Changes<'_>,
    ) -> io::Result<()> {
        if let (Some(difference), Some(db), false) = (difference, self.db.clone(), self.doubtful) {
            self.doubtful = true;
            if self.write_difference(&db, difference)? {
                self.doubtful = false;
                return Ok(());
            }
        }
        self.doubtful = true;
        self.write_whole(whole)?;
        self.doubtful = false;
        Ok(())
    }

    /// Answers `false` if the difference is too large for one batch.
    fn write_difference(&mut self, db: &sled::Db, changes: &Changes<'_>) -> io::Result<bool> {
        let mut batch = Batch::default();
        let mut bytes = 0;
        changes(&mut |change| {
            if bytes <= DIFFERENCE_BYTES_MAX {
                bytes += add(&mut batch, &mut self.pieces, change);
            }
        });
        if bytes > DIFFERENCE_BYTES_MAX {
            return Ok(false);
        }
        let mut written = batch.large;
        db.apply_batch(batch.inner)?;
        durable(db, &self.path())?;
        touch(db, &mut written)?;
        Ok(true)
    }

    fn write_whole(&mut self, changes: &Changes<'_>) -> io::Result<()> {
        let old = self.path();
        self.remove_others()?;
        self.generation += 1;
        let path = self.path();
        let written = self.fill(&path, changes);
        let db = match written {
            Ok(db) => db,
            Err(error) => {
                // The old database stays the valid one.
                self.generation -= 1;
                return Err(error);
            }
        };
        self.db = Some(db);
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
        Ok(())
    }

    /// Writes a database of its own and makes it the valid one.
    fn fill(&mut self, path: &Path, changes: &Changes<'_>) -> io::Result<sled::Db> {
        self.pieces.clear();
        let db = open_db(path)?;
        let mut batch = Batch::default();
        let (mut bytes, mut unflushed) = (0, 0);
        let mut outcome = Ok(());
        changes(&mut |change| {
            if outcome.is_err() {
                return;
            }
            bytes += add(&mut batch, &mut self.pieces, change);
            if bytes >= CHUNK_BYTES {
                unflushed += std::mem::take(&mut bytes);
                outcome = db.apply_batch(std::mem::take(&mut batch).inner);
            }
            if unflushed >= FLUSH_BYTES && outcome.is_ok() {
                unflushed = 0;
                outcome = db.flush().map(|_| ());
            }
        });
        outcome?;
        db.apply_batch(batch.inner)?;
        durable(&db, path)?;
        for entry in fs::read_dir(path)? {
            File::open(entry?.path())?.sync_all()?;
        }
        sync_dir(path)?;
        sync_dir(&self.dir)?;
        replace(
            &self.dir,
            CURRENT,
            format!("{:08}\n", self.generation).as_bytes(),
        )?;
        Ok(db)
    }

    /// Removes what crashes and failures left of databases that never became valid.
    fn remove_others(&self) -> io::Result<()> {
        let valid = self.path();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.is_dir() && path != valid {
                fs::remove_dir_all(path)?;
            }
        }
        Ok(())
    }
}

/// sled panics on some damage instead of answering an error. Where a panic unwinds, it is made an
/// error here; where it aborts, the hook still makes it the refusal that it should have been.
fn guarded<T>(path: &Path, load: impl FnOnce() -> Result<T, Broken>) -> Result<T, Broken> {
    if cfg!(panic = "abort") {
        let path = path.to_owned();
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let error = OpenError::checkpoint(&path, panic.to_string());
            tracing::error!(%error, "cannot start");
            std::process::exit(error.exit_code());
        }));
        let loaded = load();
        panic::set_hook(before);
        return loaded;
    }
    panic::catch_unwind(AssertUnwindSafe(load))
        .unwrap_or_else(|_| Err(Corrupt::new("reading the database ended in a panic").into()))
}

fn open_db(path: &Path) -> sled::Result<sled::Db> {
    sled::Config::new()
        .path(path)
        .mode(sled::Mode::HighThroughput)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None)
        .open()
}

/// Opens what was just closed: a task of sled's own may still hold its lock for a moment.
fn reopen_db(path: &Path) -> sled::Result<sled::Db> {
    for _ in 0..REOPEN_TRIES {
        match open_db(path) {
            Err(sled::Error::Io(e)) if e.kind() == io::ErrorKind::Other => {
                thread::sleep(REOPEN_PAUSE);
            }
            opened => return opened,
        }
    }
    open_db(path)
}

/// Flushes and reaches the platter.
fn durable(db: &sled::Db, path: &Path) -> io::Result<()> {
    db.flush()?;
    let blobs = path.join("blobs");
    let mut any = false;
    for entry in fs::read_dir(&blobs)? {
        File::open(entry?.path())?.sync_all()?;
        any = true;
    }
    if any {
        sync_dir(&blobs)?;
    }
    File::open(path.join("db"))?.sync_data()
}

/// Looks records up as often as it takes for sled to drop their pages from its cache.
fn touch(db: &sled::Db, records: &mut Vec<(sled::IVec, usize)>) -> sled::Result<()> {
    for (name, bytes) in records.drain(..) {
        for _ in 0..bytes / BYTES_PER_TOUCH {
            db.contains_key(&name)?;
        }
    }
    Ok(())
}

/// What is written in one atomic step.
#[derive(Default)]
struct Batch {
    inner: sled::Batch,
    /// Names and sizes of the records that [`touch`] is about.
    large: Vec<(sled::IVec, usize)>,
}

/// Puts a change into the batch, cut into pieces; answers the bytes it added.
fn add(batch: &mut Batch, split: &mut HashMap<Vec<u8>, u32>, change: Change) -> usize {
    match change {
        Change::Put { key, value } => {
            let mut bytes = 0;
            let count = pieces::split(&key, &value, |key, piece| {
                bytes += key.len() + piece.len();
                let name = sled::IVec::from(key);
                if piece.len() >= BYTES_PER_TOUCH {
                    batch.large.push((name.clone(), piece.len()));
                }
                batch.inner.insert(name, piece);
            });
            let before = if count > 1 {
                split.insert(key.clone(), count)
            } else if split.is_empty() {
                None
            } else {
                split.remove(&key)
            };
            for stale in count..before.unwrap_or(0) {
                batch.inner.remove(pieces::name(&key, stale));
            }
            bytes
        }
        Change::Delete { key } => {
            let count = split.remove(&key).unwrap_or(1);
            for piece in 0..count {
                batch.inner.remove(pieces::name(&key, piece));
            }
            key.len()
        }
    }
}

/// Why a checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("{0}")]
    Sled(#[from] sled::Error),
    #[error("{0}")]
    Record(#[from] Corrupt),
}

//! A disk that drops unsynced data at random. It observes every sync below a directory. The storage syncs through `files`, and
//! the log engine syncs through the engine's file system. For each sync, the disk computes the state of the directory after a
//! power cut at that moment.
//!
//! It records each file's last synced content and each directory's last synced names. After a cut, each page and each name is
//! at random either the synced or the current version.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsString,
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use raft_engine::env::{DefaultFileSystem, FileSystem, Handle, Permission, WriteExt};

const PAGE_BYTES: usize = 4096;

/// All disks in this process.
static DISKS: Mutex<Vec<Arc<Disk>>> = Mutex::new(Vec::new());

/// Notifies the watched disks that a file or directory was synced.
pub(in super::super) fn watched(path: &Path) {
    let disks = lock(&DISKS).clone();
    for disk in disks.iter().filter(|disk| path.starts_with(&disk.root)) {
        disk.synced(path);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether syncs of log files fail in this process.
pub(super) static BROKEN: AtomicBool = AtomicBool::new(false);

/// A directory whose log files cannot grow, and the file that uses their space. The log files can grow again when that file is
/// deleted.
pub(super) static FULL: Mutex<Option<(PathBuf, PathBuf)>> = Mutex::new(None);

/// Stops the growth of log files below `root` until `by` is deleted.
pub(super) fn fill(root: &Path, by: &Path) {
    *lock(&FULL) = Some((root.to_owned(), by.to_owned()));
}

/// Fails with `StorageFull` if [`fill`] has stopped the growth of files at this path.
fn check_room(path: &Path) -> io::Result<()> {
    match &*lock(&FULL) {
        Some((root, by)) if path.starts_with(root) && by.exists() => {
            Err(io::ErrorKind::StorageFull.into())
        }
        Some(_) | None => Ok(()),
    }
}

/// Identifies a file independently of its name.
type File = (u64, SystemTime);

fn file(path: &Path) -> io::Result<File> {
    identity(&fs::metadata(path)?)
}

fn identity(metadata: &fs::Metadata) -> io::Result<File> {
    Ok((metadata.ino(), metadata.created()?))
}

/// Returns the content of `file`, or `None` if `path` is no longer this file.
fn content(path: &Path, file: File) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    read(path, file, &mut content).then_some(content)
}

/// Reads the content of `file` into `content` and returns whether `path` is still this file. Reuses the buffer, because
/// allocating new pages takes longer than reading.
fn read(path: &Path, file: File, content: &mut Vec<u8>) -> bool {
    let opened = fs::File::open(path).and_then(|opened| {
        let found = identity(&opened.metadata()?)?;
        Ok((opened, found))
    });
    match opened {
        Ok((mut opened, found)) if found == file => {
            content.clear();
            opened.read_to_end(content).is_ok()
        }
        Ok(_) | Err(_) => false,
    }
}

/// Called before each sync takes effect, with the synced path and the durable data.
type Watcher = dyn FnMut(&Path, &Kept) + Send;

pub(super) struct Disk {
    root: PathBuf,
    kept: Mutex<Kept>,
    watcher: Mutex<Box<Watcher>>,
}

/// The data that survives a power cut: synced contents and names.
#[derive(Default)]
pub(super) struct Kept {
    root: PathBuf,
    contents: HashMap<File, Vec<u8>>,
    names: HashMap<PathBuf, BTreeMap<OsString, File>>,
}

impl Disk {
    /// Watches a directory, which must be empty, until [`Self::forget`].
    pub(super) fn watch(
        root: &Path,
        watcher: impl FnMut(&Path, &Kept) + Send + 'static,
    ) -> Arc<Self> {
        let kept = Kept { root: root.to_owned(), ..Kept::default() };
        let disk = Arc::new(Self {
            root: root.to_owned(),
            kept: Mutex::new(kept),
            watcher: Mutex::new(Box::new(watcher)),
        });
        lock(&DISKS).push(disk.clone());
        disk
    }

    /// Treats all present contents and names as durable.
    pub(super) fn keep_all(&self) {
        let mut kept = lock(&self.kept);
        *kept = Kept { root: self.root.clone(), ..Kept::default() };
        kept.keep(&self.root);
    }

    /// Writes the state after a power cut at this moment to the directory `to`; see [`Kept::cut`].
    pub(super) fn cut(&self, to: &Path, chance: &mut dyn FnMut(u64) -> u64) {
        lock(&self.kept).cut(to, chance);
    }

    pub(super) fn forget(self: &Arc<Self>) {
        lock(&DISKS).retain(|other| !Arc::ptr_eq(self, other));
    }

    /// Calls the watcher, then treats the content of a file or the names in a directory as durable.
    fn synced(&self, path: &Path) {
        let mut kept = lock(&self.kept);
        lock(&self.watcher)(path, &kept);
        if path.is_dir() {
            kept.sync_dir(path);
        } else if let Ok(file) = file(path)
            && read(path, file, kept.contents.entry(file).or_default())
            && path
                .extension()
                .is_some_and(|of| of == "raftlog" || of == "rewrite")
        {
            // The engine syncs the directory after creating a file in it.
            kept.sync_dir(path.parent().expect("a file is in a folder"));
        }
    }
}

impl Kept {
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Treats the contents and names in `dir` as durable.
    fn keep(&mut self, dir: &Path) {
        self.sync_dir(dir);
        for (name, file) in present(dir) {
            let path = dir.join(name);
            if path.is_dir() {
                self.keep(&path);
            } else if let Some(content) = content(&path, file) {
                self.contents.insert(file, content);
            }
        }
    }

    fn sync_dir(&mut self, dir: &Path) {
        let names = present(dir);
        self.names.insert(dir.to_owned(), names);
    }

    /// Writes the state after a power cut at this moment to the directory `to`. `chance` returns a random number below its
    /// argument.
    pub(super) fn cut(&self, to: &Path, chance: &mut dyn FnMut(u64) -> u64) {
        let mut live = HashMap::new();
        find(&self.root, &mut live);
        self.cut_dir(&self.root, to, &live, chance);
    }

    /// Does the work of [`Kept::cut`] for one directory. `live` contains the current paths of all files.
    fn cut_dir(
        &self,
        dir: &Path,
        to: &Path,
        live: &HashMap<File, PathBuf>,
        chance: &mut dyn FnMut(u64) -> u64,
    ) {
        fs::create_dir_all(to).unwrap();
        let none = BTreeMap::new();
        let (safe, present) = (self.names.get(dir).unwrap_or(&none), present(dir));
        let all: BTreeSet<&OsString> = safe.keys().chain(present.keys()).collect();
        for name in all {
            let (old, new) = (safe.get(name), present.get(name));
            let Some(file) = (if chance(2) == 0 { old } else { new }) else {
                continue;
            };
            let (from, to) = (dir.join(name), to.join(name));
            let now = live.get(file);
            if self.names.contains_key(&from) || now.is_some_and(|now| now.is_dir()) {
                self.cut_dir(&from, &to, live, chance);
            } else {
                let now = now.and_then(|now| content(now, *file));
                let safe = self.contents.get(file).map_or(&[][..], Vec::as_slice);
                fs::write(to, torn(safe, now, chance)).unwrap();
            }
        }
    }
}

/// Returns content whose pages come at random from the old or the new content of a file.
fn torn(old: &[u8], new: Option<Vec<u8>>, chance: &mut dyn FnMut(u64) -> u64) -> Vec<u8> {
    let Some(new) = new.filter(|new| new != old) else {
        return old.to_vec();
    };
    let (short, long) = (old.len().min(new.len()), old.len().max(new.len()));
    let length = match chance(3) {
        0 => old.len(),
        1 => new.len(),
        _ => short + chance((long - short + 1) as u64) as usize,
    };
    let mut out = vec![0; length];
    let luck = chance(5);
    for (number, page) in out.chunks_mut(PAGE_BYTES).enumerate() {
        let from = if chance(4) < luck { &new[..] } else { old };
        let from = from.get(number * PAGE_BYTES..).unwrap_or_default();
        let length = page.len().min(from.len());
        page[..length].copy_from_slice(&from[..length]);
    }
    out
}

/// Returns the present names in a directory, or nothing if the directory cannot be read.
fn present(dir: &Path) -> BTreeMap<OsString, File> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.file_name(), file(&entry.path()).ok()?)))
        .collect()
}

/// Adds the paths of all files and directories in `dir` to `live`.
fn find(dir: &Path, live: &mut HashMap<File, PathBuf>) {
    for (name, file) in present(dir) {
        let path = dir.join(name);
        if path.is_dir() {
            find(&path, live);
        }
        live.insert(file, path);
    }
}

/// The log engine's file system, on a watched disk.
pub(in super::super) struct Watched;

pub(in super::super) struct Opened {
    inner: Arc<<DefaultFileSystem as FileSystem>::Handle>,
    path: PathBuf,
}

impl Opened {
    fn new(inner: <DefaultFileSystem as FileSystem>::Handle, path: &Path) -> Self {
        Self { inner: Arc::new(inner), path: path.to_owned() }
    }
}

impl Handle for Opened {
    fn truncate(&self, offset: usize) -> io::Result<()> {
        Handle::truncate(&*self.inner, offset)
    }

    fn file_size(&self) -> io::Result<usize> {
        self.inner.file_size()
    }

    fn sync(&self) -> io::Result<()> {
        if BROKEN.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is broken"));
        }
        Handle::sync(&*self.inner)?;
        watched(&self.path);
        Ok(())
    }
}

impl FileSystem for Watched {
    type Handle = Opened;
    type Reader = <DefaultFileSystem as FileSystem>::Reader;
    type Writer = Writer;

    fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<Opened> {
        check_room(path.as_ref())?;
        let inner = DefaultFileSystem.create(&path)?;
        Ok(Opened::new(inner, path.as_ref()))
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> io::Result<Opened> {
        let inner = DefaultFileSystem.open(&path, permission)?;
        Ok(Opened::new(inner, path.as_ref()))
    }

    fn delete<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        DefaultFileSystem.delete(path)
    }

    fn rename<P: AsRef<Path>>(&self, from: P, to: P) -> io::Result<()> {
        DefaultFileSystem.rename(from, to)
    }

    fn new_reader(&self, handle: Arc<Opened>) -> io::Result<Self::Reader> {
        DefaultFileSystem.new_reader(handle.inner.clone())
    }

    fn new_writer(&self, handle: Arc<Opened>) -> io::Result<Self::Writer> {
        Ok(Writer {
            inner: DefaultFileSystem.new_writer(handle.inner.clone())?,
            path: handle.path.clone(),
        })
    }
}

/// Writes to a log file and fails while the disk is full.
pub(in super::super) struct Writer {
    inner: <DefaultFileSystem as FileSystem>::Writer,
    path: PathBuf,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        check_room(&self.path)?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Seek for Writer {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

impl WriteExt for Writer {
    fn truncate(&mut self, offset: usize) -> io::Result<()> {
        self.inner.truncate(offset)
    }

    fn allocate(&mut self, offset: usize, size: usize) -> io::Result<()> {
        check_room(&self.path)?;
        self.inner.allocate(offset, size)
    }
}

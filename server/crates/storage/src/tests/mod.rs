//! Tests the storage on real files.

mod basic;
mod cluster;
mod copies;
mod damage;
pub(super) mod disk;
pub(super) mod failing_calls;
mod full;
mod heads;
mod identity;
mod install;
mod log_size;
mod panics;
mod parts;
mod power;
mod raise;
mod received;
mod refusals;
mod rewrite;
mod scrub;
mod table;
mod values;
mod wal_dir;
mod workload;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, RwLock,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Receiver},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use witan_base::metrics::Register;
use witan_machine::{
    member::{Member, MemberId},
    values::BlockCache,
    view::View,
};
use witan_replica::host::{LogBatch, LogRecord, Recovered};

use super::{
    Checkpoint, Checkpointer, DataIdentity, Ledger, OpenError, Storage, StorageMetrics,
    manifest::Manifest,
    run::{run_number, run_path},
};

/// A directory that is removed at the end of the test.
pub(crate) struct TempDir(pub(crate) PathBuf);

const IN_MEMORY: &str = "/dev/shm";
/// Number of bytes that must be free in [`IN_MEMORY`] and in memory. Containers often have less.
const IN_MEMORY_BYTES: u64 = 8 << 30;

impl TempDir {
    /// Creates an in-memory directory if the system has enough memory. Power cuts are computed (`disk`), so no real disk is
    /// needed.
    pub(crate) fn new() -> Self {
        let room = rustix::fs::statvfs(IN_MEMORY).map_or(0, |fs| fs.f_bavail * fs.f_frsize);
        // `disk` identifies files by their creation times.
        let made = std::fs::metadata(IN_MEMORY).and_then(|metadata| metadata.created());
        match room.min(available_memory()) >= IN_MEMORY_BYTES && made.is_ok() {
            true => Self::below(Path::new(IN_MEMORY)),
            false => Self::on_disk(),
        }
    }

    fn on_disk() -> Self {
        Self::below(&std::env::temp_dir())
    }

    fn below(dir: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("witan-storage-{}-{number}", std::process::id());
        let path = dir.join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    fn log_files(&self) -> Vec<PathBuf> {
        files(&self.data().join("member/log"), ".raftlog")
    }

    fn checkpoint(&self) -> PathBuf {
        self.data().join("member/checkpoint")
    }

    fn run_path(&self, run: u64) -> PathBuf {
        run_path(&self.checkpoint(), run)
    }

    /// Returns the numbers of all runs in the directory, including runs that are not published.
    fn runs(&self) -> BTreeSet<u64> {
        let runs = files(&self.checkpoint(), ".run");
        runs.iter().filter_map(|path| run_number(path)).collect()
    }
}

/// Returns the available memory in bytes; 0 if unknown.
fn available_memory() -> u64 {
    let known = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = known.lines().find(|line| line.starts_with("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Returns the sorted paths in a directory that end with `suffix`, not recursively.
fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(suffix))
        .collect();
    files.sort();
    files
}

const ME: DataIdentity = DataIdentity { cluster_id: 0xc1, member_id: MemberId(0x3e) };

/// Held for writing while a process starts, so that no test opens a directory at that time. Until a child runs its program, it
/// shares all locks of this process.
static STARTING: RwLock<()> = RwLock::new(());
/// Maximum time for which the kernel may keep a child's copied locks after the child has exited.
const LATE: Duration = Duration::from_secs(10);
/// A timeout longer than any operation in these tests.
const LONG: Duration = Duration::from_secs(60);

fn metrics() -> StorageMetrics {
    StorageMetrics::register(&Register::default())
}

fn open(dir: &Path, who: &DataIdentity) -> Result<(Storage, Recovered), OpenError> {
    open_with(dir, who, &Arc::default())
}

fn open_with(
    dir: &Path,
    who: &DataIdentity,
    ledger: &Arc<Ledger>,
) -> Result<(Storage, Recovered), OpenError> {
    while_unlocked(|| super::open(dir, who, ledger, &unlimited(), &metrics()))
}

/// Opens a directory in one attempt. Fails if another process still holds a lock.
fn open_once(dir: &Path, who: &DataIdentity) -> Result<(Storage, Recovered), OpenError> {
    super::open(dir, who, &Arc::default(), &unlimited(), &metrics())
}

/// Returns a cache that keeps all values in memory.
fn unlimited() -> Arc<BlockCache> {
    Arc::new(BlockCache::new())
}

/// Runs `done` while no process starts. Retries while a terminated process still holds a lock, at most for [`LATE`].
fn while_unlocked<T>(done: impl Fn() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let _none_starts = STARTING.read().unwrap_or_else(|e| e.into_inner());
    let begun = Instant::now();
    loop {
        let done = done();
        let locked = done.as_ref().is_err_and(|e| e.to_string().contains("lock"));
        if !locked || begun.elapsed() > LATE {
            return done;
        }
        std::thread::yield_now();
    }
}

/// Waits until `done` returns true. Panics with `what` after [`LONG`].
#[track_caller]
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < LONG, "{what}");
        std::thread::yield_now();
    }
}

/// Starts the checkpoint thread. Also returns a channel with the index of each durable checkpoint.
fn start_checkpointer(
    checkpoint: Checkpoint,
    base: Option<View>,
    metrics: &StorageMetrics,
) -> (Checkpointer, Receiver<u64>) {
    let (send, durable) = mpsc::sync_channel(64);
    let durable_at = move |index| {
        // The test need not read the indexes.
        let _ = send.try_send(index);
    };
    let checkpointer = Checkpointer::start(checkpoint, base, metrics.clone(), durable_at);
    (checkpointer.unwrap(), durable)
}

/// Flips the lowest bit of the byte at offset `at`.
fn flip_bit(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn start(command: &mut Command) -> std::io::Result<Child> {
    let _none_opens = STARTING.write().unwrap_or_else(|e| e.into_inner());
    command.spawn()
}

fn run(command: &mut Command) -> bool {
    start(command.stderr(Stdio::null()))
        .and_then(|mut process| process.wait())
        .is_ok_and(|status| status.success())
}

fn reopen(dir: &TempDir) -> (Storage, Recovered) {
    open(&dir.data(), &ME).unwrap()
}

fn record(index: u64, term: u64, size: usize) -> LogRecord {
    let payload: Vec<u8> = (0..size).map(|i| (index as usize * 31 + i) as u8).collect();
    LogRecord { index, term, payload: Bytes::from(payload) }
}

/// Returns a synced batch of entries with 100 bytes each and a hard state that names the last entry.
fn batch(indexes: std::ops::Range<u64>, term: u64) -> LogBatch {
    let hard_state = Some(Bytes::from(format!("hard {term} {}", indexes.end - 1)));
    let records = indexes.map(|index| record(index, term, 100)).collect();
    LogBatch { records, hard_state, must_sync: true }
}

/// Returns a synced batch with one entry of `size` bytes.
fn large(index: u64, size: usize) -> LogBatch {
    let records = vec![record(index, 1, size)];
    LogBatch { records, hard_state: Some("h".into()), must_sync: true }
}

fn indexes(recovered: &Recovered) -> Vec<u64> {
    recovered
        .records
        .iter()
        .map(|record| record.index)
        .collect()
}

/// Returns a view whose content depends on its index, with a record of `size` bytes.
fn view(index: u64, size: usize) -> View {
    let mut view = View::default();
    view.position.index = index;
    view.position.term = 1;
    view.position.voters = vec![0x3e];
    let name = "n".repeat(size) + &index.to_string();
    let members = &mut view.machine.members;
    members.cluster_id = ME.cluster_id;
    let member = Member { id: ME.member_id.0, name, ..Member::default() };
    members.by_id.insert(ME.member_id, member);
    view
}

/// Fails unless `found` has the position and the members of `expected`. Does not compare other parts of the state.
fn same(found: Option<&View>, expected: &View) {
    let found = found.expect("a checkpoint exists");
    assert_eq!(found.position, expected.position);
    assert_eq!(found.machine.members, expected.machine.members);
}

/// Copies the files that a crash would leave: all files except the locks.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else if path.file_name().unwrap() != "LOCK" {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// Returns the contents of all files in a directory, except the locks.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for path in files(dir, "") {
        if path.is_dir() {
            found.extend(contents(&path));
        } else if path.file_name().unwrap() != "LOCK" {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

fn manifest(dir: &TempDir) -> Manifest {
    let path = dir.checkpoint().join("current");
    Manifest::read(&path).unwrap().expect("a valid manifest")
}

/// Returns the offset at which the complete records of a log file end.
fn written(path: &Path) -> usize {
    let name = path.file_stem().unwrap().to_str().unwrap();
    super::tail::whole_until(&std::fs::read(path).unwrap(), name.parse().unwrap()).unwrap()
}

/// Returns a command that runs one test function of this test binary with an environment variable.
fn child(test: &str, variable: &str, value: &std::ffi::OsStr) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let module = module_path!().split_once("::").unwrap().1;
    command.args([
        "--exact",
        &format!("{module}::{test}"),
        "--nocapture",
        "--test-threads=1",
    ]);
    command.env(variable, value);
    command
}

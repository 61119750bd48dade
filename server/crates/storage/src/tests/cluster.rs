//! Runs the simulated clusters of `tests/sim` on this storage. A member loses power at any sync during an append, a
//! checkpoint or an installation. Unsynced pages and names are lost at random, and bits flip in files at rest. The
//! simulator's invariants check the recovered state.

use std::{
    fs,
    sync::{Mutex, atomic::AtomicU64},
};

use witan_machine::member::MemberId;
use witan_sim::{
    counts::Counts,
    data_directory::{DataDirectory, InterruptedStep, MakeDirectory, PowerCut},
    rng::Rng,
    scenario::Scenario,
    sweep::judge,
    world::{Verdict, World},
};

use super::{
    disk::Disk,
    workload::{chances, receive_and_install},
    *,
};

/// Environment variable for the first seed, 0 by default.
const START: &str = "WITAN_CLUSTER_START";
const SEEDS: &str = "WITAN_CLUSTER_SEEDS";
const SEEDS_USUAL: u64 = 8;

/// The first seed in which a member survives a flipped bit. Few seeds have such a run.
const SEED_WITH_FLIP: u64 = 6;

/// Maximum number of syncs in an append, a checkpoint and an installation. A planned power cut happens at one of these syncs,
/// or after the step.
const SYNCS: [usize; 3] = [1, 8, 14];

/// A storage fault that the invariants must detect.
#[derive(Clone, Copy, PartialEq)]
enum InjectedFault {
    None,
    PowerCut,
    /// A flipped bit loses the last entry.
    Flip,
}

/// State that the members of one run share.
struct Run {
    dir: TempDir,
    lie: InjectedFault,
    /// Number of power cuts during an append, a checkpoint and an installation.
    interrupted: [AtomicU64; 3],
}

struct PlannedCut {
    /// Number of syncs until the power cut.
    syncs: usize,
    to: PathBuf,
    chance: Box<dyn FnMut(u64) -> u64 + Send>,
}

/// The data directory of one member, on a disk that loses unsynced data.
struct MemberDirectory {
    id: u64,
    run: Arc<Run>,
    /// Number of power cuts so far. After each cut, the member continues in a new directory.
    number: u32,
    /// Whether a bit has flipped in a file.
    flipped: bool,
    disk: Arc<Disk>,
    planned: Arc<Mutex<Option<PlannedCut>>>,
    /// The open storage, or `None` while no process uses the directory.
    storage: Option<Storage>,
}

impl std::fmt::Debug for MemberDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "m{}", self.id)
    }
}

impl Drop for MemberDirectory {
    fn drop(&mut self) {
        self.close();
        let _ = fs::remove_dir_all(self.data());
    }
}

impl MemberDirectory {
    /// Creates the directory of a member whose checkpoint is `state`. Also returns the state that startup would recover.
    fn create(id: u64, run: Arc<Run>, state: &View) -> (Self, Recovered) {
        let planned = Arc::default();
        let number = 0;
        let mut directory = Self {
            id,
            number,
            flipped: false,
            disk: watch(&data(&run, id, number), &planned),
            run,
            planned,
            storage: None,
        };
        directory
            .open(&unlimited())
            .expect("an empty directory opens");
        let written = directory.storage().checkpoint.write(None, state);
        written.expect("there is room");
        let recovered = Recovered { checkpoint: Some(state.clone()), ..Recovered::default() };
        (directory, recovered)
    }

    fn data(&self) -> PathBuf {
        data(&self.run, self.id, self.number)
    }

    fn open(&mut self, cache: &Arc<BlockCache>) -> Result<Recovered, OpenError> {
        let data = self.data();
        let identity = DataIdentity { member_id: MemberId(self.id), ..ME };
        let open = || crate::open(&data, &identity, &Arc::default(), cache, &metrics());
        let (storage, recovered) = while_unlocked(open)?;
        self.storage = Some(storage);
        Ok(recovered)
    }

    fn close(&mut self) {
        self.storage = None;
        self.disk.forget();
    }

    fn storage(&mut self) -> &mut Storage {
        self.storage
            .as_mut()
            .expect("a running member has opened its storage")
    }

    fn run(&mut self, step: &InterruptedStep) {
        match step {
            InterruptedStep::Append(batch) => self.append(batch),
            InterruptedStep::WriteCheckpoint { base, view } => self.write_checkpoint(base, view),
            InterruptedStep::Install(snapshot) => self.install(snapshot),
        }
    }

    /// Drops the last entry if `lie` is this run's injected fault.
    fn lose(&self, lie: InjectedFault, mut recovered: Recovered) -> Recovered {
        if self.run.lie == lie {
            recovered.records.pop();
        }
        recovered
    }
}

fn data(run: &Run, id: u64, number: u32) -> PathBuf {
    run.dir.0.join(format!("{id}-{number}"))
}

fn index(step: &InterruptedStep) -> usize {
    match step {
        InterruptedStep::Append(_) => 0,
        InterruptedStep::WriteCheckpoint { .. } => 1,
        InterruptedStep::Install(_) => 2,
    }
}

/// Watches a directory, so that a planned power cut happens at one of its syncs.
fn watch(data: &Path, planned: &Arc<Mutex<Option<PlannedCut>>>) -> Arc<Disk> {
    let planned = planned.clone();
    Disk::watch(data, move |_, kept| {
        let mut planned = planned.lock().unwrap();
        match &mut *planned {
            Some(cut) if cut.syncs == 0 => {
                kept.cut(&cut.to, &mut cut.chance);
                *planned = None;
            }
            Some(cut) => cut.syncs -= 1,
            None => {}
        }
    })
}

impl DataDirectory for MemberDirectory {
    fn append(&mut self, batch: &LogBatch) {
        self.storage().log.append(batch);
    }

    fn cut(&mut self, index: u64) {
        self.storage().log.cut(index);
    }

    fn write_checkpoint(&mut self, base: &View, view: &View) {
        let written = self.storage().checkpoint.write(Some(base), view);
        written.expect("there is room");
    }

    fn install(&mut self, snapshot: &View) {
        receive_and_install(self.storage(), snapshot);
    }

    fn drop_values(&self) {
        if let Some(storage) = &self.storage {
            let cache = &storage.checkpoint.folder.cache;
            cache.set_target(0);
            cache.trim();
            cache.set_target(u64::MAX);
        }
    }

    fn lose_power(
        &mut self,
        during: Option<&InterruptedStep>,
        chance: &mut Rng,
    ) -> Result<PowerCut, String> {
        let old = self.data();
        self.number += 1;
        let cut = PlannedCut {
            syncs: during.map_or(0, |step| chance.below(SYNCS[index(step)] + 1)),
            to: self.data(),
            chance: Box::new(chances(chance.draw())),
        };
        *self.planned.lock().unwrap() = Some(cut);
        if let Some(step) = during {
            self.run(step);
        }
        let left = self.planned.lock().unwrap().take();
        let interrupted = left.is_none();
        match (left, during) {
            (Some(mut cut), _) => self.disk.cut(&cut.to, &mut cut.chance),
            (None, Some(step)) => {
                self.run.interrupted[index(step)].fetch_add(1, Ordering::Relaxed);
            }
            (None, None) => {}
        }
        self.close();
        let _ = fs::remove_dir_all(old);
        self.disk = watch(&self.data(), &self.planned);
        self.disk.keep_all();
        let cache = unlimited();
        if !self.flipped && !self.number.is_multiple_of(2) {
            // Restore the state without reading its values.
            cache.set_target(0);
        }
        let recovered = self.open(&cache).map_err(|error| error.to_string())?;
        cache.set_target(u64::MAX);
        if let Some(view) = &recovered.checkpoint {
            // Bring the values into memory, because the next power cut removes this directory.
            view.full_fingerprint();
        }
        Ok(PowerCut {
            recovered: self.lose(InjectedFault::PowerCut, recovered),
            interrupted,
        })
    }

    fn flip_bit(&mut self, chance: &mut Rng) -> Option<Recovered> {
        self.storage = None;
        let mut files = Vec::new();
        find(&self.data(), &mut files);
        files.sort();
        let (path, mut content) = chance.pick(&files).clone();
        // The engine preallocates space after its writes.
        let length = content.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        content[chance.below(length)] ^= 1 << chance.below(8);
        fs::write(path, content).unwrap();
        self.disk.keep_all();
        // Without reading values, startup does not find the flipped bit, and a later read ends the process.
        self.flipped = true;
        let recovered = self.open(&unlimited()).ok()?;
        Some(self.lose(InjectedFault::Flip, recovered))
    }
}

/// Collects the non-empty files in a directory, recursively.
fn find(dir: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, files);
            continue;
        }
        let content = fs::read(&path).unwrap();
        if content.iter().any(|byte| *byte != 0) {
            files.push((path, content));
        }
    }
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |number| number.parse().unwrap())
}

/// Runs the scenario of a seed and returns its verdict. Also returns the number of times that a power cut interrupted each kind
/// of step.
fn run(seed: u64, lie: InjectedFault) -> (Verdict, [u64; 3]) {
    let run = Arc::new(Run { dir: TempDir::new(), lie, interrupted: Default::default() });
    let made = run.clone();
    let make: Box<MakeDirectory> = Box::new(move |id, state| {
        let (directory, recovered) = MemberDirectory::create(id, made.clone(), state);
        (Box::new(directory), recovered)
    });
    let scenario = Scenario::new(seed, None);
    let verdict = judge(scenario, || World::on_files(scenario, false, make));
    let interrupted = run.interrupted.each_ref();
    (
        verdict,
        interrupted.map(|count| count.load(Ordering::Relaxed)),
    )
}

#[test]
fn simulated_clusters_keep_their_invariants_on_this_storage() {
    let (start, seeds) = (number(START, 0), number(SEEDS, SEEDS_USUAL));
    let (mut counts, mut interrupted) = (Counts::default(), [0; 3]);
    for seed in start..start + seeds {
        let (verdict, steps) = run(seed, InjectedFault::None);
        if let Some(violation) = verdict.violation {
            panic!("{violation:?}\n  reproduce: {START}={seed} {SEEDS}=1 and this test");
        }
        counts.add(&verdict.counts);
        interrupted
            .iter_mut()
            .zip(steps)
            .for_each(|(sum, more)| *sum += more);
    }
    let covered = format!("interrupted {interrupted:?}, {counts:?}");
    println!("{covered}");
    // A few seeds need not cover every step.
    let whole = interrupted.iter().all(|steps| *steps > 0) && counts.installs > 0;
    assert!(whole || seeds < SEEDS_USUAL, "{covered}");
}

#[test]
fn an_entry_that_is_lost_in_a_power_cut_is_found() {
    let violation = run(0, InjectedFault::PowerCut)
        .0
        .violation
        .expect("a violation");
    assert_eq!(violation.invariant, "storage_faithful");
}

#[test]
fn an_entry_that_is_lost_with_a_flipped_bit_is_found() {
    let mut seeds = SEED_WITH_FLIP..SEED_WITH_FLIP + 100;
    let violation = seeds.find_map(|seed| run(seed, InjectedFault::Flip).0.violation);
    let violation = violation.expect("a violation");
    assert_eq!(violation.invariant, "storage_faithful");
}

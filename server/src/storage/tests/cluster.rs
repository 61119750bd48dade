//! The simulated clusters of `tests/sim` on this storage: each member's power goes at any sync of a log, a
//! checkpoint or an installation, pages and names that were not synced are lost by chance, and bits flip in
//! files at rest. The simulator's invariants judge what comes back.

use std::{fs, sync::Mutex};

use witan_sim::{
    data_directory::{DataDirectory, InterruptedStep, MakeDirectory},
    rng::Rng,
    scenario::{Bug, Scenario},
    sweep::{failure, judge},
    world::{Counts, Verdict, World},
};

use super::{
    disk::Disk,
    workload::{chances, id, records},
    *,
};
use crate::storage::{SnapshotReceiver, install};

/// Variables for the first seed and the number of seeds, and the number without it.
const START: &str = "WITAN_CLUSTER_START";
const SEEDS: &str = "WITAN_CLUSTER_SEEDS";
const SEEDS_USUAL: u64 = 8;

/// A power cut comes before one of so many syncs, or after the step.
const SYNCS: usize = 8;

/// A power cut that is to come.
struct Cut {
    /// Syncs until it comes.
    syncs: usize,
    to: PathBuf,
    chance: Box<dyn FnMut(u64) -> u64 + Send>,
}

/// The directory of one member, on a disk that loses what was not synced.
struct Member {
    id: u64,
    /// All directories that it has had; the last one counts.
    base: Arc<TempDir>,
    number: u32,
    disk: Arc<Disk>,
    cut: Arc<Mutex<Option<Cut>>>,
    /// `None` while no process has it open.
    storage: Option<Storage>,
    /// Whether the disk forgets at a power cut what was synced.
    lies: bool,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "m{}", self.id)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.storage = None;
        self.disk.forget();
    }
}

impl Member {
    fn create(id: u64, base: Arc<TempDir>, lies: bool, state: &View) -> (Self, Recovered) {
        let cut = Arc::default();
        let (number, data) = (0, base.0.join(format!("{id}-0")));
        let mut member = Self {
            id,
            number,
            disk: watch(&data, &cut),
            base,
            cut,
            storage: None,
            lies,
        };
        member.open().expect("an empty directory opens");
        let written = member.storage().checkpoint.write(None, state);
        written.expect("there is room");
        let recovered = Recovered {
            checkpoint: Some(state.clone()),
            ..Recovered::default()
        };
        (member, recovered)
    }

    fn data(&self) -> PathBuf {
        self.base.0.join(format!("{}-{}", self.id, self.number))
    }

    fn open(&mut self) -> Result<Recovered, OpenError> {
        let identity = DataIdentity {
            member_id: self.id,
            ..ME
        };
        let (storage, recovered) = open(&self.data(), &identity)?;
        self.storage = Some(storage);
        Ok(recovered)
    }

    fn storage(&mut self) -> &mut Storage {
        self.storage
            .as_mut()
            .expect("a member that runs has it open")
    }

    fn run(&mut self, step: &InterruptedStep) {
        match step {
            InterruptedStep::Append(batch) => self.append(batch),
            InterruptedStep::WriteCheckpoint { base, view } => self.write_checkpoint(base, view),
            InterruptedStep::Install(snapshot) => self.install(snapshot),
        }
    }
}

/// Watches a directory: a cut that is to come takes place at one of its syncs.
fn watch(data: &Path, cut: &Arc<Mutex<Option<Cut>>>) -> Arc<Disk> {
    let plan = cut.clone();
    Disk::watch(data, move |_, kept| {
        let mut plan = plan.lock().unwrap();
        match &mut *plan {
            Some(cut) if cut.syncs == 0 => {
                kept.cut(&cut.to, &mut cut.chance);
                *plan = None;
            }
            Some(cut) => cut.syncs -= 1,
            None => {}
        }
    })
}

impl DataDirectory for Member {
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
        let Storage {
            log, checkpoint, ..
        } = self.storage();
        let receiver = SnapshotReceiver::new(checkpoint.folder().clone());
        let mut incoming = receiver.begin(id(snapshot), 0).expect("no other comes");
        for (key, value) in records(snapshot) {
            incoming.add(key, value).expect("there is room");
        }
        let totals = incoming.totals();
        let received = incoming.finish(totals).expect("it is whole");
        let folder = checkpoint.folder().clone();
        let (installed, _) = install::publish(log, &folder, received);
        let adopted = checkpoint.adopt(installed.files.chain(), installed.installs);
        adopted.expect("there is room");
    }

    fn lose_power(
        &mut self,
        during: Option<&InterruptedStep>,
        chance: &mut Rng,
    ) -> Result<Recovered, String> {
        let old = self.data();
        self.number += 1;
        let new = self.data();
        let cut = Cut {
            syncs: chance.below(SYNCS),
            to: new.clone(),
            chance: Box::new(chances(chance.draw())),
        };
        if self.lies {
            self.disk.forget_contents();
        }
        *self.cut.lock().unwrap() = Some(cut);
        if let Some(step) = during {
            self.run(step);
        }
        if let Some(mut cut) = self.cut.lock().unwrap().take() {
            self.disk.cut(&cut.to, &mut cut.chance);
        }
        self.storage = None;
        self.disk.forget();
        let _ = fs::remove_dir_all(old);
        self.disk = watch(&new, &self.cut);
        self.disk.keep_all();
        self.open().map_err(|error| error.to_string())
    }

    fn flip_bit(&mut self, chance: &mut Rng) -> Option<Recovered> {
        self.storage = None;
        let mut files = Vec::new();
        find(&self.data(), &mut files);
        files.sort();
        let path = chance.pick(&files);
        let mut content = fs::read(path).unwrap();
        // the engine reserves room behind what it writes
        let length = content.iter().rposition(|byte| *byte != 0)? + 1;
        content[chance.below(length)] ^= 1 << chance.below(8);
        fs::write(path, content).unwrap();
        self.disk.keep_all();
        self.open().ok()
    }
}

/// The files with content of a folder and of those in it.
fn find(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        match entry.metadata().unwrap() {
            metadata if metadata.is_dir() => find(&entry.path(), files),
            metadata if metadata.len() > 0 => files.push(entry.path()),
            _ => {}
        }
    }
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |number| number.parse().unwrap())
}

/// Runs a seed on directories whose disks keep what was synced, unless they lie.
fn run(seed: u64, lies: bool) -> (Scenario, Verdict) {
    let base = Arc::new(TempDir::new());
    let make: Box<MakeDirectory> = Box::new(move |id, state| {
        let (member, recovered) = Member::create(id, base.clone(), lies, state);
        (Box::new(member), recovered)
    });
    let scenario = Scenario::new(seed, None, Bug::None);
    let verdict = judge(scenario, || World::on_files(scenario, false, make));
    (scenario, verdict)
}

#[test]
fn simulated_clusters_keep_their_promises_on_this_storage() {
    let (start, seeds) = (number(START, 0), number(SEEDS, SEEDS_USUAL));
    let mut counts = Counts::default();
    for seed in start..start + seeds {
        let (scenario, verdict) = run(seed, false);
        if let Some(violation) = verdict.violation {
            panic!("{}", failure(&scenario, &violation));
        }
        counts.add(&verdict.counts);
    }
    eprintln!("{counts:?}");
    assert!(counts.crashes > 10 * seeds, "{counts:?}");
    assert!(counts.checkpoints > 10 * seeds, "{counts:?}");
}

#[test]
fn a_disk_that_forgets_what_was_synced_is_found() {
    let violation = run(0, true).1.violation.expect("it is found");
    assert_eq!(violation.invariant, "recovery_accepted");
}

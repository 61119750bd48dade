//! Residency of values: which values a member has in memory, and which only on its disk.
//!
//! A member evicts all values that are on its disk before it runs a turn, answers, shows its state to watchers or writes a
//! checkpoint. Some members always do so, some at random, and some never. The members of a cluster evict with different
//! chances, so a result that depends on residency also differs between members.
//!
//! In some seeds, records of blocks are damaged while a member runs. A read of a damaged record must end the process. The next
//! startup falls back to the older checkpoint if that has no damaged run. If both checkpoints contain the damaged run, startup
//! finds the record sound, because the simulated disk has no other copy of it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use witan_machine::{fingerprint, kv::Kv, revision::Revision, view::View};

use crate::{
    disk::FoundDamage,
    invariants::PLACES_TRUE,
    rng::{Fnv, Rng},
    scenario::Scenario,
    sweep,
    world::{Event, Phase, Verdict, World},
};

/// Percentage of checkpoints after which states are read back from disk.
const READ_BACK_PERCENT: u64 = 25;

/// Longest duration of a read. Several checkpoints replace the runs that it reads.
const LONG_READ_UNITS: u64 = 600;

/// Longest pause in units between two damaged records.
const DAMAGE_PAUSE_UNITS: u64 = 200;

/// The chances of a run that concern residency. They have a separate random generator, so its draws do not depend on which
/// values are in memory.
#[derive(Debug)]
pub(crate) struct Residency {
    chance: Rng,
    /// The percentage of every member, in place of the scenario's percentages.
    percent: Option<u64>,
}

impl Residency {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self { chance: Rng::new(scenario.seed, 7), percent: None }
    }
}

/// Runs one scenario with a trace. All members drop values with a chance of `percent`, in place of the scenario's chances.
pub fn run_with_percent(scenario: Scenario, percent: u64) -> Verdict {
    sweep::judge(scenario, || {
        let mut world = World::new(scenario, true);
        world.residency.percent = Some(percent);
        world
    })
}

impl World {
    /// Drops the values of a member that are on its disk, with the chance of this member.
    pub(crate) fn go_cold(&mut self, place: usize) {
        let percent = self.residency.percent;
        let percent = percent.unwrap_or_else(|| self.scenario.cold_percent(place));
        if self.residency.chance.chance(percent) {
            self.disks[place].drop_values();
        }
    }

    /// After some checkpoints, compares values that are read from disk with values in memory. Compares the state `saved`, whose
    /// checkpoint is now durable, with the content of the checkpoint. Compares the current state with itself, now and later.
    pub(crate) fn read_back(&mut self, place: usize, saved: &View) {
        if !self.residency.chance.chance(READ_BACK_PERCENT) {
            return;
        }
        let member = place as u64 + 1;
        let disk = &self.disks[place];
        let stored = disk.stored_state().expect("a checkpoint is sound");
        let current = self.members[place].replica.as_ref();
        let current = current.map(|replica| replica.view().machine.kv);
        let resident = current.as_ref().map(fingerprint::of);
        disk.drop_values();
        let (expected, found) = (stored.full_fingerprint(), saved.full_fingerprint());
        self.compare_hashes(member, expected, found);
        if let Some((expected, kv)) = resident.zip(current) {
            self.read_cold(place, &kv, expected);
            let incarnation = self.members[place].incarnation;
            let delay = self.residency.chance.range(1, LONG_READ_UNITS);
            let kv = Box::new(kv);
            self.after(delay, Event::ReadOld { place, incarnation, kv, expected });
        }
    }

    /// Reads a state of a member after its values on disk have been dropped. The state has the hash `expected`.
    pub(crate) fn read_cold(&mut self, place: usize, kv: &Kv, expected: u64) {
        self.disks[place].drop_values();
        self.counts.read_back += 1;
        let found = fingerprint::of(kv);
        self.compare_hashes(place as u64 + 1, expected, found);
    }

    /// Checks that a state of a member has the same hash in memory and on disk.
    fn compare_hashes(&mut self, member: u64, in_memory: u64, on_disk: u64) {
        if in_memory != on_disk {
            let what = format!(
                "m{member} differs on disk and in memory: {on_disk:016x}, {in_memory:016x}"
            );
            self.violate(PLACES_TRUE, what);
        }
    }

    /// Damages a record on the disk of a running member and makes the member read all values. Then schedules the next damage.
    pub(crate) fn damage(&mut self) {
        if self.phase != Phase::Chaos {
            return;
        }
        let pause = self.residency.chance.range(1, DAMAGE_PAUSE_UNITS);
        self.after(pause, Event::Damage);
        let places: Vec<usize> = (0..self.members.len())
            .filter(|place| {
                let member = &self.members[*place];
                member.replica.is_some() && member.paused_until <= self.now
            })
            .collect();
        if places.is_empty() || self.members.iter().any(|member| member.left_behind) {
            return;
        }
        let place = *self.residency.chance.pick(&places);
        let Some(kv) = self.members[place]
            .replica
            .as_ref()
            .map(|it| it.view().machine.kv)
        else {
            return;
        };
        let read: fn(&Kv) -> u64 = match self.residency.chance.chance(50) {
            true => fingerprint::of,
            false => hash_changes,
        };
        let expected = read(&kv);
        let disk = &self.disks[place];
        let Some(run) = disk.damage_block(&mut self.residency.chance) else {
            return;
        };
        disk.drop_values();
        let found = catch_unwind(AssertUnwindSafe(|| read(&kv)));
        disk.repair(run);
        drop(kv);
        match found {
            Ok(found) => self.compare_hashes(place as u64 + 1, expected, found),
            Err(cause) if cause.is::<FoundDamage>() => self.end_by_damage(place, run),
            Err(cause) => resume_unwind(cause),
        }
    }

    /// Ends the process of a member that has read a damaged record of `run`. Its written data survives as in a power cut.
    fn end_by_damage(&mut self, place: usize, run: u64) {
        self.counts.damaged += 1;
        self.trace.line(self.now, || {
            format!(
                "m{} ends: run {run} of its checkpoint is damaged",
                place + 1
            )
        });
        self.power_lost(place);
        self.disks[place].lose_checkpoint_with(run);
    }
}

/// Returns the hash of all changes with their values, as a watcher reads them.
fn hash_changes(kv: &Kv) -> u64 {
    let changes = kv.changes_from(Revision::NONE, None);
    let hash = changes.fold(Fnv::default(), |hash, (_, change)| {
        let pair = change.pair();
        let hash = hash.number(pair.mod_revision.0 as u64);
        hash.bytes(&pair.key).bytes(&pair.value)
    });
    hash.finish()
}

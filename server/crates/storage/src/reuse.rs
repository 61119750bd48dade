//! Tracks which runs of the chain contain current records. The next base reuses these runs instead of rewriting their records.
//!
//! A base holds the whole state, so no record outside a run falls between two adjacent keys of that run. A difference contains
//! only changed records. It covers the range between two keys only if no other key can exist between them,
//! as between adjacent blocks of the key space.
//!
//! A run of blocks is also reused if a few of its blocks are outdated. Runs with higher numbers contain the newer versions and
//! take precedence. A deleted key has no newer version, so a run that still contains it is not reused. Runs of other records,
//! which may be secrets, are not reused if any record is outdated. All of this is only in memory: after startup, a base reuses
//! only runs that this process has written.

use std::{collections::BTreeMap, ops::Bound};

use witan_machine::record::RecordChange;

use super::manifest::Run;

/// Maximum number of stretches, and of outdated records, in a reusable run.
const REUSABLE_PIECES: usize = 16;
/// Divisor of a run's size, which gives the maximum size of its outdated records.
const OUTDATED_PART: u64 = 4;

/// A run that this process has written.
#[derive(Clone, Debug)]
pub(super) struct WrittenRun {
    pub(super) run: Run,
    /// The key ranges that the run covers.
    pub(super) stretches: Vec<KeyStretch>,
    /// Size of the run's largest record in bytes.
    pub(super) largest: u64,
    /// Whether the records are blocks of the key space.
    pub(super) of_blocks: bool,
}

/// A key range in which one run contains every record: from `start` to `end` (exclusive), all of one record type (first byte).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyStretch {
    start: Vec<u8>,
    end: Vec<u8>,
}

impl KeyStretch {
    /// Adds a run's next key to its stretches. The key extends the last stretch if it sorts after it and has the same record
    /// type. `gap` means that another run may contain records in between, so a new stretch starts. A stretch never spans types,
    /// because types are not written in key order.
    pub(super) fn extend(stretches: &mut Vec<KeyStretch>, key: &[u8], gap: bool) {
        match stretches.last_mut() {
            Some(last)
                if !gap && last.start.first() == key.first() && last.end.as_slice() <= key =>
            {
                last.end.clear();
                last.end.extend_from_slice(key);
                last.end.push(0);
            }
            Some(_) | None => {
                stretches.push(KeyStretch { start: key.to_vec(), end: successor(key) });
            }
        }
    }
}

/// Returns the first key that sorts after `key`.
fn successor(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// A run with known stretches.
#[derive(Clone, Debug)]
struct KnownRun {
    run: Run,
    outdated: usize,
    outdated_max: usize,
    /// Whether the run can no longer be reused.
    dropped: bool,
}

impl KnownRun {
    /// Creates the entry of a new run, marked as dropped if the run is smaller than `bytes_min`.
    fn new(written: &WrittenRun, bytes_min: u64) -> Self {
        let bytes = written.run.content.bytes;
        let outdated_max = match written.of_blocks {
            true => (bytes / OUTDATED_PART / written.largest.max(1)) as usize,
            false => 0,
        };
        Self {
            run: written.run.clone(),
            outdated: 0,
            outdated_max: outdated_max.min(REUSABLE_PIECES),
            dropped: bytes < bytes_min,
        }
    }
}

/// The runs that the next base can reuse.
#[derive(Debug, Default)]
pub(super) struct RunReuse {
    runs: Vec<KnownRun>,
    /// Disjoint stretches by start, each with its end and the index of its run in `runs`.
    stretches: BTreeMap<Vec<u8>, (Vec<u8>, usize)>,
    /// Keys of outdated records, with the indexes of the runs that contain them.
    outdated: BTreeMap<Vec<u8>, Vec<usize>>,
}

impl RunReuse {
    /// Builds the state after a new base was written. `written` are its new runs. `kept` maps the index of each reused run of
    /// `before` to the stretches of its current records. Runs smaller than `bytes_min` are not reusable, so that the next base
    /// merges them.
    pub(super) fn of_base(
        before: &RunReuse,
        kept: &BTreeMap<usize, Vec<KeyStretch>>,
        written: Vec<WrittenRun>,
        bytes_min: u64,
    ) -> Self {
        let mut reuse = Self::default();
        let mut all: Vec<(KeyStretch, usize)> = Vec::new();
        let mut indexes = BTreeMap::new();
        for (index, stretches) in kept {
            indexes.insert(*index, reuse.runs.len());
            all.extend(stretches.iter().map(|it| (it.clone(), reuse.runs.len())));
            reuse.runs.push(before.runs[*index].clone());
        }
        for (key, runs) in &before.outdated {
            let runs: Vec<usize> = runs
                .iter()
                .filter_map(|run| indexes.get(run).copied())
                .collect();
            if !runs.is_empty() {
                reuse.outdated.insert(key.clone(), runs);
            }
        }
        for written in written {
            let known = KnownRun::new(&written, bytes_min);
            let stretches = written.stretches.into_iter();
            all.extend(stretches.map(|it| (it, reuse.runs.len())));
            reuse.runs.push(known);
        }
        reuse.set_stretches(all);
        reuse
    }

    /// Sets the stretches of all runs. Drops runs with too many stretches, and runs that overlap, because neither of two
    /// overlapping runs contains every record in the overlap.
    fn set_stretches(&mut self, mut all: Vec<(KeyStretch, usize)>) {
        let mut counts = vec![0; self.runs.len()];
        all.iter().for_each(|(_, run)| counts[*run] += 1);
        all.sort_by(|a, b| a.0.start.cmp(&b.0.start));
        let mut reach: Option<(&[u8], usize)> = None;
        for (stretch, run) in &all {
            if let Some((end, other)) = reach
                && stretch.start.as_slice() < end
            {
                self.runs[*run].dropped = true;
                self.runs[other].dropped = true;
            }
            if reach.is_none_or(|(end, _)| end < stretch.end.as_slice()) {
                reach = Some((&stretch.end, *run));
            }
        }
        for (run, count) in self.runs.iter_mut().zip(counts) {
            run.dropped |= count > REUSABLE_PIECES;
        }
        let valid = all.into_iter().filter(|(_, run)| !self.runs[*run].dropped);
        self.stretches = valid.map(|(it, run)| (it.start, (it.end, run))).collect();
    }

    /// Adds a run of a published difference, unless it is smaller than `bytes_min` or has too many stretches. Drops known runs
    /// that overlap it. The caller first passes each record of the run to [`Self::mark_changed`].
    pub(super) fn add_difference(&mut self, written: &WrittenRun, bytes_min: u64) {
        let known = KnownRun::new(written, bytes_min);
        let count = written.stretches.len();
        if known.dropped || count == 0 || count > REUSABLE_PIECES {
            return;
        }
        let index = self.runs.len();
        self.runs.push(known);
        for KeyStretch { start, end } in &written.stretches {
            while let Some(other) = self.overlapping(start, end) {
                let (_, run) = self.stretches.remove(&other).expect("just found");
                self.runs[run].dropped = true;
            }
            self.stretches.insert(start.clone(), (end.clone(), index));
        }
    }

    /// Records that a record was changed, added or removed: the run that contains its old version has one more outdated record.
    pub(super) fn mark_changed(&mut self, change: &RecordChange) {
        self.mark_outdated(change.key());
        if let RecordChange::Delete { key } = change {
            for run in self.outdated.remove(key).into_iter().flatten() {
                self.runs[run].dropped = true;
            }
        }
    }

    /// Records that a record was changed or added, like [`Self::mark_changed`]. Removes its key from the stretch that contains
    /// it, and the stretches of dropped runs.
    pub(super) fn mark_outdated(&mut self, key: &[u8]) {
        let Some((start, run)) = self.containing(key) else {
            return;
        };
        let (end, _) = self.stretches.remove(&start).expect("just found");
        let known = &mut self.runs[run];
        known.outdated += 1;
        known.dropped |= known.outdated > known.outdated_max;
        if known.dropped {
            return;
        }
        let next = successor(key);
        if next < end {
            self.stretches.insert(next, (end, run));
        }
        if start != key {
            self.stretches.insert(start, (key.to_vec(), run));
        }
        self.outdated.entry(key.to_vec()).or_default().push(run);
    }

    /// Drops the runs that contain outdated records, for a base without such records.
    pub(super) fn drop_outdated(&mut self) {
        for known in &mut self.runs {
            known.dropped |= known.outdated > 0;
        }
    }

    /// Returns the index of the reusable run that contains the current record for this key, if there is one.
    pub(super) fn unchanged(&self, key: &[u8]) -> Option<usize> {
        let (_, run) = self.containing(key)?;
        (!self.runs[run].dropped).then_some(run)
    }

    pub(super) fn run(&self, index: usize) -> &Run {
        &self.runs[index].run
    }

    /// Returns the start of a stretch that overlaps the keys from `start` to `end` (exclusive), if there is one.
    fn overlapping(&self, start: &[u8], end: &[u8]) -> Option<Vec<u8>> {
        let below = (Bound::Unbounded, Bound::Excluded(end));
        let (other, (until, _)) = self.stretches.range::<[u8], _>(below).next_back()?;
        (start < until.as_slice()).then(|| other.clone())
    }

    /// Returns the start of the stretch that contains this key, and the index of its run, or `None`.
    fn containing(&self, key: &[u8]) -> Option<(Vec<u8>, usize)> {
        let up_to = (Bound::Unbounded, Bound::Included(key));
        let (start, (end, run)) = self.stretches.range::<[u8], _>(up_to).next_back()?;
        (key < end.as_slice()).then(|| (start.clone(), *run))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RecordTotals;

    const BYTES: u64 = 100;

    fn run(number: u64) -> Run {
        let content = RecordTotals { bytes: BYTES, ..RecordTotals::default() };
        Run::new(number, b"", content)
    }

    fn stretches(keys: &[&str]) -> Vec<KeyStretch> {
        let mut stretches = Vec::new();
        for key in keys {
            KeyStretch::extend(&mut stretches, key.as_bytes(), false);
        }
        stretches
    }

    /// Creates a run of small blocks that is large enough for reuse.
    fn written(number: u64, keys: &[&str]) -> WrittenRun {
        let (run, stretches) = (run(number), stretches(keys));
        WrittenRun { run, stretches, largest: 1, of_blocks: true }
    }

    /// Creates the state after a base with these keys in runs of blocks, numbered from 1.
    fn base(runs: &[&[&str]]) -> RunReuse {
        base_of((1..).zip(runs).map(|(number, keys)| written(number, keys)))
    }

    fn base_of(written: impl IntoIterator<Item = WrittenRun>) -> RunReuse {
        let (before, written) = (RunReuse::default(), written.into_iter().collect());
        RunReuse::of_base(&before, &BTreeMap::new(), written, BYTES)
    }

    fn put(reuse: &mut RunReuse, key: &str) {
        let (key, value) = (key.into(), Vec::new());
        reuse.mark_changed(&RecordChange::Put { key, value });
    }

    fn delete(reuse: &mut RunReuse, key: &str) {
        reuse.mark_changed(&RecordChange::Delete { key: key.into() });
    }

    fn kept(reuse: &RunReuse, key: &str) -> Option<u64> {
        let index = reuse.unchanged(key.as_bytes())?;
        Some(reuse.run(index).number)
    }

    #[test]
    fn a_run_contains_the_keys_between_those_that_were_written_one_after_the_other() {
        let reuse = base(&[&["k1", "k3"], &["k4", "k6"], &["t1", "t8", "a", "v", "k2"]]);
        assert_eq!(kept(&reuse, "k4"), Some(2));
        assert_eq!(kept(&reuse, "k5"), Some(2));
        assert_eq!(kept(&reuse, "k7"), None, "between runs");
        // The last run has a key inside the first run.
        assert_eq!((kept(&reuse, "k1"), kept(&reuse, "t7")), (None, None));
    }

    #[test]
    fn a_run_is_kept_without_its_outdated_records_until_there_are_too_many() {
        let mut reuse = base(&[&["k00", "k99"], &["l"]]);
        for n in 0..REUSABLE_PIECES {
            put(&mut reuse, &format!("k{:02}", 3 * n));
        }
        assert_eq!((kept(&reuse, "k03"), kept(&reuse, "k04")), (None, Some(1)));
        put(&mut reuse, "k98");
        assert_eq!((kept(&reuse, "k04"), kept(&reuse, "l")), (None, Some(2)));
        let mut reuse = base(&[&["k00", "k99"], &["l"]]);
        put(&mut reuse, "k00");
        reuse.drop_outdated();
        assert_eq!((kept(&reuse, "k04"), kept(&reuse, "l")), (None, Some(2)));
    }

    #[test]
    fn outdated_records_take_little_of_a_run() {
        let mut large = written(1, &["k00", "k99"]);
        large.largest = BYTES / OUTDATED_PART / 2;
        let mut reuse = base_of([large]);
        for (n, left) in [(0, Some(1)), (1, Some(1)), (2, None)] {
            put(&mut reuse, &format!("k{n:02}"));
            assert_eq!(kept(&reuse, "k50"), left, "{n}");
        }
        let mut others = written(1, &["k00", "k99"]);
        others.of_blocks = false;
        let mut reuse = base_of([others]);
        assert_eq!(kept(&reuse, "k50"), Some(1));
        put(&mut reuse, "k00");
        assert_eq!(kept(&reuse, "k50"), None);
    }

    #[test]
    fn stretches_of_dropped_runs_are_not_split_further() {
        let mut reuse = base(&[&["k00", "k99"]]);
        for n in 0..90 {
            put(&mut reuse, &format!("k{n:02}"));
        }
        assert!(reuse.stretches.len() <= REUSABLE_PIECES + 1, "{reuse:?}");
    }

    #[test]
    fn a_deleted_key_is_in_no_run_that_is_kept() {
        let mut reuse = base(&[&["k1", "k9"], &["l1", "l9"]]);
        put(&mut reuse, "k5");
        reuse.add_difference(&written(3, &["k5"]), BYTES);
        assert_eq!((kept(&reuse, "k4"), kept(&reuse, "k5")), (Some(1), Some(3)));
        // The next base reuses both runs. The older run has an outdated record.
        let taken = BTreeMap::from([
            (
                0,
                [stretches(&["k1", "k4"]), stretches(&["k6", "k9"])].concat(),
            ),
            (2, stretches(&["k5"])),
        ]);
        let mut reuse = RunReuse::of_base(&reuse, &taken, Vec::new(), BYTES);
        assert_eq!((kept(&reuse, "k4"), kept(&reuse, "k5")), (Some(1), Some(3)));
        delete(&mut reuse, "k5");
        assert_eq!((kept(&reuse, "k4"), kept(&reuse, "k5")), (None, None));
    }

    #[test]
    fn of_overlapping_runs_the_later_one_is_kept() {
        let mut reuse = base(&[&["k1", "k9"]]);
        reuse.add_difference(&written(2, &["k5", "k6"]), BYTES);
        assert_eq!((kept(&reuse, "k4"), kept(&reuse, "k5")), (None, Some(2)));
    }

    #[test]
    fn small_and_scattered_runs_are_not_kept() {
        let scattered: Vec<String> = (1..20).rev().map(|n| format!("z{n:02}")).collect();
        let scattered: Vec<&str> = scattered.iter().map(String::as_str).collect();
        let mut reuse = base(&[&["a1", "a3"], &scattered]);
        assert_eq!((kept(&reuse, "a1"), kept(&reuse, "z05")), (Some(1), None));
        reuse.add_difference(&written(3, &scattered), BYTES);
        assert_eq!(kept(&reuse, "z05"), None);
        let mut small = written(1, &["a"]);
        small.run.content.bytes -= 1;
        let mut reuse = base_of([small.clone()]);
        assert_eq!(kept(&reuse, "a"), None);
        reuse.add_difference(&small, BYTES);
        assert_eq!(kept(&reuse, "a"), None);
    }
}

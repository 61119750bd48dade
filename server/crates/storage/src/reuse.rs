//! Tracks the runs of the newest base that are unchanged, so that the next base reuses them instead
//! of writing the same bytes again. The file of a reused run is never modified. Not here: writing
//! runs.
//!
//! A base is the whole state, so a run contains every record between two of its keys, if no other
//! run has keys there, until a key there changes. Nothing of this is on disk: after a start the
//! first base is written completely.

use std::collections::BTreeSet;

use super::manifest::Run;

/// Maximum stretches of keys of a reusable run: scattered keys are likely to change soon.
const REUSABLE_SPANS: usize = 16;
/// Maximum number of frequently changed keys that are kept together in one run.
const HOT_KEYS: usize = 64;

/// A stretch of ascending keys of one record type (first byte) in a run, including both ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyStretch {
    first: Vec<u8>,
    last: Vec<u8>,
}

impl KeyStretch {
    /// Adds the next key of a run to its stretches: to the last one, if the key sorts after it, has
    /// the same record type and no record was left out between (`gap`). Record types are not
    /// written in the order of their first bytes, so a stretch of several types could cover keys of
    /// other runs.
    pub(super) fn extend(spans: &mut Vec<KeyStretch>, key: &[u8], gap: bool) {
        match spans.last_mut() {
            Some(span)
                if !gap && span.last.first() == key.first() && span.last.as_slice() < key =>
            {
                span.last.clear();
                span.last.extend_from_slice(key);
            }
            Some(_) | None => spans.push(KeyStretch { first: key.to_vec(), last: key.to_vec() }),
        }
    }
}

#[derive(Clone, Debug)]
struct ReusableRun {
    run: Run,
    spans: Vec<KeyStretch>,
    /// Whether a record of the run may have changed.
    changed: bool,
}

/// The runs of a base, and which of them can be reused.
#[derive(Debug, Default)]
pub(super) struct RunReuse {
    runs: Vec<ReusableRun>,
    /// Stretches of all runs, sorted by first key, with the indexes of their runs in `runs`.
    spans: Vec<(KeyStretch, usize)>,
    /// Keys that changed since the base: they are likely to change again, so they are kept together
    /// in one run.
    hot_keys: BTreeSet<Vec<u8>>,
}

impl RunReuse {
    /// Adds a run that was written for a new base. One with many stretches, or of less than
    /// `bytes_min`, is never reused.
    pub(super) fn add(&mut self, run: &Run, spans: Vec<KeyStretch>, bytes_min: u64) {
        // small runs are rewritten with their neighbors, so that there are not too many
        let changed = spans.len() > REUSABLE_SPANS || run.content.bytes < bytes_min;
        let run = run.clone();
        self.runs.push(ReusableRun { run, spans, changed });
    }

    /// Adds a reused run of the previous base.
    pub(super) fn add_kept(&mut self, before: &RunReuse, index: usize) {
        self.runs.push(before.runs[index].clone());
    }

    /// Sorts the stretches, when all runs of a base are added. Runs whose stretches overlap are not
    /// reused.
    pub(super) fn finish(&mut self) {
        let spans = self.runs.iter().enumerate();
        let spans = spans.flat_map(|(at, known)| known.spans.iter().map(move |s| (s.clone(), at)));
        self.spans = spans.collect();
        self.spans.sort_by(|a, b| a.0.first.cmp(&b.0.first));
        // where stretches of two runs overlap, neither holds every record there
        let mut reach: Option<(&KeyStretch, usize)> = None;
        for (span, run) in &self.spans {
            if let Some((before, other)) = reach
                && span.first <= before.last
            {
                self.runs[*run].changed = true;
                self.runs[other].changed = true;
            }
            if reach.is_none_or(|(before, _)| before.last < span.last) {
                reach = Some((span, *run));
            }
        }
    }

    /// Notes that a key was changed, added or removed since the base.
    pub(super) fn mark_changed(&mut self, key: &[u8]) {
        let Some(index) = self.covering(key) else {
            return;
        };
        self.runs[index].changed = true;
        if self.hot_keys.len() < HOT_KEYS {
            self.hot_keys.insert(key.to_vec());
        }
    }

    /// Returns the index of the unchanged run that contains this key; `None` if there is none.
    pub(super) fn unchanged(&self, key: &[u8]) -> Option<usize> {
        self.covering(key)
            .filter(|index| !self.runs[*index].changed)
    }

    pub(super) fn run(&self, index: usize) -> &Run {
        &self.runs[index].run
    }

    /// Whether the key has changed since the base and is likely to change again.
    pub(super) fn is_hot(&self, key: &[u8]) -> bool {
        self.hot_keys.contains(key)
    }

    /// Returns the index of the run with a stretch that contains this key; `None` if there is none.
    fn covering(&self, key: &[u8]) -> Option<usize> {
        let behind = self
            .spans
            .partition_point(|(span, _)| span.first.as_slice() <= key);
        let (span, index) = self.spans.get(behind.checked_sub(1)?)?;
        (key <= span.last.as_slice()).then_some(*index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::RunContent;

    fn base(runs: &[&[&str]]) -> RunReuse {
        let mut reuse = RunReuse::default();
        for (number, keys) in (1..).zip(runs) {
            let mut spans = Vec::new();
            for key in *keys {
                KeyStretch::extend(&mut spans, key.as_bytes(), false);
            }
            let content = RunContent { bytes: 100, ..RunContent::default() };
            let run = Run::new(number, keys[0].as_bytes(), content);
            reuse.add(&run, spans, 50);
        }
        reuse.finish();
        reuse
    }

    fn kept(reuse: &RunReuse, key: &str) -> Option<u64> {
        let index = reuse.unchanged(key.as_bytes())?;
        Some(reuse.run(index).number)
    }

    #[test]
    fn a_run_is_kept_until_a_key_in_it_changes() {
        let mut reuse = base(&[&["k1", "k3"], &["k4", "k6"], &["t1", "t8", "a", "v", "k2"]]);
        assert_eq!(kept(&reuse, "k4"), Some(2));
        assert_eq!(kept(&reuse, "k5"), Some(2));
        assert_eq!(kept(&reuse, "k7"), None, "between runs");
        // the last run has a key inside the first
        assert_eq!((kept(&reuse, "k1"), kept(&reuse, "t7")), (None, None));
        reuse.mark_changed(b"k7");
        assert_eq!(kept(&reuse, "k6"), Some(2));
        reuse.mark_changed(b"k5");
        assert_eq!(kept(&reuse, "k6"), None);
        assert!(reuse.is_hot(b"k5") && !reuse.is_hot(b"k7"));
    }

    #[test]
    fn small_and_scattered_runs_are_not_kept() {
        let scattered: Vec<String> = (1..20).rev().map(|n| format!("z{n:02}")).collect();
        let scattered: Vec<&str> = scattered.iter().map(String::as_str).collect();
        let reuse = base(&[&["a1", "a3"], &scattered]);
        assert_eq!((kept(&reuse, "a1"), kept(&reuse, "z05")), (Some(1), None));
        let mut reuse = RunReuse::default();
        let run = Run::new(1, b"a", RunContent::default());
        let mut spans = Vec::new();
        KeyStretch::extend(&mut spans, b"a", false);
        reuse.add(&run, spans, 50);
        reuse.finish();
        assert_eq!(kept(&reuse, "a"), None);
    }
}

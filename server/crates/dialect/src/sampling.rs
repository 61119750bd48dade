//! Counts operations on keys by prefix during a sample (`/debug/top`). Without a sample, each operation costs one relaxed
//! atomic load. `tally` contains the counts and is pure.

mod tally;

use std::sync::atomic::{AtomicBool, Ordering};

use witan_api::top::{KeySpace, TopCounts};
use witan_base::sync::Mutex;

pub use tally::Tally;

/// The kinds of operations on keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOperation {
    /// Reads the key or a range that starts at the key.
    Read,
    /// Puts or deletes the key, or deletes a range that starts at the key.
    Write,
}

/// Counts operations on keys during a [`Sample`].
#[derive(Debug, Default)]
pub struct Sampler {
    on: AtomicBool,
    tally: Mutex<Option<Tally>>,
}

impl Sampler {
    /// Returns whether a sample is running.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Counts an operation if a sample is running.
    #[cold]
    pub fn count(&self, key_space: KeySpace, operation: KeyOperation, key: &[u8]) {
        let counts = match operation {
            KeyOperation::Read => TopCounts { reads: 1, ..TopCounts::default() },
            KeyOperation::Write => TopCounts { writes: 1, ..TopCounts::default() },
        };
        if let Some(tally) = &mut *self.tally.lock() {
            tally.add(key_space, key, counts);
        }
    }

    /// Starts a sample. Returns `None` if another sample is running.
    pub fn begin(&self) -> Option<Sample<'_>> {
        let mut tally = self.tally.lock();
        if tally.is_some() {
            return None;
        }
        *tally = Some(Tally::default());
        self.on.store(true, Ordering::Relaxed);
        Some(Sample(self))
    }
}

/// A running sample. Dropping it ends the sample.
#[derive(Debug)]
pub struct Sample<'a>(&'a Sampler);

impl Sample<'_> {
    /// Ends the sample and returns its counts.
    pub fn stop(self) -> Tally {
        let counted = self.0.tally.lock().as_mut().map(std::mem::take);
        counted.unwrap_or_default()
    }
}

impl Drop for Sample<'_> {
    fn drop(&mut self) {
        let mut tally = self.0.tally.lock();
        self.0.on.store(false, Ordering::Relaxed);
        *tally = None;
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const THREADS: u64 = 8;

    #[test]
    fn a_sample_adds_the_counts_of_all_threads_and_runs_alone() {
        let sampler = Sampler::default();
        let count = |key: &[u8]| sampler.count(KeySpace::V3, KeyOperation::Write, key);
        count(b"before");
        assert!(!sampler.is_on());
        let sample = sampler.begin().unwrap();
        assert!(sampler.is_on() && sampler.begin().is_none());
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| count(b"/a/b/c"));
            }
        });
        let (rows, others) = sample.stop().into_rows();
        assert!(!sampler.is_on());
        let counted: Vec<_> = rows
            .iter()
            .map(|row| (row.prefix.as_str(), row.counts.writes))
            .collect();
        assert_eq!(
            (counted, others),
            (vec![("/a/b/", THREADS)], TopCounts::default())
        );
        drop(sampler.begin().unwrap());
        assert!(!sampler.is_on() && sampler.begin().is_some());
    }
}

//! Counts operations on keys by prefix while a sample is taken (`/debug/top`). At all other times, this costs each operation
//! one relaxed load. `tally` contains the counts and is pure.

mod tally;

use std::{
    array,
    sync::atomic::{AtomicBool, Ordering},
};

use witan_api::top::{KeySpace, TopCounts};
use witan_base::{
    metrics::{STRIPES, stripe},
    sync::Mutex,
};

pub use tally::Tally;

/// The kinds of operations on keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOperation {
    /// Reads the key, or a range that starts with it.
    Read,
    /// Puts or deletes the key, or deletes a range that starts with it.
    Write,
}

impl KeyOperation {
    fn counts(self) -> TopCounts {
        match self {
            Self::Read => TopCounts { reads: 1, ..TopCounts::default() },
            Self::Write => TopCounts { writes: 1, ..TopCounts::default() },
        }
    }
}

/// Counts requests while a [`Sample`] is taken. Threads count into separate stripes, so that they do not wait for each other.
#[derive(Debug, Default)]
pub struct Sampler {
    on: AtomicBool,
    taken: AtomicBool,
    tallies: [Mutex<Tally>; STRIPES],
}

impl Sampler {
    /// Returns whether a sample is taken.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Counts an operation.
    #[cold]
    pub fn count(&self, key_space: KeySpace, operation: KeyOperation, key: &[u8]) {
        let mut tally = self.tallies[stripe()].lock();
        tally.add(key_space, key, operation.counts());
    }

    /// Starts a sample. Returns `None` while another sample is taken.
    pub fn begin(&self) -> Option<Sample<'_>> {
        if self.taken.swap(true, Ordering::AcqRel) {
            return None;
        }
        // an operation that detected the end of the last sample late may have left counts
        drop(self.take());
        self.on.store(true, Ordering::Relaxed);
        Some(Sample(self))
    }

    fn take(&self) -> [Tally; STRIPES] {
        array::from_fn(|stripe| std::mem::take(&mut *self.tallies[stripe].lock()))
    }
}

/// A running sample. Dropping it ends it, so that another sample can start.
#[derive(Debug)]
pub struct Sample<'a>(&'a Sampler);

impl Sample<'_> {
    /// Stops counting and returns the counts, with one tally for each stripe.
    pub fn stop(&mut self) -> [Tally; STRIPES] {
        self.0.on.store(false, Ordering::Relaxed);
        self.0.take()
    }
}

impl Drop for Sample<'_> {
    fn drop(&mut self) {
        drop(self.stop());
        self.0.taken.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_sample_has_what_all_threads_count_and_is_taken_alone() {
        let sampler = Sampler::default();
        let count = |key: &[u8]| sampler.count(KeySpace::V3, KeyOperation::Write, key);
        count(b"before");
        assert!(!sampler.is_on());
        let mut sample = sampler.begin().unwrap();
        assert!(sampler.is_on() && sampler.begin().is_none());
        thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| count(b"/a/b/c"));
            }
        });
        let mut all = Tally::default();
        sample.stop().into_iter().for_each(|tally| all.merge(tally));
        assert!(!sampler.is_on() && sampler.begin().is_none());
        let (rows, others) = all.into_rows();
        let counted: Vec<_> = rows
            .iter()
            .map(|row| (row.prefix.as_str(), row.counts.writes))
            .collect();
        assert_eq!(
            (counted, others),
            (vec![("/a/b/", 2 * STRIPES as u64)], TopCounts::default())
        );
        drop(sample);
        assert!(sampler.begin().is_some());
    }
}

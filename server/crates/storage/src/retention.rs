//! How long outdated entries and runs stay on disk. A copy of the directory of a running member (`cp -a`, its files in any
//! order) takes its time, and is complete only if nothing is removed in between to which a file that it copies refers.

use std::{
    collections::VecDeque,
    path::Path,
    time::{Duration, Instant},
};

use super::ledger::measure;

/// How long an outdated part stays on disk at most. A copy of the directory that takes no longer is complete, unless parts
/// were removed earlier to free space.
#[cfg(not(test))]
const KEPT_FOR: Duration = Duration::from_secs(60);
#[cfg(test)]
const KEPT_FOR: Duration = Duration::ZERO;

/// Outdated bytes that stay at most, as a multiple of the log between two checkpoints: in the log, and beside the checkpoint
/// those of another one.
pub(super) const OUTDATED_TIMES: u64 = 2;

/// On smaller file systems no outdated part stays.
const LARGE_BYTES: u64 = 4 << 30;
/// Free space without which outdated parts are removed at once: this part of the file system, and at most so many bytes.
const FREE_PART: u64 = 4;
const FREE_BYTES: u64 = 4 << 30;

/// Whether outdated parts may stay on the file system of `dir` at all.
pub(super) fn is_large(dir: &Path) -> bool {
    measure(dir).total >= LARGE_BYTES
}

/// Whether that has so much free space that they may stay now.
pub(super) fn has_room(dir: &Path) -> bool {
    let size = measure(dir);
    size.total >= LARGE_BYTES && size.free >= FREE_BYTES.min(size.total / FREE_PART)
}

/// Outdated parts that are still on disk, the oldest first.
#[derive(Debug)]
pub(super) struct Outdated<T> {
    parts: VecDeque<(Instant, T)>,
    kept_for: Duration,
}

impl<T> Default for Outdated<T> {
    fn default() -> Self {
        Self { parts: VecDeque::new(), kept_for: KEPT_FOR }
    }
}

impl<T> Outdated<T> {
    /// Adds a part that is outdated from now on.
    pub(super) fn push(&mut self, part: T) {
        self.parts.push_back((Instant::now(), part));
    }

    /// Takes the oldest part out if it has been kept for long enough, or if `goes` says so; its files may be removed now.
    pub(super) fn pop(&mut self, goes: impl FnOnce(&T) -> bool) -> Option<T> {
        let kept_for = self.kept_for;
        let due = |(since, part): &mut (Instant, T)| since.elapsed() >= kept_for || goes(part);
        self.parts.pop_front_if(due).map(|(_, part)| part)
    }

    /// Returns the time until the oldest part is due; `None` without a part.
    pub(super) fn due_in(&self) -> Option<Duration> {
        let (since, _) = self.parts.front()?;
        Some(self.kept_for.saturating_sub(since.elapsed()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.parts.iter().map(|(_, part)| part)
    }

    pub(super) fn clear(&mut self) {
        self.parts.clear();
    }

    /// For tests, which keep nothing by default.
    #[cfg(test)]
    pub(super) fn keep_for(&mut self, kept_for: Duration) {
        self.kept_for = kept_for;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_leave_in_their_order_when_their_time_is_over_or_the_caller_says_so() {
        let mut outdated = Outdated::default();
        outdated.keep_for(Duration::from_secs(3600));
        outdated.push(1);
        outdated.push(2);
        assert_eq!(outdated.pop(|_| false), None);
        assert!(outdated.due_in() > Some(Duration::from_secs(3000)));
        assert_eq!(outdated.pop(|part| *part == 2), None, "the oldest is 1");
        assert_eq!(outdated.pop(|part| *part == 1), Some(1));
        outdated.keep_for(Duration::ZERO);
        assert_eq!(outdated.due_in(), Some(Duration::ZERO));
        assert_eq!(outdated.pop(|_| false), Some(2));
        assert_eq!(outdated.due_in(), None);
    }
}

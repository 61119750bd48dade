//! Decides how long outdated entries and runs stay on disk. A running member's directory can be copied, for example with `cp
//! -a`. The copy is complete only if all files that the copied files refer to remain until the copy ends.

use std::{
    collections::VecDeque,
    path::Path,
    time::{Duration, Instant},
};

use super::ledger::measure;

/// Time for which outdated parts stay on disk, unless space is needed. A copy of the directory that is made within this time is
/// complete.
#[cfg(not(test))]
const KEPT_FOR: Duration = Duration::from_secs(60);
#[cfg(test)]
const KEPT_FOR: Duration = Duration::ZERO;

/// Maximum size of outdated parts, in checkpoint intervals. For the checkpoint, the size of one checkpoint is added.
pub(super) const OUTDATED_INTERVALS: u64 = 2;

/// File system size in bytes below which outdated parts are removed immediately.
const LARGE_BYTES: u64 = 4 << 30;
/// Free space below which outdated parts are removed immediately: a fourth of the file system, but at most 4 GiB.
const FREE_DIVISOR: u64 = 4;
const FREE_BYTES: u64 = 4 << 30;

/// Returns whether the file system of `dir` is large enough to keep outdated parts.
pub(super) fn is_large(dir: &Path) -> bool {
    measure(dir).total >= LARGE_BYTES
}

/// Returns whether the file system of `dir` is large and currently has enough free space to keep outdated parts.
pub(super) fn has_room(dir: &Path) -> bool {
    let size = measure(dir);
    size.total >= LARGE_BYTES && size.free >= FREE_BYTES.min(size.total / FREE_DIVISOR)
}

/// Outdated parts on disk, oldest first.
#[derive(Debug)]
pub(super) struct Outdated<T> {
    parts: VecDeque<(Instant, T)>,
    pub(super) kept_for: Duration,
}

impl<T> Default for Outdated<T> {
    fn default() -> Self {
        Self { parts: VecDeque::new(), kept_for: KEPT_FOR }
    }
}

impl<T> Outdated<T> {
    /// Adds an outdated part, whose retention begins now.
    pub(super) fn push(&mut self, part: T) {
        self.parts.push_back((Instant::now(), part));
    }

    /// Removes and returns the oldest part if its retention has ended, or if `is_early` returns true for it.
    pub(super) fn pop(&mut self, is_early: impl FnOnce(&T) -> bool) -> Option<T> {
        let kept_for = self.kept_for;
        let due = |(since, part): &mut (Instant, T)| since.elapsed() >= kept_for || is_early(part);
        self.parts.pop_front_if(due).map(|(_, part)| part)
    }

    /// Returns the time until the retention of the oldest part ends, or `None` if there are no parts.
    pub(super) fn due_in(&self) -> Option<Duration> {
        let (since, _) = self.parts.front()?;
        Some(self.kept_for.saturating_sub(since.elapsed()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.parts.iter().map(|(_, part)| part)
    }

    /// Drops all parts, even before their retention ends.
    pub(super) fn clear(&mut self) {
        self.parts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_removed_in_order_when_they_are_due_or_early() {
        let kept_for = Duration::from_secs(3600);
        let mut outdated = Outdated { kept_for, ..Outdated::default() };
        outdated.push(1);
        outdated.push(2);
        assert_eq!(outdated.pop(|_| false), None);
        assert!(outdated.due_in() > Some(Duration::from_secs(3000)));
        assert_eq!(outdated.pop(|part| *part == 2), None, "the oldest is 1");
        assert_eq!(outdated.pop(|part| *part == 1), Some(1));
        outdated.kept_for = Duration::ZERO;
        assert_eq!(outdated.due_in(), Some(Duration::ZERO));
        assert_eq!(outdated.pop(|_| false), Some(2));
        assert_eq!(outdated.due_in(), None);
    }
}

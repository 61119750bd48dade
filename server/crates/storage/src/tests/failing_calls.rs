//! Makes each file-system call of a checkpoint fail once, as on a full or broken disk. The checkpoint then exists completely or
//! not at all. A crash at that moment loses no acknowledged entry, and neither does the next checkpoint.

use std::{cell::Cell, io, path::Path};

use prost::Message as _;
use rustix::io::Errno;

use super::{
    workload::{Expected, apply, entry, first},
    *,
};

thread_local! {
    /// Number of calls on this thread until one fails, and its error; `None` if no failure is planned.
    static FAILS: Cell<Option<(usize, Errno)>> = const { Cell::new(None) };
}

/// Counts a call on this thread. Returns the error if this call is planned to fail.
pub(in super::super) fn inject_failure() -> io::Result<()> {
    match FAILS.get() {
        Some((0, error)) => {
            FAILS.set(None);
            Err(error.into())
        }
        Some((calls, error)) => {
            FAILS.set(Some((calls - 1, error)));
            Ok(())
        }
        None => Ok(()),
    }
}

/// Runs `done` and makes one call fail after `calls` successful calls. Also returns whether there was such a call.
pub(super) fn failing<T>(calls: usize, error: Errno, done: impl FnOnce() -> T) -> (T, bool) {
    FAILS.set(Some((calls, error)));
    let done = done();
    (done, FAILS.take().is_none())
}

/// A member with a small state, which makes all calls on the test's thread.
struct Member {
    storage: Storage,
    view: View,
    /// The state of the last durable checkpoint.
    base: View,
}

impl Member {
    /// Starts a member with two checkpoints and later entries.
    fn start(dir: &TempDir) -> Self {
        let (storage, _) = reopen(dir);
        let mut member = Self { storage, view: first(), base: first() };
        // Use small runs, so that a small state has several runs.
        member.storage.checkpoint.run_bytes = 8 << 10;
        member.storage.checkpoint.write(None, &first()).unwrap();
        member.write_to(9);
        member.checkpoint(Kind::Difference).unwrap();
        member.write_to(14);
        member
    }

    /// Applies the entries up to the index `last` and appends them to the log.
    fn write_to(&mut self, last: u64) {
        let mut batch = LogBatch { must_sync: true, ..LogBatch::default() };
        for index in self.view.position.index + 1..=last {
            let entry = entry(index);
            apply(&mut self.view, &entry);
            let payload = entry.encode_to_vec().into();
            batch.records.push(LogRecord { index, term: 1, payload });
        }
        batch.hard_state = Some(Bytes::from(last.to_le_bytes().to_vec()));
        self.storage.log.append(&batch);
    }

    /// Writes a checkpoint of the current state and cleans up after a failure, as the checkpointer does.
    fn checkpoint(&mut self, kind: Kind) -> io::Result<()> {
        let checkpoint = &mut self.storage.checkpoint;
        let written = match kind {
            Kind::Difference => checkpoint.write(Some(&self.base), &self.view),
            Kind::Whole => checkpoint.write(None, &self.view),
            Kind::Rewrite => checkpoint.rewrite(Some(&self.base), &self.view),
        };
        match written {
            Ok(()) => {
                let before = std::mem::replace(&mut self.base, self.view.clone());
                self.storage.log.cut(before.position.index);
                Ok(())
            }
            Err(error) => {
                self.storage.checkpoint.remove_others();
                Err(error)
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Difference,
    Whole,
    Rewrite,
}

/// Compares what a crash at this moment would leave with the acknowledged entries. Returns the checkpoint's index.
fn after_a_crash(data: &Path, acknowledged: u64, what: &str) -> u64 {
    let left = TempDir::new();
    copy(data, &left.data());
    let found = Expected::default().compare(&left.data());
    let found = found.unwrap_or_else(|error| panic!("{what}: refused: {error}"));
    assert_eq!(found.last, acknowledged, "{what}: {found:?}");
    found.checkpoint
}

/// Makes the next call on this thread fail.
pub(in super::super) fn fail_next(error: Errno) {
    FAILS.set(Some((0, error)));
}

pub(super) const ERRORS: [Errno; 2] = [Errno::IO, Errno::NOSPC];

/// Calls `fail` with 0, 1 and so on until it returns `false`, because no call is left to fail. Returns the number of calls.
pub(super) fn each_call(error: Errno, mut fail: impl FnMut(usize) -> bool) -> usize {
    let calls = (0..500).find(|calls| !fail(*calls));
    calls.unwrap_or_else(|| panic!("calls without end, {error}"))
}

#[test]
fn a_checkpoint_whose_call_fails_exists_completely_or_not_at_all() {
    for (kind, error) in [Kind::Difference, Kind::Whole, Kind::Rewrite]
        .into_iter()
        .flat_map(|kind| ERRORS.map(|error| (kind, error)))
    {
        let mut absent = 0;
        let calls = each_call(error, |calls| {
            let what = format!("{error} at call {calls} of {kind:?}");
            let dir = TempDir::new();
            let mut member = Member::start(&dir);
            let (written, failed) = failing(calls, error, || member.checkpoint(kind));
            let known = after_a_crash(&dir.data(), 14, &what);
            match written {
                Ok(()) => assert_eq!(known, 14, "{what}"),
                Err(_) => absent += 1,
            }
            member.write_to(18);
            member
                .checkpoint(Kind::Difference)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            member.write_to(20);
            assert_eq!(after_a_crash(&dir.data(), 20, &what), 18, "{what}");
            failed
        });
        assert!(
            calls > 20 && absent > 15,
            "{absent} of {calls} calls, {kind:?}"
        );
    }
}

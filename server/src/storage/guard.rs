//! A panic is the end of the process, whichever thread it is on, but for those of the disk's
//! libraries that are dealt with where they happen.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    process,
};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// From now on a panic is reported and then ends the process: state that half of a change was made
/// to serves nobody. Only what is `guarded` unwinds.
pub fn end_with_a_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        report(panic);
        if !GUARDED.get() {
            process::abort();
        }
    }));
}

/// While it lives, a panic on this thread unwinds.
pub(super) struct Guard {
    before: bool,
}

impl Guard {
    pub(super) fn new() -> Self {
        let before = GUARDED.replace(true);
        Self { before }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        GUARDED.set(self.before);
    }
}

/// Runs `work`; `None` if it panicked.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    let _guard = Guard::new();
    panic::catch_unwind(AssertUnwindSafe(work)).ok()
}

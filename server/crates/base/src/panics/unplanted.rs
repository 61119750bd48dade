//! Replaces `planted` in the released program: the same interface without any effect.

use std::task::Poll;

use super::PanicSource;

/// The panic planted in a request, which is always none.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlantedPanic(());

impl PlantedPanic {
    /// Ignores the headers.
    pub fn of<V: AsRef<[u8]>>(_: impl FnOnce(&'static str) -> Option<V>) -> Self {
        Self(())
    }

    /// Returns a plan without a panic.
    pub fn current() -> Self {
        Self(())
    }

    /// Runs a step of the request's work.
    pub fn during<T>(self, work: impl FnOnce() -> T) -> T {
        work()
    }
}

/// Runs synchronous work.
pub(super) fn call<T>(_: PanicSource, work: impl FnOnce() -> T) -> T {
    work()
}

/// Polls work.
pub(super) fn poll<T>(_: PanicSource, work: impl FnOnce() -> Poll<T>) -> Poll<T> {
    work()
}

/// Does nothing.
pub fn in_thread(_: &'static str) {}

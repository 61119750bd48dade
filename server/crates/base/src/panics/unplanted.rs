//! `planted` for the released program: the same interface without any effect.

/// The panic planted in a request: never one.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlantedPanic(());

impl PlantedPanic {
    /// Ignores the headers.
    pub fn of<H>(_: &H) -> Self {
        Self(())
    }

    /// Returns a plan without a panic: none is ever planted on this thread.
    pub fn current() -> Self {
        Self(())
    }

    /// Runs a step of the request's work.
    pub fn during<T>(self, work: impl FnOnce() -> T) -> T {
        work()
    }
}

/// Does nothing: the point can panic only in the program for tests.
pub fn here(_: &'static str) {}

/// Does nothing, in a thread that belongs to no request.
pub fn in_thread(_: &'static str) {}

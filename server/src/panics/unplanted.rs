//! What `planted` is in the program that ships: nothing.

/// The panic that a request asks for: none.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlantedPanic(());

impl PlantedPanic {
    /// That of a request with these headers.
    pub fn of<H>(_: &H) -> Self {
        Self(())
    }

    /// That of the work that runs on this thread.
    pub fn current() -> Self {
        Self(())
    }

    /// Does a step of the request's work.
    pub fn during<T>(self, work: impl FnOnce() -> T) -> T {
        work()
    }
}

/// A place where a test can plant a panic.
pub fn here(_: &'static str) {}

/// The same in a thread that belongs to no request.
pub fn in_thread(_: &'static str) {}

//! For tests: a request with the header [`HEADER`] panics at the point that it names. It exists only in the program
//! `witan-planted`, which the feature `planted-panics` builds.

use std::{
    cell::Cell,
    sync::{Mutex, PoisonError},
};

/// Header whose value names the point that panics.
pub const HEADER: &str = "witan-planted-panic";

/// Prefix of the names of points in threads that belong to no request.
const THREAD: &str = "thread ";

thread_local! {
    static CURRENT: Cell<PlantedPanic> = const { Cell::new(PlantedPanic(None)) };
}

/// The point that the last request with the prefix [`THREAD`] named.
static IN_THREAD: Mutex<Option<&'static str>> = Mutex::new(None);

/// The point at which the work of a request must panic, if any.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlantedPanic(Option<&'static str>);

/// Request headers, of either HTTP library.
pub trait Headers {
    /// Returns the value of [`HEADER`]; `None` without one.
    fn planted(&self) -> Option<&[u8]>;
}

impl Headers for http::HeaderMap {
    fn planted(&self) -> Option<&[u8]> {
        self.get(HEADER).map(http::HeaderValue::as_bytes)
    }
}

impl Headers for actix_web::http::header::HeaderMap {
    fn planted(&self) -> Option<&[u8]> {
        self.get(HEADER)
            .map(actix_web::http::header::HeaderValue::as_bytes)
    }
}

impl PlantedPanic {
    /// Returns the panic that the request's headers name. A point with the prefix `THREAD` applies to the whole process
    /// from now on.
    pub fn of<H: Headers>(headers: &H) -> Self {
        let Some(point) = headers.planted() else {
            return Self(None);
        };
        // tests name few points
        let point: &'static str = String::from_utf8_lossy(point).into_owned().leak();
        if point.starts_with(THREAD) {
            *IN_THREAD.lock().unwrap_or_else(PoisonError::into_inner) = Some(point);
        }
        Self(Some(point))
    }

    /// Returns the panic planted in the work that runs on this thread now.
    pub fn current() -> Self {
        CURRENT.get()
    }

    /// Runs a step of the request's work with this panic planted on the thread: [`here`] panics at its point.
    /// Afterwards, and when `work` panics, the previous one is restored.
    pub fn during<T>(self, work: impl FnOnce() -> T) -> T {
        struct Restore(PlantedPanic);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _restore = Restore(CURRENT.replace(self));
        work()
    }
}

/// Panics if the work on this thread has a panic planted at this point.
#[track_caller]
pub fn here(point: &'static str) {
    assert!(CURRENT.get().0 != Some(point), "planted: {point}");
}

/// Panics if a request has planted a panic at this point of a thread that belongs to no request.
#[track_caller]
pub fn in_thread(point: &'static str) {
    let asked = *IN_THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    let asked = asked.and_then(|asked| asked.strip_prefix(THREAD));
    assert!(asked != Some(point), "planted: {point}");
}

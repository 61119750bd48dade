//! For tests: a request with the header [`HEADER`] panics at the place that it names. It exists
//! only in the program `witan-planted`, which the feature `planted-panics` builds.

use std::{
    cell::Cell,
    sync::{Mutex, PoisonError},
};

/// Names the place.
pub const HEADER: &str = "witan-planted-panic";

/// Begins the name of a place in a thread that belongs to no request.
const THREAD: &str = "thread ";

thread_local! {
    static CURRENT: Cell<PlantedPanic> = const { Cell::new(PlantedPanic(None)) };
}

/// The place in a thread that was asked for.
static IN_THREAD: Mutex<Option<&'static str>> = Mutex::new(None);

/// The panic that a request asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlantedPanic(Option<&'static str>);

/// Where headers are looked up.
pub trait Headers {
    /// The value of [`HEADER`].
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
    /// That of a request with these headers.
    pub fn of<H: Headers>(headers: &H) -> Self {
        let Some(place) = headers.planted() else {
            return Self(None);
        };
        // tests name few places
        let place: &'static str = String::from_utf8_lossy(place).into_owned().leak();
        if place.starts_with(THREAD) {
            *IN_THREAD.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        }
        Self(Some(place))
    }

    /// That of the work that runs on this thread.
    pub fn current() -> Self {
        CURRENT.get()
    }

    /// Does a step of the request's work.
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

/// A place where a test can plant a panic.
#[track_caller]
pub fn here(place: &'static str) {
    assert!(CURRENT.get().0 != Some(place), "planted: {place}");
}

/// The same in a thread that belongs to no request.
#[track_caller]
pub fn in_thread(place: &'static str) {
    let asked = *IN_THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    let asked = asked.and_then(|asked| asked.strip_prefix(THREAD));
    assert!(asked != Some(place), "planted: {place}");
}

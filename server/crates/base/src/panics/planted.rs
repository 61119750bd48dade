//! For tests: a request with the header [`HEADER`] panics at the moment in the header. The panic arises in the boundary that
//! contains it, so handlers are not involved. It exists only in the program `witan-planted`, which the feature
//! `planted-panics` builds.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
};

use super::PanicSource;
use crate::sync::Mutex;

/// Header whose value names a source of panics, as in the metrics, and a moment of the request's work in it:
///
/// - `SOURCE poll N`: when the `N`th poll has returned, whether the work is done or waits;
/// - `SOURCE item N`: when the `N`th poll that is ready has returned: a future's result, or a part of a stream;
/// - `SOURCE call N`: before the `N`th function that runs at a stretch, with all that it was given.
///
/// The value `thread NAME` makes that thread panic, which belongs to no request.
const HEADER: &str = "witan-planted-panic";

thread_local! {
    static CURRENT: Cell<PlantedPanic> = const { Cell::new(PlantedPanic(None)) };
}

/// The thread in the last request with `thread NAME`.
static IN_THREAD: Mutex<Option<&'static str>> = Mutex::new(None);

/// The moment at which the work of a request must panic, if any.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlantedPanic(Option<&'static Moment>);

#[derive(Debug)]
struct Moment {
    source: &'static str,
    /// The kind: `poll`, `item` or `call`.
    kind: &'static str,
    /// Number of remaining moments of this kind, including the one that panics.
    left: AtomicUsize,
}

impl PlantedPanic {
    /// Returns the panic in a request's headers. A panic in a thread applies to the whole process from now on.
    pub fn of<V: AsRef<[u8]>>(header: impl FnOnce(&'static str) -> Option<V>) -> Self {
        let Some(value) = header(HEADER) else {
            return Self(None);
        };
        // Tests send few of these headers.
        let value: &'static str = String::from_utf8_lossy(value.as_ref()).into_owned().leak();
        if let Some(name) = value.strip_prefix("thread ") {
            *IN_THREAD.lock() = Some(name);
        }
        Self(Moment::named(value))
    }

    /// Returns the panic planted in the work that currently runs on this thread.
    pub fn current() -> Self {
        CURRENT.get()
    }

    /// Runs a step of the request's work with this panic planted on the thread. Afterwards, and when `work` panics, restores
    /// the previous panic.
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

impl Moment {
    /// Returns the moment with this name, or `None` if there is none.
    fn named(name: &'static str) -> Option<&'static Self> {
        let mut words = name.split(' ');
        let (source, kind) = (words.next()?, words.next()?);
        let left = AtomicUsize::new(words.next()?.parse().ok()?);
        Some(Box::leak(Box::new(Self { source, kind, left })))
    }
}

/// Runs synchronous work, or panics before it.
pub(super) fn call<T>(source: PanicSource, work: impl FnOnce() -> T) -> T {
    reached(source, "call");
    work()
}

/// Polls work. Panics instead of returning its result if that is the moment.
pub(super) fn poll<T>(source: PanicSource, work: impl FnOnce() -> Poll<T>) -> Poll<T> {
    let polled = work();
    reached(source, "poll");
    if polled.is_ready() {
        reached(source, "item");
    }
    polled
}

/// Panics if the work on this thread has a panic planted at this moment.
fn reached(source: PanicSource, kind: &str) {
    let planted = CURRENT.get().0;
    let planted = planted.filter(|moment| moment.source == source.label() && moment.kind == kind);
    let last = planted.is_some_and(|moment| moment.left.fetch_sub(1, Ordering::Relaxed) == 1);
    assert!(!last, "planted: {} {kind}", source.label());
}

/// Panics if a request has planted a panic in the thread with this name, which belongs to no request.
#[track_caller]
pub fn in_thread(name: &'static str) {
    let asked = *IN_THREAD.lock();
    assert!(asked != Some(name), "planted: {name}");
}

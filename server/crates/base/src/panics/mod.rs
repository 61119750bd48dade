//! Containment of panics: a panic in the work of a request ends only this request. Any other panic ends the process, unless it
//! happens in a storage library.
//!
//! A panic is contained only where the request's state is dropped after the panic. [`contain`] contains the panics of a future,
//! and [`catch`] the panics of one step. [`run_blocking`] moves a panic from a blocking thread to the task that waits for the
//! work. Elsewhere (the replica, the log, the checkpoint, the workers' own tasks), a panic can leave a partial change, so the
//! process exits with [`EXIT_PANICKED`].

#[cfg(feature = "planted-panics")]
mod planted;
mod source;

use std::{
    any::Any,
    cell::Cell,
    io,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    pin::Pin,
    process,
    task::{Context, Poll},
    thread,
};

use pin_project_lite::pin_project;
use tokio::task::{AbortHandle, JoinError, JoinHandle, spawn_blocking};

#[cfg(feature = "planted-panics")]
use self::planted::reached;

pub use source::{PanicMetrics, PanicSource};

/// The exit code after an uncontained panic.
pub const EXIT_PANICKED: i32 = 31;

thread_local! {
    static SCOPE: Cell<Scope> = const { Cell::new(Scope::Process) };
    static UNWINDING: Cell<Option<CaughtPanic>> = const { Cell::new(None) };
}

/// The scope that a panic on this thread ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Process,
    /// The call of a storage library.
    Library,
    Request,
}

/// A contained and logged panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaughtPanic {
    location: String,
    message: String,
}

impl CaughtPanic {
    fn of(info: &PanicHookInfo<'_>) -> Self {
        Self {
            location: info.location().map(ToString::to_string).unwrap_or_default(),
            message: text(info.payload()).to_owned(),
        }
    }
}

/// Returns the message of a panic, or a fixed message if the payload is not a string.
fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

/// Installs the panic hook. The hook saves a request's panic for the function that catches it, and passes any other panic to
/// the previous hook. The process then exits, unless the panic happened in a storage library.
pub fn install_hook() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| match SCOPE.get() {
        Scope::Request => {
            // An error means that the thread is ending.
            let _ = UNWINDING.try_with(|unwinding| unwinding.set(Some(CaughtPanic::of(info))));
        }
        Scope::Library => report(info),
        Scope::Process => {
            report(info);
            process::exit(EXIT_PANICKED);
        }
    }));
}

/// A guard. While it exists, a panic on this thread unwinds instead of ending the process.
#[derive(Debug)]
pub struct UnwindScope {
    before: Scope,
}

impl UnwindScope {
    /// Creates the guard for the calling thread.
    pub fn begin() -> Self {
        Self::of(Scope::Library)
    }

    /// Sets the scope of the calling thread until the guard is dropped, which restores the previous scope.
    fn of(scope: Scope) -> Self {
        let before = SCOPE.replace(scope);
        Self { before }
    }
}

impl Drop for UnwindScope {
    fn drop(&mut self) {
        SCOPE.set(self.before);
    }
}

/// Marks a point at which a test build can panic. Does nothing in a release.
#[cfg(not(feature = "planted-panics"))]
fn reached(_boundary: &str, _moment: &str) {}

/// Starts a thread whose work belongs to no single request. A panic on this thread ends the process.
pub fn start_thread(
    name: &'static str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(move || {
        reached("thread", name);
        work();
    })
}

/// Calls a storage library. Returns `None` if the library panicked. The previous panic hook reports the panic, but the process
/// continues.
pub fn catch_in_library<T>(work: impl FnOnce() -> T) -> Option<T> {
    let _guard = UnwindScope::begin();
    let work = || {
        reached("library", thread::current().name().unwrap_or_default());
        work()
    };
    panic::catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Runs one step of a request's work. Logs a panic and returns it as the error, for the caller to count in [`PanicMetrics`].
pub fn catch<T>(handler: PanicSource, work: impl FnOnce() -> T) -> Result<T, CaughtPanic> {
    catch_any(handler, || {
        reached(handler.label(), "call");
        work()
    })
}

/// Polls a request's work once. Logs a panic and returns it as the error, like [`catch`].
pub fn catch_poll<T>(
    handler: PanicSource,
    poll: impl FnOnce() -> Poll<T>,
) -> Result<Poll<T>, CaughtPanic> {
    catch_any(handler, || {
        let polled = poll();
        reached(handler.label(), "poll");
        if polled.is_ready() {
            reached(handler.label(), "item");
        }
        polled
    })
}

/// Runs `work`. Returns a panic as the error and logs it unless it was logged before.
fn catch_any<T>(handler: PanicSource, work: impl FnOnce() -> T) -> Result<T, CaughtPanic> {
    let _guard = UnwindScope::of(Scope::Request);
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let payload = match payload.downcast::<CaughtPanic>() {
            // The panic was logged where it was first caught.
            Ok(panicked) => return *panicked,
            Err(payload) => payload,
        };
        let unwinding = UNWINDING.try_with(Cell::take).ok().flatten();
        let panicked = unwinding.unwrap_or_else(|| CaughtPanic {
            location: String::new(),
            message: text(&*payload).to_owned(),
        });
        tracing::error!(
            handler = handler.label(),
            location = panicked.location,
            panic = panicked.message,
            "a request panicked; no other request is affected. Please report this"
        );
        panicked
    })
}

/// Wraps a request's work. A panic of the work is logged, counted in `metrics` and returned as the future's error.
pub fn contain<F: Future>(metrics: &PanicMetrics, handler: PanicSource, work: F) -> Contain<'_, F> {
    Contain { metrics: Some(metrics), ..catch_in(handler, work) }
}

/// Like [`contain`], but does not count a panic. The caller counts or propagates it.
pub fn catch_in<'a, F: Future>(handler: PanicSource, work: F) -> Contain<'a, F> {
    Contain { work, handler, metrics: None }
}

pin_project! {
    /// A future whose panic becomes an error. An `async fn` would store the work twice for each connection and call.
    #[must_use = "futures do nothing unless polled"]
    pub struct Contain<'a, F> {
        #[pin]
        work: F,
        handler: PanicSource,
        metrics: Option<&'a PanicMetrics>,
    }
}

impl<F: Future> Future for Contain<'_, F> {
    type Output = Result<F::Output, CaughtPanic>;

    /// Polls the work. The future must not be polled again after a panic.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let handler = *this.handler;
        match catch_poll(handler, || this.work.poll(cx)) {
            Ok(polled) => polled.map(Ok),
            Err(panicked) => {
                if let Some(metrics) = this.metrics {
                    metrics.panicked(handler);
                }
                Poll::Ready(Err(panicked))
            }
        }
    }
}

/// Runs a request's work on a blocking thread, to its end even if the caller is dropped. A panic resumes in the awaiting task.
/// Fails if the runtime ends first.
pub async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let done = spawn(work).await?;
    Ok(done.unwrap_or_else(|panicked| rethrow(panicked)))
}

/// Runs work to its end on a blocking thread, even if the caller drops the handle. A panic becomes the error of the result.
pub fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<Result<T, CaughtPanic>> {
    spawn_blocking(move || catch(PanicSource::Job, work))
}

/// Runs `work` in a separate task, which is aborted when the caller is dropped. A call must wait for a permit in such a task:
/// while the call's connection has unsent output, the call is not polled, and a permit that it had received would stay unused.
/// A panic of `work` resumes in the caller. Fails if the runtime ends first.
pub async fn in_task<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, JoinError> {
    struct AbortOnDrop(AbortHandle);
    impl Drop for AbortOnDrop {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let task = tokio::spawn(catch_in(PanicSource::Job, work));
    let _abort = AbortOnDrop(task.abort_handle());
    Ok(task.await?.unwrap_or_else(|panicked| rethrow(panicked)))
}

/// Resumes a caught panic in the request's task, without logging it again.
pub fn rethrow(panicked: CaughtPanic) -> ! {
    panic::resume_unwind(Box::new(panicked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{MetricsPage, Register};

    #[tokio::test]
    async fn a_panic_is_contained_logged_with_its_location_and_counted() {
        // The panic hook of the test process reports and unwinds.
        let on = Register::default();
        let metrics = PanicMetrics::register(&on);
        let done = contain(&metrics, PanicSource::Grpc, async { 7 }).await;
        assert_eq!(done, Ok(7));
        let work = async {
            tokio::task::yield_now().await;
            panic!("on {}", "purpose")
        };
        let done: Result<(), _> = contain(&metrics, PanicSource::Grpc, work).await;
        assert_eq!(done.unwrap_err().message, "on purpose");
        let work = run_blocking(|| panic!("on another thread"));
        let done: Result<Result<(), _>, _> = contain(&metrics, PanicSource::Gateway, work).await;
        assert_eq!(done.unwrap_err().message, "on another thread");
        let rendered = MetricsPage::new(on).render();
        for (handler, count) in [("grpc", 1), ("gateway", 1), ("http", 0)] {
            let line = format!("witan_panics_total{{handler=\"{handler}\"}} {count}");
            assert!(rendered.contains(&line), "{line}: {rendered}");
        }
        assert_eq!(SCOPE.get(), Scope::Process);
    }
}

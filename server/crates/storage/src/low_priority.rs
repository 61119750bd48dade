//! Runs background work on a low-priority thread, so that the scheduler prefers requests.

use std::{io, thread};

use rustix::process::{getpriority_process, setpriority_process};

/// Increment of the nice value: the thread gets a ninth of a normal thread's CPU share.
const NICE_INCREMENT: i32 = 10;

/// Runs `work` on a new low-priority thread and returns its result. The thread is not reused, because an unprivileged process
/// cannot raise a priority again. A panic in `work` becomes an error.
pub fn run_at_low_priority<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let work = || {
        lower_priority();
        work()
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("rewrite".to_owned());
        let done = thread.spawn_scoped(scope, work)?.join();
        done.unwrap_or_else(|_| Err(io::Error::other("a panic occurred")))
    })
}

/// Lowers the priority of the calling thread by [`NICE_INCREMENT`], but not below the kernel's lowest priority. Linux has
/// priorities per thread. Only logs a failure.
pub(super) fn lower_priority() {
    let lowered =
        getpriority_process(None).and_then(|now| setpriority_process(None, now + NICE_INCREMENT));
    if let Err(error) = lowered {
        tracing::debug!(%error, "failed to lower the priority of a thread");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_work_gets_a_lower_priority() {
        let own = getpriority_process(None).unwrap();
        let quiet = run_at_low_priority(|| Ok(getpriority_process(None)?)).unwrap();
        assert_eq!(quiet, (own + NICE_INCREMENT).min(19));
        assert_eq!(getpriority_process(None).unwrap(), own);
    }

    #[test]
    fn a_panic_is_an_error() {
        let outcome: io::Result<()> = run_at_low_priority(|| panic!("planted"));
        let error = outcome.unwrap_err().to_string();
        assert_eq!(error, "a panic occurred");
    }
}

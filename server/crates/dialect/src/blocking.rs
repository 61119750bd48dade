//! Runs work on large messages on other threads, so that the work does not block a worker. At most one job per processor runs
//! at a time, because more jobs would only use more memory. Jobs that read the state use `jobs` instead.

use witan_base::{
    account::{Account, JobKind},
    panics,
};
use witan_node::NodeError;

/// Maximum size in bytes of JSON and forms that the worker itself processes. Processing this size takes a few milliseconds. For
/// v1 and v2 responses, this is the size before escaping, which can multiply it by six.
pub const INLINE_BYTES: usize = 128 << 10;

/// Maximum number of leases or nodes in a listing that the worker itself builds.
pub const INLINE_ITEMS: usize = 2048;

/// Waits for one of the connection's permits and runs `work` on another thread. Panics if `work` panics. Fails with `Stopped`
/// if the runtime ends first. Dropping the future cancels only work that has not started; running work keeps its permit until
/// it ends.
pub async fn run<T: Send + 'static>(
    account: &Account,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NodeError> {
    let account = account.clone();
    let done = panics::in_task(async move {
        let permit = account.permit(JobKind::Message).await;
        let done = panics::run_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await
    });
    done.await.flatten().map_err(|_| NodeError::Stopped)
}

/// Runs `work` on this thread or, if it is `large`, on another thread with [`run`]. Fails with `Stopped` if the runtime ends
/// first.
pub async fn run_if<T: Send + 'static>(
    account: &Account,
    large: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NodeError> {
    if large {
        // The box keeps the future of a small request small.
        Box::pin(run(account, work)).await
    } else {
        Ok(work())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};

    use futures_util::FutureExt as _;
    use witan_base::{account::Totals, metrics::Register};

    use super::*;

    /// Takes all permits until the returned sender is dropped.
    async fn occupy(account: &Account) -> mpsc::SyncSender<()> {
        let (go, wait) = mpsc::sync_channel::<()>(1);
        let wait = Arc::new(Mutex::new(wait));
        while let Some(permit) = account.try_permit(JobKind::Message) {
            let (begin, begun) = tokio::sync::oneshot::channel();
            drop(permit);
            let (wait, account) = (wait.clone(), account.clone());
            let running = tokio::spawn(async move {
                let work = move || {
                    begin.send(()).unwrap();
                    let _ = wait.lock().map(|wait| wait.recv());
                };
                run(&account, work).await
            });
            begun.await.unwrap();
            // The work continues without its caller and keeps the permit.
            running.abort();
            assert!(running.await.is_err());
        }
        go
    }

    #[tokio::test]
    async fn no_more_jobs_run_than_there_are_permits() {
        let account = Totals::register(&Register::default(), u64::MAX).open();
        let go = occupy(&account).await;
        let mut second = Box::pin(run(&account, || 2));
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(run_if(&account, false, || 3).await, Ok(3));
        drop(go);
        assert_eq!(second.await, Ok(2));
    }

    #[tokio::test]
    async fn callers_that_are_not_polled_hold_no_permits() {
        let account = Totals::register(&Register::default(), u64::MAX).open();
        let go = occupy(&account).await;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let mut unpolled: Vec<_> = (0..processors)
            .map(|number| Box::pin(run(&account, move || number)))
            .collect();
        for call in &mut unpolled {
            assert!(call.as_mut().now_or_never().is_none());
        }
        tokio::task::yield_now().await;
        drop(go);
        assert_eq!(run(&account, || 7).await, Ok(7));
        assert_eq!(unpolled.remove(0).await, Ok(0));
    }

    #[tokio::test]
    async fn a_job_whose_caller_was_dropped_does_not_run() {
        let account = Totals::register(&Register::default(), u64::MAX).open();
        let go = occupy(&account).await;
        let ran = Arc::new(Mutex::new(Vec::new()));
        let job = |name| {
            let ran = ran.clone();
            Box::pin(run(&account, move || ran.lock().unwrap().push(name)))
        };
        let (mut left, mut stays) = (job("left"), job("stays"));
        assert!(left.as_mut().now_or_never().is_none());
        assert!(stays.as_mut().now_or_never().is_none());
        drop(left);
        drop(go);
        assert_eq!(stays.await, Ok(()));
        assert_eq!(*ran.lock().unwrap(), ["stays"]);
    }
}

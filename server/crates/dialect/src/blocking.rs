//! Runs work that would block a worker, and with it other clients, on other threads, a few jobs at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use witan_base::panics;
use witan_node::NodeError;

/// JSON and forms up to this size are read and written on the worker, which takes a few milliseconds. Texts of v1 and
/// v2 count without their escapes, which make them up to six times as long.
pub const INLINE_BYTES: usize = 128 << 10;

/// Up to this many leases or nodes are listed on the worker.
pub const INLINE_ITEMS: usize = 2048;

/// Runs jobs on other threads, at most so many at once; further ones wait. Clones share.
#[derive(Clone, Debug)]
pub struct BlockingPool(Arc<Semaphore>);

impl BlockingPool {
    /// Creates a pool that runs at most `jobs_max` jobs at once.
    pub(crate) fn new(jobs_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(jobs_max)))
    }

    /// Creates a pool with one job per processor: more jobs that compute would only hold more memory at once.
    pub fn of_processors() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Waits for a permit to run a job. The job holds the permit until the permit is dropped.
    pub(crate) async fn acquire(&self) -> Result<OwnedSemaphorePermit, NodeError> {
        // the semaphore is never closed
        let permit = self.0.clone().acquire_owned().await;
        permit.map_err(|_| NodeError::Stopped)
    }

    /// Runs `work` on another thread as soon as a permit is free; `Stopped` if the runtime ends before.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NodeError> {
        run_in(self.acquire().await?, work).await
    }

    /// Runs `work` at once on this thread, or with a permit on another thread if it is `large`; `Stopped` if the
    /// runtime ends before.
    pub async fn run_if<T: Send + 'static>(
        &self,
        large: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NodeError> {
        if large {
            // a separate future, so that the one of a small request stays small
            Box::pin(self.run(work)).await
        } else {
            Ok(work())
        }
    }
}

/// Runs `work` on another thread. `permit` is held until the work has ended, whether or not the caller still waits for
/// it.
pub(crate) async fn run_in<T: Send + 'static>(
    permit: impl Send + 'static,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NodeError> {
    let done = panics::run_blocking(move || {
        let _permit = permit;
        work()
    });
    done.await.map_err(|_| NodeError::Stopped)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn no_more_jobs_run_than_there_are_permits() {
        let jobs = BlockingPool::new(1);
        let (go, wait) = mpsc::sync_channel(1);
        let first = tokio::spawn({
            let jobs = jobs.clone();
            async move { jobs.run(move || wait.recv()).await }
        });
        while jobs.0.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        // the work continues without its caller and holds the permit
        first.abort();
        assert!(first.await.is_err());
        let mut second = Box::pin(jobs.run(|| 2));
        let waits = second.as_mut().now_or_never().is_none();
        assert!(waits && jobs.0.available_permits() == 0);
        assert_eq!(jobs.run_if(false, || 3).await, Ok(3));
        go.send(()).unwrap();
        assert_eq!(second.await, Ok(2));
    }
}

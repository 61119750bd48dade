//! Decodes and encodes large messages on other threads, where they cannot block a worker. A few jobs run at once, and
//! connections take turns. A job that reads the state does not run here; it needs a permit of its own (`job_limits`).

use std::sync::Arc;

use witan_base::{
    client_network::{ClientConnection, ClientNetwork},
    panics,
};
use witan_node::NodeError;

use super::fair_semaphore::{FairPermit, FairSemaphore};

/// JSON and forms up to this size are read and written on the worker, which takes a few milliseconds. Texts of v1 and
/// v2 count without their escapes, which make them up to six times as long.
pub const INLINE_BYTES: usize = 128 << 10;

/// Up to this many leases or nodes are listed on the worker.
pub const INLINE_ITEMS: usize = 2048;

/// Runs a limited number of jobs on other threads; further jobs wait. A connection may queue as many jobs as may run at
/// once, so it delays other connections by one round. Clones share the limit.
#[derive(Clone, Debug)]
pub struct BlockingPool {
    permits: Arc<FairSemaphore<ClientConnection>>,
    /// The connection whose jobs this handle runs.
    connection: ClientConnection,
}

impl BlockingPool {
    /// Creates a pool that runs at most `jobs_max` jobs at once.
    pub(crate) fn new(jobs_max: usize) -> Self {
        Self {
            permits: Arc::new(FairSemaphore::with_share(jobs_max, jobs_max)),
            connection: ClientConnection::default(),
        }
    }

    /// Returns a handle for the jobs of a client's connection.
    pub(crate) fn of_client(&self, client: ClientNetwork) -> Self {
        Self {
            connection: client.connection(),
            permits: self.permits.clone(),
        }
    }

    /// Creates a pool with one job per processor: more jobs that compute would only hold more memory at once.
    pub fn of_processors() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Runs `work` on another thread as soon as a permit is free. Returns `Stopped` if the runtime ends first. Dropping
    /// the future cancels work that still waits; running work keeps its permit until it ends.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NodeError> {
        let permit: FairPermit = self.permits.take(self.connection).await?;
        let done = panics::run_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.map_err(|_| NodeError::Stopped)
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

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use futures_util::FutureExt as _;

    use super::*;

    fn connection(port: u16) -> ClientNetwork {
        ClientNetwork::of_peer(Some(([10, 0, 0, 1], port).into()))
    }

    /// Occupies a pool of one job until the returned sender sends.
    async fn occupy(jobs: &BlockingPool) -> mpsc::SyncSender<()> {
        let (go, wait) = mpsc::sync_channel(1);
        let (begin, begun) = tokio::sync::oneshot::channel();
        let running = tokio::spawn({
            let jobs = jobs.clone();
            async move {
                jobs.run(move || {
                    begin.send(()).unwrap();
                    wait.recv()
                })
                .await
            }
        });
        begun.await.unwrap();
        // the work continues without its caller and holds the permit
        running.abort();
        assert!(running.await.is_err());
        go
    }

    #[tokio::test]
    async fn no_more_jobs_run_than_there_are_permits() {
        let jobs = BlockingPool::new(1);
        let go = occupy(&jobs).await;
        let mut second = Box::pin(jobs.run(|| 2));
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(jobs.run_if(false, || 3).await, Ok(3));
        go.send(()).unwrap();
        assert_eq!(second.await, Ok(2));
    }

    #[tokio::test]
    async fn a_connection_with_many_jobs_delays_others_by_one_round() {
        let pool = BlockingPool::new(1);
        let [busy, other] = [1, 2].map(|port| pool.of_client(connection(port)));
        let go = occupy(&busy).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let job = |pool: &BlockingPool, name: &'static str| {
            let (pool, order) = (pool.clone(), order.clone());
            let work = move || order.lock().unwrap().push(name);
            Box::pin(async move { pool.run(work).await })
        };
        let mut waiting: Vec<_> = (0..100).map(|_| job(&busy, "busy")).collect();
        waiting.push(job(&other, "other"));
        for job in &mut waiting {
            assert!(job.now_or_never().is_none());
        }
        go.send(()).unwrap();
        futures_util::future::join_all(waiting).await;
        let order = order.lock().unwrap();
        let at = order.iter().position(|name| *name == "other");
        assert!(at.is_some_and(|at| at <= 1), "{order:?}");
        assert_eq!(order.len(), 101);
    }

    #[tokio::test]
    async fn a_job_whose_caller_has_left_does_not_run() {
        let jobs = BlockingPool::new(1);
        let go = occupy(&jobs).await;
        let ran = Arc::new(Mutex::new(Vec::new()));
        let job = |name| {
            let ran = ran.clone();
            Box::pin(jobs.run(move || ran.lock().unwrap().push(name)))
        };
        let (mut left, mut stays) = (job("left"), job("stays"));
        assert!(left.as_mut().now_or_never().is_none());
        assert!(stays.as_mut().now_or_never().is_none());
        drop(left);
        go.send(()).unwrap();
        assert_eq!(stays.await, Ok(()));
        assert_eq!(*ran.lock().unwrap(), ["stays"]);
    }
}

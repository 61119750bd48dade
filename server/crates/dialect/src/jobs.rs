//! Jobs that read many keys, or values from disk. A job takes a permit from its connection's account. A read of many keys holds
//! its permit until its response is encoded.

use witan_base::{
    account::{Account, JobKind, Permit},
    panics::{self, PanicSource},
};
use witan_machine::view::View;
use witan_node::{Job, NodeError};

use super::{Context, reply};

impl Context {
    /// Waits for a permit, then returns a job for a scan of the entire store. Fails if no state is available.
    pub async fn scan(&self) -> Result<Job<Permit>, NodeError> {
        let permit = self.account().permit(JobKind::Scan).await;
        self.node.job(permit).await
    }

    /// Waits for a permit, then returns a job for a read of many keys. Fails if no state is available.
    pub async fn large_read(&self) -> Result<Job<Permit>, NodeError> {
        let permit = self.account().permit(JobKind::Read).await;
        self.node.job(permit).await
    }

    /// Runs `work`, a short read, on this member's state with [`read_from_disk`]. `bytes` returns the size of the result. Like
    /// a read of values in memory, `work` is not aborted if the state pins too much memory.
    pub async fn disk_read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&View) -> T + Send + 'static,
        bytes: impl FnOnce(&T) -> usize + Send + 'static,
    ) -> Result<T, NodeError> {
        let node = self.node.clone();
        let job = async move { node.job(()).await };
        let run = |job: Job<()>| work(&job);
        read_from_disk(self.account(), job, run, bytes).await
    }
}

/// Runs `work`, a short read of values on disk, on another thread. Waits for a permit first and then for `state`, so that a
/// waiting reader pins no state. Panics if `work` panics. Fails with `Stopped` if the runtime ends first.
///
/// Holds the process's permit until `work` ends, and the connection's permit until the caller takes the result. Until then,
/// also charges the size of the result, which `bytes` returns, because it might take a long time until the connection is
/// polled. Fails with `TooMany` if the memory for unread responses is used up.
pub async fn read_from_disk<S, T, E>(
    account: &Account,
    state: impl Future<Output = Result<S, E>> + Send + 'static,
    work: impl FnOnce(S) -> T + Send + 'static,
    bytes: impl FnOnce(&T) -> usize + Send + 'static,
) -> Result<T, E>
where
    S: Send + 'static,
    T: Send + 'static,
    E: From<NodeError> + Send + 'static,
{
    let account = account.clone();
    // Use a separate task, because otherwise a call that is not polled would keep the process's permit.
    let read = panics::in_task(async move {
        let mut permit = account.permit(JobKind::Disk).await;
        let state = state.await?;
        let done = panics::run_blocking(move || {
            let done = work(state);
            permit.end_job();
            (done, permit)
        });
        let (done, permit) = done.await.map_err(|_| E::from(NodeError::Stopped))?;
        let charge = reply::charge(Some(&account), bytes(&done));
        let charge = charge.map_err(|_| E::from(NodeError::TooMany))?;
        Ok::<_, E>((done, permit, charge))
    });
    let (done, _permit, _charge) = read.await.map_err(|_| E::from(NodeError::Stopped))??;
    Ok(done)
}

/// Runs `work` to its end on this worker, even if the returned future is dropped. Holds `permit` until then. Returns the result
/// and the permit. Panics if `work` panics. Fails with `Stopped` if the worker ends first.
pub async fn run_to_end<P: 'static, T: 'static>(
    permit: P,
    work: impl Future<Output = T> + 'static,
) -> Result<(T, P), NodeError> {
    let work = panics::catch_in(PanicSource::Job, work);
    let task = actix_web::rt::spawn(async move { (work.await, permit) });
    let (done, permit) = task.await.map_err(|_| NodeError::Stopped)?;
    let done = done.unwrap_or_else(|panicked| panics::rethrow(panicked));
    Ok((done, permit))
}

/// A response that keeps its request's permit until the response is encoded or charged. Until then, only permits limit the
/// memory of responses.
#[derive(Debug)]
pub struct WithPermit<A> {
    /// The response.
    pub response: A,
    _permit: Option<Permit>,
}

impl<A> WithPermit<A> {
    /// Combines a response with its request's permit, or with `None` if the request needed no permit.
    pub fn new(response: A, permit: Option<Permit>) -> Self {
        let _permit = permit;
        Self { response, _permit }
    }

    /// Creates a response to a request that needs no permit.
    pub fn without(response: A) -> Self {
        Self::new(response, None)
    }

    /// Converts the response and keeps its permit.
    pub fn map<B>(self, convert: impl FnOnce(A) -> B) -> WithPermit<B> {
        WithPermit::new(convert(self.response), self._permit)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;
    use witan_base::{
        account::{Resource, Totals},
        metrics::Register,
    };

    use super::*;

    #[actix_web::test]
    async fn work_keeps_its_permit_after_its_caller_is_dropped() {
        let account = Totals::register(&Register::default(), u64::MAX).open();
        let _other = account.permit(JobKind::Read).await;
        let (end, ended) = oneshot::channel::<()>();
        let mut call = Box::pin(run_to_end(account.permit(JobKind::Read).await, ended));
        assert!(call.as_mut().now_or_never().is_none());
        drop(call);
        tokio::task::yield_now().await;
        let free = || account.try_permit(JobKind::Read).is_some();
        assert!(!free(), "the work continues");
        end.send(()).expect("the work waits for the end");
        let permit = account.permit(JobKind::Read).await;
        let (done, _permit) = run_to_end(permit, async { 7 }).await.unwrap();
        assert_eq!(done, 7);
        assert!(!free(), "the response holds the permit");
    }

    #[actix_web::test]
    async fn a_read_from_disk_that_is_not_polled_delays_only_its_connection() {
        let totals = Totals::register(&Register::default(), u64::MAX);
        let [account, other, third] = [(); 3].map(|()| totals.open());
        let permits = |account: &Account| -> Vec<Permit> {
            std::iter::from_fn(|| account.try_permit(JobKind::Disk)).collect()
        };
        let held = permits(&account);
        let own = held.len();
        let worker = std::thread::current().id();
        let state = async move { Ok::<_, NodeError>(worker) };
        let (ends, ended) = oneshot::channel();
        let work = |worker| {
            ends.send(()).expect("the test waits for the end");
            std::thread::current().id() != worker
        };
        let mut read = Box::pin(read_from_disk(&account, state, work, |_| 0));
        assert!(read.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
        drop(held);
        assert_eq!(permits(&account).len(), own - 1, "the read has a permit");
        ended.await.expect("the read runs");
        let _half = permits(&other);
        while permits(&third).len() < own {
            tokio::task::yield_now().await;
        }
        assert_eq!(permits(&account).len(), own - 1, "the result has a permit");
        assert_eq!(read.await, Ok(true));
        assert_eq!(permits(&account).len(), own);
    }

    #[actix_web::test]
    async fn a_result_from_disk_that_is_not_taken_is_charged() {
        let totals = Totals::register(&Register::default(), u64::MAX);
        let [account, other] = [(); 2].map(|()| totals.open());
        let limit = Resource::Answers.limit();
        let read = || {
            let state = async { Ok::<_, NodeError>(()) };
            Box::pin(read_from_disk(&account, state, |()| (), move |_| limit))
        };
        let is_free = || other.hold(Resource::Answers, 1).is_some();
        let mut first = read();
        assert!(first.as_mut().now_or_never().is_none());
        while is_free() {
            tokio::task::yield_now().await;
        }
        assert_eq!(first.await, Ok(()));
        assert!(is_free());
        let _unread = other.hold(Resource::Answers, limit);
        assert_eq!(read().await, Err(NodeError::TooMany));
    }
}

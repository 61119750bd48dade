//! Jobs that read many keys. A job takes a permit from its connection's account and keeps it until its answer is encoded.

use witan_base::{
    account::{JobKind, Permit},
    panics::{self, PanicSource},
};
use witan_node::{Job, NodeError};

use super::Context;

impl Context {
    /// Waits for a permit, then starts a scan of the whole store.
    pub async fn scan(&self) -> Result<Job<Permit>, NodeError> {
        let permit = self.account().permit(JobKind::Scan).await;
        self.node.job(permit).await
    }

    /// Waits for a permit, then starts a read of many keys.
    pub async fn large_read(&self) -> Result<Job<Permit>, NodeError> {
        let permit = self.account().permit(JobKind::Read).await;
        self.node.job(permit).await
    }
}

/// Runs `work` to its end on this worker, even if the caller is dropped. Returns its result and the permit. Panics if `work`
/// panics. Fails with `Stopped` if the worker ends first.
pub async fn run_to_end<T: 'static>(
    permit: Permit,
    work: impl Future<Output = T> + 'static,
) -> Result<(T, Permit), NodeError> {
    let work = panics::catch_in(PanicSource::Job, work);
    let task = actix_web::rt::spawn(async move { (work.await, permit) });
    let (done, permit) = task.await.map_err(|_| NodeError::Stopped)?;
    let done = done.unwrap_or_else(|panicked| panics::rethrow(panicked));
    Ok((done, permit))
}

/// An answer that keeps its request's permit until it is encoded or charged to its connection. Until then, no other limit
/// bounds the memory of the data.
#[derive(Debug)]
pub struct WithPermit<A> {
    /// The answer.
    pub answer: A,
    _permit: Option<Permit>,
}

impl<A> WithPermit<A> {
    /// Combines an answer with its request's permit.
    pub fn new(answer: A, permit: Option<Permit>) -> Self {
        let _permit = permit;
        Self { answer, _permit }
    }

    /// Creates an answer to a request that needs no permit.
    pub fn without(answer: A) -> Self {
        Self::new(answer, None)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;
    use witan_base::{account::Totals, metrics::Register};

    use super::*;

    #[actix_web::test]
    async fn work_keeps_its_permit_when_its_caller_leaves() {
        let account = Totals::register(&Register::default()).open();
        let _other = account.permit(JobKind::Read).await;
        let (end, ended) = oneshot::channel::<()>();
        let mut asked = Box::pin(run_to_end(account.permit(JobKind::Read).await, ended));
        assert!(asked.as_mut().now_or_never().is_none());
        drop(asked);
        tokio::task::yield_now().await;
        let free = || account.try_permit(JobKind::Read).is_some();
        assert!(!free(), "the work goes on");
        end.send(()).expect("it waits for that");
        let permit = account.permit(JobKind::Read).await;
        let (done, _permit) = run_to_end(permit, async { 7 }).await.unwrap();
        assert_eq!(done, 7);
        assert!(!free(), "its answer has it");
    }
}

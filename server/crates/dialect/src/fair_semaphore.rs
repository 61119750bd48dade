//! A semaphore that limits each client to a share of the permits. A client waits for its own permits first, so that it
//! cannot delay others by sending many requests. Clients are identified by network or by connection.

use std::{hash::Hash, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use witan_base::{
    client_network::{ClientNetwork, PerClient},
    panics::{self, PanicSource},
};

use witan_node::NodeError;

/// Clones share.
#[derive(Clone, Debug)]
pub struct FairSemaphore<K = ClientNetwork> {
    all: Arc<Semaphore>,
    share: usize,
    /// The semaphores of the clients that hold a permit or wait for one.
    clients: Arc<PerClient<K, Semaphore>>,
}

/// A permit; dropping it releases it.
#[derive(Debug)]
pub struct FairPermit {
    _of_all: OwnedSemaphorePermit,
    _of_client: OwnedSemaphorePermit,
}

impl FairPermit {
    /// Runs `work` to its end on this worker, even if the caller disconnects, and returns its result and the permit,
    /// which is held until then.
    pub async fn run_to_end<T: 'static>(
        self,
        work: impl Future<Output = T> + 'static,
    ) -> Result<(T, Self), NodeError> {
        let work = panics::catch_in(PanicSource::Job, work);
        let task = actix_web::rt::spawn(async move { (work.await, self) });
        let (done, permit) = task.await.map_err(|_| NodeError::Stopped)?;
        let done = done.unwrap_or_else(|panicked| panics::rethrow(panicked));
        Ok((done, permit))
    }
}

/// An answer with the permit of its request, which is held until the answer is encoded, or is counted by its connection: until
/// then nothing else bounds the memory of what was read.
#[derive(Debug)]
pub struct WithPermit<A> {
    /// The answer.
    pub answer: A,
    _permit: Option<FairPermit>,
}

impl<A> WithPermit<A> {
    /// Wraps an answer with the permit of its request.
    pub fn new(answer: A, permit: Option<FairPermit>) -> Self {
        let _permit = permit;
        Self { answer, _permit }
    }

    /// Wraps the answer to a request that needs no permit.
    pub fn without(answer: A) -> Self {
        Self::new(answer, None)
    }
}

impl<K: Eq + Hash> FairSemaphore<K> {
    /// Creates a semaphore of which one client gets at most half of the permits (rounded up).
    pub fn new(permits: usize) -> Self {
        Self::with_share(permits, permits.div_ceil(2))
    }

    /// Creates a semaphore of which one client gets at most `share` permits.
    pub fn with_share(permits: usize, share: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(permits)),
            share,
            clients: Arc::default(),
        }
    }

    /// Waits until the client has less than its share and a permit is free, and takes it. Clients wait fairly: each
    /// queues for no more permits at once than its share, and its further requests wait behind those. It has no limit
    /// of time or of waiters, and never fails, because the semaphore is never closed.
    pub async fn take(&self, client: K) -> Result<FairPermit, NodeError> {
        let own = self.share_of(client);
        let acquire = async |semaphore: Arc<Semaphore>| {
            // the semaphore is never closed
            let permit = semaphore.acquire_owned().await;
            permit.map_err(|_| NodeError::Stopped)
        };
        Ok(FairPermit {
            _of_client: acquire(own).await?,
            _of_all: acquire(self.all.clone()).await?,
        })
    }

    /// Takes a permit for a client; `None` if the client has its share or no permit is free.
    pub fn try_take(&self, client: K) -> Option<FairPermit> {
        Some(FairPermit {
            _of_client: self.share_of(client).try_acquire_owned().ok()?,
            _of_all: self.all.clone().try_acquire_owned().ok()?,
        })
    }

    /// Returns the semaphore of a client's share, created if the client holds no permit and waits for none.
    fn share_of(&self, client: K) -> Arc<Semaphore> {
        self.clients.get_or(client, || Semaphore::new(self.share))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[actix_web::test]
    async fn work_keeps_its_permit_when_its_caller_leaves() {
        let permits = FairSemaphore::new(1);
        let (end, ended) = oneshot::channel::<()>();
        let permit = permits.take(client(1)).await.unwrap();
        let mut asked = Box::pin(permit.run_to_end(ended));
        assert!(asked.as_mut().now_or_never().is_none());
        drop(asked);
        tokio::task::yield_now().await;
        assert!(permits.try_take(client(1)).is_none(), "the work goes on");
        end.send(()).expect("it waits for that");
        let (done, _permit) = permits
            .take(client(1))
            .await
            .unwrap()
            .run_to_end(async { 7 })
            .await
            .unwrap();
        assert_eq!(done, 7);
        assert!(permits.try_take(client(1)).is_none(), "its answer has it");
    }

    fn client(last: u8) -> ClientNetwork {
        ClientNetwork::of(Some([127, 0, 0, last].into()))
    }

    #[test]
    fn a_client_has_half_and_waits_behind_itself() {
        let permits = FairSemaphore::new(4);
        let now = |of: u8| permits.take(client(of)).now_or_never();
        let first = [now(1), now(1)].map(|permit| permit.expect("its half").unwrap());
        assert!(now(1).is_none() && permits.try_take(client(1)).is_none());
        let mut third = pin!(permits.take(client(1)));
        assert!(third.as_mut().now_or_never().is_none());
        let others = [now(2), now(3)].map(|permit| permit.expect("the rest").unwrap());
        assert!(now(2).is_none() && permits.try_take(client(3)).is_none());
        drop(others);
        assert!(third.as_mut().now_or_never().is_none(), "it has its half");
        drop(first);
        assert!(third.now_or_never().is_some());
    }
}

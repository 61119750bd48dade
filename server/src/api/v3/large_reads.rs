//! Places for work of which few may be done at once. A client gets half of them at most and waits behind
//! itself for more, so another's request never waits for all that one client has sent. What is done in a
//! place is not known here.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use witan_base::{
    client_network::{ClientNetwork, PerNetwork},
    panics::{self, PanicSource, planted::PlantedPanic},
};

use super::RpcResult;
use crate::api::v3::error::RpcError;

/// Clones share.
#[derive(Clone, Debug)]
pub(super) struct LargeReadPermits {
    all: Arc<Semaphore>,
    share: usize,
    /// The shares of those who have a place or wait for one.
    clients: Arc<PerNetwork<Semaphore>>,
}

/// A place that is taken. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct LargeReadPermit {
    _of_all: OwnedSemaphorePermit,
    _of_client: OwnedSemaphorePermit,
}

impl LargeReadPermit {
    /// Runs `work` to its end on this worker, even if the caller leaves meanwhile, and returns what it returned and
    /// the place, which is taken until then.
    pub(super) async fn run_to_end<T: 'static>(
        self,
        work: impl Future<Output = T> + 'static,
    ) -> RpcResult<(T, Self)> {
        let work = panics::catch_in(PanicSource::Job, PlantedPanic::current(), work);
        let task = actix_web::rt::spawn(async move { (work.await, self) });
        let (done, place) = task.await.map_err(|_| RpcError::Stopped)?;
        let done = done.unwrap_or_else(|panicked| panics::rethrow(panicked));
        Ok((done, place))
    }
}

/// An answer, and the place that its request has until the answer is encoded: until then all that was
/// read is in memory.
#[derive(Debug)]
pub(super) struct WithPermit<A> {
    pub(super) answer: A,
    _place: Option<LargeReadPermit>,
}

impl<A> WithPermit<A> {
    /// Wraps an answer with the place of its request, which is held until this is dropped.
    pub(super) fn new(answer: A, place: Option<LargeReadPermit>) -> Self {
        let _place = place;
        Self { answer, _place }
    }

    /// Wraps the answer to a request that needs no place.
    pub(super) fn without(answer: A) -> Self {
        Self::new(answer, None)
    }
}

impl LargeReadPermits {
    /// Creates so many places, of which one client gets half at most (rounded up).
    pub(super) fn new(places: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(places)),
            share: places.div_ceil(2),
            clients: Arc::default(),
        }
    }

    /// Waits until the client has less than its share and a place is free, and takes it. Clients take
    /// turns: each waits for no more places at once than its share.
    pub(super) async fn take(&self, client: ClientNetwork) -> RpcResult<LargeReadPermit> {
        let own = self.share_of(client);
        let acquire = async |semaphore: Arc<Semaphore>| {
            // the semaphore is never closed
            let permit = semaphore.acquire_owned().await;
            permit.map_err(|_| RpcError::Stopped)
        };
        Ok(LargeReadPermit {
            _of_client: acquire(own).await?,
            _of_all: acquire(self.all.clone()).await?,
        })
    }

    /// Takes a place for a client; `None` if the client has its share or no place is free.
    pub(super) fn try_take(&self, client: ClientNetwork) -> Option<LargeReadPermit> {
        Some(LargeReadPermit {
            _of_client: self.share_of(client).try_acquire_owned().ok()?,
            _of_all: self.all.clone().try_acquire_owned().ok()?,
        })
    }

    /// Returns the semaphore of a client's share, created if the client has and awaits no place.
    fn share_of(&self, client: ClientNetwork) -> Arc<Semaphore> {
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
    async fn work_keeps_its_place_when_its_caller_leaves() {
        let places = LargeReadPermits::new(1);
        let (end, ended) = oneshot::channel::<()>();
        let place = places.take(client(1)).await.unwrap();
        let mut asked = Box::pin(place.run_to_end(ended));
        assert!(asked.as_mut().now_or_never().is_none());
        drop(asked);
        tokio::task::yield_now().await;
        assert!(places.try_take(client(1)).is_none(), "the work goes on");
        end.send(()).expect("it waits for that");
        let (done, _place) = places
            .take(client(1))
            .await
            .unwrap()
            .run_to_end(async { 7 })
            .await
            .unwrap();
        assert_eq!(done, 7);
        assert!(places.try_take(client(1)).is_none(), "its answer has it");
    }

    fn client(last: u8) -> ClientNetwork {
        ClientNetwork::of(Some([127, 0, 0, last].into()))
    }

    #[test]
    fn a_client_has_half_and_waits_behind_itself() {
        let places = LargeReadPermits::new(4);
        let now = |of: u8| places.take(client(of)).now_or_never();
        let first = [now(1), now(1)].map(|place| place.expect("its half").unwrap());
        assert!(now(1).is_none() && places.try_take(client(1)).is_none());
        let mut third = pin!(places.take(client(1)));
        assert!(third.as_mut().now_or_never().is_none());
        let others = [now(2), now(3)].map(|place| place.expect("the rest").unwrap());
        assert!(now(2).is_none() && places.try_take(client(3)).is_none());
        drop(others);
        assert!(third.as_mut().now_or_never().is_none(), "it has its half");
        drop(first);
        assert!(third.now_or_never().is_some());
    }
}

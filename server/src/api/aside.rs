//! Work that would hold up a worker, which has other clients: it is done on other threads, a few at
//! a time. What is done is not known here.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::{node::Fault, panics};

/// A worker reads and writes JSON and forms up to this size by itself, which takes it a few
/// milliseconds.
pub(crate) const INLINE_BYTES_MAX: usize = 128 << 10;

/// A worker lists up to so many leases or nodes by itself.
pub(crate) const INLINE_ITEMS_MAX: usize = 2048;

/// The places of such work. Clones share.
#[derive(Clone, Debug)]
pub struct Aside(Arc<Semaphore>);

impl Default for Aside {
    /// As many as there are processors: more would only hold more memory at once.
    fn default() -> Self {
        let places = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new(places)))
    }
}

impl Aside {
    /// Does `work` here and now, or on another thread if it is `large`, when there is a place.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        large: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        if large {
            // a future of its own: that of a small request stays as small as it is
            Box::pin(self.elsewhere(work)).await
        } else {
            Ok(work())
        }
    }

    async fn elsewhere<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        // nobody closes it
        let place = self.0.clone().acquire_owned().await;
        let place = place.map_err(|_| Fault::Stopped)?;
        let done = panics::aside(move || {
            let _place = place;
            work()
        });
        done.await.map_err(|_| Fault::Stopped)
    }
}

//! States for readers: [`CurrentView`] for work that ends at once, [`Job`] for work that takes long.
//!
//! A state that is kept while its reader waits keeps everything that is replaced in the meantime, and each waiting reader may
//! keep another state. Therefore a job gets its state when it begins, after it has waited for its permit. A job that brings
//! along a state from before does not compile, because a [`CurrentView`] cannot be sent to another thread:
//!
//! ```compile_fail,E0277
//! # async fn count(node: &witan_node::Node) {
//! let view = node.view().await.unwrap();
//! let job = node.job(()).await.unwrap();
//! job.run(move |_| view.machine.kv.len()).await.unwrap();
//! # }
//! ```
//!
//! ```
//! # async fn count(node: &witan_node::Node) {
//! let job = node.job(()).await.unwrap();
//! job.run(|view| view.machine.kv.len()).await.unwrap();
//! # }
//! ```

use std::{marker::PhantomData, ops::Deref, sync::Arc};

use witan_base::panics;
use witan_machine::view::View;

use super::{
    Node, NodeError,
    held_views::{HeldView, ViewEnd},
};

/// A state of this member for work that ends at once. It stays on its thread, and clippy refuses to keep it across an
/// `await` (the root's `clippy.toml`).
#[derive(Debug)]
pub struct CurrentView {
    view: Arc<View>,
    _stays: PhantomData<*const ()>,
}

impl CurrentView {
    pub(super) fn new(view: Arc<View>) -> Self {
        Self { view, _stays: PhantomData }
    }
}

impl Deref for CurrentView {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

/// A job that has begun: its permit, and the state that it reads.
#[derive(Debug)]
pub struct Job<P> {
    view: Arc<View>,
    held: HeldView,
    permit: P,
}

impl<P> Deref for Job<P> {
    type Target = View;

    /// The state that the job reads. What its caller may do is checked on it.
    fn deref(&self) -> &View {
        &self.view
    }
}

impl Node {
    /// Begins a job, which holds `permit` until its end, on this member's present state.
    pub async fn job<P>(&self, permit: P) -> Result<Job<P>, NodeError> {
        let view = self.shared_view().await?;
        let held = self.shared.held_views.hold(&view.machine);
        Ok(Job { view, held, permit })
    }
}

impl<P: Send + 'static> Job<P> {
    /// Runs the job on another thread, to its end even if the caller leaves. Returns its result and the permit; `Stopped` if
    /// the runtime ends before.
    pub async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&View) -> T + Send + 'static,
    ) -> Result<(T, P), NodeError> {
        let done = panics::run_blocking(move || self.run_here(work));
        done.await.map_err(|_| NodeError::Stopped)
    }

    /// Returns what tells the job that it keeps too much. A job that lasts as long as its client wants must heed it.
    pub fn end(&self) -> ViewEnd {
        self.held.end().clone()
    }

    /// Runs the job on this thread. Returns its result and the permit.
    pub fn run_here<T>(self, work: impl FnOnce(&View) -> T) -> (T, P) {
        let done = work(&self.view);
        (done, self.permit)
    }
}

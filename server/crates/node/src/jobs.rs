//! States for readers: [`CurrentView`] for short work, [`Job`] for long work.
//!
//! A view that a waiting reader holds pins all data that is replaced in the meantime, and each waiting reader may pin a
//! different state. A job therefore gets its state only after it has its permit. Passing an earlier state to a job does not
//! compile, because a [`CurrentView`] cannot be sent to another thread:
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

/// This member's state, for short work. It cannot be sent to another thread, and clippy rejects holding it across an `await`.
#[derive(Debug)]
pub struct CurrentView {
    view: Arc<View>,
    _not_send: PhantomData<*const ()>,
}

impl CurrentView {
    pub(super) fn new(view: Arc<View>) -> Self {
        Self { view, _not_send: PhantomData }
    }
}

impl Deref for CurrentView {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

/// A running job: its permit and the state that it reads.
#[derive(Debug)]
pub struct Job<P> {
    view: Arc<View>,
    held: HeldView,
    permit: P,
}

impl<P> Deref for Job<P> {
    type Target = View;

    /// Returns the state that the job reads. Check the caller's permissions against this state.
    fn deref(&self) -> &View {
        &self.view
    }
}

impl Node {
    /// Starts a job on this member's current state. The job holds `permit` until it ends.
    pub async fn job<P>(&self, permit: P) -> Result<Job<P>, NodeError> {
        let view = self.shared_view().await?;
        let held = self.shared.held_views.hold(&view.machine, true);
        Ok(Job { view, held, permit })
    }

    /// Counts the memory that a snapshot for another member pins, until the returned value is dropped.
    pub fn hold_for_member(&self, snapshot: &View) -> HeldView {
        self.shared.held_views.hold(&snapshot.machine, false)
    }
}

impl<P: Send + 'static> Job<P> {
    /// Runs the job on another thread. If the caller stops waiting, tells the job to stop early (see [`Job::end_signal`]).
    /// Returns the result of [`Job::run_here`], or `Stopped` if the runtime ends first.
    pub async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&View) -> T + Send + 'static,
    ) -> Result<(T, P), NodeError> {
        let _end_on_drop = self.held.end_on_drop();
        let done = panics::run_blocking(move || self.run_here(work));
        done.await.map_err(|_| NodeError::Stopped)?
    }

    /// Returns the signal that tells the job to stop early, because it pins too much memory or its caller has stopped waiting.
    pub fn end_signal(&self) -> ViewEnd {
        self.held.end.clone()
    }

    /// Runs the job on this thread. Returns its result and the permit, or `TooMany` if the job was told to stop. The result is
    /// then dropped, because it may be incomplete.
    pub fn run_here<T>(self, work: impl FnOnce(&View) -> T) -> Result<(T, P), NodeError> {
        let done = work(&self.view);
        match self.held.end.is_told() {
            true => Err(NodeError::TooMany),
            false => Ok((done, self.permit)),
        }
    }
}

//! How answers reach the worker that waits for them: in one batch per worker and turn.
//!
//! A worker's task that is woken from another thread runs alone: tokio's local set prefers what was
//! woken on its own thread, so the connection's task, woken by the first answer, would write to its
//! socket before the second answer is looked at. A whole turn's answers are therefore put on the
//! worker's desk, and one local task hands them out: all waiting tasks run before the connection
//! does, and one `writev` carries them (figures in ARCHITECTURE.md).

use std::{
    cell::OnceCell,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, oneshot};
use witan_replica::machine::view::View;

use super::{Done, Fault};

thread_local! {
    static DESK: OnceCell<Arc<Desk>> = const { OnceCell::new() };
}

/// Answers on their way to one worker. Bounded by the requests that wait there.
#[derive(Debug, Default)]
pub(super) struct Desk {
    letters: Mutex<Vec<Letter>>,
    bell: Notify,
}

/// One answer and who waits for it.
#[derive(Debug)]
pub(super) enum Letter {
    Done(oneshot::Sender<Result<Done, Fault>>, Result<Done, Fault>),
    View(
        oneshot::Sender<Result<Arc<View>, Fault>>,
        Result<Arc<View>, Fault>,
    ),
}

impl Letter {
    /// Nobody there any more means that the client gave up.
    fn deliver(self) {
        match self {
            Self::Done(reply, done) => drop(reply.send(done)),
            Self::View(reply, view) => drop(reply.send(view)),
        }
    }
}

impl Desk {
    /// The desk of the calling worker, which must run a local set.
    pub(super) fn here() -> Arc<Self> {
        DESK.with(|desk| {
            let open = || {
                let desk = Arc::new(Self::default());
                actix_rt::spawn(hand_out(desk.clone()));
                desk
            };
            desk.get_or_init(open).clone()
        })
    }

    fn letters(&self) -> MutexGuard<'_, Vec<Letter>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs as long as its worker does.
async fn hand_out(desk: Arc<Desk>) {
    loop {
        desk.bell.notified().await;
        let letters = std::mem::take(&mut *desk.letters());
        letters.into_iter().for_each(Letter::deliver);
    }
}

/// The answers of one turn, until they are brought to the desks.
#[derive(Debug, Default)]
pub(super) struct Outbox(Vec<(Arc<Desk>, Vec<Letter>)>);

impl Outbox {
    pub(super) fn put(&mut self, desk: Arc<Desk>, letter: Letter) {
        // As many desks as workers: a search is cheaper than a map.
        match self.0.iter_mut().find(|(at, _)| Arc::ptr_eq(at, &desk)) {
            Some((_, letters)) => letters.push(letter),
            None => self.0.push((desk, vec![letter])),
        }
    }

    pub(super) fn bring(&mut self) {
        for (desk, letters) in self.0.iter_mut().filter(|(_, letters)| !letters.is_empty()) {
            desk.letters().append(letters);
            desk.bell.notify_one();
        }
    }
}

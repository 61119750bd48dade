//! Completion queues: replies reach the waiting tasks of a worker in one batch per turn.
//!
//! A task that is woken from another thread runs alone: tokio's local set prefers tasks woken on
//! its own thread, so the connection's task, woken by the first reply, would write to its socket
//! before the second reply is handled. Therefore all completions of a turn are put into the
//! worker's queue, and one local task delivers them: all waiting tasks run before the connection
//! does, and one `writev` sends their answers (figures in ARCHITECTURE.md).
//!
//! A waiting task has a slot on its worker instead of a channel and a timer: setting a timer would
//! wake the worker's loop each time.

use std::{
    cell::{OnceCell, RefCell},
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};
use witan_replica::{
    lessor::{LeaseDeadlines, Renewal},
    machine::view::View,
};

use super::{Done, Fault};
use crate::budget::Reservation;

/// Interval of checks for timed out requests.
const LOOK: Duration = Duration::from_millis(100);

thread_local! {
    static DESK: OnceCell<Arc<Desk>> = const { OnceCell::new() };
    static SLOTS: RefCell<Slots> = const { RefCell::new(Slots::new()) };
}

/// Completions for one worker. Bounded by the requests that wait there.
#[derive(Debug, Default)]
pub(super) struct Desk {
    letters: Mutex<Vec<Letter>>,
    bell: Notify,
}

/// What the replica's thread answers to a request of one kind.
pub(super) trait Content: Sized {
    fn wrap(self) -> AnyContent;
    fn unwrap(content: AnyContent) -> Option<Self>;
}

macro_rules! contents {
    ($($name:ident($content:ty)),+) => {
        /// The closed list of contents: slots and queues hold all of them.
        #[derive(Debug)]
        pub(super) enum AnyContent {
            $($name($content)),+
        }

        $(impl Content for $content {
            fn wrap(self) -> AnyContent {
                AnyContent::$name(self)
            }

            fn unwrap(content: AnyContent) -> Option<Self> {
                if let AnyContent::$name(content) = content {
                    Some(content)
                } else {
                    None
                }
            }
        })+
    };
}

contents!(
    Done(Done),
    View(Arc<View>),
    Renewed(Renewed),
    LeaseDeadlines(LeaseDeadlines)
);

/// How a keep-alive ended.
#[derive(Debug)]
pub(super) struct Renewed {
    pub(super) renewal: Renewal,
    /// Whether its member is the only voter.
    pub(super) alone: bool,
}

/// A completed request with its slot, or a watch stream to wake.
#[derive(Debug)]
enum Letter {
    Answer(Place, Result<AnyContent, Fault>),
    Ring(Arc<Notify>),
}

/// A slot and its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    slot: usize,
    round: u64,
}

/// Slots of the requests that wait on one worker. Bounded by its connections' requests.
struct Slots {
    slots: Vec<(u64, State)>,
    free: Vec<usize>,
    /// Number of timeout checks so far.
    looks: u64,
}

enum State {
    Free,
    Waits { waker: Option<Waker>, until: u64 },
    Answered(Result<AnyContent, Fault>),
}

impl Slots {
    const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            looks: 0,
        }
    }

    fn open(&mut self, patience: Duration) -> Place {
        let looks = patience.as_millis().div_ceil(LOOK.as_millis()) + 1;
        let until = self.looks + u64::try_from(looks).unwrap_or(u64::MAX / 2);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, State::Free));
            self.slots.len() - 1
        });
        let (round, state) = &mut self.slots[slot];
        *state = State::Waits { waker: None, until };
        Place {
            slot,
            round: *round,
        }
    }

    fn at(&mut self, place: Place) -> Option<&mut State> {
        let (round, state) = self.slots.get_mut(place.slot)?;
        (*round == place.round).then_some(state)
    }

    fn close(&mut self, place: Place) {
        let Some((round, state)) = self.slots.get_mut(place.slot) else {
            return;
        };
        if *round == place.round {
            *state = State::Free;
            *round += 1;
            self.free.push(place.slot);
        }
    }

    /// Delivers a completion; without a matching slot the request was dropped.
    fn deliver(&mut self, letter: Letter) {
        match letter {
            Letter::Answer(place, content) => {
                if let Some(state) = self.at(place) {
                    answer(state, content);
                }
            }
            Letter::Ring(bell) => bell.notify_one(),
        }
    }

    fn look(&mut self) {
        self.looks += 1;
        for (_, state) in &mut self.slots {
            if matches!(state, State::Waits { until, .. } if *until <= self.looks) {
                answer(state, Err(Fault::Timeout));
            }
        }
    }
}

/// Completes a slot; only the first completion counts.
fn answer(state: &mut State, content: Result<AnyContent, Fault>) {
    if let State::Waits { waker, .. } = state {
        let waker = waker.take();
        *state = State::Answered(content);
        waker.into_iter().for_each(Waker::wake);
    }
}

/// The sending half of a completion. If it is dropped, the request completes with
/// [`Fault::Stopped`].
#[derive(Debug)]
pub(super) struct Address<T> {
    place: Place,
    content: PhantomData<fn(T)>,
    desk: Option<Arc<Desk>>,
    /// Memory of the request, released when it is completed.
    pub(super) permit: Option<Reservation>,
}

impl<T> Address<T> {
    /// Opens a slot on the calling worker, with a timeout.
    pub(super) fn here(patience: Duration) -> (Self, Answer<T>) {
        let place = SLOTS.with_borrow_mut(|slots| slots.open(patience));
        let content = PhantomData;
        let address = Self {
            place,
            content,
            desk: Some(Desk::here()),
            permit: None,
        };
        let answer = Answer {
            place,
            content: PhantomData,
            open: true,
        };
        (address, answer)
    }

    /// Completes with an error at once.
    pub(super) fn refuse(mut self, fault: Fault) {
        self.send(Err(fault));
    }

    fn send(&mut self, content: Result<AnyContent, Fault>) {
        if let Some(desk) = self.desk.take() {
            desk.letters().push(Letter::Answer(self.place, content));
            desk.bell.notify_one();
        }
    }
}

impl<T> Drop for Address<T> {
    fn drop(&mut self) {
        self.send(Err(Fault::Stopped));
    }
}

/// Resolves to the completion. Must be polled on the worker that created it.
#[derive(Debug)]
pub(super) struct Answer<T> {
    place: Place,
    content: PhantomData<fn() -> T>,
    open: bool,
}

impl<T: Content> Future for Answer<T> {
    type Output = Result<T, Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let place = self.place;
        let answered = SLOTS.with_borrow_mut(|slots| {
            let state = match slots.at(place) {
                Some(State::Waits { waker, .. }) => {
                    match waker {
                        Some(known) if known.will_wake(cx.waker()) => {}
                        other => *other = Some(cx.waker().clone()),
                    }
                    return None;
                }
                Some(state) => std::mem::replace(state, State::Free),
                None => State::Free,
            };
            slots.close(place);
            match state {
                State::Answered(content) => {
                    Some(content.and_then(|content| T::unwrap(content).ok_or(Fault::Internal)))
                }
                State::Waits { .. } | State::Free => Some(Err(Fault::Stopped)),
            }
        });
        self.open = answered.is_none();
        answered.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        if self.open {
            // an error says that the worker ends
            let _ = SLOTS.try_with(|slots| slots.borrow_mut().close(self.place));
        }
    }
}

impl Desk {
    /// The completion queue of the calling worker, which must run a local set.
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

/// Delivers completions as long as the worker runs.
async fn hand_out(desk: Arc<Desk>) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut letters = Vec::new();
    loop {
        tokio::select! {
            () = desk.bell.notified() => {
                std::mem::swap(&mut *desk.letters(), &mut letters);
                SLOTS.with_borrow_mut(|slots| letters.drain(..).for_each(|l| slots.deliver(l)));
            }
            _ = look.tick() => SLOTS.with_borrow_mut(Slots::look),
        }
    }
}

/// Completions of one turn, until they are flushed to the queues.
#[derive(Debug, Default)]
pub(super) struct Outbox(Vec<(Arc<Desk>, Vec<Letter>)>);

impl Outbox {
    pub(super) fn put<T: Content>(&mut self, mut to: Address<T>, content: T) {
        if let Some(desk) = to.desk.take() {
            self.add(desk, Letter::Answer(to.place, Ok(content.wrap())));
        }
    }

    /// Wakes a watch stream together with the completions.
    pub(super) fn ring(&mut self, desk: Arc<Desk>, bell: Arc<Notify>) {
        self.add(desk, Letter::Ring(bell));
    }

    fn add(&mut self, desk: Arc<Desk>, letter: Letter) {
        // one queue per worker: a linear search is cheaper than a map
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

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn an_answer_reaches_the_one_who_asked() {
        let patience = Duration::from_secs(60);
        let (first, lost) = Address::<Done>::here(patience);
        let (second, answer) = Address::<Done>::here(patience);
        drop(lost);
        // takes the slot of the one who gave up
        let (third, late) = Address::<Done>::here(patience);
        assert_eq!(first.place.slot, third.place.slot);
        let worker = std::thread::spawn(move || {
            first.refuse(Fault::NoLeader);
            third.refuse(Fault::TooLarge);
            drop(second);
        });
        assert_eq!(late.await.unwrap_err(), Fault::TooLarge);
        assert_eq!(answer.await.unwrap_err(), Fault::Stopped);
        worker.join().unwrap();
    }

    #[actix_rt::test]
    async fn patience_ends() {
        let (_owed, answer) = Address::<Done>::here(Duration::from_millis(1));
        assert_eq!(answer.await.unwrap_err(), Fault::Timeout);
    }
}

//! Completion queues: each turn delivers its replies to a worker's waiting tasks in one batch.
//!
//! A task that is woken from another thread runs alone, because tokio's local set prefers tasks that were woken on its own
//! thread. The first reply would wake the connection's task, which would write to its socket before the second reply is
//! handled. Therefore, all completions of a turn go into the worker's queue, and one local task delivers them. All waiting
//! tasks then run before the connection's task, and one `writev` sends their responses (figures in
//! docs/internals/decisions.md).
//!
//! A waiting task has a slot on its worker instead of a channel and a timer, because setting a timer wakes the worker's loop.

use std::{
    cell::{OnceCell, RefCell},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};
use witan_base::{account::Charge, sync::Mutex};
use witan_machine::{member::MemberId, view::View};
use witan_replica::{host::LeaseAnswer, lessor::LeaseDeadlines, replica::TransferRefused};

use super::{AppliedCommand, NodeError};

/// Interval between checks for requests that have timed out.
const TIMEOUT_CHECK_INTERVAL: Duration = Duration::from_millis(100);

thread_local! {
    static COMPLETIONS: OnceCell<Arc<CompletionQueue>> = const { OnceCell::new() };
    static SLOTS: RefCell<CompletionSlots> = const { RefCell::new(CompletionSlots::new()) };
}

/// Completions for one worker. Their number is bounded by the requests that wait on the worker.
#[derive(Debug, Default)]
pub(super) struct CompletionQueue {
    completions: Mutex<Vec<Completion>>,
    notify: Notify,
}

/// The replica thread's answer to one kind of request.
pub(super) trait CompletionValue: Sized {
    fn wrap(self) -> AnyContent;

    /// Returns the value, or `None` if the content has another kind.
    fn unwrap(value: AnyContent) -> Option<Self>;
}

macro_rules! contents {
    ($($name:ident($value:ty)),+) => {
        /// A value of any kind that a slot or a queue can contain.
        #[derive(Debug)]
        pub(super) enum AnyContent {
            $($name($value)),+
        }

        $(impl CompletionValue for $value {
            fn wrap(self) -> AnyContent {
                AnyContent::$name(self)
            }

            fn unwrap(value: AnyContent) -> Option<Self> {
                if let AnyContent::$name(value) = value {
                    Some(value)
                } else {
                    None
                }
            }
        })+
    };
}

contents!(
    AppliedCommand(AppliedCommand),
    View(Arc<View>),
    LeaseAnswer(LeaseAnswer),
    LeaseDeadlines(LeaseDeadlines),
    Transfer(Result<MemberId, TransferRefused>),
    Decided(bool)
);

/// A request's completion for its slot, or a watch stream to wake.
#[derive(Debug)]
enum Completion {
    Reply(SlotId, Result<AnyContent, NodeError>),
    Wake(Arc<Notify>),
}

/// A slot's index, and its generation, which detects reuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SlotId {
    slot: usize,
    /// Number of requests that used the slot before.
    round: u64,
}

/// Slots of the requests that wait on one worker. Their number is bounded by the requests of the worker's connections.
struct CompletionSlots {
    slots: Vec<(u64, SlotState)>,
    free: Vec<usize>,
    timeout_checks: u64,
    /// Whether timeouts are checked. An idle worker does not check them, so that it can sleep.
    checks: bool,
}

enum SlotState {
    Free,
    Pending { waker: Option<Waker>, deadline: u64 },
    Completed(Result<AnyContent, NodeError>),
}

impl CompletionSlots {
    const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            timeout_checks: 0,
            checks: false,
        }
    }

    /// Opens a slot. After about `timeout` without a completion, the slot completes with [`NodeError::Timeout`].
    fn open(&mut self, timeout: Duration) -> SlotId {
        let timeout_checks = timeout
            .as_millis()
            .div_ceil(TIMEOUT_CHECK_INTERVAL.as_millis())
            + 1;
        let deadline = self.timeout_checks + u64::try_from(timeout_checks).unwrap_or(u64::MAX / 2);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, SlotState::Free));
            self.slots.len() - 1
        });
        let (round, state) = &mut self.slots[slot];
        *state = SlotState::Pending { waker: None, deadline };
        SlotId { slot, round: *round }
    }

    /// Returns a slot's state, or `None` if the slot with this id is closed.
    fn get_mut(&mut self, slot_id: SlotId) -> Option<&mut SlotState> {
        let (round, state) = self.slots.get_mut(slot_id.slot)?;
        (*round == slot_id.round).then_some(state)
    }

    /// Frees a slot for another request and returns its last state, or `None` if the slot is already closed. Later completions
    /// for this id are dropped.
    fn close(&mut self, slot_id: SlotId) -> Option<SlotState> {
        let last = std::mem::replace(self.get_mut(slot_id)?, SlotState::Free);
        self.slots[slot_id.slot].0 += 1;
        self.free.push(slot_id.slot);
        Some(last)
    }

    /// Completes a slot or wakes a watch stream. Drops the completion if the slot was closed.
    fn deliver(&mut self, completion: Completion) {
        match completion {
            Completion::Reply(slot_id, value) => {
                if let Some(state) = self.get_mut(slot_id) {
                    complete(state, value);
                }
            }
            Completion::Wake(notify) => notify.notify_one(),
        }
    }

    /// Counts a timeout check and completes all overdue slots with [`NodeError::Timeout`]. Stops the checks if no slot is open.
    fn expire_timed_out(&mut self) {
        self.timeout_checks += 1;
        self.checks = self.free.len() < self.slots.len();
        for (_, state) in &mut self.slots {
            if matches!(state, SlotState::Pending { deadline, .. } if *deadline <= self.timeout_checks)
            {
                complete(state, Err(NodeError::Timeout));
            }
        }
    }
}

/// Completes a slot and wakes the task that waits for it. Does nothing if the slot is already complete.
fn complete(state: &mut SlotState, value: Result<AnyContent, NodeError>) {
    if let SlotState::Pending { waker, .. } = state {
        let waker = waker.take();
        *state = SlotState::Completed(value);
        waker.into_iter().for_each(Waker::wake);
    }
}

/// The sending half of a completion. Dropping it completes the request with [`NodeError::Stopped`].
#[derive(Debug)]
pub(super) struct Waiter {
    slot_id: SlotId,
    completion_queue: Option<Arc<CompletionQueue>>,
    /// The charge for the request's memory, released when the request completes.
    pub(super) charge: Option<Charge>,
}

/// A [`Waiter`] for a value of type `T`.
#[derive(Debug)]
pub(super) struct CompletionSender<T> {
    pub(super) waiter: Waiter,
    value: PhantomData<fn(T)>,
}

impl<T> CompletionSender<T> {
    /// Opens a slot on the calling worker. The future fails with [`NodeError::Timeout`] after `timeout`. If the sender is
    /// dropped, the future fails with [`NodeError::Stopped`].
    pub(super) fn new(timeout: Duration) -> (Self, CompletionFuture<T>) {
        let completion_queue = CompletionQueue::current();
        let (slot_id, was_checking) = SLOTS.with_borrow_mut(|slots| {
            let was_checking = std::mem::replace(&mut slots.checks, true);
            (slots.open(timeout), was_checking)
        });
        if !was_checking {
            completion_queue.notify.notify_one();
        }
        let waiter = Waiter {
            slot_id,
            completion_queue: Some(completion_queue),
            charge: None,
        };
        let answer = CompletionFuture { slot_id, value: PhantomData, open: true };
        (Self { waiter, value: PhantomData }, answer)
    }
}

impl Waiter {
    /// Fails the request with this error.
    pub(super) fn refuse(mut self, fault: NodeError) {
        self.send(Err(fault));
    }

    /// Queues the completion for the waiting worker and wakes the worker. Does nothing after the first call.
    fn send(&mut self, value: Result<AnyContent, NodeError>) {
        if let Some(completion_queue) = self.completion_queue.take() {
            completion_queue
                .completions
                .lock()
                .push(Completion::Reply(self.slot_id, value));
            completion_queue.notify.notify_one();
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.send(Err(NodeError::Stopped));
    }
}

/// Resolves to the completion. Must be polled on the worker that created it. Dropping it discards the completion, but does not
/// cancel the request.
#[derive(Debug)]
pub(super) struct CompletionFuture<T> {
    slot_id: SlotId,
    value: PhantomData<fn() -> T>,
    open: bool,
}

impl<T: CompletionValue> Future for CompletionFuture<T> {
    type Output = Result<T, NodeError>;

    /// Stores the waker until the slot is complete, then closes the slot. Fails with [`NodeError::Internal`] if the completion
    /// has another kind, and with [`NodeError::Stopped`] if the slot is already closed.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let slot_id = self.slot_id;
        let answered = SLOTS.with_borrow_mut(|slots| {
            if let Some(SlotState::Pending { waker, .. }) = slots.get_mut(slot_id) {
                match waker {
                    Some(known) => known.clone_from(cx.waker()),
                    None => *waker = Some(cx.waker().clone()),
                }
                return None;
            }
            let Some(SlotState::Completed(value)) = slots.close(slot_id) else {
                return Some(Err(NodeError::Stopped));
            };
            Some(value.and_then(|value| T::unwrap(value).ok_or(NodeError::Internal)))
        });
        self.open = answered.is_none();
        answered.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T> Drop for CompletionFuture<T> {
    fn drop(&mut self) {
        if self.open {
            // An error means that the worker is ending.
            let _ = SLOTS.try_with(|slots| slots.borrow_mut().close(self.slot_id));
        }
    }
}

impl CompletionQueue {
    /// Returns the completion queue of the calling worker, which must run a local set. The first call creates the queue and
    /// starts the task that delivers its completions.
    pub(super) fn current() -> Arc<Self> {
        COMPLETIONS.with(|completion_queue| {
            let open = || {
                let completion_queue = Arc::new(Self::default());
                actix_rt::spawn(deliver_completions(completion_queue.clone()));
                completion_queue
            };
            completion_queue.get_or_init(open).clone()
        })
    }
}

/// Delivers completions and expires timed-out requests until the worker ends.
async fn deliver_completions(completion_queue: Arc<CompletionQueue>) {
    let mut ticks = interval(TIMEOUT_CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut completions = Vec::new();
    loop {
        let checks = SLOTS.with_borrow(|slots| slots.checks);
        tokio::select! {
            () = completion_queue.notify.notified() => {
                std::mem::swap(&mut *completion_queue.completions.lock(), &mut completions);
                SLOTS.with_borrow_mut(|slots| {
                    completions.drain(..).for_each(|completion| slots.deliver(completion));
                });
                if !checks {
                    // After a pause, the first interval starts now.
                    ticks.reset();
                }
            }
            _ = ticks.tick(), if checks => SLOTS.with_borrow_mut(CompletionSlots::expire_timed_out),
        }
    }
}

/// Completions of one turn that are not in the workers' queues yet.
#[derive(Debug, Default)]
pub(super) struct CompletionBatch(Vec<(Arc<CompletionQueue>, Vec<Completion>)>);

impl CompletionBatch {
    /// Adds a reply to the batch. The reply has the type that the request waits for.
    pub(super) fn push<T: CompletionValue>(&mut self, to: CompletionSender<T>, value: T) {
        self.complete(to.waiter, value);
    }

    /// Adds a reply to the batch. If `waiter` waits for another type, the request fails with [`NodeError::Internal`].
    pub(super) fn complete(&mut self, mut waiter: Waiter, value: impl CompletionValue) {
        if let Some(completion_queue) = waiter.completion_queue.take() {
            self.add(
                completion_queue,
                Completion::Reply(waiter.slot_id, Ok(value.wrap())),
            );
        }
    }

    /// Adds the wake-up of a watch stream to the batch.
    pub(super) fn wake(&mut self, completion_queue: Arc<CompletionQueue>, notify: Arc<Notify>) {
        self.add(completion_queue, Completion::Wake(notify));
    }

    fn add(&mut self, completion_queue: Arc<CompletionQueue>, completion: Completion) {
        // There is one queue per worker, so a linear search is cheaper than a map.
        match self
            .0
            .iter_mut()
            .find(|(at, _)| Arc::ptr_eq(at, &completion_queue))
        {
            Some((_, completions)) => completions.push(completion),
            None => self.0.push((completion_queue, vec![completion])),
        }
    }

    /// Moves the completions into the workers' queues and wakes each worker once.
    pub(super) fn flush(&mut self) {
        for (completion_queue, completions) in self
            .0
            .iter_mut()
            .filter(|(_, completions)| !completions.is_empty())
        {
            completion_queue.completions.lock().append(completions);
            completion_queue.notify.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_response_reaches_its_requester() {
        let timeout = Duration::from_secs(60);
        let (first, abandoned) = CompletionSender::<AppliedCommand>::new(timeout);
        let (second, second_answer) = CompletionSender::<AppliedCommand>::new(timeout);
        drop(abandoned);
        // This request reuses the slot of the abandoned request.
        let (third, third_answer) = CompletionSender::<AppliedCommand>::new(timeout);
        assert_eq!(first.waiter.slot_id.slot, third.waiter.slot_id.slot);
        let worker = std::thread::spawn(move || {
            first.waiter.refuse(NodeError::NoLeader);
            third.waiter.refuse(NodeError::TooLarge);
            drop(second);
        });
        assert_eq!(third_answer.await.unwrap_err(), NodeError::TooLarge);
        assert_eq!(second_answer.await.unwrap_err(), NodeError::Stopped);
        worker.join().unwrap();
    }

    #[actix_rt::test]
    async fn timeouts_are_checked_again_after_a_pause_without_requests() {
        let timeout = Duration::from_millis(1);
        for _ in 0..2 {
            let (_sender, answer) = CompletionSender::<AppliedCommand>::new(timeout);
            assert_eq!(answer.await.unwrap_err(), NodeError::Timeout);
            while SLOTS.with_borrow(|slots| slots.checks) {
                tokio::task::yield_now().await;
            }
        }
    }
}

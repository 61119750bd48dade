//! A connection's ready streams: the wakers of calls, and the list of slots that the wakers fill.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

/// The slots whose calls were woken since the last drain. Each slot appears once.
#[derive(Debug, Default)]
pub(crate) struct ReadyList(Mutex<Ready>);

#[derive(Debug, Default)]
struct Ready {
    slots: Vec<usize>,
    connection: Option<Waker>,
}

impl ReadyList {
    /// Sets the connection's waker, which is woken when a call is woken.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut ready = self.ready();
        match &mut ready.connection {
            Some(known) if known.will_wake(waker) => {}
            other => *other = Some(waker.clone()),
        }
    }

    /// Moves the slots into `slots`, which must be empty, and keeps the buffer of `slots` for the list.
    pub(crate) fn drain(&self, slots: &mut Vec<usize>) {
        mem::swap(&mut self.ready().slots, slots);
    }

    /// Returns the capacity of the list, in slots.
    pub(crate) fn capacity(&self) -> usize {
        self.ready().slots.capacity()
    }

    fn ready(&self) -> MutexGuard<'_, Ready> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes one slot. The waker outlives the slot's calls, so a late wake-up of one call may wake the next call.
#[derive(Debug)]
pub(crate) struct StreamWaker {
    slot: usize,
    /// Whether the slot is in the list or in the connection's queue, so that neither is longer than the number of slots.
    listed: AtomicBool,
    list: Arc<ReadyList>,
}

impl StreamWaker {
    pub(crate) fn new(slot: usize, list: &Arc<ReadyList>) -> Arc<Self> {
        Arc::new(Self { slot, listed: AtomicBool::new(false), list: list.clone() })
    }

    /// Records that the slot is now in a list. Returns `false` if it was already in one.
    pub(crate) fn mark_listed(&self) -> bool {
        !self.listed.swap(true, Ordering::AcqRel)
    }

    /// Records that the slot was removed from the list, so that it can be added again. Must be called before the slot's call is
    /// polled.
    pub(crate) fn unlisted(&self) {
        self.listed.store(false, Ordering::Release);
    }
}

impl Wake for StreamWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// Adds the slot to the list, unless it is listed already. Wakes the connection if the list was empty.
    fn wake_by_ref(self: &Arc<Self>) {
        if !self.mark_listed() {
            return;
        }
        let mut ready = self.list.ready();
        ready.slots.push(self.slot);
        // If the list was not empty, the connection has already been woken.
        let waker = match ready.slots.len() {
            1 => ready.connection.clone(),
            _ => None,
        };
        drop(ready);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

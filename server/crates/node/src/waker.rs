//! Wakes the replica's thread, which waits at descriptors: at this one and at the sockets of other members.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{
        AtomicBool,
        Ordering::{Relaxed, SeqCst},
        fence,
    },
};

use rustix::event::{EventfdFlags, eventfd};

/// A thread that sleeps is woken by a system call; one that runs looks at its queues before it sleeps.
#[derive(Debug)]
pub struct Waker {
    event: OwnedFd,
    /// Whether the thread sleeps, or is about to and looks at its queues once more.
    asleep: AtomicBool,
}

impl Waker {
    /// Opens the descriptor.
    pub(super) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event, asleep: AtomicBool::new(false) })
    }

    /// Wakes the thread if it sleeps. Call it after queueing something for it.
    pub(super) fn wake(&self) {
        // either this thread sees that the other sleeps, or the other sees what was queued
        fence(SeqCst);
        if self.asleep.load(Relaxed) && self.asleep.swap(false, SeqCst) {
            // it fails only when the descriptor is readable already
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }

    /// Has everyone who queues something from now on wake the thread, which looks at its queues after this call and
    /// before it sleeps.
    pub(super) fn prepare(&self) {
        self.asleep.store(true, Relaxed);
        fence(SeqCst);
    }

    /// Notes that the thread runs and looks at its queues next.
    pub(super) fn on_awake(&self) {
        self.asleep.store(false, SeqCst);
    }

    /// Forgets past wake-ups: the descriptor is not readable until the next one. Call it when it was found readable.
    pub fn drain(&self) {
        // it fails only when the descriptor is not readable
        let _ = rustix::io::read(&self.event, &mut [0_u8; 8]);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn is_readable(waker: &Waker) -> bool {
        let mut fds = [PollFd::new(waker, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn only_a_sleeping_thread_is_woken_and_once() {
        let waker = Waker::new().unwrap();
        waker.wake();
        assert!(!is_readable(&waker), "it runs");
        waker.prepare();
        waker.wake();
        assert!(is_readable(&waker));
        waker.on_awake();
        waker.drain();
        waker.wake();
        assert!(!is_readable(&waker), "it runs again");
        waker.prepare();
        waker.on_awake();
        waker.wake();
        assert!(!is_readable(&waker), "it found something before it slept");
    }
}

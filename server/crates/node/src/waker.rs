//! Wakes the replica's thread, which waits on the waker's file descriptor and on the sockets of other members.

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

/// Wakes the replica's thread. Only a sleeping thread needs a system call, because a running thread checks its queues before it
/// sleeps.
#[derive(Debug)]
pub struct Waker {
    event: OwnedFd,
    /// Whether the thread sleeps, or checks its queues a last time before it sleeps.
    asleep: AtomicBool,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event, asleep: AtomicBool::new(false) })
    }

    /// Wakes the thread if it sleeps. Call this function after queueing an input.
    pub(super) fn wake(&self) {
        // Either this thread sees that the replica's thread sleeps, or that thread sees the queued input.
        fence(SeqCst);
        if self.asleep.load(Relaxed) && self.asleep.swap(false, SeqCst) {
            // The write fails only if the descriptor is already readable.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }

    /// Announces that the calling thread is about to sleep: from now on, a thread that queues an input also wakes it. After
    /// this call, check the queues before sleeping.
    pub(super) fn prepare(&self) {
        self.asleep.store(true, Relaxed);
        fence(SeqCst);
    }

    /// Records that the thread runs and will check its queues.
    pub(super) fn on_awake(&self) {
        self.asleep.store(false, SeqCst);
    }

    /// Makes the descriptor unreadable until the next wake-up. Call this when the descriptor is readable.
    pub fn drain(&self) {
        // The read fails only if the descriptor is not readable.
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
    fn only_a_sleeping_thread_is_woken() {
        let waker = Waker::new().unwrap();
        waker.wake();
        assert!(!is_readable(&waker), "the thread runs");
        waker.prepare();
        waker.wake();
        assert!(is_readable(&waker));
        waker.on_awake();
        waker.drain();
        waker.wake();
        assert!(!is_readable(&waker), "the thread runs again");
        waker.prepare();
        waker.on_awake();
        waker.wake();
        assert!(!is_readable(&waker), "the thread never slept");
    }
}

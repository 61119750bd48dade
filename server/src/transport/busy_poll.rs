//! Looks at a socket for a moment before its worker sleeps, if the client sends each request as soon as
//! it has the answer to the one before.
//!
//! To wake an idle core takes 20 to 50 us, which is most of what a single client waits for a small
//! answer; Go's scheduler searches for work for about as long before it sleeps. The worker looks only
//! while this connection alone sends requests to it and its answers need no disk. A look that another
//! thread ends, because it wants the core, costs a time slice: each one doubles the number of requests
//! until the next look, because a busy machine does not gain by looks. HTTP/1 only: the client of an
//! HTTP/2 connection sends many requests at once.

use std::{
    cell::Cell,
    io,
    os::fd::AsFd,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long the worker looks: a client wakes up, reads, and writes its next request meanwhile.
const LOOK: Duration = Duration::from_micros(200);

/// Longest time between a request and its answer for a look to follow: an answer that waits for the
/// disk takes longer, and threads that serve the disk then want the core.
const ANSWER_TIME_MAX: Duration = Duration::from_micros(100);

/// One glance at the socket takes less than 1 us; one that takes longer has waited for the core.
const GLANCE_MAX: Duration = Duration::from_micros(60);

/// Requests in a row that come within [`LOOK`] of the answer before, until the worker looks: the
/// first and the last number. It doubles after a look in vain, and halves after another.
const PROMPT_REQUESTS_MIN: u32 = 16;
const PROMPT_REQUESTS_MAX: u32 = 4096;

thread_local! {
    /// The connection whose bytes this worker has read last.
    static READ_LAST: Cell<u64> = const { Cell::new(0) };
    /// Number of connections of this worker so far.
    static CONNECTIONS: Cell<u64> = const { Cell::new(0) };
}

/// Whether the next request of a connection can be expected at once.
#[derive(Debug)]
struct Promptness {
    /// When the last request was read.
    requested: Option<Instant>,
    /// When the last answer was written, until the next request is read.
    answered: Option<Instant>,
    /// Requests in a row that came at once.
    requests: u32,
    /// How many such requests it takes until the worker looks.
    requests_needed: u32,
    looked: bool,
}

impl Default for Promptness {
    fn default() -> Self {
        Self {
            requested: None,
            answered: None,
            requests: 0,
            requests_needed: PROMPT_REQUESTS_MIN,
            looked: false,
        }
    }
}

impl Promptness {
    /// Notes an answer; one that took longer than [`ANSWER_TIME_MAX`] ends the row of prompt requests.
    fn answered(&mut self, now: Instant) {
        let took = self.requested.take().map(|requested| now - requested);
        if took.is_some_and(|took| took > ANSWER_TIME_MAX) {
            self.requests = 0;
        }
        (self.answered, self.looked) = (Some(now), false);
    }

    /// Notes a request. It is prompt if it came within [`LOOK`] of the last answer and `alone`: no other
    /// connection of the worker has sent anything in between.
    fn requested(&mut self, now: Instant, alone: bool) {
        if let Some(answered) = self.answered.take() {
            let prompt = alone && now - answered < LOOK;
            self.requests = if prompt {
                self.requests.saturating_add(1)
            } else {
                0
            };
        }
        self.requested = Some(now);
    }

    /// Returns until when the worker looks at the socket, once after each answer; `None` if too few prompt
    /// requests came before.
    fn look_until(&mut self) -> Option<Instant> {
        let answered = self.answered?;
        let look = self.requests >= self.requests_needed && !self.looked;
        self.looked = true;
        look.then(|| answered + LOOK)
    }

    /// Notes that a request came while the worker looked, which halves the number of prompt requests needed
    /// to look.
    fn looked_well(&mut self) {
        self.requests_needed = (self.requests_needed / 2).max(PROMPT_REQUESTS_MIN);
    }

    /// Notes that nothing came, or that another thread ran on the core, which doubles the requests needed to
    /// look. Without this, the worker would look after each write of a stream of events.
    fn looked_in_vain(&mut self) {
        self.requests = 0;
        self.requests_needed = (self.requests_needed * 2).min(PROMPT_REQUESTS_MAX);
    }
}

/// A stream with that look after each answer, once it is enabled.
pub(super) struct BusyPoll<S> {
    stream: S,
    /// Differs between the connections of a worker.
    number: u64,
    enabled: Rc<Cell<bool>>,
    promptness: Promptness,
}

impl<S> BusyPoll<S> {
    /// Wraps a stream, at which the worker does not look until the returned switch is set.
    pub(super) fn new(stream: S) -> (Self, Rc<Cell<bool>>) {
        let number = CONNECTIONS.get() + 1;
        CONNECTIONS.set(number);
        let enabled = Rc::new(Cell::new(false));
        let stream = Self {
            stream,
            number,
            enabled: enabled.clone(),
            promptness: Promptness::default(),
        };
        (stream, enabled)
    }

    /// Notes that an answer is written, if looking is enabled.
    fn note_answer(&mut self) {
        if self.enabled.get() {
            self.promptness.answered(Instant::now());
        }
    }
}

impl<S: AsFd> BusyPoll<S> {
    /// Looks at the socket until it can be read, the time is over, or another thread wants the core.
    fn look(&mut self) {
        let Some(until) = self.promptness.look_until() else {
            return;
        };
        let mut socket = [PollFd::new(&self.stream, PollFlags::IN)];
        let mut now = Instant::now();
        while poll(&mut socket, Some(&Timespec::default())) == Ok(0) {
            std::thread::yield_now();
            let before = std::mem::replace(&mut now, Instant::now());
            if now >= until || now - before > GLANCE_MAX {
                return self.promptness.looked_in_vain();
            }
        }
        self.promptness.looked_well();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BusyPoll<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            let alone = READ_LAST.replace(self.number) == self.number;
            if self.enabled.get() {
                self.promptness.requested(Instant::now(), alone);
            }
        }
        read
    }
}

impl<S: AsyncWrite + AsFd + Unpin> AsyncWrite for BusyPoll<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.note_answer();
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.note_answer();
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // actix flushes last, and returns to the worker's loop after that
        self.look();
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_micros(40);

    /// Plays requests, `gap` after each answer; returns whether the worker looks after the last answer.
    fn looks(promptness: &mut Promptness, requests: u32, gap: Duration, alone: bool) -> bool {
        let mut now = Instant::now();
        for _ in 0..requests {
            promptness.answered(now);
            now += gap;
            promptness.requested(now, alone);
        }
        promptness.answered(now);
        promptness.look_until().is_some()
    }

    #[test]
    fn a_worker_looks_for_prompt_clients_only() {
        let enough = PROMPT_REQUESTS_MIN;
        assert!(looks(&mut Promptness::default(), enough, SOON, true));
        assert!(!looks(&mut Promptness::default(), enough - 1, SOON, true));
        assert!(!looks(&mut Promptness::default(), enough, LOOK, true));
        assert!(!looks(&mut Promptness::default(), enough, SOON, false));
    }

    #[test]
    fn one_late_request_or_a_look_in_vain_ends_the_looking() {
        let mut promptness = Promptness::default();
        assert!(looks(&mut promptness, PROMPT_REQUESTS_MIN, SOON, true));
        assert_eq!(promptness.look_until(), None, "twice after one answer");
        assert!(!looks(&mut promptness, 1, LOOK, true));
        assert!(looks(&mut promptness, PROMPT_REQUESTS_MIN, SOON, true));
        promptness.looked_in_vain();
        assert!(!looks(&mut promptness, 1, SOON, true));
    }

    #[test]
    fn each_look_in_vain_doubles_the_wait_for_the_next() {
        let mut promptness = Promptness::default();
        promptness.looked_in_vain();
        assert!(!looks(&mut promptness, PROMPT_REQUESTS_MIN, SOON, true));
        assert!(looks(&mut promptness, PROMPT_REQUESTS_MIN, SOON, true));
        for _ in 0..40 {
            promptness.looked_in_vain();
        }
        assert!(!looks(&mut promptness, PROMPT_REQUESTS_MAX - 1, SOON, true));
        assert!(looks(&mut promptness, 1, SOON, true));
        promptness.looked_well();
        promptness.requests = 0;
        assert!(looks(&mut promptness, PROMPT_REQUESTS_MAX / 2, SOON, true));
    }

    #[test]
    fn a_worker_does_not_look_after_answers_that_took_long() {
        let mut promptness = Promptness::default();
        let mut now = Instant::now();
        for _ in 0..=PROMPT_REQUESTS_MIN {
            promptness.requested(now, true);
            now += 2 * ANSWER_TIME_MAX;
            promptness.answered(now);
            assert_eq!(promptness.look_until(), None);
            now += SOON;
        }
    }
}

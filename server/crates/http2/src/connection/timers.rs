//! Timers for the deadlines of calls, slow messages, stalled clients, and keepalive pings.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{Connection, KEEP_ALIVE, Phase};
use crate::{
    KeepAlive, Refusal, Service,
    frame::{self, Reason},
    limits::{BODY_TIMEOUT, CHECK_INTERVAL, PROGRESS_BYTES_MIN, STALL_TIMEOUT},
    stream::Receiving,
};

#[derive(Debug)]
pub(super) struct ConnectionTimers {
    /// Deadlines of calls, with their stream ids.
    pub(super) deadlines: BTreeSet<(Instant, u32)>,
    /// Time of the next check for slow messages and stalled clients; `None` if no check is needed.
    next_check: Option<Instant>,
    mark: Option<StallMark>,
    keepalive: Option<KeepAlive>,
    /// Time at which bytes were last received.
    received: Instant,
    /// Time at which the unanswered keepalive ping was sent.
    ping_sent: Option<Instant>,
}

/// The start of a period in which responses wait for the client, and the number of bytes sent before this period.
#[derive(Clone, Copy, Debug)]
struct StallMark {
    since: Instant,
    sent: u64,
}

impl ConnectionTimers {
    /// Creates the timers of a connection without streams. The keepalive interval starts at `now`.
    pub(super) fn new(keepalive: Option<KeepAlive>, now: Instant) -> Self {
        Self {
            deadlines: BTreeSet::new(),
            next_check: None,
            mark: None,
            keepalive,
            received: now,
            ping_sent: None,
        }
    }

    /// Records that bytes were received. Any received bytes also answer a keepalive ping.
    pub(super) fn received(&mut self, now: Instant) {
        self.received = now;
        self.ping_sent = None;
    }

    /// Schedules a check for slow messages and stalled clients, unless one is scheduled.
    pub(super) fn watch_streams(&mut self, now: Instant) {
        self.next_check.get_or_insert(now + CHECK_INTERVAL);
    }

    /// Returns the time at which to ping a silent client or, after a ping, to close the connection. Returns `None` if keepalive
    /// is disabled or the time cannot be represented.
    fn keepalive_at(&self) -> Option<Instant> {
        let KeepAlive { interval, timeout } = self.keepalive?;
        match self.ping_sent {
            Some(asked) => asked.checked_add(timeout),
            None => self.received.checked_add(interval),
        }
    }
}

impl<S: Service> Connection<S> {
    /// Returns the time of the next timer, or `None` if no timer is set. Ignores deadlines while the output is full.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        let timers = &self.timers;
        let deadline = timers.deadlines.first().map(|(at, _)| *at);
        // A call can be ended only if the output has capacity for its trailers.
        let deadline = deadline.filter(|_| !self.writer.is_full());
        [deadline, timers.next_check, timers.keepalive_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Runs all expired timers. After an unanswered ping, closes the connection without a GOAWAY. Fails if the connection must
    /// end with a GOAWAY.
    pub(super) fn run_timers(&mut self) -> Result<(), Reason> {
        self.end_late_calls();
        if self.timers.next_check.is_some_and(|at| at <= self.now) {
            if self.streams.is_empty() {
                (self.timers.next_check, self.timers.mark) = (None, None);
            } else {
                self.timers.next_check = Some(self.now + CHECK_INTERVAL);
                self.refuse_slow_messages();
                self.check_stall()?;
            }
        }
        if self.timers.keepalive_at().is_some_and(|at| at <= self.now) {
            if self.timers.ping_sent.replace(self.now).is_some() {
                // Do not send a GOAWAY, because a silent client would not read it.
                self.streams.clear();
                self.timers.deadlines.clear();
                self.phase = Phase::Closed;
            } else {
                frame::ping(&mut self.writer.output, 0, KEEP_ALIVE);
            }
        }
        Ok(())
    }

    /// Refuses calls whose deadlines have passed, while the output has capacity.
    fn end_late_calls(&mut self) {
        while !self.writer.is_full() {
            let Some(&(at, id)) = self.timers.deadlines.first() else {
                return;
            };
            if at > self.now {
                return;
            }
            self.timers.deadlines.pop_first();
            if let Some((slot, mut stream)) = self.streams.take_by_id(id) {
                stream.deadline = None;
                self.refuse(slot, stream, Refusal::Deadline);
            }
        }
    }

    /// Fails with [`Reason::Calm`] if responses have waited for [`STALL_TIMEOUT`] and fewer than [`PROGRESS_BYTES_MIN`] bytes
    /// were sent during this time. Does nothing if no response waits, for example on an idle watch.
    fn check_stall(&mut self) -> Result<(), Reason> {
        let waits = self.meters.answers.used() > 0;
        let sent = self.writer.sent;
        self.timers.mark = match self.timers.mark {
            _ if !waits => None,
            Some(mark) if sent - mark.sent < PROGRESS_BYTES_MIN => {
                if self.now.saturating_duration_since(mark.since) >= STALL_TIMEOUT {
                    return Err(Reason::Calm);
                }
                Some(mark)
            }
            Some(_) | None => Some(StallMark { since: self.now, sent }),
        };
        Ok(())
    }

    /// Sets the refusal of each call whose message arrives too slowly, and wakes the call. A collected call is also refused if
    /// its message is complete but the end of its request is late.
    fn refuse_slow_messages(&mut self) {
        let now = self.now;
        let mut late = Vec::new();
        self.streams.each(|slot, stream| {
            let (received, began) = match (&stream.receiving, stream.collecting) {
                (Receiving::Message { assembler, .. }, _) => (assembler.held(), stream.began),
                (Receiving::Stream { assembler }, Some(began)) => (assembler.held(), began),
                // The service limits the time for other content.
                (
                    Receiving::Stream { .. }
                    | Receiving::Content
                    | Receiving::Unwanted
                    | Receiving::Ended,
                    _,
                ) => return,
            };
            let earned = received as u64 / PROGRESS_BYTES_MIN;
            let allowed = BODY_TIMEOUT + Duration::from_secs(earned);
            if now.saturating_duration_since(began) > allowed {
                stream.refusal = Some(Refusal::TooSlow);
                late.push(slot);
            }
        });
        late.into_iter().for_each(|slot| self.streams.wake(slot));
    }
}

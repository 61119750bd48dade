//! Timers: deadlines of calls, slow messages, stalled clients, keepalive pings.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{Connection, Phase};
use crate::{
    KeepAlive, Refusal, Service,
    frame::{self, Reason},
    limits::{LOOK_INTERVAL, STALL_BYTES_MIN},
    ping,
    stream::Receiving,
};

/// All timers of a connection.
#[derive(Debug)]
pub(super) struct ConnectionTimers {
    /// Deadlines of streams; no more than there are streams.
    deadlines: BTreeSet<(Instant, u32)>,
    /// Next check of slow messages and stalled clients, while there are streams.
    look: Option<Instant>,
    mark: Option<StallMark>,
    keepalive: Option<KeepAlive>,
    /// When the client was last heard of.
    received: Instant,
    /// When it was asked whether it is still there.
    ping_sent: Option<Instant>,
}

/// Since when output waits for the client, and the bytes sent by then.
#[derive(Clone, Copy, Debug)]
struct StallMark {
    since: Instant,
    sent: u64,
}

impl ConnectionTimers {
    pub(super) fn new(keepalive: Option<KeepAlive>, now: Instant) -> Self {
        Self {
            deadlines: BTreeSet::new(),
            look: None,
            mark: None,
            keepalive,
            received: now,
            ping_sent: None,
        }
    }

    pub(super) fn received(&mut self, now: Instant) {
        self.received = now;
        self.ping_sent = None;
    }

    pub(super) fn add(&mut self, at: Instant, id: u32) {
        self.deadlines.insert((at, id));
    }

    pub(super) fn remove(&mut self, at: Instant, id: u32) {
        self.deadlines.remove(&(at, id));
    }

    /// There are no streams any more.
    pub(super) fn clear(&mut self) {
        self.deadlines.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.deadlines.len()
    }

    /// There is a stream whose pace is to be looked at.
    pub(super) fn watch_streams(&mut self, now: Instant) {
        self.look.get_or_insert(now + LOOK_INTERVAL);
    }

    /// When to ping a silent client, or to close the connection.
    fn alive(&self) -> Option<Instant> {
        let KeepAlive { interval, timeout } = self.keepalive?;
        match self.ping_sent {
            Some(asked) => asked.checked_add(timeout),
            None => self.received.checked_add(interval),
        }
    }
}

impl<S: Service> Connection<S> {
    pub(super) fn next_timer(&self) -> Option<Instant> {
        let timers = &self.timers;
        let deadline = timers.deadlines.first().map(|(at, _)| *at);
        // a call can be ended only when there is room for its end
        let deadline = deadline.filter(|_| !self.writer.is_full());
        [deadline, timers.look, timers.alive()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn run_timers(&mut self) -> Result<(), Reason> {
        self.end_late_calls();
        if self.timers.look.is_some_and(|at| at <= self.now) {
            if self.streams.is_empty() {
                (self.timers.look, self.timers.mark) = (None, None);
            } else {
                self.timers.look = Some(self.now + LOOK_INTERVAL);
                self.refuse_slow_messages();
                self.check_stall()?;
            }
        }
        if self.timers.alive().is_some_and(|at| at <= self.now) {
            if self.timers.ping_sent.replace(self.now).is_some() {
                // no GOAWAY: the client does not read
                self.streams.clear();
                self.timers.clear();
                self.phase = Phase::Closed;
            } else {
                frame::ping(&mut self.writer.output, 0, ping::KEEP_ALIVE);
            }
        }
        Ok(())
    }

    fn end_late_calls(&mut self) {
        while !self.writer.is_full() {
            let Some(&(at, id)) = self.timers.deadlines.first() else {
                return;
            };
            if at > self.now {
                return;
            }
            self.timers.deadlines.pop_first();
            let slot = self.streams.slot_of(id);
            if let Some(slot) = slot
                && let Some(mut stream) = self.streams.take(slot)
            {
                stream.deadline = None;
                self.refuse(slot, stream, Refusal::Deadline);
            }
        }
    }

    /// Checks whether the client reads its answers.
    fn check_stall(&mut self) -> Result<(), Reason> {
        let waits = self.meters.answers.used() > 0;
        let sent = self.writer.sent;
        self.timers.mark = match self.timers.mark {
            _ if !waits => None,
            Some(mark) if sent - mark.sent < STALL_BYTES_MIN => {
                if self.now.saturating_duration_since(mark.since) >= self.config.stall_timeout {
                    return Err(Reason::Calm);
                }
                Some(mark)
            }
            Some(_) | None => Some(StallMark {
                since: self.now,
                sent,
            }),
        };
        Ok(())
    }

    /// Refuses messages that come too slowly.
    fn refuse_slow_messages(&mut self) {
        let (now, config) = (self.now, &self.config);
        let mut late = Vec::new();
        self.streams.each(|slot, stream| {
            let (came, began) = match (&stream.receiving, stream.collecting) {
                (Receiving::Message { assembler, .. }, _) => (assembler.held(), stream.began),
                (Receiving::Foreign { .. }, _) => (0, stream.began),
                (Receiving::Stream { assembler }, Some(began)) => (assembler.held(), began),
                (Receiving::Stream { .. } | Receiving::Unwanted | Receiving::Ended, _) => return,
            };
            let earned = came as u64 / config.message_bytes_per_second_min.max(1);
            let allowed = config.message_timeout + Duration::from_secs(earned);
            if now.saturating_duration_since(began) > allowed {
                stream.refusal = Some(Refusal::TooSlow);
                late.push(slot);
            }
        });
        late.into_iter().for_each(|slot| self.streams.wake(slot));
    }
}

//! What a connection's streams may hold, and how long their client may keep them waiting.

use std::task::{Context, Poll, ready};

use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::{
    conn::Connection,
    frame::Reason,
    limits::{LOOK_INTERVAL, STALL_BYTES_MIN, STREAMS_FREE},
    stream::{Receiving, Stream},
};
use crate::{
    budget::{Permit, SMALL_BYTES},
    transport::{Calls, grpc, limits::STALL_TIMEOUT, patience},
};

/// Since when answers wait for their client, and what it had taken by then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    since: Instant,
    sent: u64,
}

impl<S, C: Calls> Connection<S, C> {
    /// A place for one more stream among those of the whole process; the first few of a connection
    /// need none.
    pub(super) fn place(&self) -> Result<Option<Permit>, Box<Status>> {
        if self.streams.len() < STREAMS_FREE {
            return Ok(None);
        }
        let place = self.around.rules.traffic.calls.take(1);
        place
            .map(Some)
            .ok_or_else(|| Box::new(grpc::too_many_requests()))
    }

    /// Pays for a request that becomes large. A status says that there is no room for it.
    pub(super) fn pay_request(&self, stream: &mut Stream) -> Option<Status> {
        let Receiving::Whole { body, .. } = &stream.receiving else {
            return None;
        };
        if body.len() <= SMALL_BYTES || stream.room.is_some() {
            return None;
        }
        let length = grpc::length(body).unwrap_or_default();
        stream.room = self.around.rules.traffic.requests.take(length);
        stream.room.is_none().then(grpc::too_many_requests)
    }

    /// Pays for an answer that waits for its client.
    pub(super) fn pay_answer(&self, stream: &mut Stream, length: usize) -> bool {
        // what came before has left
        stream.room = None;
        if length <= SMALL_BYTES {
            return true;
        }
        stream.room = self.around.rules.traffic.answers.take(length);
        stream.room.is_some()
    }

    /// Looks now and then whether the client keeps its streams waiting. Ready when it looked.
    pub(super) fn look(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        if self.streams.is_empty() && self.next_look.is_none() {
            return Poll::Pending;
        }
        let now = Instant::now;
        let timer = self
            .next_look
            .get_or_insert_with(|| Box::pin(sleep_until(now() + LOOK_INTERVAL)));
        ready!(timer.as_mut().poll(cx));
        if self.streams.is_empty() {
            (self.next_look, self.mark) = (None, None);
            return Poll::Pending;
        }
        timer.as_mut().reset(now() + LOOK_INTERVAL);
        self.refuse_late(now());
        Poll::Ready(self.judge(now()))
    }

    /// Whether the client takes what it has asked for.
    fn judge(&mut self, now: Instant) -> Result<(), Reason> {
        let mut waits = false;
        self.streams
            .each(|_, stream| waits |= !stream.pending.is_empty());
        let sent = self.wire.sent;
        self.mark = match self.mark {
            _ if !waits => None,
            Some(mark) if sent - mark.sent < STALL_BYTES_MIN => {
                if now - mark.since >= STALL_TIMEOUT {
                    return Err(Reason::Calm);
                }
                Some(mark)
            }
            Some(_) | None => Some(Mark { since: now, sent }),
        };
        Ok(())
    }

    /// Refuses messages that come too slowly.
    fn refuse_late(&mut self, now: Instant) {
        let mut late = Vec::new();
        self.streams.each(|slot, stream| {
            if let (Receiving::Whole { body, .. }, Some(counting)) =
                (&stream.receiving, &stream.counting)
                && now > patience::due(counting.began(), body.len())
            {
                late.push(slot);
            }
        });
        for slot in late {
            if let Some((stream, _)) = self.streams.take(slot) {
                self.answer_now(slot, stream, grpc::too_slow().into_http());
            }
        }
    }
}

//! Handles SETTINGS, PING, WINDOW_UPDATE, PRIORITY and GOAWAY.

use std::time::{Duration, Instant};

use super::Connection;
use crate::{
    Service,
    frame::{self, ACK, Frame, Reason},
    send::WINDOW_MAX,
};

/// Debug data of a GOAWAY frame that makes gRPC libraries ping less often.
pub(super) const TOO_MANY_PINGS: &[u8] = b"too_many_pings";

/// Contents of the server's pings, which identify their acknowledgments.
pub(crate) const KEEP_ALIVE: [u8; 8] = *b"alive...";
pub(crate) const SHUTTING_DOWN: [u8; 8] = *b"stopping";

/// Maximum number of pings that arrive too early; the next early ping ends the connection.
const STRIKES_MAX: u32 = 2;

/// Minimum interval between pings of a client without calls.
const IDLE_PING_INTERVAL: Duration = Duration::from_secs(2 * 60 * 60);

/// Counts the pings of one client as grpc-go does. Detects a client that pings too often while it receives neither headers nor
/// data.
#[derive(Debug)]
pub(super) struct Pings {
    min: Duration,
    last: Option<Instant>,
    strikes: u32,
}

impl Pings {
    /// Creates the count of a new client. `min` is the minimum interval between pings while a call is in progress.
    pub(super) fn new(min: Duration) -> Self {
        Self { min, last: None, strikes: 0 }
    }

    /// Counts a ping if it arrives too early. `answered` says whether headers or data have been sent since the previous ping,
    /// which resets the count, and `calls` whether a call is in progress. Returns `false` if the connection must end.
    pub(super) fn received(&mut self, now: Instant, answered: bool, calls: bool) -> bool {
        let last = self.last.replace(now);
        if answered {
            self.strikes = 0;
            return true;
        }
        let wait = if calls { self.min } else { IDLE_PING_INTERVAL };
        if last.is_some_and(|last| now < last + wait) {
            self.strikes += 1;
        }
        !self.too_many()
    }

    /// Returns whether the client has pinged too often, so that the connection must end.
    pub(super) fn too_many(&self) -> bool {
        self.strikes > STRIKES_MAX
    }
}

impl<S: Service> Connection<S> {
    /// Applies and acknowledges the client's settings, or records the acknowledgment of the server's settings. Fails for an
    /// invalid frame.
    pub(super) fn on_settings(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        if frame.stream != 0 {
            return Err(Reason::Protocol);
        }
        if frame.has(ACK) {
            self.settings_acknowledged = true;
            return if frame.payload.is_empty() {
                Ok(())
            } else {
                Err(Reason::FrameSize)
            };
        }
        let (settings, []) = frame.payload.as_chunks::<6>() else {
            return Err(Reason::FrameSize);
        };
        self.work += frame.payload.len();
        let mut table = None;
        for &[id1, id2, a, b, c, d] in settings {
            let value = u32::from_be_bytes([a, b, c, d]);
            match u16::from_be_bytes([id1, id2]) {
                // Use the smallest value, because it evicts fields from the client's table even if a larger value follows.
                frame::HEADER_TABLE_SIZE => table = table.min(Some(value)).or(Some(value)),
                frame::INITIAL_WINDOW_SIZE => self.on_initial_window(value)?,
                frame::ENABLE_PUSH if value > 1 => return Err(Reason::Protocol),
                // The value has no effect, because this server never sends a frame larger than the smallest valid value.
                frame::MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => {
                    return Err(Reason::Protocol);
                }
                _ => {}
            }
        }
        self.writer.encoder.settings(table);
        self.settings_received = true;
        frame::head(&mut self.writer.output, 0, frame::SETTINGS, ACK, 0);
        Ok(())
    }

    /// Sets the initial send window, which changes the send windows of all streams. Fails if a window would exceed the maximum.
    fn on_initial_window(&mut self, value: u32) -> Result<(), Reason> {
        let window = i64::from(value);
        if window > WINDOW_MAX {
            return Err(Reason::FlowControl);
        }
        self.window_grown |= window > self.writer.initial_window;
        self.writer.initial_window = window;
        if window + self.credit_high > WINDOW_MAX {
            self.work += self.streams.len();
            // Recompute the upper bound, because the stream with the largest credit may have ended.
            let credits = self.streams.iter().map(|(_, stream)| stream.send_credit);
            self.credit_high = credits.max().unwrap_or(0).max(0);
            if window + self.credit_high > WINDOW_MAX {
                return Err(Reason::FlowControl);
            }
        }
        Ok(())
    }

    /// Acknowledges a ping. Fails if too many pings arrived early or the frame is invalid. An acknowledgment of the shutdown's
    /// ping makes the connection refuse new streams; other acknowledgments have no effect.
    pub(super) fn on_ping(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        let content: [u8; 8] = frame.payload.try_into().map_err(|_| Reason::FrameSize)?;
        if frame.stream != 0 {
            return Err(Reason::Protocol);
        }
        if !frame.has(ACK) {
            frame::ping(&mut self.writer.output, ACK, content);
            let answered = std::mem::take(&mut self.writer.answered);
            let calls = !self.streams.is_empty();
            if !self.pings.received(self.now, answered, calls) {
                return Err(Reason::Calm);
            }
        } else if content == SHUTTING_DOWN && self.shutting_down {
            self.refuse_new();
        }
        Ok(())
    }

    /// Increases the send window of the connection or of a stream and queues the stream if it has unsent content. An invalid
    /// increase resets the stream or, for the connection's window, fails. Ignores a closed stream and fails for an idle stream.
    pub(super) fn on_window(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        let more = i64::from(frame.number()? & 0x7fff_ffff);
        if frame.stream == 0 {
            self.writer.send_window += more;
            return match self.writer.send_window {
                ..=WINDOW_MAX if more > 0 => Ok(()),
                ..=WINDOW_MAX => Err(Reason::Protocol),
                _ => Err(Reason::FlowControl),
            };
        }
        if self.is_idle(frame.stream) {
            return Err(Reason::Protocol);
        }
        let Some((slot, mut stream)) = self.streams.take_by_id(frame.stream) else {
            return Ok(());
        };
        stream.send_credit += more;
        if more == 0 {
            return self.reset(slot, stream, Reason::Protocol);
        }
        if self.writer.window(&stream) > WINDOW_MAX {
            return self.reset(slot, stream, Reason::FlowControl);
        }
        self.credit_high = self.credit_high.max(stream.send_credit);
        if !stream.pending.is_empty() {
            self.writer.enqueue(&mut stream, slot);
        }
        self.streams.keep(slot, stream);
        Ok(())
    }

    /// Checks a PRIORITY frame, which has no effect. A wrong length resets an open stream. Fails for any other invalid frame.
    pub(super) fn on_priority(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        if frame.stream == 0 {
            return Err(Reason::Protocol);
        }
        if let &[a, b, c, d, _weight] = frame.payload {
            let dependency = u32::from_be_bytes([a & 0x7f, b, c, d]);
            return if dependency == frame.stream {
                Err(Reason::Protocol)
            } else {
                Ok(())
            };
        }
        match self.streams.take_by_id(frame.stream) {
            Some((slot, stream)) => self.reset(slot, stream, Reason::FrameSize),
            None => Err(Reason::FrameSize),
        }
    }

    /// Checks a GOAWAY frame, which has no effect: the client finishes its open streams and then closes the connection.
    pub(super) fn on_goaway(frame: Frame<'_>) -> Result<(), Reason> {
        if frame.stream != 0 {
            return Err(Reason::Protocol);
        }
        if frame.payload.len() < 8 {
            return Err(Reason::FrameSize);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_pings_are_counted_unless_something_was_sent() {
        let min = Duration::from_secs(5);
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        // During a call, these intervals are long enough.
        let mut pings = Pings::new(min);
        assert!((0..10).all(|n| pings.received(at(n * 5), false, true)));
        // The third early ping ends the connection.
        let mut pings = Pings::new(min);
        let stays: Vec<bool> = (0..4).map(|n| pings.received(at(n), false, true)).collect();
        assert_eq!(stays, [true, true, true, false]);
        // Without a call, the same pings are too frequent.
        let mut pings = Pings::new(min);
        let stays: Vec<bool> = (0..4)
            .map(|n| pings.received(at(n * 60), false, false))
            .collect();
        assert_eq!(stays, [true, true, true, false]);
        // Sending a frame between pings resets the count.
        let mut pings = Pings::new(min);
        assert!((0..20).all(|n| pings.received(at(n), n % 3 == 0, true)));
    }
}

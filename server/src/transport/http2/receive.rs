//! What comes in on a connection, frame by frame. An error ends the connection; what concerns one
//! stream ends the stream.

use bytes::Bytes;
use http::HeaderValue;
use tokio::{sync::mpsc::error::TrySendError, time::Instant};

use super::{
    conn::Connection,
    frame::{self, ACK, END_HEADERS, END_STREAM, Frame, Reason, WITH_PRIORITY},
    head::Block,
    limits::{CONTINUATIONS_MAX, EMPTY_MAX, HEADERS_MAX},
    stream::{Receiving, Stream},
    wire::WINDOW_MAX,
};
use crate::transport::{Calls, grpc};

/// With this metadata etcd's clients say which version of the API they speak.
const CLIENT_VERSION: &str = "client-api-version";

/// Ids that say what a PING was sent for.
pub(super) const ALIVE: [u8; 8] = *b"alive...";
pub(super) const STOPPING: [u8; 8] = *b"stopping";

/// A header block whose end has not come yet.
pub(super) struct Open {
    stream: u32,
    end: bool,
    bytes: Vec<u8>,
    frames: usize,
}

impl<S, C: Calls> Connection<S, C> {
    pub(super) fn on_frame(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        let expected = match &self.open {
            Some(open) => frame.kind == frame::CONTINUATION && frame.stream == open.stream,
            None => frame.kind != frame::CONTINUATION,
        };
        if !expected || !self.greeted && frame.kind != frame::SETTINGS {
            return Err(Reason::Protocol);
        }
        match frame.kind {
            frame::DATA => self.on_data(frame),
            frame::HEADERS => self.on_headers(frame),
            frame::CONTINUATION => self.on_continuation(frame),
            frame::RST_STREAM => self.on_reset(frame),
            frame::SETTINGS => self.on_settings(frame),
            frame::PING => self.on_ping(frame),
            frame::WINDOW_UPDATE => self.on_window(frame),
            frame::PUSH_PROMISE => Err(Reason::Protocol),
            frame::PRIORITY if frame.payload.len() != 5 => Err(Reason::FrameSize),
            // it keeps what it has asked for, and closes when it has it
            frame::GOAWAY => Ok(()),
            // unknown kinds are for extensions
            _ => Ok(()),
        }
    }

    fn on_headers(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        let mut fragment = frame.unpadded()?;
        if frame.has(WITH_PRIORITY) {
            fragment = fragment.get(5..).ok_or(Reason::FrameSize)?;
        }
        // clients have the odd ids
        if frame.stream.is_multiple_of(2) {
            return Err(Reason::Protocol);
        }
        let end = frame.has(END_STREAM);
        if frame.has(END_HEADERS) {
            return self.on_block(frame.stream, end, fragment);
        }
        self.open = Some(Open {
            stream: frame.stream,
            end,
            bytes: fragment.to_vec(),
            frames: 0,
        });
        Ok(())
    }

    fn on_continuation(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        let mut open = self.open.take().ok_or(Reason::Protocol)?;
        open.frames += 1;
        if open.bytes.len() + frame.payload.len() > HEADERS_MAX || open.frames > CONTINUATIONS_MAX {
            return Err(Reason::Calm);
        }
        open.bytes.extend_from_slice(frame.payload);
        if frame.has(END_HEADERS) {
            return self.on_block(open.stream, open.end, &open.bytes);
        }
        self.open = Some(open);
        Ok(())
    }

    fn on_block(&mut self, id: u32, end: bool, block: &[u8]) -> Result<(), Reason> {
        let (around, client) = (&self.around, &mut self.client);
        let read = self.heads.read(block, &around.ends, |head| {
            let metrics = &around.rules.metrics;
            head.call = metrics.call(head.path()).cloned();
            if let Some(call) = &head.call {
                let version = head.headers().get(CLIENT_VERSION);
                if client
                    .as_ref()
                    .is_none_or(|(known, _)| known.as_ref() != version)
                {
                    let requests = metrics.client_requests(version.map(HeaderValue::as_bytes));
                    *client = Some((version.cloned(), requests));
                }
                let requests = client.as_ref().map(|(_, requests)| requests);
                head.client = requests.map(|requests| requests.of(call.call_type).clone());
            }
            head.whole = around.calls.whole(head);
        });
        // the tables differ from now on
        let block = read.map_err(|_| Reason::Compression)?;
        if id <= self.highest {
            return self.on_trailers(id, end);
        }
        self.highest = id;
        if self.refusing || self.streams.len() >= self.streams_max {
            self.wire.reset(id, Reason::Refused);
            return self.fault();
        }
        match self.place() {
            Ok(place) => self.place = place,
            Err(refusal) => {
                let (slot, stream) = self.new_stream(id, end);
                self.answer_now(slot, stream, refusal.into_http());
                return Ok(());
            }
        }
        match block {
            Block::Request(head) => self.begin(id, head, end),
            Block::TooLarge => {
                let (slot, stream) = self.new_stream(id, end);
                self.answer_now(slot, stream, grpc::headers_too_large());
            }
            Block::Malformed => {
                self.wire.reset(id, Reason::Protocol);
                return self.fault();
            }
        }
        Ok(())
    }

    /// What they say does not matter in a request, only that it ends.
    fn on_trailers(&mut self, id: u32, end: bool) -> Result<(), Reason> {
        match self.streams.slot_of(id) {
            Some(slot) if end => {
                if let Some((stream, _)) = self.streams.take(slot) {
                    self.request_ended(slot, stream);
                }
                Ok(())
            }
            Some(slot) => self.reset(slot, Reason::Protocol),
            // of a stream that was answered early
            None => Ok(()),
        }
    }

    fn on_data(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        let length = frame.payload.len();
        self.wire.received(length)?;
        let content = frame.unpadded()?;
        let end = frame.has(END_STREAM);
        if content.is_empty() && !end {
            self.empty += 1;
            if self.empty > EMPTY_MAX {
                return Err(Reason::Calm);
            }
        }
        let Some(slot) = self.streams.slot_of(frame.stream) else {
            if frame.stream > self.highest || frame.stream == 0 {
                return Err(Reason::Protocol);
            }
            // of a stream that was answered or reset early
            self.wire.took(length);
            return Ok(());
        };
        let Some((mut stream, _)) = self.streams.take(slot) else {
            self.wire.took(length);
            return Ok(());
        };
        stream.receive_window -= length as i64;
        let wrong = match &stream.receiving {
            Receiving::Ended => Some(Reason::Protocol),
            _ if stream.receive_window < 0 => Some(Reason::FlowControl),
            Receiving::Whole { .. } | Receiving::Parts(_) | Receiving::Unwanted => None,
        };
        if let Some(reason) = wrong {
            self.wire.took(length);
            self.streams.keep(slot, stream);
            return self.reset(slot, reason);
        }
        if !self.take_content(&mut stream, content, length) {
            self.streams.keep(slot, stream);
            return self.reset(slot, Reason::Calm);
        }
        if let Some(refusal) = self.pay_request(&mut stream) {
            self.answer_now(slot, stream, refusal.into_http());
        } else if end {
            self.request_ended(slot, stream);
        } else if let Some(refusal) = self.refusal(&stream) {
            self.answer_now(slot, stream, refusal.into_http());
        } else {
            self.streams.keep(slot, stream);
        }
        Ok(())
    }

    /// Whether there was room for it.
    fn take_content(&mut self, stream: &mut Stream, content: &[u8], length: usize) -> bool {
        let (mut taken, mut room) = (length, true);
        match &mut stream.receiving {
            Receiving::Whole { body, .. } => {
                body.extend_from_slice(content);
                self.unfinished += content.len();
            }
            Receiving::Parts(_) if content.is_empty() => {}
            Receiving::Parts(chunks) => {
                match chunks.try_send(Ok(Bytes::copy_from_slice(content))) {
                    Ok(()) => {
                        stream.held += content.len();
                        taken -= content.len();
                    }
                    // nobody reads any more: the bytes are gone at once
                    Err(TrySendError::Closed(_)) => {}
                    Err(TrySendError::Full(_)) => room = false,
                }
            }
            Receiving::Unwanted | Receiving::Ended => {}
        }
        self.wire.took(taken);
        self.wire.stream_took(stream, taken);
        room
    }

    fn on_reset(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        frame.number()?;
        if frame.stream == 0 || frame.stream > self.highest {
            return Err(Reason::Protocol);
        }
        let Some(slot) = self.streams.slot_of(frame.stream) else {
            return Ok(());
        };
        if let Some((stream, _)) = self.streams.take(slot) {
            if let Receiving::Parts(chunks) = &stream.receiving {
                // an error says that nobody reads any more
                let _ = chunks.try_send(Err(tonic::Status::cancelled("context canceled")));
            }
            self.let_go(slot, &stream);
        }
        self.fault()
    }

    fn on_settings(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        if frame.stream != 0 {
            return Err(Reason::Protocol);
        }
        if frame.has(ACK) {
            return if frame.payload.is_empty() {
                Ok(())
            } else {
                Err(Reason::FrameSize)
            };
        }
        let (settings, []) = frame.payload.as_chunks::<6>() else {
            return Err(Reason::FrameSize);
        };
        let mut table = None;
        for &[id1, id2, a, b, c, d] in settings {
            let value = u32::from_be_bytes([a, b, c, d]);
            match u16::from_be_bytes([id1, id2]) {
                frame::HEADER_TABLE_SIZE => table = Some(value),
                frame::INITIAL_WINDOW_SIZE => self.resize_windows(value)?,
                frame::ENABLE_PUSH if value > 1 => return Err(Reason::Protocol),
                // ours are never larger than the smallest that a peer may ask for
                frame::MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => {
                    return Err(Reason::Protocol);
                }
                _ => {}
            }
        }
        self.wire.encoder.settings(table);
        self.greeted = true;
        frame::head(&mut self.wire.output, 0, frame::SETTINGS, ACK, 0);
        Ok(())
    }

    fn resize_windows(&mut self, value: u32) -> Result<(), Reason> {
        let window = i64::from(value);
        if window > WINDOW_MAX {
            return Err(Reason::FlowControl);
        }
        let more = window - self.wire.stream_window;
        self.wire.stream_window = window;
        let mut overflown = false;
        self.streams.each(|slot, stream| {
            stream.send_window += more;
            overflown |= stream.send_window > WINDOW_MAX;
            if !stream.pending.is_empty() {
                self.wire.enter(stream, slot);
            }
        });
        if overflown {
            Err(Reason::FlowControl)
        } else {
            Ok(())
        }
    }

    fn on_ping(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        let content: [u8; 8] = frame.payload.try_into().map_err(|_| Reason::FrameSize)?;
        if frame.stream != 0 {
            return Err(Reason::Protocol);
        }
        if !frame.has(ACK) {
            frame::ping(&mut self.wire.output, ACK, content);
            let answered = std::mem::take(&mut self.wire.answered);
            let calls = !self.streams.is_empty();
            if !self.pings.came(Instant::now(), answered, calls) {
                return Err(Reason::Calm);
            }
        } else if content == STOPPING && self.stopping {
            self.refuse();
        }
        Ok(())
    }

    fn on_window(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        let more = i64::from(frame.number()? & 0x7fff_ffff);
        if frame.stream == 0 {
            self.wire.send_window += more;
            return match self.wire.send_window {
                ..=WINDOW_MAX if more > 0 => Ok(()),
                ..=WINDOW_MAX => Err(Reason::Protocol),
                _ => Err(Reason::FlowControl),
            };
        }
        if frame.stream > self.highest {
            return Err(Reason::Protocol);
        }
        let Some(slot) = self.streams.slot_of(frame.stream) else {
            return Ok(());
        };
        let Some(stream) = self.streams.get_mut(slot) else {
            return Ok(());
        };
        stream.send_window += more;
        if more == 0 {
            return self.reset(slot, Reason::Protocol);
        }
        if stream.send_window > WINDOW_MAX {
            return self.reset(slot, Reason::FlowControl);
        }
        if !stream.pending.is_empty() {
            self.wire.enter(stream, slot);
        }
        Ok(())
    }
}

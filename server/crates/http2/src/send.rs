//! A connection's output: frames to be sent, and flow-control windows.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, StatusCode};

use crate::{
    Service,
    frame::{self, END_HEADERS, END_STREAM, FRAME_SIZE, Reason},
    hpack::Encoder,
    limits::{HEADER_LIST_BYTES_MAX, OUTPUT_MAX, VISIT_BYTES, WINDOW_BYTES},
    stream::{Stream, unsent},
};

/// Maximum size in bytes of a flow-control window; a larger window is a client error.
pub(crate) const WINDOW_MAX: i64 = (1 << 31) - 1;

/// Initial size in bytes of every window, unless the settings change it.
pub(crate) const WINDOW_DEFAULT: i64 = 65_535;

/// Writes frames for one connection.
#[derive(Debug)]
pub(crate) struct FrameWriter {
    pub(crate) output: Vec<u8>,
    /// Number of bytes of `output` that have been sent.
    written: usize,
    /// Whether headers or data have been sent since the client's last ping.
    pub(crate) answered: bool,
    pub(crate) encoder: Encoder,
    pub(crate) send_window: i64,
    /// Initial send window of a stream in bytes.
    pub(crate) initial_window: i64,
    pub(crate) receive_window: i64,
    /// Number of content bytes of responses that have been written to `output`.
    pub(crate) sent: u64,
    /// Number of received bytes for which no WINDOW_UPDATE of the connection has been sent.
    pub(crate) unacknowledged: usize,
    /// Slots of streams that wait for the connection's window or for capacity in `output`.
    pub(crate) send_queue: VecDeque<usize>,
}

impl FrameWriter {
    /// Creates a writer whose output contains the server's settings and a WINDOW_UPDATE that enlarges the connection's window.
    /// The settings permit `streams_max` concurrent streams.
    pub(crate) fn new(streams_max: u32) -> Self {
        let mut output = Vec::new();
        let settings = [
            (frame::MAX_CONCURRENT_STREAMS, streams_max),
            (frame::INITIAL_WINDOW_SIZE, WINDOW_BYTES),
            (frame::MAX_HEADER_LIST_SIZE, HEADER_LIST_BYTES_MAX as u32),
        ];
        frame::settings(&mut output, &settings);
        let wider = WINDOW_BYTES - WINDOW_DEFAULT as u32;
        frame::number(&mut output, frame::WINDOW_UPDATE, 0, wider);
        Self {
            output,
            written: 0,
            answered: false,
            encoder: Encoder::default(),
            send_window: WINDOW_DEFAULT,
            initial_window: WINDOW_DEFAULT,
            receive_window: i64::from(WINDOW_BYTES),
            sent: 0,
            unacknowledged: 0,
            send_queue: VecDeque::new(),
        }
    }

    /// Returns the bytes that are ready to be sent.
    pub(crate) fn ready(&self) -> &[u8] {
        &self.output[self.written..]
    }

    /// Marks the next `bytes` bytes of the output as sent. Removes the sent bytes once all output, or at least [`OUTPUT_MAX`]
    /// bytes of it, are sent.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written == self.output.len() {
            self.written = 0;
            self.output.clear();
        } else if self.written >= OUTPUT_MAX {
            self.output.drain(..self.written);
            self.written = 0;
        }
    }

    /// Returns whether the output is too full for calls to run.
    pub(crate) fn is_full(&self) -> bool {
        self.ready().len() >= OUTPUT_MAX
    }

    /// Returns whether the output is too full for input to be processed.
    pub(crate) fn is_control_full(&self) -> bool {
        self.ready().len() >= 2 * OUTPUT_MAX
    }

    /// Counts the bytes of a received DATA frame. Fails if they exceed the connection's window. Reopens that window whenever
    /// half of it is used up. A stream that its call does not read therefore does not block other streams.
    pub(crate) fn received(&mut self, bytes: usize) -> Result<(), Reason> {
        self.receive_window -= bytes as i64;
        if self.receive_window < 0 {
            return Err(Reason::FlowControl);
        }
        self.unacknowledged += bytes;
        if self.unacknowledged >= WINDOW_BYTES as usize / 2 {
            self.receive_window += self.unacknowledged as i64;
            // The sum is at most one window, so it fits into 32 bits.
            let bytes = std::mem::take(&mut self.unacknowledged) as u32;
            frame::number(&mut self.output, frame::WINDOW_UPDATE, 0, bytes);
        }
        Ok(())
    }

    /// Sends a WINDOW_UPDATE for a stream if at least half a window was received since the last update.
    pub(crate) fn open<S: Service>(&mut self, stream: &mut Stream<S>) {
        if stream.unacknowledged >= WINDOW_BYTES as usize / 2 {
            stream.receive_window += stream.unacknowledged as i64;
            let bytes = std::mem::take(&mut stream.unacknowledged) as u32;
            frame::number(&mut self.output, frame::WINDOW_UPDATE, stream.id, bytes);
        }
    }

    /// Resets the stream `id` with an RST_STREAM frame.
    pub(crate) fn reset(&mut self, id: u32, reason: Reason) {
        frame::number(&mut self.output, frame::RST_STREAM, id, reason as u32);
    }

    /// Returns a stream's send window in bytes, which may be negative.
    pub(crate) fn window<S: Service>(&self, stream: &Stream<S>) -> i64 {
        self.initial_window + stream.send_credit
    }

    /// Writes the headers, the message and the trailers of a successful unary response. If the message does not fit into one
    /// frame and the windows, or the output is full, writes nothing and returns `false`.
    pub(crate) fn try_write_unary<S: Service>(
        &mut self,
        stream: &Stream<S>,
        message: &[u8],
    ) -> bool {
        let length = message.len() as i64;
        let large = message.len() > FRAME_SIZE || self.is_full();
        if large || length > self.send_window || length > self.window(stream) {
            return false;
        }
        self.send_window -= length;
        self.sent += message.len() as u64;
        self.answered = true;
        let (headers, trailers) = self.encoder.success_blocks();
        let (out, id) = (&mut self.output, stream.id);
        frame::head(out, headers.len(), frame::HEADERS, END_HEADERS, id);
        out.extend_from_slice(headers);
        frame::head(out, message.len(), frame::DATA, 0, id);
        out.extend_from_slice(message);
        let flags = END_HEADERS | END_STREAM;
        frame::head(out, trailers.len(), frame::HEADERS, flags, id);
        out.extend_from_slice(trailers);
        true
    }

    /// Writes a response's headers, which end the stream if `end` is set.
    pub(crate) fn headers(&mut self, id: u32, status: StatusCode, headers: &HeaderMap, end: bool) {
        let mut block = Vec::new();
        self.encoder.headers(status, headers, &mut block);
        self.block(id, &block, end);
    }

    /// Writes as much pending content as the windows and the output allow, at most `VISIT_BYTES`. Returns whether all content
    /// was written. If so, reduces the response's charge. If content remains and the stream's window is open, queues the
    /// stream.
    pub(crate) fn pending<S: Service>(&mut self, stream: &mut Stream<S>, slot: usize) -> bool {
        let mut left = VISIT_BYTES;
        while !stream.pending.is_empty() {
            let own = self.window(stream);
            if own <= 0 {
                return false;
            }
            if self.send_window <= 0 || self.is_full() || left == 0 {
                self.enqueue(stream, slot);
                return false;
            }
            let window = usize::try_from(self.send_window.min(own)).unwrap_or(0);
            let length = stream.pending.len().min(FRAME_SIZE).min(window).min(left);
            left -= length;
            self.sent += length as u64;
            self.send_window -= length as i64;
            stream.send_credit -= length as i64;
            self.answered = true;
            frame::head(&mut self.output, length, frame::DATA, 0, stream.id);
            self.output.extend_from_slice(&stream.pending[..length]);
            stream.pending.advance(length);
        }
        stream.pending = Bytes::new();
        // Reducing a charge never fails.
        stream.answer.set(stream.body.as_ref().map_or(0, unsent));
        true
    }

    /// Queues a stream for the connection's window or the output, unless it is queued already.
    pub(crate) fn enqueue<S: Service>(&mut self, stream: &mut Stream<S>, slot: usize) {
        if !std::mem::replace(&mut stream.queued, true) {
            self.send_queue.push_back(slot);
        }
    }

    /// Writes the end of a response: its trailers, or an empty DATA frame if it has no trailers or they have no fields.
    pub(crate) fn end(&mut self, id: u32, trailers: Option<&HeaderMap>) {
        let Some(trailers) = trailers.filter(|trailers| !trailers.is_empty()) else {
            return frame::head(&mut self.output, 0, frame::DATA, END_STREAM, id);
        };
        let mut block = Vec::new();
        self.encoder.trailers(trailers, &mut block);
        self.block(id, &block, true);
    }

    /// Writes a header block as HEADERS and, if it is long, CONTINUATION frames. `end` sets END_STREAM. The block must not be
    /// empty.
    fn block(&mut self, id: u32, block: &[u8], end: bool) {
        self.answered = true;
        let mut flags = if end { END_STREAM } else { 0 };
        let mut kind = frame::HEADERS;
        let mut parts = block.chunks(FRAME_SIZE).peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                flags |= END_HEADERS;
            }
            frame::head(&mut self.output, part.len(), kind, flags, id);
            self.output.extend_from_slice(part);
            (kind, flags) = (frame::CONTINUATION, 0);
        }
    }
}

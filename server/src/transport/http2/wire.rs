//! What goes out on a connection: bytes ready to be written, and the windows that bound them.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, StatusCode};

use super::{
    frame::{self, END_HEADERS, END_STREAM, PAYLOAD_MAX, Reason},
    hpack::Encoder,
    limits::{OUTPUT_MAX, VISIT_BYTES},
    stream::{End, Stream},
};
use crate::transport::limits::WINDOW_BYTES;

/// The largest window there is.
pub(super) const WINDOW_MAX: i64 = (1 << 31) - 1;

/// The window before anybody said anything.
pub(super) const WINDOW_DEFAULT: i64 = 65_535;

pub(super) struct Wire {
    pub(super) output: Vec<u8>,
    /// How much of `output` is written.
    pub(super) written: usize,
    /// Headers or data went out since somebody looked.
    pub(super) answered: bool,
    pub(super) encoder: Encoder,
    /// What we may send on all streams together.
    pub(super) send_window: i64,
    /// What we may send on a new stream.
    pub(super) stream_window: i64,
    /// What the client may send on all streams together.
    receive_window: i64,
    /// Bytes of answers that waited and were sent.
    pub(super) sent: u64,
    /// Bytes received that the client's window was not opened for yet.
    taken: usize,
    /// Streams that wait for the connection's window or for room in `output`.
    pub(super) line: VecDeque<usize>,
}

impl Wire {
    /// Greets the client: our settings, and a wider window for the connection.
    pub(super) fn new(streams_max: u32) -> Self {
        let mut output = Vec::new();
        let mut settings = vec![
            (frame::INITIAL_WINDOW_SIZE, WINDOW_BYTES),
            (
                frame::MAX_HEADER_LIST_SIZE,
                super::limits::HEADERS_MAX as u32,
            ),
        ];
        if streams_max < u32::MAX {
            settings.push((frame::MAX_CONCURRENT_STREAMS, streams_max));
        }
        frame::settings(&mut output, &settings);
        let wider = WINDOW_BYTES - WINDOW_DEFAULT as u32;
        frame::number(&mut output, frame::WINDOW_UPDATE, 0, wider);
        Self {
            output,
            written: 0,
            answered: false,
            encoder: Encoder::new(),
            send_window: WINDOW_DEFAULT,
            stream_window: WINDOW_DEFAULT,
            receive_window: i64::from(WINDOW_BYTES),
            sent: 0,
            taken: 0,
            line: VecDeque::new(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.output.len() - self.written >= OUTPUT_MAX
    }

    /// Bytes of a DATA frame came in.
    pub(super) fn received(&mut self, bytes: usize) -> Result<(), Reason> {
        self.receive_window -= bytes as i64;
        if self.receive_window < 0 {
            return Err(Reason::FlowControl);
        }
        Ok(())
    }

    /// Received bytes take no memory any more, or are accounted for elsewhere.
    pub(super) fn took(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken >= WINDOW_BYTES as usize / 2 {
            self.receive_window += self.taken as i64;
            // never more than the window
            let bytes = std::mem::take(&mut self.taken) as u32;
            frame::number(&mut self.output, frame::WINDOW_UPDATE, 0, bytes);
        }
    }

    /// The same for the window of a stream of which more is to come.
    pub(super) fn stream_took(&mut self, stream: &mut Stream, bytes: usize) {
        stream.taken += bytes;
        if stream.taken >= WINDOW_BYTES as usize / 2 {
            stream.receive_window += stream.taken as i64;
            let bytes = std::mem::take(&mut stream.taken) as u32;
            frame::number(&mut self.output, frame::WINDOW_UPDATE, stream.id, bytes);
        }
    }

    pub(super) fn reset(&mut self, id: u32, reason: Reason) {
        frame::number(&mut self.output, frame::RST_STREAM, id, reason as u32);
    }

    /// A whole answer at once, if the windows allow it.
    pub(super) fn whole(&mut self, stream: &Stream, message: &[u8]) -> bool {
        let length = message.len() as i64;
        if message.len() > PAYLOAD_MAX || length > self.send_window || length > stream.send_window {
            return false;
        }
        self.send_window -= length;
        self.answered = true;
        let (headers, trailers) = self.encoder.good();
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

    /// Headers of an answer that goes well so far.
    pub(super) fn good_headers(&mut self, id: u32) {
        let mut block = Vec::new();
        self.encoder.plain_headers(&mut block);
        self.block(id, &block, false);
    }

    pub(super) fn headers(&mut self, id: u32, status: StatusCode, headers: &HeaderMap, end: bool) {
        let mut block = Vec::new();
        self.encoder.headers(status, headers, &mut block);
        self.block(id, &block, end);
    }

    /// Sends what the windows allow of what is pending. Tells whether nothing is left; if the
    /// connection is what stops it, the stream joins the line.
    pub(super) fn pending(&mut self, stream: &mut Stream, slot: usize) -> bool {
        let mut left = VISIT_BYTES;
        while !stream.pending.is_empty() {
            if stream.send_window <= 0 {
                return false;
            }
            if self.send_window <= 0 || self.is_full() || left == 0 {
                self.enter(stream, slot);
                return false;
            }
            let window = self.send_window.min(stream.send_window);
            let window = usize::try_from(window).unwrap_or(0);
            let length = stream.pending.len().min(PAYLOAD_MAX).min(window).min(left);
            left -= length;
            self.sent += length as u64;
            self.send_window -= length as i64;
            stream.send_window -= length as i64;
            self.answered = true;
            frame::head(&mut self.output, length, frame::DATA, 0, stream.id);
            self.output.extend_from_slice(&stream.pending[..length]);
            stream.pending.advance(length);
        }
        stream.pending = Bytes::new();
        true
    }

    pub(super) fn enter(&mut self, stream: &mut Stream, slot: usize) {
        if !std::mem::replace(&mut stream.in_line, true) {
            self.line.push_back(slot);
        }
    }

    pub(super) fn end(&mut self, id: u32, end: &End) {
        let mut block = Vec::new();
        match end {
            End::Ok => self.encoder.plain_ok(&mut block),
            End::Trailers(trailers) => self.encoder.trailers(trailers, &mut block),
            End::Plain => return frame::head(&mut self.output, 0, frame::DATA, END_STREAM, id),
        }
        self.block(id, &block, true);
    }

    /// A header block in as many frames as it takes.
    fn block(&mut self, id: u32, block: &[u8], end: bool) {
        self.answered = true;
        let mut flags = if end { END_STREAM } else { 0 };
        let mut kind = frame::HEADERS;
        let mut parts = block.chunks(PAYLOAD_MAX).peekable();
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

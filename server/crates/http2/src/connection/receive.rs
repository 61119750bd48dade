//! Handles HEADERS, CONTINUATION, DATA and RST_STREAM. `Err` ends the connection; a stream error ends only the stream.

use bytes::Bytes;

use super::{Connection, ended::LateFrame};
use crate::{
    Refusal, Resource, Service,
    frame::{self, END_HEADERS, END_STREAM, Frame, HEAD_BYTES, PRIORITY_FLAG, Reason},
    head_cache::HeaderBlock,
    limits::HEADER_LIST_BYTES_MAX,
    message::PREFIX_BYTES,
    meter::ResourceCharge,
    stream::{Receiving, Stream},
};

/// A header block that continues in further frames.
pub(super) struct OpenBlock<S: Service> {
    stream: u32,
    flags: BlockFlags,
    bytes: Vec<u8>,
    pub(super) charge: ResourceCharge<S>,
    /// Number of CONTINUATION frames so far.
    frames: usize,
}

/// Properties of a HEADERS frame, apart from its header block.
#[derive(Clone, Copy)]
struct BlockFlags {
    end: bool,
    /// Whether the priority makes the stream depend on itself, which is an error.
    circular: bool,
}

impl<S: Service> Connection<S> {
    /// Handles a frame and ignores unknown types. Fails if the first frame is not SETTINGS, if CONTINUATION frames are missing
    /// or unexpected, or if the frame is invalid.
    pub(super) fn on_frame(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        let expected = match &self.open_block {
            Some(open) => frame.kind == frame::CONTINUATION && frame.stream == open.stream,
            None => frame.kind != frame::CONTINUATION,
        };
        if !expected || !self.settings_received && frame.kind != frame::SETTINGS {
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
            frame::PRIORITY => self.on_priority(frame),
            frame::GOAWAY => Self::on_goaway(frame),
            frame::PUSH_PROMISE => Err(Reason::Protocol),
            // Unknown types belong to extensions.
            _ => Ok(()),
        }
    }

    /// Returns whether a stream id is higher than all used ids. Also returns `true` for even ids, which only servers use.
    pub(super) fn is_idle(&self, id: u32) -> bool {
        id.is_multiple_of(2) || id > self.highest
    }

    /// Handles a HEADERS frame. Keeps the start of the header block if CONTINUATION frames follow. Fails if the frame is
    /// invalid or the start cannot be charged.
    fn on_headers(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        let mut fragment = frame.unpadded()?;
        // Clients use odd ids.
        if frame.stream.is_multiple_of(2) {
            return Err(Reason::Protocol);
        }
        let mut flags = BlockFlags { end: frame.has(END_STREAM), circular: false };
        if frame.has(PRIORITY_FLAG) {
            let (priority, rest) = fragment.split_first_chunk::<5>().ok_or(Reason::FrameSize)?;
            let [a, b, c, d, _weight] = *priority;
            flags.circular = u32::from_be_bytes([a & 0x7f, b, c, d]) == frame.stream;
            fragment = rest;
        }
        if frame.has(END_HEADERS) {
            return self.on_block(frame.stream, flags, fragment);
        }
        let mut charge = ResourceCharge::new(&self.meters.requests);
        if !charge.set(fragment.len()) {
            return Err(Reason::Calm);
        }
        self.open_block = Some(OpenBlock {
            stream: frame.stream,
            flags,
            bytes: fragment.to_vec(),
            charge,
            frames: 0,
        });
        Ok(())
    }

    /// Appends to the open header block and handles a complete block. Fails if the block with its frame headers is too large or
    /// cannot be charged.
    fn on_continuation(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        let mut open = self.open_block.take().ok_or(Reason::Protocol)?;
        open.frames += 1;
        let bytes = open.bytes.len() + frame.payload.len();
        // Huffman code words of more than 8 bits can make a block longer than its list, so permit twice the limit.
        let too_much = bytes + open.frames * HEAD_BYTES > 2 * HEADER_LIST_BYTES_MAX;
        if too_much || !open.charge.set(bytes) {
            return Err(Reason::Calm);
        }
        open.bytes.extend_from_slice(frame.payload);
        if frame.has(END_HEADERS) {
            return self.on_block(open.stream, open.flags, &open.bytes);
        }
        self.open_block = Some(open);
        Ok(())
    }

    /// Handles a complete header block: trailers or a new request. Refuses a request above the stream limit and after a
    /// shutdown's last GOAWAY. Answers a header list that is too large with status 431. Resets a malformed request. Fails if
    /// the block cannot be decoded, or after too many errors of the client.
    fn on_block(&mut self, id: u32, flags: BlockFlags, block: &[u8]) -> Result<(), Reason> {
        self.work += block.len();
        if id <= self.highest {
            return self.on_trailers(id, flags, block);
        }
        // After an error, the tables of the client and the server differ.
        let broken = |_| Reason::Compression;
        let read = self.heads.read(block, &*self.service).map_err(broken)?;
        self.highest = id;
        if self.refuses_new_streams || self.streams.len() >= self.streams_max {
            self.writer.reset(id, Reason::Refused);
            self.record_end(id, flags.end);
            // The client may have sent the request before it received the limit.
            return if self.settings_acknowledged && !self.refuses_new_streams {
                self.fault()
            } else {
                Ok(())
            };
        }
        match read {
            HeaderBlock::Request(head)
                if !flags.circular && (!flags.end || !head.has_content()) =>
            {
                self.begin(id, head, flags.end);
            }
            HeaderBlock::TooLarge if !flags.circular => self.refuse_headers(id, flags.end),
            HeaderBlock::Request(_) | HeaderBlock::TooLarge | HeaderBlock::Malformed => {
                self.writer.reset(id, Reason::Protocol);
                self.record_end(id, flags.end);
                return self.fault();
            }
        }
        Ok(())
    }

    /// Checks a request's trailers, ignores their fields, and ends the request. Invalid trailers reset an open stream. Trailers
    /// of a stream that ended early have no effect. Fails for any other closed stream, or if the block cannot be decoded.
    fn on_trailers(&mut self, id: u32, flags: BlockFlags, block: &[u8]) -> Result<(), Reason> {
        let well_formed = self.heads.read_trailers(block);
        let well_formed = well_formed.map_err(|_| Reason::Compression)?;
        let Some((slot, stream)) = self.streams.take_by_id(id) else {
            return match self.ended.late(id, flags.end) {
                LateFrame::Ignored => Ok(()),
                LateFrame::Closed => Err(Reason::StreamClosed),
                LateFrame::Unused => Err(Reason::Protocol),
            };
        };
        let reason = match &stream.receiving {
            Receiving::Ended => Some(Reason::StreamClosed),
            _ if flags.circular || !flags.end || !well_formed => Some(Reason::Protocol),
            Receiving::Message { .. }
            | Receiving::Stream { .. }
            | Receiving::Content
            | Receiving::Unwanted => None,
        };
        match reason {
            Some(reason) => self.reset(slot, stream, reason),
            None => self.on_request_ended(slot, stream),
        }
    }

    /// Handles a DATA frame: counts it against both windows and adds its content to the request. END_STREAM ends the request. A
    /// stream error resets the stream or refuses its call. Content of a stream that ended early is dropped. Fails for any other
    /// closed stream, for an idle stream, for invalid padding, and if the connection's window is exceeded.
    fn on_data(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        let length = frame.payload.len();
        if self.is_idle(frame.stream) {
            return Err(Reason::Protocol);
        }
        self.writer.received(length)?;
        let content = frame.unpadded()?;
        let end = frame.has(END_STREAM);
        let Some((slot, mut stream)) = self.streams.take_by_id(frame.stream) else {
            return match self.ended.late(frame.stream, end) {
                LateFrame::Ignored => Ok(()),
                LateFrame::Closed | LateFrame::Unused => Err(Reason::StreamClosed),
            };
        };
        stream.receive_window -= length as i64;
        if let Err(reason) = Self::check_data(&mut stream, content) {
            return self.reset(slot, stream, reason);
        }
        let taken = self.take_content(&mut stream, content);
        stream.unacknowledged += length;
        if let Err(refusal) = taken {
            self.refuse(slot, stream, refusal);
            return Ok(());
        }
        if end {
            return self.on_request_ended(slot, stream);
        }
        self.open_window(&mut stream);
        self.streams.keep(slot, stream);
        Ok(())
    }

    /// Checks content against the stream's state, its receive window and `content-length`. Subtracts the content from the
    /// announced length. Fails with the reason to reset the stream.
    fn check_data(stream: &mut Stream<S>, content: &[u8]) -> Result<(), Reason> {
        if matches!(stream.receiving, Receiving::Ended) {
            return Err(Reason::StreamClosed);
        }
        if stream.receive_window < 0 {
            return Err(Reason::FlowControl);
        }
        if let Some(left) = &mut stream.content_left {
            let more = left.checked_sub(content.len() as u64);
            *left = more.ok_or(Reason::Protocol)?;
        }
        Ok(())
    }

    /// Adds content to the incomplete message and passes complete messages to the call. Passes content that is not gRPC
    /// unchanged and drops unwanted content. Fails for invalid messages, for a second message of a collected request, and if
    /// the service refuses memory.
    fn take_content(&mut self, stream: &mut Stream<S>, mut content: &[u8]) -> Result<(), Refusal> {
        let max = self.config.message_bytes_max;
        while !content.is_empty() {
            let assembler = match &mut stream.receiving {
                Receiving::Message { message: Some(_), .. } => return Err(Refusal::SecondMessage),
                Receiving::Message { assembler, .. } | Receiving::Stream { assembler } => assembler,
                Receiving::Content => {
                    if let Some(sender) = &stream.sender {
                        sender.send(Bytes::copy_from_slice(content));
                    }
                    break;
                }
                Receiving::Unwanted | Receiving::Ended => return Ok(()),
            };
            let taken = assembler.push(content, max)?;
            content = taken.rest;
            self.work += taken.inflated;
            let Some(whole) = taken.message else { continue };
            if let Some((_, call)) = &mut stream.call {
                let length = whole.len() - PREFIX_BYTES;
                self.service.received(call, length);
            }
            if let Receiving::Message { message, .. } = &mut stream.receiving {
                *message = Some(whole);
            } else if let Some(sender) = &stream.sender {
                sender.send(whole);
            }
        }
        if let Receiving::Stream { assembler } = &stream.receiving {
            let begun = (assembler.held() > 0).then_some(self.now);
            stream.collecting = begun.map(|now| stream.collecting.unwrap_or(now));
        }
        if !stream.request.set(stream.request_bytes()) {
            return Err(Refusal::NoRoom(Resource::Requests));
        }
        Ok(())
    }

    /// Reopens a stream's receive window unless the call has an unread message. A message larger than the window can then
    /// arrive, but no second message until the call has taken the first. Does nothing after the request has ended.
    pub(super) fn open_window(&mut self, stream: &mut Stream<S>) {
        let waits = stream.sender.as_ref().is_some_and(|s| s.waits());
        if !waits && !matches!(stream.receiving, Receiving::Ended) {
            self.writer.open(stream);
        }
    }

    /// Drops a stream that the client has reset and counts a fault. Ignores a closed stream. Fails for an idle stream and after
    /// too many faults.
    fn on_reset(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        frame.number()?;
        if self.is_idle(frame.stream) {
            return Err(Reason::Protocol);
        }
        let Some((slot, stream)) = self.streams.take_by_id(frame.stream) else {
            // The client may have sent the reset before it received the end of the response.
            self.ended.late(frame.stream, true);
            return Ok(());
        };
        self.ended.push_complete(stream.id);
        self.release(slot, &stream);
        self.fault()
    }
}

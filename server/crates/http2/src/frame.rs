//! Parses HTTP/2 frames (RFC 9113, sections 4 and 6) and writes frame headers and small frames.

#![expect(missing_docs, reason = "the constants have the RFC's names")]

/// Size in bytes of a frame's header.
pub const HEAD_BYTES: usize = 9;

/// HTTP/2's default of [`MAX_FRAME_SIZE`], in bytes: every peer accepts a payload of this size. A longer payload ends the
/// connection.
pub const FRAME_SIZE: usize = 16_384;

// Types of frames.
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

// Flags.
pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
/// The flag PRIORITY of a HEADERS frame.
pub const PRIORITY_FLAG: u8 = 0x20;

// Settings.
pub const HEADER_TABLE_SIZE: u16 = 1;
pub const ENABLE_PUSH: u16 = 2;
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const MAX_FRAME_SIZE: u16 = 5;
pub const MAX_HEADER_LIST_SIZE: u16 = 6;

/// The reason why a stream or a connection ends (RFC 9113, section 7). Contains only the error codes that the server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Graceful end, without an error.
    NoError = 0,
    /// The peer violated the protocol.
    Protocol = 1,
    /// The server cannot complete the stream.
    Internal = 2,
    /// The peer sent more than a window allows.
    FlowControl = 3,
    /// A frame was received on a half-closed or closed stream.
    StreamClosed = 5,
    /// A frame has a wrong length.
    FrameSize = 6,
    /// The request was not processed.
    Refused = 7,
    /// The header block cannot be decoded.
    Compression = 9,
    /// The client causes too much work or does not read.
    Calm = 11,
}

/// One frame in received bytes.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub kind: u8,
    pub flags: u8,
    /// Id of the stream; 0 for the connection.
    pub stream: u32,
    /// Payload, including padding.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Returns the length in bytes of the frame at the start of `begin`, including its header; `None` if the header is
    /// incomplete. Fails if the frame is too long.
    pub(crate) fn length(begin: &[u8]) -> Result<Option<usize>, Reason> {
        let Some(&[a, b, c, ..]) = begin.first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if length > FRAME_SIZE {
            return Err(Reason::FrameSize);
        }
        Ok(Some(HEAD_BYTES + length))
    }

    /// Parses the first frame in `input` and returns it with its length in bytes, including its header; `None` if the frame is
    /// incomplete. Fails if the frame is too long.
    pub fn first(input: &'a [u8]) -> Result<Option<(Self, usize)>, Reason> {
        let Some(end) = Self::length(input)? else {
            return Ok(None);
        };
        let Some(&[_, _, _, kind, flags, s1, s2, s3, s4]) = input.first_chunk::<HEAD_BYTES>()
        else {
            return Ok(None);
        };
        Ok(input.get(HEAD_BYTES..end).map(|payload| {
            let stream = u32::from_be_bytes([s1 & 0x7f, s2, s3, s4]);
            let frame = Self { kind, flags, stream, payload };
            (frame, end)
        }))
    }

    /// Returns whether a flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Returns the payload without padding. Fails if the padding exceeds the payload or its length is missing.
    pub fn unpadded(&self) -> Result<&'a [u8], Reason> {
        if !self.has(PADDED) {
            return Ok(self.payload);
        }
        let (&padding, rest) = self.payload.split_first().ok_or(Reason::FrameSize)?;
        let length = rest.len().checked_sub(usize::from(padding));
        Ok(&rest[..length.ok_or(Reason::Protocol)?])
    }

    /// Returns the payload as a 32-bit number. Fails if the payload is not 4 bytes long.
    pub fn number(&self) -> Result<u32, Reason> {
        let bytes: [u8; 4] = self.payload.try_into().map_err(|_| Reason::FrameSize)?;
        Ok(u32::from_be_bytes(bytes))
    }
}

/// Appends a frame's header. `length` is the length of the payload, at most [`FRAME_SIZE`].
pub fn head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    debug_assert!(length <= FRAME_SIZE, "a frame of {length} bytes");
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [s1, s2, s3, s4] = stream.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags, s1, s2, s3, s4]);
}

/// Appends a frame whose payload is a 32-bit number.
pub fn number(out: &mut Vec<u8>, kind: u8, stream: u32, value: u32) {
    head(out, 4, kind, 0, stream);
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a SETTINGS frame.
pub fn settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    head(out, settings.len() * 6, SETTINGS, 0, 0);
    for (id, value) in settings {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends a PING frame.
pub fn ping(out: &mut Vec<u8>, flags: u8, content: [u8; 8]) {
    head(out, content.len(), PING, flags, 0);
    out.extend_from_slice(&content);
}

/// Appends a GOAWAY frame. `last` is the id of the last accepted stream.
pub fn goaway(out: &mut Vec<u8>, last: u32, reason: Reason, debug_data: &[u8]) {
    head(out, 8 + debug_data.len(), GOAWAY, 0, 0);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&(reason as u32).to_be_bytes());
    out.extend_from_slice(debug_data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_removed() {
        let frame =
            |payload: &'static [u8]| Frame { kind: DATA, flags: PADDED, stream: 1, payload };
        assert_eq!(frame(b"\x02abcd").unpadded(), Ok(b"ab".as_slice()));
        assert_eq!(frame(b"\x00").unpadded(), Ok(b"".as_slice()));
        assert_eq!(frame(b"\x02a").unpadded(), Err(Reason::Protocol));
        assert_eq!(frame(b"").unpadded(), Err(Reason::FrameSize));
    }
}

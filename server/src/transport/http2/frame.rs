//! Frames of HTTP/2 (RFC 9113, section 4 and 6): their heads, and the small ones whole.

/// Length of a frame's head.
pub(super) const HEAD_BYTES: usize = 9;

/// Largest payload in either direction: what every peer must take, and all that we announce.
pub(super) const PAYLOAD_MAX: usize = 16_384;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const ACK: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const WITH_PRIORITY: u8 = 0x20;

pub(super) const HEADER_TABLE_SIZE: u16 = 1;
pub(super) const ENABLE_PUSH: u16 = 2;
pub(super) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(super) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(super) const MAX_FRAME_SIZE: u16 = 5;
pub(super) const MAX_HEADER_LIST_SIZE: u16 = 6;

/// Why a stream or a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    NoError = 0,
    Protocol = 1,
    FlowControl = 3,
    FrameSize = 6,
    Refused = 7,
    Compression = 9,
    Calm = 11,
}

/// One frame as it lies in the bytes that were read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the front of `input` and its whole length, or nothing while it is not whole.
    pub(super) fn first(input: &'a [u8]) -> Result<Option<(Self, usize)>, Reason> {
        let Some(&[a, b, c, kind, flags, s1, s2, s3, s4]) = input.first_chunk::<HEAD_BYTES>()
        else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if length > PAYLOAD_MAX {
            return Err(Reason::FrameSize);
        }
        let end = HEAD_BYTES + length;
        Ok(input.get(HEAD_BYTES..end).map(|payload| {
            let stream = u32::from_be_bytes([s1 & 0x7f, s2, s3, s4]);
            let frame = Self {
                kind,
                flags,
                stream,
                payload,
            };
            (frame, end)
        }))
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload without padding.
    pub(super) fn unpadded(&self) -> Result<&'a [u8], Reason> {
        if !self.has(PADDED) {
            return Ok(self.payload);
        }
        let (&padding, rest) = self.payload.split_first().ok_or(Reason::FrameSize)?;
        let length = rest.len().checked_sub(usize::from(padding));
        Ok(&rest[..length.ok_or(Reason::Protocol)?])
    }

    /// The payload, when it must be one number.
    pub(super) fn number(&self) -> Result<u32, Reason> {
        let bytes: [u8; 4] = self.payload.try_into().map_err(|_| Reason::FrameSize)?;
        Ok(u32::from_be_bytes(bytes))
    }
}

/// Appends the head of a frame.
pub(super) fn head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    debug_assert!(length <= PAYLOAD_MAX, "a frame of {length} bytes");
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [s1, s2, s3, s4] = stream.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags, s1, s2, s3, s4]);
}

/// Appends a frame whose payload is one number.
pub(super) fn number(out: &mut Vec<u8>, kind: u8, stream: u32, value: u32) {
    head(out, 4, kind, 0, stream);
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    head(out, settings.len() * 6, SETTINGS, 0, 0);
    for (id, value) in settings {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(super) fn ping(out: &mut Vec<u8>, flags: u8, content: [u8; 8]) {
    head(out, content.len(), PING, flags, 0);
    out.extend_from_slice(&content);
}

pub(super) fn goaway(out: &mut Vec<u8>, last: u32, reason: Reason) {
    goaway_telling(out, last, reason, b"");
}

/// The same, with a word for whoever looks closer.
pub(super) fn goaway_telling(out: &mut Vec<u8>, last: u32, reason: Reason, told: &[u8]) {
    head(out, 8 + told.len(), GOAWAY, 0, 0);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&(reason as u32).to_be_bytes());
    out.extend_from_slice(told);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_when_it_is_whole() {
        let mut bytes = Vec::new();
        ping(&mut bytes, ACK, *b"12345678");
        for short in 0..bytes.len() {
            assert!(Frame::first(&bytes[..short]).unwrap().is_none(), "{short}");
        }
        let (frame, length) = Frame::first(&bytes).unwrap().unwrap();
        assert_eq!(length, bytes.len());
        assert_eq!((frame.kind, frame.stream), (PING, 0));
        assert!(frame.has(ACK));
        assert_eq!(frame.payload, b"12345678");
    }

    #[test]
    fn a_frame_beyond_what_was_announced_is_refused_by_its_head() {
        let mut bytes = Vec::new();
        head(&mut bytes, PAYLOAD_MAX, DATA, 0, 1);
        assert!(Frame::first(&bytes).unwrap().is_none());
        bytes[2] += 1;
        assert_eq!(Frame::first(&bytes).unwrap_err(), Reason::FrameSize);
    }

    #[test]
    fn padding_is_taken_off() {
        let frame = |payload: &'static [u8]| Frame {
            kind: DATA,
            flags: PADDED,
            stream: 1,
            payload,
        };
        assert_eq!(frame(b"\x02abcd").unpadded(), Ok(b"ab".as_slice()));
        assert_eq!(frame(b"\x00").unpadded(), Ok(b"".as_slice()));
        assert_eq!(frame(b"\x02a").unpadded(), Err(Reason::Protocol));
        assert_eq!(frame(b"").unpadded(), Err(Reason::FrameSize));
    }
}

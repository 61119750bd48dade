//! Encodes and decodes frames with any flags and ids, without interpreting them.

/// Size of a frame's head in bytes.
pub const HEAD_BYTES: usize = 9;

/// The first bytes of a client.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames.
pub mod kind {
    #![expect(missing_docs, reason = "the names come from the HTTP/2 standard")]
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
}

/// Flags of frames.
pub mod flag {
    #![expect(missing_docs, reason = "the names come from the HTTP/2 standard")]
    pub const END_STREAM: u8 = 1;
    pub const ACK: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 32;
}

/// Error codes.
pub mod code {
    #![expect(missing_docs, reason = "the names come from the HTTP/2 standard")]
    pub const NO_ERROR: u32 = 0;
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const FLOW_CONTROL_ERROR: u32 = 3;
    pub const STREAM_CLOSED: u32 = 5;
    pub const FRAME_SIZE_ERROR: u32 = 6;
    pub const REFUSED_STREAM: u32 = 7;
    pub const CANCEL: u32 = 8;
    pub const COMPRESSION_ERROR: u32 = 9;
    pub const ENHANCE_YOUR_CALM: u32 = 11;
}

/// Settings.
pub mod setting {
    #![expect(missing_docs, reason = "the names come from the HTTP/2 standard")]
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The kind, which may be unknown.
    pub kind: u8,
    /// The flags, which may be undefined.
    pub flags: u8,
    /// The stream id with the reserved bit.
    pub stream: u32,
    /// The bytes after the head.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Creates any frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into();
        Self { kind, flags, stream, payload }
    }

    /// Creates a frame whose payload is one number.
    pub fn number(kind: u8, stream: u32, value: u32) -> Self {
        Self::new(kind, 0, stream, value.to_be_bytes())
    }

    /// Creates a SETTINGS frame.
    pub fn settings(values: &[(u16, u32)]) -> Self {
        let one =
            |&(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        let payload: Vec<u8> = values.iter().flat_map(one).collect();
        Self::new(kind::SETTINGS, 0, 0, payload)
    }

    /// Appends the encoded frame to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let length = u32::try_from(self.payload.len()).expect("a frame of a test is short");
        out.extend_from_slice(&length.to_be_bytes()[1..]);
        out.extend_from_slice(&[self.kind, self.flags]);
        out.extend_from_slice(&self.stream.to_be_bytes());
        out.extend_from_slice(&self.payload);
    }

    /// Removes and returns the first complete frame of `bytes`, or returns `None` if there is none.
    pub fn read(bytes: &mut Vec<u8>) -> Option<Self> {
        let &[a, b, c, kind, flags, s1, s2, s3, s4] = bytes.first_chunk::<HEAD_BYTES>()?;
        let end = HEAD_BYTES + u32::from_be_bytes([0, a, b, c]) as usize;
        let payload = bytes.get(HEAD_BYTES..end)?.to_vec();
        bytes.drain(..end);
        Some(Self::new(
            kind,
            flags,
            u32::from_be_bytes([s1, s2, s3, s4]),
            payload,
        ))
    }

    /// Returns whether the frame has all these flags.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// Returns the four bytes of the payload at `at` as a number, or 0 if they do not exist.
    pub fn number_at(&self, at: usize) -> u32 {
        let bytes = self
            .payload
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_be_bytes)
    }
}

/// Appends a field as an uncompressed literal without indexing.
pub fn literal(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0);
    for text in [name, value] {
        integer(text.len(), 7, 0, out);
        out.extend_from_slice(text);
    }
}

/// Appends an HPACK integer with a prefix of `prefix` bits, after the bits of `first`.
pub fn integer(mut value: usize, prefix: u32, first: u8, out: &mut Vec<u8>) {
    let full = (1_usize << prefix) - 1;
    if value < full {
        out.push(first | value as u8);
        return;
    }
    out.push(first | full as u8);
    value -= full;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Returns the header fields of a gRPC call.
pub fn head(path: &str) -> Vec<(&'static str, String)> {
    [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "host"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// Encodes fields as a header block.
pub fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        literal(name.as_ref(), value.as_ref(), &mut out);
    }
    out
}

/// Returns a gRPC message: prefix and content.
pub fn message(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a message of a test is short");
    [&[0], &length.to_be_bytes()[..], content].concat()
}

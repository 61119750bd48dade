//! Frames on their way into files and out of them.

use std::io::{self, Read};

use bytes::Bytes;
use prost::Message as _;

use crate::format::{FRAME_BYTES_MAX, Frame, Head, MAGIC, Part};

/// Size of a frame's header, before the payload, in bytes.
pub(crate) const HEADER_BYTES: usize = 8;

/// The lengths of payloads are below this, and so no frame begins as a file does.
const _: () = assert!(
    FRAME_BYTES_MAX < u32::from_le_bytes([MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3]]) as usize
);

/// Appends a frame. Returns `false`, and appends nothing, if its payload is larger than [`FRAME_BYTES_MAX`].
pub(crate) fn put(into: &mut Vec<u8>, part: Part) -> bool {
    let frame = Frame { part: Some(part) };
    let length = frame.encoded_len();
    if length > FRAME_BYTES_MAX {
        return false;
    }
    let begin = into.len();
    into.resize(begin + HEADER_BYTES, 0);
    frame.encode(into).expect("a vector grows");
    let (header, payload) = into[begin..].split_at_mut(HEADER_BYTES);
    header[..4].copy_from_slice(&(length as u32).to_le_bytes());
    header[4..].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    true
}

/// The length of the first frame.
pub(crate) fn first_frame(frames: &[u8]) -> usize {
    let header = frames.first_chunk();
    let length = header.map_or(usize::MAX, |header| HEADER_BYTES + fields(*header).0);
    length.min(frames.len())
}

/// The length of the first frames that have at most so many bytes together.
pub(crate) fn first_frames(frames: &[u8], bytes: u64) -> usize {
    if frames.len() as u64 <= bytes {
        return frames.len();
    }
    let mut length = 0;
    loop {
        let next = length + first_frame(&frames[length..]);
        if next as u64 > bytes {
            return length;
        }
        length = next;
    }
}

/// Why no further frame is read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameFault {
    /// The bytes end within it: the process was killed while it wrote, or the file was cut.
    #[error("ends within a frame")]
    Cut,
    /// The checksum differs, or the length is impossible, or the payload does not decode.
    #[error("is damaged")]
    Damaged,
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// The next item of a file.
#[derive(Debug)]
pub(crate) enum Next {
    /// A file begins: there may be several, one behind the other.
    Begin,
    Part(Box<Part>),
    End,
}

/// Reads how a file begins; `None` if it is not as a recording does.
pub(crate) fn take_head(from: &mut impl Read) -> Option<Head> {
    let Ok(Next::Begin) = take(from) else {
        return None;
    };
    let Ok(Next::Part(part)) = take(from) else {
        return None;
    };
    match *part {
        Part::Head(head) => Some(head),
        Part::Start(_) | Part::Turn(_) | Part::Gap(_) => None,
    }
}

/// Reads what stands next.
pub(crate) fn take(from: &mut impl Read) -> Result<Next, FrameFault> {
    let mut header = [0; HEADER_BYTES];
    match fill(from, &mut header)? {
        0 => return Ok(Next::End),
        HEADER_BYTES => {}
        _ => return Err(FrameFault::Cut),
    }
    if header == *MAGIC {
        return Ok(Next::Begin);
    }
    let (length, crc) = fields(header);
    if length > FRAME_BYTES_MAX {
        return Err(FrameFault::Damaged);
    }
    // a length that was altered does not cost its memory
    let mut payload = Vec::new();
    from.by_ref()
        .take(length as u64)
        .read_to_end(&mut payload)?;
    if payload.len() < length {
        return Err(FrameFault::Cut);
    }
    if crc32fast::hash(&payload) != crc {
        return Err(FrameFault::Damaged);
    }
    let frame = Frame::decode(Bytes::from(payload)).map_err(|_| FrameFault::Damaged)?;
    frame
        .part
        .map(|part| Next::Part(Box::new(part)))
        .ok_or(FrameFault::Damaged)
}

/// The length of a payload, and its checksum.
pub(crate) fn fields(header: [u8; HEADER_BYTES]) -> (usize, u32) {
    let [a, b, c, d, crc @ ..] = header;
    (
        u32::from_le_bytes([a, b, c, d]) as usize,
        u32::from_le_bytes(crc),
    )
}

/// Reads until the buffer is full or the bytes end; returns how many there were.
pub(crate) fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

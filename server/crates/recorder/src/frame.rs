//! Reads and writes frames.

use std::io::{self, Read};

use bytes::Bytes;
use prost::Message as _;

use crate::format::{FRAME_BYTES_MAX, Frame, Head, MAGIC, Part};

pub(crate) const HEADER_BYTES: usize = 8;

/// `MAGIC` read as a length exceeds the maximum, so the start of a file never looks like a frame.
const _: () = assert!(
    FRAME_BYTES_MAX < u32::from_le_bytes([MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3]]) as usize
);

/// Appends a frame. If its payload is larger than [`FRAME_BYTES_MAX`], returns `false` and appends nothing.
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

/// Returns the length in bytes of the first frame, with its header, or of all `frames` if the first frame is incomplete.
pub(crate) fn first_frame_bytes(frames: &[u8]) -> usize {
    let header = frames.first_chunk();
    let length = header.map_or(usize::MAX, |header| HEADER_BYTES + fields(*header).0);
    length.min(frames.len())
}

/// Returns the total length in bytes of the leading frames that together fit into `bytes` bytes.
pub(crate) fn fitting_frames_bytes(frames: &[u8], bytes: u64) -> usize {
    if frames.len() as u64 <= bytes {
        return frames.len();
    }
    let mut length = 0;
    loop {
        let next = length + first_frame_bytes(&frames[length..]);
        if next as u64 > bytes {
            return length;
        }
        length = next;
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameFault {
    /// The file ends within a frame: the process was killed while it was writing, or the file was truncated.
    #[error("ends within a frame")]
    Cut,
    /// The checksum is wrong, the length is impossible, or the payload cannot be decoded.
    #[error("is damaged")]
    Damaged,
    /// The payload is intact and has a part that this release does not know.
    #[error("contains data written by a later release")]
    Later,
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
}

#[derive(Debug)]
pub(crate) enum Next {
    /// The start of a file. A stream may contain several files.
    Begin,
    Part(Box<Part>),
    End,
}

/// Reads the head of a file, or returns `None` if the file is not a recording or cannot be read.
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

/// Reads the next frame, or the start of the next file. Fails if the frame is incomplete, damaged or from a later release.
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
    // Grow the buffer while reading, so that a wrong length costs no memory.
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
        .ok_or(FrameFault::Later)
}

/// Returns the length and the checksum of the payload, from a frame's header.
pub(crate) fn fields(header: [u8; HEADER_BYTES]) -> (usize, u32) {
    let [a, b, c, d, crc @ ..] = header;
    (
        u32::from_le_bytes([a, b, c, d]) as usize,
        u32::from_le_bytes(crc),
    )
}

/// Reads until the buffer is full or the input ends. Returns the number of bytes read.
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

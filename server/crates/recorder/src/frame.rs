//! Frames on their way into files and out of them.

use std::io::{self, Read};

use bytes::Bytes;
use prost::Message as _;

use crate::{
    bounds,
    format::{FRAME_BYTES_MAX, Frame, MAGIC, Part, Turn},
};

/// Field and type of [`Part::Turn`] in a [`Frame`], and with its length in four bytes of 7 bits.
const TURN_KEY: u8 = 3 << 3 | 2;
const TURN_HEADER_BYTES: usize = 5;
const _: () = assert!(FRAME_BYTES_MAX < 1 << 28);

/// Bytes before the payload of a frame.
pub(crate) const HEADER_BYTES: usize = 8;

/// The lengths of payloads are below this, and so no frame begins as a file does.
const _: () = assert!(
    FRAME_BYTES_MAX < u32::from_le_bytes([MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3]]) as usize
);

/// Appends a frame; `false`, and nothing, if its payload is larger than `max` or has too many parts.
pub(crate) fn put(into: &mut Vec<u8>, part: Part, max: usize) -> bool {
    let frame = Frame { part: Some(part) };
    let length = frame.encoded_len();
    if length > max.min(FRAME_BYTES_MAX) {
        return false;
    }
    let begin = into.len();
    into.extend_from_slice(&[0; HEADER_BYTES]);
    frame.encode_raw(into);
    finish(into, begin)
}

/// Why a turn is not kept: it has so many bytes, or too many parts.
#[derive(Debug)]
pub(crate) struct Oversized(pub(crate) usize);

/// Appends a turn with these fields, inputs and effects, as [`put`] does.
pub(crate) fn put_turn(
    into: &mut Vec<u8>,
    number: u64,
    at_ns: i64,
    fields: &[u8],
) -> Result<(), Oversized> {
    let rest = Turn { number, at_ns, ..Turn::default() };
    let length = rest.encoded_len() + fields.len();
    if TURN_HEADER_BYTES + length > FRAME_BYTES_MAX {
        return Err(Oversized(length));
    }
    let begin = into.len();
    // a length in a fixed number of bytes: protobuf allows bytes of 7 bits that are zero
    let mut header = [TURN_KEY; TURN_HEADER_BYTES];
    for (place, byte) in header[1..].iter_mut().enumerate() {
        *byte = (length >> (7 * place)) as u8 | 0x80;
    }
    header[TURN_HEADER_BYTES - 1] &= 0x7f;
    into.extend_from_slice(&[0; HEADER_BYTES]);
    into.extend_from_slice(&header);
    rest.encode_raw(into);
    into.extend_from_slice(fields);
    finish(into, begin).then_some(()).ok_or(Oversized(length))
}

/// Writes length and checksum of the frame from `begin` on; `false` if it has too many parts and was removed.
fn finish(into: &mut Vec<u8>, begin: usize) -> bool {
    let (header, payload) = into[begin..].split_at_mut(HEADER_BYTES);
    if !bounds::is_small(payload) && bounds::check_frame(payload).is_err() {
        into.truncate(begin);
        return false;
    }
    let length = u32::try_from(payload.len()).expect("it is at most FRAME_BYTES_MAX");
    header[..4].copy_from_slice(&length.to_le_bytes());
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
    /// The checksum differs, or the length is impossible, or the payload does not decode or has too many parts.
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
    Part(Part),
    End,
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
    bounds::check_frame(&payload).map_err(|_| FrameFault::Damaged)?;
    let frame = Frame::decode(Bytes::from(payload)).map_err(|_| FrameFault::Damaged)?;
    frame.part.map(Next::Part).ok_or(FrameFault::Damaged)
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

//! Frames on their way into files and out of them.

use std::io::{self, Read};

use bytes::Bytes;
use prost::{Message as _, encoding::message};

use crate::format::{FRAME_BYTES_MAX, Frame, MAGIC, Part, Turn};

/// Field and type of [`Part::Turn`] in a [`Frame`], and with its length in four bytes of 7 bits.
const TURN_KEY: u8 = 3 << 3 | 2;
const TURN_HEADER_BYTES: usize = 5;
const _: () = assert!(FRAME_BYTES_MAX < 1 << 28);

/// Fields of a [`Turn`].
const INPUTS: u32 = 3;
const EFFECTS: u32 = 4;

/// Bytes before the payload of a frame.
pub(crate) const HEADER_BYTES: usize = 8;

/// The lengths of payloads are below this, and so no frame begins as a file does.
const _: () = assert!(
    FRAME_BYTES_MAX < u32::from_le_bytes([MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3]]) as usize
);

/// Appends a frame; `false`, and nothing, if its payload is larger than `max`.
pub(crate) fn put(into: &mut Vec<u8>, part: Part, max: usize) -> bool {
    let frame = Frame { part: Some(part) };
    let length = frame.encoded_len();
    if length > max.min(FRAME_BYTES_MAX) {
        return false;
    }
    let begin = into.len();
    into.extend_from_slice(&[0; HEADER_BYTES]);
    frame.encode_raw(into);
    finish(into, begin);
    true
}

/// Appends a turn as [`put`] does, in less than half of its time: lengths of messages within others are not counted again at
/// each level, and a slice takes bytes one by one faster than a vector. `Err`, and nothing, with the length of one that is
/// too large.
pub(crate) fn put_turn(into: &mut Vec<u8>, turn: &Turn) -> Result<(), usize> {
    let Turn { number, at_ns, inputs, effects } = turn;
    let rest = Turn { number: *number, at_ns: *at_ns, ..Turn::default() };
    let of_inputs = inputs.iter().map(|it| message::encoded_len(INPUTS, it));
    let of_effects = effects.iter().map(|it| message::encoded_len(EFFECTS, it));
    let length = rest.encoded_len() + of_inputs.sum::<usize>() + of_effects.sum::<usize>();
    if TURN_HEADER_BYTES + length > FRAME_BYTES_MAX {
        return Err(length);
    }
    let begin = into.len();
    into.resize(begin + HEADER_BYTES + TURN_HEADER_BYTES + length, 0);
    let (header, mut body) = into[begin + HEADER_BYTES..].split_at_mut(TURN_HEADER_BYTES);
    // a number of a fixed length: protobuf allows bytes of 7 bits that are zero
    header[0] = TURN_KEY;
    for (place, byte) in header[1..].iter_mut().enumerate() {
        *byte = (length >> (7 * place)) as u8 | 0x80;
    }
    header[TURN_HEADER_BYTES - 1] &= 0x7f;
    rest.encode_raw(&mut body);
    for input in inputs {
        message::encode(INPUTS, input, &mut body);
    }
    for effect in effects {
        message::encode(EFFECTS, effect, &mut body);
    }
    finish(into, begin);
    Ok(())
}

/// Writes length and checksum of the frame from `begin` on.
fn finish(into: &mut [u8], begin: usize) {
    let (header, payload) = into[begin..].split_at_mut(HEADER_BYTES);
    let length = u32::try_from(payload.len()).expect("it is at most FRAME_BYTES_MAX");
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4..].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
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

/// What stands next in a file.
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

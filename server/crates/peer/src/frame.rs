//! Frames on a stream between members. A frame has a header and opaque contents. The header consists of the kind (one byte),
//! the length of the contents (three bytes), and the checksum of kind, length and contents (four bytes).

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::timeout,
};
use witan_replica::limits::{COMMAND_BYTES_MAX, MESSAGE_BYTES_MAX};

pub(super) const HEADER_BYTES: usize = 8;

/// Maximum size in bytes of a frame's contents; a longer frame ends the stream. Three bytes encode the length.
pub(super) const FRAME_BYTES_MAX: usize = (1 << 24) - 1;

/// Maximum size in bytes of a raft message without its entries.
const MESSAGE_OVERHEAD_BYTES: usize = 64 << 10;

const _: () = assert!(
    FRAME_BYTES_MAX >= COMMAND_BYTES_MAX + MESSAGE_BYTES_MAX as usize + MESSAGE_OVERHEAD_BYTES,
    "a message with the longest batch of small commands and the largest command fits in a frame"
);

/// Number of bytes for which a reader reserves memory at a time, enough for a part of a snapshot. The reader reserves more as
/// bytes arrive, so that an announced length alone costs little memory.
const READ_BYTES: usize = 320 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    Handshake = 1,
    /// The response to a handshake.
    Answer = 2,
    /// A raft message, which this module does not interpret.
    Message = 3,
    /// A request for a [`FrameKind::Pong`] with the same contents.
    Ping = 4,
    /// The response to a ping.
    Pong = 5,
    /// A part of a snapshot.
    Snapshot = 6,
}

impl FrameKind {
    const ALL: [Self; 6] = [
        Self::Handshake,
        Self::Answer,
        Self::Message,
        Self::Ping,
        Self::Pong,
        Self::Snapshot,
    ];

    /// Returns the kind that a byte encodes, or `None` if this release does not know it.
    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: FrameKind,
    pub(super) contents: Bytes,
}

/// The reason why bytes are not a valid frame. The rest of the stream is then unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
    #[error("a frame of {length} bytes, above the limit of {max}")]
    TooLong { length: usize, max: usize },
    #[error("a frame with a wrong checksum")]
    Checksum,
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Computes the CRC-32C of a frame's kind, length and contents.
fn checksum(start: &[u8], contents: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(start), contents)
}

/// Builds the header of a frame whose contents are `start` and `rest`, together at most [`FRAME_BYTES_MAX`] bytes.
fn header(kind: FrameKind, start: &[u8], rest: &[u8]) -> [u8; HEADER_BYTES] {
    let length = u32::try_from(start.len() + rest.len()).unwrap_or(u32::MAX);
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&length.to_be_bytes());
    header[0] = kind as u8;
    let sum = checksum(&header[..4], start);
    let sum = crc32c::crc32c_append(sum, rest);
    header[4..].copy_from_slice(&sum.to_be_bytes());
    header
}

/// Encodes a frame with `contents`, which must not exceed [`FRAME_BYTES_MAX`].
pub(super) fn encode(kind: FrameKind, contents: &[u8]) -> Vec<u8> {
    encode_before(kind, contents, &[])
}

/// Encodes the header and `start` of a frame whose contents are `start` and `rest`. The caller must then write `rest`.
pub(super) fn encode_before(kind: FrameKind, start: &[u8], rest: &[u8]) -> Vec<u8> {
    [&header(kind, start, rest), start].concat()
}

/// Appends a frame to `batch`, like [`encode`].
pub(super) fn append(batch: &mut Vec<u8>, kind: FrameKind, contents: &[u8]) {
    batch.extend_from_slice(&header(kind, contents, &[]));
    batch.extend_from_slice(contents);
}

/// Takes the first frame from `buffer`, or returns `None` if the frame is incomplete. Fails if the contents exceed `max` bytes,
/// the kind is unknown, or the checksum is wrong.
pub(super) fn decode(buffer: &mut BytesMut, max: usize) -> Result<Option<Frame>, FrameError> {
    let Some(start) = buffer.first_chunk::<HEADER_BYTES>().copied() else {
        return Ok(None);
    };
    let kind = FrameKind::of(start[0]).ok_or(FrameError::Kind(start[0]))?;
    let length = length_of(&start);
    if length > max {
        return Err(FrameError::TooLong { length, max });
    }
    if buffer.len() < HEADER_BYTES + length {
        return Ok(None);
    }
    let mut frame = buffer.split_to(HEADER_BYTES + length);
    let contents = frame.split_off(HEADER_BYTES).freeze();
    let expected = u32::from_be_bytes([start[4], start[5], start[6], start[7]]);
    if checksum(&start[..4], &contents) != expected {
        return Err(FrameError::Checksum);
    }
    Ok(Some(Frame { kind, contents }))
}

/// Returns the length of a frame's contents, without the header.
fn length_of(start: &[u8; HEADER_BYTES]) -> usize {
    usize::from(start[1]) << 16 | usize::from(start[2]) << 8 | usize::from(start[3])
}

/// Reads one frame and no byte after it. Fails like [`decode`], with `UnexpectedEof` if the stream ends, and with `TimedOut` if
/// no bytes arrive for `silence`. Not cancel safe, because the received part of a frame is lost.
pub(super) async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    max: usize,
    silence: Duration,
) -> io::Result<Frame> {
    let mut buffer = BytesMut::new();
    loop {
        if let Some(frame) = decode(&mut buffer, max)? {
            return Ok(frame);
        }
        let step = next_step(&buffer);
        buffer.reserve(step);
        let mut rest = (&mut *stream).take(step as u64);
        let read = timeout(silence, rest.read_buf(&mut buffer)).await;
        let too_slow = |_| {
            let what = "no data received from the peer in time";
            io::Error::new(io::ErrorKind::TimedOut, what)
        };
        if read.map_err(too_slow)?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Returns the number of bytes to read after an incomplete frame: the rest of the header, or up to [`READ_BYTES`] of the
/// contents.
fn next_step(frame: &[u8]) -> usize {
    let length = frame.first_chunk().map_or(0, length_of);
    (HEADER_BYTES + length - frame.len()).min(READ_BYTES)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    const SILENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn frames_of_all_lengths_arrive_whole_through_a_narrow_stream() {
        let lengths = [0, 1, 7, READ_BYTES, 3 << 20];
        let contents: Vec<Bytes> = lengths
            .into_iter()
            .enumerate()
            .map(|(at, length)| vec![at as u8; length].into())
            .collect();
        let (mut near, mut far) = duplex(1000);
        let mut sent = Vec::new();
        for contents in &contents {
            append(&mut sent, FrameKind::Message, contents);
        }
        let writing = tokio::spawn(async move { near.write_all(&sent).await });
        for expected in &contents {
            let frame = read(&mut far, FRAME_BYTES_MAX, SILENCE).await.unwrap();
            assert_eq!(frame.kind, FrameKind::Message);
            assert_eq!(frame.contents, expected);
        }
        writing.await.unwrap().unwrap();
        let end = read(&mut far, FRAME_BYTES_MAX, SILENCE).await;
        let end = end.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn every_bit_flip_is_detected() {
        let whole = encode(FrameKind::Ping, b"contents");
        for bit in 0..whole.len() * 8 {
            let mut changed = BytesMut::from(&whole[..]);
            changed[bit / 8] ^= 1 << (bit % 8);
            let read = decode(&mut changed, FRAME_BYTES_MAX);
            // With a greater length, decoding waits for more bytes, and the checksum then rejects the frame.
            assert!(!matches!(read, Ok(Some(_))), "bit {bit}: {read:?}");
        }
    }

    #[tokio::test]
    async fn a_length_alone_costs_little_memory() {
        let (mut near, mut far) = duplex(1 << 10);
        let mut start = header(FrameKind::Message, &[], &[]);
        start[1..4].copy_from_slice(&[0xff; 3]);
        near.write_all(&start).await.unwrap();
        let silent = read(&mut far, FRAME_BYTES_MAX, Duration::from_millis(1)).await;
        assert_eq!(silent.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(next_step(&start), READ_BYTES);
        // A length beyond the limit is refused immediately.
        let mut buffer = BytesMut::from(&start[..]);
        let refused = decode(&mut buffer, 100).unwrap_err();
        assert_eq!(
            refused,
            FrameError::TooLong { length: FRAME_BYTES_MAX, max: 100 }
        );
    }

    #[tokio::test]
    async fn one_frame_is_read_without_the_bytes_after_it() {
        let (mut near, mut far) = duplex(1000);
        let lengths = [0, 1, READ_BYTES, READ_BYTES + 1, 1 << 20];
        let frames = lengths.map(|length| encode(FrameKind::Message, &vec![7; length]));
        let writing = tokio::spawn(async move {
            near.write_all(&frames.concat()).await.unwrap();
            near.write_all(&encode(FrameKind::Message, &[7; 100])[..50])
                .await
        });
        for length in lengths {
            let frame = read(&mut far, FRAME_BYTES_MAX, SILENCE).await.unwrap();
            assert_eq!(frame.contents, vec![7; length]);
        }
        let cut = read(&mut far, FRAME_BYTES_MAX, SILENCE).await;
        assert_eq!(cut.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        writing.await.unwrap().unwrap();
    }
}

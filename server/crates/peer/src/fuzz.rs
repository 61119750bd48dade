//! Gives `tests/fuzz` access to the parsers of input from other members. Built only with the feature `fuzz`.

use bytes::{Bytes, BytesMut};
use witan_machine::member::MemberRegistry;
use witan_storage::encode_record;

use super::{
    frame::{self, FRAME_BYTES_MAX},
    handshake::{self, Handshake},
    snapshot::{Part, RecordParser},
};

/// Decodes the frames at the start of `bytes` and encodes them again. Also returns the number of remaining bytes, or an error
/// if these bytes cannot start a frame.
pub fn frames(bytes: &[u8]) -> (Vec<u8>, Result<usize, String>) {
    let mut rest = BytesMut::from(bytes);
    let mut again = Vec::new();
    let left = loop {
        match frame::decode(&mut rest, FRAME_BYTES_MAX) {
            Ok(Some(frame)) => frame::append(&mut again, frame.kind, &frame.contents),
            Ok(None) => break Ok(rest.len()),
            Err(error) => break Err(error.to_string()),
        }
    };
    (again, left)
}

/// Encodes a message frame.
pub fn message(contents: &[u8]) -> Vec<u8> {
    frame::encode(frame::FrameKind::Message, contents)
}

/// Decodes a handshake. Returns the re-encoded handshake and whether a member would accept the stream, or `None` if the
/// handshake is invalid.
pub fn handshake(contents: &[u8]) -> Option<(Vec<u8>, bool)> {
    let hello = Handshake::decode(contents)?;
    let own = (hello.to, &hello.store);
    let taken = hello.check(own, &MemberRegistry::default()).is_ok();
    Some((hello.encode(), taken))
}

/// Decodes a response and encodes it again, or returns `None` if it is invalid.
pub fn answer(contents: &[u8]) -> Option<Vec<u8>> {
    handshake::decode_answer(contents).map(handshake::encode_answer)
}

/// Decodes a part of a snapshot and encodes it again, or returns `None` if it is invalid.
pub fn snapshot_part(contents: &[u8]) -> Option<Vec<u8>> {
    let part = Part::decode(Bytes::copy_from_slice(contents))?;
    let (start, records) = part.encode();
    Some([&start, records].concat())
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Parses records from pieces of a stream. Returns the records and whether the stream ends at the end of a record. Fails if a
/// record is too long.
pub fn snapshot_records<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Vec<Pair>, bool), String> {
    let (mut parser, mut records) = (RecordParser::default(), Vec::new());
    for piece in pieces {
        parser.push(Bytes::copy_from_slice(piece));
        while let Some(record) = parser.next().map_err(|error| error.to_string())? {
            records.push(record);
        }
    }
    Ok((records, parser.is_empty()))
}

/// Encodes these records as a stream.
pub fn snapshot_stream(records: &[Pair]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (key, value) in records {
        encode_record(&mut stream, key, value);
    }
    stream
}

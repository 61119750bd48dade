//! How many parts a frame and a command may have. Decoded, a part of two bytes takes up to a hundred times as much memory, so
//! that the length of a file says little about it: parts are counted before they are decoded.

use prost::encoding::{WireType, decode_key, decode_varint};
use witan_replica::wire;

use crate::{format::PARTS_MAX, hide::KNOWN};

/// There are more parts than a bound.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// The messages of which parts are counted.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Frame,
    /// And of a frozen replica.
    Start,
    State,
    Turn,
    Input,
    Received,
    Decision,
    Raft,
    RaftEntry,
    /// Any other: its own fields are counted.
    Other,
}

/// The type that a decoder gives a field.
#[derive(Clone, Copy)]
enum Field {
    Message(Of),
    /// A message between members.
    Between,
    /// A change of raft's configuration comes with its command.
    Command,
    Bytes,
}

/// The fields whose contents are counted, too, by their messages and numbers.
const FIELDS: [(Of, u32, Field); 12] = [
    (Of::Frame, 2, Field::Message(Of::Start)),
    (Of::Frame, 3, Field::Message(Of::Turn)),
    (Of::Frame, 5, Field::Message(Of::Start)),
    (Of::Start, 2, Field::Message(Of::State)),
    (Of::Turn, 3, Field::Message(Of::Input)),
    (Of::Input, 3, Field::Message(Of::Received)),
    (Of::Input, 12, Field::Message(Of::Decision)),
    (Of::Received, 3, Field::Between),
    (Of::Received, 4, Field::Message(Of::State)),
    (Of::Decision, 1, Field::Message(Of::State)),
    (Of::Raft, 7, Field::Message(Of::RaftEntry)),
    (Of::RaftEntry, 6, Field::Command),
];

fn field(of: Of, tag: u32) -> Field {
    let found = FIELDS
        .iter()
        .find(|(message, number, _)| (*message, *number) == (of, tag));
    found.map_or(Field::Bytes, |(_, _, field)| *field)
}

/// Checks that the payload of a frame has at most [`PARTS_MAX`] parts.
pub(crate) fn check_frame(payload: &[u8]) -> Result<(), TooMany> {
    count_parts(Of::Frame, payload, &mut { PARTS_MAX })
}

/// Whether so few bytes cannot have too many parts: each takes two at least.
pub(crate) fn is_small(payload: &[u8]) -> bool {
    payload.len() / 2 < PARTS_MAX
}

/// Subtracts the parts of a message of the kind `of` from `left`: its fields, and those of the messages in it. Commands have
/// a bound of their own.
fn count_parts(of: Of, mut rest: &[u8], left: &mut usize) -> Result<(), TooMany> {
    while let Some((tag, bytes)) = next_field(&mut rest) {
        take(left, 1)?;
        match field(of, tag) {
            Field::Message(inner) => count_parts(inner, bytes, left)?,
            Field::Between => match bytes.split_first() {
                Some((&wire::MESSAGE_RAFT, raft)) => count_parts(Of::Raft, raft, left)?,
                Some((_, other)) => count_parts(Of::Other, other, left)?,
                None => {}
            },
            Field::Command => check_command(bytes)?,
            Field::Bytes => {}
        }
    }
    Ok(())
}

/// Checks that an encoded command, which may begin with the byte of its kind, has at most [`PARTS_MAX`] fields. All
/// bytes in it are taken for messages, so that this knows no command.
pub(crate) fn check_command(data: &[u8]) -> Result<(), TooMany> {
    let (mut messages, mut left) = (vec![data.strip_prefix(&[KNOWN]).unwrap_or(data)], PARTS_MAX);
    while let Some(mut rest) = messages.pop() {
        while let Some((_, bytes)) = next_field(&mut rest) {
            take(&mut left, 1)?;
            messages.push(bytes);
        }
    }
    Ok(())
}

fn take(left: &mut usize, parts: usize) -> Result<(), TooMany> {
    *left = left.checked_sub(parts).ok_or(TooMany)?;
    Ok(())
}

/// Takes the number of the next field of a message, and its bytes if it has a length. `None` behind the last one, and where
/// the message does not decode.
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    let (tag, wire_type) = decode_key(rest).ok()?;
    let length = match wire_type {
        WireType::Varint => decode_varint(rest).map(|_| 0).ok()?,
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::LengthDelimited => decode_varint(rest).ok()?,
        // what is in a group is counted although decoders skip it
        WireType::StartGroup | WireType::EndGroup => 0,
    };
    let (bytes, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = behind;
    let has_length = wire_type == WireType::LengthDelimited;
    Some((tag, if has_length { bytes } else { &[] }))
}

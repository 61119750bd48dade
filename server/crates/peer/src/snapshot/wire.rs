//! The contents of a snapshot's frames: one byte for the kind, then a message. A frame with records contains their offset in
//! the record stream and then the records.

use std::io;

use bytes::{Buf as _, Bytes};
use prost::Message;
use witan_storage::RecordTotals;

/// Maximum size in bytes of a snapshot's record; a longer record ends the transfer. The size is far above the limits of the
/// state and bounds the memory that a malformed length can use.
const RECORD_BYTES_MAX: usize = 1 << 30;

/// Size in bytes of the two lengths before a record's key.
const LENGTHS_BYTES: usize = 8;

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Begin {
    /// Version of all parts and of the records: [`witan_storage::DataFormat::snapshot`] of the state's feature level.
    #[prost(uint32, tag = "1")]
    pub(super) format: u32,
    #[prost(fixed64, tag = "2")]
    pub(super) cluster_id: u64,
    /// Index of the last entry in the state.
    #[prost(uint64, tag = "3")]
    pub(super) index: u64,
    #[prost(uint64, tag = "4")]
    pub(super) term: u64,
    /// Approximate size in bytes of the records that follow.
    #[prost(uint64, tag = "5")]
    pub(super) bytes: u64,
}

/// The records that the receiver already has on disk, after which the stream continues.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Resume {
    #[prost(uint64, tag = "1")]
    pub(super) records: u64,
    #[prost(uint64, tag = "2")]
    pub(super) bytes: u64,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) last_key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Outcome {
    /// Whether the receiver has installed the state or already had it.
    #[prost(bool, tag = "1")]
    pub(super) delivered: bool,
    /// Whether another attempt may succeed soon.
    #[prost(bool, tag = "2")]
    pub(super) busy: bool,
    #[prost(string, tag = "3")]
    pub(super) reason: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Part {
    Begin(Begin),
    Resume(Resume),
    /// An offset in the record stream, and the piece of the stream that starts there.
    Records(u64, Bytes),
    /// All records were sent.
    End(RecordTotals),
    Alive,
    Outcome(Outcome),
    /// The receiver's records are not the start of the sender's records, so the next stream starts over.
    Restart,
}

const BEGIN: u8 = 1;
const RESUME: u8 = 2;
const RECORDS: u8 = 3;
const END: u8 = 4;
const ALIVE: u8 = 5;
const OUTCOME: u8 = 6;
const RESTART: u8 = 7;

/// Size in bytes of the header in a frame with records.
pub(super) const RECORDS_HEADER_BYTES: usize = 1 + 8;

impl Part {
    /// Encodes the part. Returns its encoded start and the records that follow, which are not copied.
    pub(in super::super) fn encode(&self) -> (Vec<u8>, &[u8]) {
        let message = |kind: u8, message: Vec<u8>| [&[kind][..], &message].concat();
        let start = match self {
            Self::Begin(begin) => message(BEGIN, begin.encode_to_vec()),
            Self::Resume(resume) => message(RESUME, resume.encode_to_vec()),
            Self::Records(offset, records) => {
                let start = [&[RECORDS][..], &offset.to_be_bytes()].concat();
                return (start, records);
            }
            Self::End(end) => message(END, end.encode_to_vec()),
            Self::Alive => vec![ALIVE],
            Self::Outcome(outcome) => message(OUTCOME, outcome.encode_to_vec()),
            Self::Restart => vec![RESTART],
        };
        (start, &[])
    }

    /// Decodes a frame's contents, or returns `None` if the contents are invalid.
    pub(in super::super) fn decode(mut contents: Bytes) -> Option<Self> {
        if contents.is_empty() {
            return None;
        }
        let kind = contents.get_u8();
        match kind {
            BEGIN => Begin::decode(contents).ok().map(Self::Begin),
            RESUME => Resume::decode(contents).ok().map(Self::Resume),
            RECORDS if contents.len() >= 8 => {
                let offset = contents.get_u64();
                Some(Self::Records(offset, contents))
            }
            END => RecordTotals::decode(contents).ok().map(Self::End),
            ALIVE if contents.is_empty() => Some(Self::Alive),
            OUTCOME => Outcome::decode(contents).ok().map(Self::Outcome),
            RESTART if contents.is_empty() => Some(Self::Restart),
            _ => None,
        }
    }
}

/// The key and the value of a record.
type Record = (Vec<u8>, Vec<u8>);

/// Parses records from arbitrary pieces of a byte stream.
#[derive(Debug, Default)]
pub(in super::super) struct RecordParser {
    /// The start of a record that continues in the next piece.
    begun: Vec<u8>,
    /// The rest of the last piece.
    rest: Bytes,
}

impl RecordParser {
    /// Adds the next piece. [`next`](Self::next) must have returned `None` since the previous piece was added.
    pub(in super::super) fn push(&mut self, piece: Bytes) {
        self.rest = piece;
    }

    /// Returns the next record, or `None` until more bytes arrive. Fails if the record is too long.
    pub(in super::super) fn next(&mut self) -> io::Result<Option<Record>> {
        if self.begun.is_empty()
            && let Some(record) = first_record(&self.rest)?
        {
            self.rest.advance(record_len(&self.rest)?);
            return Ok(Some(record));
        }
        while !self.rest.is_empty() {
            let missing = record_len(&self.begun)? - self.begun.len();
            let part = self.rest.split_to(missing.min(self.rest.len()));
            self.begun.extend_from_slice(&part);
            if let Some(record) = first_record(&self.begun)? {
                self.begun.clear();
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Returns whether all added bytes were returned in records.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.rest.is_empty()
    }
}

/// Returns the length in bytes of the record at the start of `bytes`, or of its two lengths if they are incomplete. Fails if
/// the record is too long.
fn record_len(bytes: &[u8]) -> io::Result<usize> {
    let Some(mut lengths) = bytes.get(..LENGTHS_BYTES) else {
        return Ok(LENGTHS_BYTES);
    };
    let [key, value] = [(); 2].map(|()| lengths.get_u32_le() as usize);
    if key + value > RECORD_BYTES_MAX {
        let what = format!("a record of {} bytes", key + value);
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(LENGTHS_BYTES + key + value)
}

/// Returns the record at the start of `bytes`, or `None` if it is incomplete. Fails if the record is too long.
fn first_record(bytes: &[u8]) -> io::Result<Option<Record>> {
    let length = record_len(bytes)?;
    let Some((mut lengths, record)) = bytes
        .get(..length)
        .and_then(|all| all.split_at_checked(LENGTHS_BYTES))
    else {
        return Ok(None);
    };
    let (key, value) = record.split_at(lengths.get_u32_le() as usize);
    Ok(Some((key.to_vec(), value.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_alone_costs_no_memory() {
        let mut parser = RecordParser::default();
        parser.push(Bytes::from_static(&[0, 0, 0, 0x20, 0, 0, 0, 0x10, 1]));
        assert!(parser.next().unwrap().is_none());
        assert!(parser.begun.capacity() < 1 << 10);
        parser = RecordParser::default();
        parser.push(Bytes::from_static(&[0xff; 8]));
        assert!(parser.next().is_err());
    }
}

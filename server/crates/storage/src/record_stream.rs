//! A state's records as a byte stream, used in runs and in snapshots between members. Each record is the key's length, the
//! value's length (4 bytes each, little-endian), the key and the value.

use bytes::BufMut;

use super::run::{HEADER_BYTES, REMOVED};

/// Totals of a record stream. The manifest stores the totals of each run, and a snapshot ends with its totals.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct RecordTotals {
    /// Number of records, including a run's deletions.
    #[prost(uint64, tag = "1")]
    pub records: u64,
    /// Length of the stream in bytes.
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
    /// CRC-32 of the stream.
    #[prost(fixed32, tag = "3")]
    pub sum: u32,
}

/// Computes the totals of a record stream.
#[derive(Clone, Debug, Default)]
pub struct RecordCounter {
    records: u64,
    bytes: u64,
    sum: crc32fast::Hasher,
}

impl RecordCounter {
    /// Adds the next record of the stream to the totals. The checksum depends on the order of the records.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        self.records += 1;
        for part in [&lengths(key, value)[..], key, value] {
            self.bytes += part.len() as u64;
            self.sum.update(part);
        }
    }

    /// Returns the number of records so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Returns the number of bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the totals so far.
    pub fn totals(&self) -> RecordTotals {
        RecordTotals {
            records: self.records,
            bytes: self.bytes,
            sum: self.sum.clone().finalize(),
        }
    }
}

/// Appends a record to a stream.
pub fn encode_record(out: &mut impl BufMut, key: &[u8], value: &[u8]) {
    for part in [&lengths(key, value)[..], key, value] {
        out.put_slice(part);
    }
}

/// Encodes the lengths of a key and its value. A length of 4 GiB or more becomes [`REMOVED`], which the receiver rejects; the
/// limits of the state prevent such lengths.
fn lengths(key: &[u8], value: &[u8]) -> [u8; HEADER_BYTES] {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(REMOVED);
    let mut lengths = [0; HEADER_BYTES];
    lengths[..4].copy_from_slice(&length(key).to_le_bytes());
    lengths[4..].copy_from_slice(&length(value).to_le_bytes());
    lengths
}

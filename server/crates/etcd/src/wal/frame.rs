//! Frames of the log: an 8-byte length, a record, and zeros up to a multiple of 8 bytes.

use bytes::Bytes;
use prost::Message as _;

use super::super::raft_messages::{RecordKind, WalRecord};

/// Size in bytes of a frame's length field, to which frames are aligned.
pub(super) const LENGTH_BYTES: usize = 8;

/// Number of bytes that a disk writes atomically.
const SECTOR_BYTES: usize = 512;

pub(super) struct Frame {
    pub(super) record: Bytes,
    /// Offset of the next frame.
    pub(super) end: usize,
}

/// Reads the frame at an offset. The first 64-bit word of a frame contains the record's length in the lower 56 bits. If the
/// highest bit is set, bits 56 to 58 contain the number of padding bytes after the record. Returns `None` if this word is 0, as
/// in preallocated zeros, or if the frame exceeds the segment.
pub(super) fn read_frame(segment: &Bytes, offset: usize) -> Option<Frame> {
    let word = u64::from_le_bytes(*segment.get(offset..)?.first_chunk()?);
    let padding = if word >> 63 == 1 { (word >> 56) & 7 } else { 0 };
    let begin = offset + LENGTH_BYTES;
    let bytes = (word & ((1 << 56) - 1)) as usize;
    let end = begin + bytes + padding as usize;
    let is_frame = word != 0 && end <= segment.len();
    is_frame.then(|| Frame { record: segment.slice(begin..begin + bytes), end })
}

impl Frame {
    /// Decodes the record without verifying its checksum. The decoded values are slices of the segment. Returns `None` if the
    /// frame is not aligned, cannot be decoded or has an unknown kind.
    pub(super) fn decode(&self) -> Option<(RecordKind, WalRecord)> {
        if !self.end.is_multiple_of(LENGTH_BYTES) {
            return None;
        }
        let record = WalRecord::decode(self.record.clone()).ok()?;
        let kind = RecordKind::try_from(i32::try_from(record.kind).ok()?);
        Some((kind.ok()?, record))
    }

    /// Returns whether the frame at offset `at` can be a torn write: one of its sectors, or its last byte, is zero.
    pub(super) fn is_torn(&self, at: usize) -> bool {
        let begin = at + LENGTH_BYTES;
        let first = (SECTOR_BYTES - begin % SECTOR_BYTES).min(self.record.len());
        let (first, rest) = self.record.split_at(first);
        let mut sectors = std::iter::once(first).chain(rest.chunks(SECTOR_BYTES));
        self.record.last() == Some(&0) || sectors.any(|sector| sector.iter().all(|byte| *byte == 0))
    }
}

/// Returns the offset of the first frame whose record can be decoded, or `None`. The offset is `from` or a multiple of 8 bytes
/// after it. Does not verify checksums.
pub(super) fn find(segment: &Bytes, from: usize) -> Option<usize> {
    let is_record = |frame: Frame| {
        let decoded = frame.decode();
        decoded.is_some_and(|(_, record)| record.encoded_len() == frame.record.len())
    };
    (from..segment.len())
        .step_by(LENGTH_BYTES)
        .find(|offset| read_frame(segment, *offset).is_some_and(is_record))
}

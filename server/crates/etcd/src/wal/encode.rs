//! Encodes a log segment in memory.

use prost::Message;

use super::{
    super::{
        HardState,
        raft_messages::{RaftEntry, RecordKind, WalMetadata, WalRecord, WalSnapshot},
    },
    frame::LENGTH_BYTES,
};

/// A log segment that is being encoded.
#[derive(Clone, Debug)]
pub struct SegmentEncoder {
    bytes: Vec<u8>,
    crc: u32,
}

impl SegmentEncoder {
    /// Starts a segment with its checksum and metadata records. `crc` is the final checksum of the previous segment, or 0 for
    /// the first segment.
    pub fn new(crc: u32, metadata: WalMetadata) -> Self {
        let mut segment = Self { bytes: Vec::new(), crc };
        segment.record(RecordKind::Crc, Vec::new());
        segment.record(RecordKind::Metadata, metadata.encode_to_vec());
        segment
    }

    /// Returns a segment's file name. `index` is the index of its first entry.
    pub fn name(sequence: u64, index: u64) -> String {
        format!("{sequence:016x}-{index:016x}.wal")
    }

    /// Returns the encoded bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the checksum of all records so far, including the records of the previous segments.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// Adds an entry.
    pub fn entry(&mut self, entry: &RaftEntry) {
        self.record(RecordKind::Entry, entry.encode_to_vec());
    }

    /// Adds Raft's durable state.
    pub fn state(&mut self, state: &HardState) {
        self.record(RecordKind::State, state.encode_to_vec());
    }

    /// Adds a reference to a snapshot. Every log starts with a reference to an empty snapshot.
    pub fn snapshot(&mut self, snapshot: &WalSnapshot) {
        self.record(RecordKind::Snapshot, snapshot.encode_to_vec());
    }

    /// Appends a frame with a record and updates the checksum.
    fn record(&mut self, kind: RecordKind, data: Vec<u8>) {
        self.crc = crc32c::crc32c_append(self.crc, &data);
        let record = WalRecord { kind: kind as i64, crc: self.crc, data: data.into() };
        let record = record.encode_to_vec();
        let padding = record.len().next_multiple_of(LENGTH_BYTES) - record.len();
        let flag = if padding == 0 {
            0
        } else {
            0x80 | padding as u64
        };
        let length = record.len() as u64 | flag << 56;
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&record);
        self.bytes.resize(self.bytes.len() + padding, 0);
    }
}

//! Writes an encoded protobuf message field by field.

use prost::encoding::encode_varint;

/// Number of bytes reserved for the length of a nested message. The length is written when the message is complete.
const LENGTH_BYTES: usize = 5;

#[derive(Debug, Default)]
pub(super) struct MessageWriter(Vec<u8>);

impl MessageWriter {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, value: u64) {
        encode_varint(value, &mut self.0);
    }

    /// Appends a numeric field: a number, a bool or an enum.
    pub(super) fn number(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field) << 3);
        self.varint(value);
    }

    /// Appends a field with bytes or a string.
    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// Starts a nested message and reserves space for its length. Returns the message's offset for [`Self::end`].
    pub(super) fn begin(&mut self, field: u32) -> usize {
        self.varint(u64::from(field) << 3 | 2);
        self.0.extend_from_slice(&[0; LENGTH_BYTES]);
        self.0.len()
    }

    /// Writes the length of the nested message that starts at `start`, padded to the reserved size.
    pub(super) fn end(&mut self, start: usize) {
        let mut length = self.0.len() - start;
        let place = &mut self.0[start - LENGTH_BYTES..start];
        for byte in &mut *place {
            *byte = (length & 0x7f) as u8 | 0x80;
            length >>= 7;
        }
        place[LENGTH_BYTES - 1] &= 0x7f;
    }
}

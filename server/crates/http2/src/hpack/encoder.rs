//! Encodes header blocks.
//!
//! Once per connection, the encoder adds the headers and trailers of a successful response to the client's table. Later
//! successful responses then need one byte per field. Other blocks do not depend on earlier blocks.

use http::{HeaderMap, StatusCode};

use super::TABLE_BYTES;

const STATUS_200: u8 = 0x88;

/// `grpc-status: 0`, added to the client's table.
const ENTER_OK: &[u8] = b"\x40\x0bgrpc-status\x010";

/// `grpc-status: 0`, not added to the client's table.
const PLAIN_OK: &[u8] = b"\x00\x0bgrpc-status\x010";

/// Encoded indexes of the fields that were added to the client's table. The latest field has the lowest index.
const ENTERED_OK: u8 = 0x80 | 62;
const ENTERED_TYPE: u8 = 0x80 | 63;

/// Table size update to 0, after which the client's table is not used.
const TABLE_SIZE_ZERO: u8 = 0x20;

/// Encodes a connection's blocks. The variants are the states of the client's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Encoder {
    /// The client's settings are not known yet.
    #[default]
    Unknown,
    NotAdded,
    Added,
    /// The client has shrunk its table. No more fields are added, and the next block must start with a table size update.
    Closing,
    Closed,
}

impl Encoder {
    /// Applies the client's settings. `table_bytes` is the size of the client's table, if the settings contain it. If the
    /// client shrinks its table, the encoder never uses it again.
    pub(crate) fn settings(&mut self, table_bytes: Option<u32>) {
        let small = table_bytes.is_some_and(|bytes| (bytes as usize) < TABLE_BYTES);
        *self = match *self {
            Self::Unknown | Self::NotAdded | Self::Added if small => Self::Closing,
            Self::Unknown => Self::NotAdded,
            kept @ (Self::NotAdded | Self::Added | Self::Closing | Self::Closed) => kept,
        };
    }

    /// Returns the encoded headers and trailers of a successful response. The caller must write both, with no block in between.
    /// The first call after the client's settings adds both to the client's table.
    pub(crate) fn success_blocks(&mut self) -> (&'static [u8], &'static [u8]) {
        const ENTERING: &[u8] = b"\x88\x5f\x10application/grpc";
        const ENTERED: &[u8] = &[STATUS_200, ENTERED_TYPE];
        const PLAIN: &[u8] = b"\x88\x0f\x10\x10application/grpc";
        const CLOSING: &[u8] = b"\x20\x88\x0f\x10\x10application/grpc";
        match *self {
            Self::Unknown | Self::Closed => (PLAIN, PLAIN_OK),
            Self::NotAdded => {
                *self = Self::Added;
                (ENTERING, ENTER_OK)
            }
            Self::Added => (ENTERED, &[ENTERED_OK]),
            Self::Closing => {
                *self = Self::Closed;
                (CLOSING, PLAIN_OK)
            }
        }
    }

    /// Appends a response's encoded headers to `out` without adding them to the client's table. Blocks must be sent in the
    /// order in which they were encoded, because a block may start with a table size update.
    pub(crate) fn headers(&mut self, status: StatusCode, headers: &HeaderMap, out: &mut Vec<u8>) {
        self.close(out);
        if status == StatusCode::OK {
            out.push(STATUS_200);
        } else {
            // The name is in the static table.
            out.push(8);
            string(status.as_str().as_bytes(), out);
        }
        fields(headers, out);
    }

    /// Appends encoded trailers to `out` without adding them to the client's table.
    pub(crate) fn trailers(&mut self, trailers: &HeaderMap, out: &mut Vec<u8>) {
        self.close(out);
        fields(trailers, out);
    }

    /// Writes the table size update once if the client has shrunk its table.
    fn close(&mut self, out: &mut Vec<u8>) {
        if *self == Self::Closing {
            *self = Self::Closed;
            out.push(TABLE_SIZE_ZERO);
        }
    }
}

/// Appends fields as literals that are not added to the client's table.
fn fields(headers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in headers {
        out.push(0);
        string(name.as_str().as_bytes(), out);
        string(value.as_bytes(), out);
    }
}

/// Appends a string without Huffman coding: its length as an integer with a 7-bit prefix, then its bytes.
fn string(text: &[u8], out: &mut Vec<u8>) {
    let mut length = text.len();
    if length < 0x7f {
        out.push(length as u8);
    } else {
        out.push(0x7f);
        length -= 0x7f;
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
    }
    out.extend_from_slice(text);
}

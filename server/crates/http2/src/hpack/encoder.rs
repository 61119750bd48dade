//! Writing header blocks.
//!
//! A block does not depend on earlier ones, with one exception: the headers and trailers of an
//! answer that went well enter the client's table once per connection and take one byte each from
//! then on.

use http::{HeaderMap, StatusCode};

use super::TABLE_BYTES;

/// `:status: 200`, from the static table.
const STATUS_200: u8 = 0x88;

/// `content-type: application/grpc` for itself, its name from the static table.
const PLAIN_TYPE: &[u8] = b"\x0f\x10\x10application/grpc";

/// `grpc-status: 0` to be entered in the client's table.
const ENTER_OK: &[u8] = b"\x40\x0bgrpc-status\x010";

/// The same without being entered.
const PLAIN_OK: &[u8] = b"\x00\x0bgrpc-status\x010";

/// Places in the client's table of what we entered, the last one first.
const ENTERED_OK: u8 = 0x80 | 62;
const ENTERED_TYPE: u8 = 0x80 | 63;

/// Tells the client that its table is not used any more.
const TABLE_SIZE_ZERO: u8 = 0x20;

/// Whether the client's table holds what we enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientTable {
    /// Its settings are not known yet.
    Unknown,
    No,
    Yes,
    /// It shrank its table: nothing is added any more, and the next block must announce it.
    Closing,
    Closed,
}

/// Writes the header blocks of one connection.
#[derive(Debug)]
pub(crate) struct Encoder {
    entered: ClientTable,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self {
            entered: ClientTable::Unknown,
        }
    }

    /// The client has sent settings, which may say how large its table is.
    pub(crate) fn settings(&mut self, table_bytes: Option<u32>) {
        let small = table_bytes.is_some_and(|bytes| (bytes as usize) < TABLE_BYTES);
        self.entered = match self.entered {
            ClientTable::Unknown | ClientTable::No | ClientTable::Yes if small => {
                ClientTable::Closing
            }
            ClientTable::Unknown => ClientTable::No,
            kept @ (ClientTable::No
            | ClientTable::Yes
            | ClientTable::Closing
            | ClientTable::Closed) => kept,
        };
    }

    /// Headers and trailers of an answer that went well, if they go out one right after the other.
    pub(crate) fn good(&mut self) -> (&'static [u8], &'static [u8]) {
        const ENTERING: &[u8] = b"\x88\x5f\x10application/grpc";
        const ENTERED: &[u8] = &[STATUS_200, ENTERED_TYPE];
        const PLAIN: &[u8] = b"\x88\x0f\x10\x10application/grpc";
        const CLOSING: &[u8] = b"\x20\x88\x0f\x10\x10application/grpc";
        match self.entered {
            ClientTable::Unknown | ClientTable::Closed => (PLAIN, PLAIN_OK),
            ClientTable::No => {
                self.entered = ClientTable::Yes;
                (ENTERING, ENTER_OK)
            }
            ClientTable::Yes => (ENTERED, &[ENTERED_OK]),
            ClientTable::Closing => {
                self.entered = ClientTable::Closed;
                (CLOSING, PLAIN_OK)
            }
        }
    }

    /// Headers of an answer whose end is not known yet.
    pub(crate) fn headers(&mut self, status: StatusCode, headers: &HeaderMap, out: &mut Vec<u8>) {
        self.close(out);
        if status == StatusCode::OK {
            out.push(STATUS_200);
        } else {
            // the name from the static table
            out.push(8);
            string(status.as_str().as_bytes(), out);
        }
        fields(headers, out);
    }

    pub(crate) fn trailers(&mut self, trailers: &HeaderMap, out: &mut Vec<u8>) {
        self.close(out);
        fields(trailers, out);
    }

    /// The same as the headers of [`Encoder::good`], when what follows is not known to follow.
    pub(crate) fn plain_headers(&mut self, out: &mut Vec<u8>) {
        self.close(out);
        out.push(STATUS_200);
        out.extend_from_slice(PLAIN_TYPE);
    }

    /// `grpc-status: 0` alone.
    pub(crate) fn plain_ok(&mut self, out: &mut Vec<u8>) {
        self.close(out);
        out.extend_from_slice(PLAIN_OK);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.entered == ClientTable::Closing {
            self.entered = ClientTable::Closed;
            out.push(TABLE_SIZE_ZERO);
        }
    }
}

fn fields(headers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in headers {
        out.push(0);
        string(name.as_str().as_bytes(), out);
        string(value.as_bytes(), out);
    }
}

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

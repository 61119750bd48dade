//! Compares the decoding of header blocks by the HTTP/2 code and by h2. h2 exposes its decoder only through a connection, so
//! each block is sent as a request.
//!
//! The comparison ends if h2 refuses a field by the rules for requests.

use http::{HeaderName, HeaderValue};
use witan_http2::hpack::Decoder;

use crate::{
    frame::{Frame, code, flag, kind},
    reference::Reference,
    server::{Client, Server as _, Verdict},
};

/// Maximum number of blocks per input. The dynamic tables persist between blocks.
const BLOCKS_MAX: usize = 8;

/// The first fields of a block, which make it a request: POST, http and `/`.
const REQUEST: &[u8] = &[0x83, 0x86, 0x84];

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Decodes an input's blocks, each prefixed with its length in two bytes. Panics if the two decoders differ.
pub fn compare(bytes: &[u8]) {
    let mut own = Decoder::default();
    let mut h2 = Client::greeted(Reference::new(100), &[]);
    let mut left = bytes;
    for number in 0..BLOCKS_MAX {
        let Some((&[a, b], rest)) = left.split_first_chunk::<2>() else {
            return;
        };
        let length = usize::from(u16::from_be_bytes([a, b]))
            .min(rest.len())
            .min(16_000);
        let (fields, rest) = rest.split_at(length);
        left = rest;
        let stream = 2 * number as u32 + 1;
        if !same(&mut own, &mut h2, stream, fields) {
            return;
        }
    }
}

/// Inserts the fields of a request into a block, after the block's leading table size updates.
fn request(fields: &[u8]) -> Vec<u8> {
    let mut begin = 0;
    while fields.get(begin).is_some_and(|byte| byte & 0xe0 == 0x20) {
        let long = fields[begin] & 0x1f == 0x1f;
        begin += 1;
        while long && fields.get(begin).is_some_and(|byte| byte & 0x80 != 0) {
            begin += 1;
        }
        begin += usize::from(long);
    }
    let (sizes, rest) = fields.split_at(begin.min(fields.len()));
    [sizes, REQUEST, rest].concat()
}

/// Compares one block. Returns whether both decoders accept more blocks. Panics if they differ.
fn same(own: &mut Decoder, h2: &mut Client<Reference>, stream: u32, fields: &[u8]) -> bool {
    let block = request(fields);
    let mut read: Fields = Vec::new();
    let mut size = 0;
    let decoded = own.decode(&block, |field| {
        size += field.bytes();
        read.push((field.name.to_vec(), field.value.to_vec()));
    });
    assert!(
        own.table_size().1 <= 4096,
        "the table is larger than announced"
    );
    let before = h2.server.requests.len();
    let flags = flag::END_HEADERS | flag::END_STREAM;
    h2.send(&[Frame::new(kind::HEADERS, flags, stream, block.clone())]);
    let taken = h2.server.requests.len() > before;
    if decoded.is_err() {
        assert!(
            !taken,
            "the HTTP/2 code refuses {block:x?}, which h2 reads as {read:?}"
        );
        return false;
    }
    if size > crate::HEADER_LIST_MAX as usize || !proper(&read) {
        // h2 applied its own limit or rule.
        return false;
    }
    match h2.verdict() {
        Verdict::Connection(code::COMPRESSION_ERROR | code::PROTOCOL_ERROR) => {
            panic!("h2 refuses {block:x?}, which the HTTP/2 code reads as {read:?}")
        }
        Verdict::Fine => {}
        Verdict::Connection(_) | Verdict::Stream(..) | Verdict::Closed => return false,
    }
    assert!(taken, "h2 reports no request for {block:x?}");
    let request = h2.server.requests.last().expect("it was taken");
    let mut theirs: Fields = Vec::new();
    for (name, value) in request.headers() {
        theirs.push((name.as_str().into(), value.as_bytes().into()));
    }
    let mut ours: Fields = read
        .into_iter()
        .filter(|(name, _)| name[0] != b':')
        .collect();
    // The header map keeps the order of values, but not of names.
    ours.sort_by(|one, other| one.0.cmp(&other.0));
    theirs.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(ours, theirs, "{block:x?}");
    !h2.server.closed()
}

/// Returns whether h2 accepts every field in a request.
fn proper(fields: &Fields) -> bool {
    fields.iter().enumerate().all(|(place, (name, value))| {
        if place < 3 {
            return true;
        }
        let connection: [&[u8]; 6] = [
            b"connection",
            b"transfer-encoding",
            b"upgrade",
            b"keep-alive",
            b"proxy-connection",
            b"te",
        ];
        HeaderName::from_lowercase(name).is_ok()
            && HeaderValue::from_bytes(value).is_ok()
            && !connection.contains(&name.as_slice())
            && name != b"content-length"
    })
}

//! Header compression (RFC 7541): reading with the client's table, and writing.
//!
//! What we write stands for itself, with one exception: the headers and trailers of an answer that
//! went well enter the client's table once per connection and are one byte each from then on.

use std::{collections::VecDeque, rc::Rc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};

use super::{huffman, table::STATIC};

/// Size of the table of the client's headers, the protocol's default.
const TABLE_BYTES: usize = 4096;

/// What a field takes in the table beyond its text.
const FIELD_OVERHEAD: usize = 32;

/// A block that breaks the code; the connection cannot go on, for the tables differ from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// One header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Name,
    pub(super) value: Bytes,
    /// Size by the standard's measure.
    pub(super) bytes: usize,
}

/// The name of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Method,
    Scheme,
    Path,
    Authority,
    Header(HeaderName),
    /// Not a name that a request may have.
    Wrong,
}

impl Name {
    fn new(text: &[u8]) -> Self {
        match text {
            b":method" => Self::Method,
            b":scheme" => Self::Scheme,
            b":path" => Self::Path,
            b":authority" => Self::Authority,
            _ => HeaderName::from_lowercase(text).map_or(Self::Wrong, Self::Header),
        }
    }
}

impl Field {
    fn new(name: (Name, usize), value: Vec<u8>) -> Self {
        Self {
            bytes: name.1 + value.len() + FIELD_OVERHEAD,
            name: name.0,
            value: value.into(),
        }
    }
}

/// Reads the header blocks of one connection.
#[derive(Debug)]
pub(super) struct Decoder {
    /// Newest first.
    table: VecDeque<(Rc<Field>, usize)>,
    bytes: usize,
    bytes_max: usize,
    /// Rises with every change of the table: the same block means the same while it stays.
    pub(super) generation: u64,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self {
            table: VecDeque::new(),
            bytes: 0,
            bytes_max: TABLE_BYTES,
            generation: 0,
        }
    }

    /// Hands every field of a whole block to `each`.
    pub(super) fn decode(
        &mut self,
        block: &[u8],
        mut each: impl FnMut(&Field),
    ) -> Result<(), Broken> {
        let mut at = Reader(block);
        let mut begun = false;
        while let Some(&first) = at.0.first() {
            match first {
                0x80.. => each(&self.get(at.number(7)?)?.0),
                0x40..0x80 => {
                    let (field, name_bytes) = self.literal(&mut at, 6)?;
                    each(&field);
                    self.insert(field, name_bytes);
                }
                0x20..0x40 => {
                    let bytes_max = at.number(5)?;
                    if begun || bytes_max > TABLE_BYTES {
                        return Err(Broken);
                    }
                    self.bytes_max = bytes_max;
                    self.generation += 1;
                    self.evict(bytes_max);
                    continue;
                }
                0..0x20 => each(&self.literal(&mut at, 4)?.0),
            }
            begun = true;
        }
        Ok(())
    }

    fn literal(&self, at: &mut Reader<'_>, prefix: u32) -> Result<(Rc<Field>, usize), Broken> {
        let name = match at.number(prefix)? {
            0 => {
                let text = at.string()?;
                (Name::new(&text), text.len())
            }
            index => {
                let (field, name_bytes) = self.get(index)?;
                (field.name.clone(), name_bytes)
            }
        };
        let name_bytes = name.1;
        Ok((Rc::new(Field::new(name, at.string()?)), name_bytes))
    }

    /// The field at an index, and the length of its name.
    fn get(&self, index: usize) -> Result<(Rc<Field>, usize), Broken> {
        let place = index.checked_sub(1).ok_or(Broken)?;
        match STATIC.get(place) {
            Some((name, value)) => {
                let named = (Name::new(name.as_bytes()), name.len());
                Ok((
                    Rc::new(Field::new(named, value.as_bytes().to_vec())),
                    name.len(),
                ))
            }
            None => self.table.get(place - STATIC.len()).cloned().ok_or(Broken),
        }
    }

    fn insert(&mut self, field: Rc<Field>, name_bytes: usize) {
        self.generation += 1;
        self.evict(self.bytes_max.saturating_sub(field.bytes));
        if field.bytes <= self.bytes_max {
            self.bytes += field.bytes;
            self.table.push_front((field, name_bytes));
        }
    }

    fn evict(&mut self, until: usize) {
        while self.bytes > until {
            let Some((oldest, _)) = self.table.pop_back() else {
                return;
            };
            self.bytes -= oldest.bytes;
        }
    }
}

/// What is left of a block.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, Broken> {
        let (&byte, rest) = self.0.split_first().ok_or(Broken)?;
        self.0 = rest;
        Ok(byte)
    }

    /// A number whose first bits are the last `prefix` ones of a byte.
    fn number(&mut self, prefix: u32) -> Result<usize, Broken> {
        let full = (1 << prefix) - 1;
        let mut number = usize::from(self.byte()?) & full;
        if number < full {
            return Ok(number);
        }
        // four times seven bits are more than any number here may be
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            number += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Broken)
    }

    fn string(&mut self) -> Result<Vec<u8>, Broken> {
        let coded = self.0.first().is_some_and(|byte| byte & 0x80 != 0);
        let length = self.number(7)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Broken)?;
        self.0 = rest;
        if !coded {
            return Ok(text.to_vec());
        }
        let mut out = Vec::new();
        huffman::decode(text, &mut out).map_err(|_| Broken)?;
        Ok(out)
    }
}

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
const TABLE_OFF: u8 = 0x20;

/// Whether the client's table holds what we enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entered {
    /// Its settings are not known yet.
    Unknown,
    No,
    Yes,
    /// It shrank its table: nothing is entered any more, and the next block has to say so.
    Closing,
    Closed,
}

/// Writes the header blocks of one connection.
#[derive(Debug)]
pub(super) struct Encoder {
    entered: Entered,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self {
            entered: Entered::Unknown,
        }
    }

    /// The client has sent settings, which may say how large its table is.
    pub(super) fn settings(&mut self, table_bytes: Option<u32>) {
        let small = table_bytes.is_some_and(|bytes| (bytes as usize) < TABLE_BYTES);
        self.entered = match self.entered {
            Entered::Unknown | Entered::No | Entered::Yes if small => Entered::Closing,
            Entered::Unknown => Entered::No,
            kept @ (Entered::No | Entered::Yes | Entered::Closing | Entered::Closed) => kept,
        };
    }

    /// Headers and trailers of an answer that went well, if they go out one right after the other.
    pub(super) fn good(&mut self) -> (&'static [u8], &'static [u8]) {
        const ENTERING: &[u8] = b"\x88\x5f\x10application/grpc";
        const ENTERED: &[u8] = &[STATUS_200, ENTERED_TYPE];
        const PLAIN: &[u8] = b"\x88\x0f\x10\x10application/grpc";
        const CLOSING: &[u8] = b"\x20\x88\x0f\x10\x10application/grpc";
        match self.entered {
            Entered::Unknown | Entered::Closed => (PLAIN, PLAIN_OK),
            Entered::No => {
                self.entered = Entered::Yes;
                (ENTERING, ENTER_OK)
            }
            Entered::Yes => (ENTERED, &[ENTERED_OK]),
            Entered::Closing => {
                self.entered = Entered::Closed;
                (CLOSING, PLAIN_OK)
            }
        }
    }

    /// Headers of an answer whose end is not known yet.
    pub(super) fn headers(&mut self, status: StatusCode, headers: &HeaderMap, out: &mut Vec<u8>) {
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

    pub(super) fn trailers(&mut self, trailers: &HeaderMap, out: &mut Vec<u8>) {
        self.close(out);
        fields(trailers, out);
    }

    /// The same as the headers of [`Encoder::good`], when what follows is not known to follow.
    pub(super) fn plain_headers(&mut self, out: &mut Vec<u8>) {
        self.close(out);
        out.push(STATUS_200);
        out.extend_from_slice(PLAIN_TYPE);
    }

    /// `grpc-status: 0` alone.
    pub(super) fn plain_ok(&mut self, out: &mut Vec<u8>) {
        self.close(out);
        out.extend_from_slice(PLAIN_OK);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.entered == Entered::Closing {
            self.entered = Entered::Closed;
            out.push(TABLE_OFF);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Broken> {
        let mut fields = Vec::new();
        decoder.decode(block, |field| {
            let name = if let Name::Header(name) = &field.name {
                name.to_string()
            } else {
                format!("{:?}", field.name)
            };
            fields.push((name, String::from_utf8_lossy(&field.value).into_owned()));
        })?;
        Ok(fields)
    }

    fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        fields.iter().map(owned).collect()
    }

    /// RFC 7541, C.4: three requests that share a table.
    #[test]
    fn requests_of_the_standard() {
        let mut decoder = Decoder::new();
        let first = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        let common = [
            ("Method", "GET"),
            ("Scheme", "http"),
            ("Path", "/"),
            ("Authority", "www.example.com"),
        ];
        assert_eq!(read(&mut decoder, first).unwrap(), pairs(&common));
        let second = b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf";
        let mut expected = pairs(&common);
        expected.extend(pairs(&[("cache-control", "no-cache")]));
        assert_eq!(read(&mut decoder, second).unwrap(), expected);
        let third = b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";
        let expected = [
            ("Method", "GET"),
            ("Scheme", "https"),
            ("Path", "/index.html"),
            ("Authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ];
        let generation = decoder.generation;
        assert_eq!(read(&mut decoder, third).unwrap(), pairs(&expected));
        assert_eq!((decoder.bytes, decoder.table.len()), (164, 3));
        assert_ne!(decoder.generation, generation);
    }

    #[test]
    fn the_table_forgets_its_oldest() {
        let mut decoder = Decoder::new();
        // room for one field of 1 + 1 + 32 bytes
        read(&mut decoder, b"\x3f\x09\x40\x01a\x011\x40\x01b\x012").unwrap();
        assert_eq!(read(&mut decoder, b"\xbe").unwrap(), pairs(&[("b", "2")]));
        assert_eq!(read(&mut decoder, b"\xbf"), Err(Broken));
        // one that never fits empties it
        let large = [b"\x40\x01c\x28".as_slice(), &[b'x'; 40]].concat();
        read(&mut decoder, &large).unwrap();
        assert_eq!((decoder.bytes, decoder.table.len()), (0, 0));
    }

    #[test]
    fn broken_blocks_are_refused() {
        for block in [
            b"\x80".as_slice(),
            b"\xbe",
            b"\xff\xff\xff\xff\xff\x0f",
            b"\x40",
            b"\x40\x05a",
            b"\x00\x01a\x81\x00",
            // a table larger than announced, and a change of its size after a field
            b"\x3f\xe2\x1f",
            b"\x82\x20",
        ] {
            assert_eq!(read(&mut Decoder::new(), block), Err(Broken), "{block:x?}");
        }
    }

    /// All blocks of a connection, read as its client reads them.
    #[test]
    fn what_is_written_reads_back() {
        let headers = |out: &[u8], decoder: &mut Decoder| read(decoder, out).unwrap();
        let good = pairs(&[("Wrong", "200"), ("content-type", "application/grpc")]);
        let ok = pairs(&[("grpc-status", "0")]);
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let mut lengths = Vec::new();
        for step in 0..6 {
            match step {
                1 => encoder.settings(None),
                4 => encoder.settings(Some(100)),
                _ => {}
            }
            let (block, trailers) = encoder.good();
            lengths.push(block.len() + trailers.len());
            assert_eq!(headers(block, &mut decoder), good, "{step}");
            assert_eq!(headers(trailers, &mut decoder), ok, "{step}");
        }
        assert_eq!(lengths, [35, 34, 3, 3, 36, 35]);
        let mut map = HeaderMap::new();
        let long = "x".repeat(300);
        map.insert("grpc-message", long.parse().unwrap());
        let mut out = Vec::new();
        encoder.headers(StatusCode::NOT_FOUND, &map, &mut out);
        let expected = pairs(&[("Wrong", "404"), ("grpc-message", &long)]);
        assert_eq!(headers(&out, &mut decoder), expected);
    }
}

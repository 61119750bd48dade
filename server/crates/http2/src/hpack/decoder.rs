//! Decodes header blocks, with a connection's dynamic table.

use std::{collections::VecDeque, rc::Rc};

use bytes::Bytes;
use http::HeaderName;

use super::{FIELD_OVERHEAD, STATIC, TABLE_BYTES, huffman};

/// The error for an invalid block. The connection must end, because the tables of both sides now differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HpackError;

/// One header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderField {
    /// The name as received.
    pub name: Bytes,
    /// The value as received.
    pub value: Bytes,
    pub(crate) known: FieldName,
}

/// The meaning of a field's name in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FieldName {
    Method,
    Scheme,
    Path,
    Authority,
    Header(HeaderName),
    /// A name that a request cannot have.
    Wrong,
}

impl FieldName {
    /// Classifies a field's name. An unknown pseudo-header, or a name that is not a valid lowercase name, is `Wrong`.
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

impl HeaderField {
    /// Returns the size in bytes as HPACK counts it: name, value and 32 bytes.
    pub fn bytes(&self) -> usize {
        self.name.len() + self.value.len() + FIELD_OVERHEAD
    }
}

thread_local! {
    static FIELDS: Rc<[HeaderField]> = STATIC
        .iter()
        .map(|(name, value)| {
            let known = FieldName::new(name.as_bytes());
            HeaderField { name: Bytes::from(*name), value: Bytes::from(*value), known }
        })
        .collect();
}

/// Decodes the header blocks of one connection.
#[derive(Debug)]
pub struct Decoder {
    fields: Rc<[HeaderField]>,
    /// The dynamic table, newest field first.
    table: VecDeque<HeaderField>,
    bytes: usize,
    bytes_max: usize,
    /// Number of changes to the table. At the same generation, equal blocks contain equal fields.
    pub(crate) generation: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            fields: FIELDS.with(Rc::clone),
            table: VecDeque::new(),
            bytes: 0,
            bytes_max: TABLE_BYTES,
            generation: 0,
        }
    }
}

impl Decoder {
    /// Decodes a complete block and calls `each` with every field. Fails if the block is invalid; the connection must then end.
    pub fn decode(
        &mut self,
        block: &[u8],
        mut each: impl FnMut(&HeaderField),
    ) -> Result<(), HpackError> {
        let mut at = Reader(block);
        let mut begun = false;
        while let Some(&first) = at.0.first() {
            match first {
                0x80.. => each(self.get(at.number(7)?)?),
                0x40..0x80 => {
                    let field = self.literal(&mut at, 6)?;
                    each(&field);
                    self.insert(field);
                }
                0x20..0x40 => {
                    let bytes_max = at.number(5)?;
                    if begun || bytes_max > TABLE_BYTES {
                        return Err(HpackError);
                    }
                    self.bytes_max = bytes_max;
                    self.generation += 1;
                    self.evict(bytes_max);
                    continue;
                }
                0..0x20 => each(&self.literal(&mut at, 4)?),
            }
            begun = true;
        }
        Ok(())
    }

    /// Returns the number of fields in the dynamic table and their size in bytes.
    pub fn table_size(&self) -> (usize, usize) {
        (self.table.len(), self.bytes)
    }

    /// Reads a literal field. Its name is a string, or an index with a prefix of `prefix` bits.
    fn literal(&self, at: &mut Reader<'_>, prefix: u32) -> Result<HeaderField, HpackError> {
        let (name, known) = match at.number(prefix)? {
            0 => {
                let text = at.string()?;
                let known = FieldName::new(&text);
                (Bytes::from(text), known)
            }
            index => {
                let field = self.get(index)?;
                (field.name.clone(), field.known.clone())
            }
        };
        let value = Bytes::from(at.string()?);
        Ok(HeaderField { name, value, known })
    }

    /// Returns the field with this index in the static or the dynamic table. The first index is 1. Fails if neither table has
    /// the index.
    fn get(&self, index: usize) -> Result<&HeaderField, HpackError> {
        let at = index.checked_sub(1).ok_or(HpackError)?;
        let field = match at.checked_sub(STATIC.len()) {
            None => self.fields.get(at),
            Some(at) => self.table.get(at),
        };
        field.ok_or(HpackError)
    }

    /// Adds a field to the table and evicts the oldest fields as needed. A field larger than the table empties the table.
    fn insert(&mut self, field: HeaderField) {
        self.generation += 1;
        let bytes = field.bytes();
        self.evict(self.bytes_max.saturating_sub(bytes));
        if bytes <= self.bytes_max {
            self.bytes += bytes;
            self.table.push_front(field);
        }
    }

    /// Evicts the oldest fields until the table has at most `until` bytes.
    fn evict(&mut self, until: usize) {
        while self.bytes > until {
            let Some(oldest) = self.table.pop_back() else {
                return;
            };
            self.bytes -= oldest.bytes();
        }
    }
}

/// The unread part of a block.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// Reads the next byte. Fails at the end of the block.
    fn byte(&mut self) -> Result<u8, HpackError> {
        let (&byte, rest) = self.0.split_first().ok_or(HpackError)?;
        self.0 = rest;
        Ok(byte)
    }

    /// Reads an integer that starts in the low `prefix` bits of the next byte. Fails if it is incomplete or too long.
    fn number(&mut self, prefix: u32) -> Result<usize, HpackError> {
        let full = (1 << prefix) - 1;
        let mut number = usize::from(self.byte()?) & full;
        if number < full {
            return Ok(number);
        }
        // Four times seven bits are more than any valid number needs.
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            number += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(HpackError)
    }

    /// Reads a string, which may be Huffman-coded. Fails if the string is incomplete or its coding is invalid.
    fn string(&mut self) -> Result<Vec<u8>, HpackError> {
        let coded = self.0.first().is_some_and(|byte| byte & 0x80 != 0);
        let length = self.number(7)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(HpackError)?;
        self.0 = rest;
        if !coded {
            return Ok(text.to_vec());
        }
        let mut out = Vec::new();
        huffman::decode(text, &mut out)?;
        Ok(out)
    }
}

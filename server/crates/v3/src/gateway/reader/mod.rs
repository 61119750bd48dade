//! Converts a JSON body to an encoded protobuf message in one pass, with the table of the message's fields. Accepts and refuses
//! the same bodies as Go's `jsonpb` or `protojson`.
//!
//! Reading order: this file (objects and lists) → `token`, `escapes` → `scalar`, `number`, `base64` → `message_writer`.

mod base64;
mod escapes;
mod message_writer;
mod number;
mod scalar;
#[cfg(test)]
mod tests;
mod token;

use std::{borrow::Cow, ops::Range};

use witan_api::v3::shape::{FieldKind, MessageShape};
use witan_gocompat::json::Scanner;

use self::message_writer::MessageWriter;
use super::encoding::{Encoding, NamedField};

/// Protobuf's limit on nested messages, which prost also has. Deeper messages are refused.
pub(crate) const RECURSION_LIMIT: usize = 100;

/// Maximum number of bytes that `jsonpb` scans for one body; when it is exceeded, the body is refused. `jsonpb` scans each
/// level of nesting again, so a deep and large body would block a worker. A body of typical size can nest 20 levels deep.
const SCANNED_BYTES_MAX: usize = 64 << 20;

/// The Go library whose rules and error messages the reader imitates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonDialect {
    /// `jsonpb` on Go's decoder, in etcd 3.4: keeps the last member of each name and then reads the fields in proto order.
    Jsonpb,
    /// `protojson` with unknown fields ignored, in etcd 3.6: one pass up to the first error, reported with line and column.
    Protojson(Encoding),
}

/// A result with the dialect's error message, which the caller replaces if the body is not JSON.
type ReadResult<T> = Result<T, String>;

/// The name of an object's member and the position of its value.
type Member<'a> = (Cow<'a, [u8]>, Range<usize>);

/// Reads the JSON object at the start of `body` and returns the protobuf encoding of a message with this shape. Ignores bytes
/// after the object. For `Jsonpb`, the caller must first check that the body is JSON.
pub(super) fn read(body: &[u8], shape: &MessageShape, dialect: JsonDialect) -> ReadResult<Vec<u8>> {
    // Positions in error messages are relative to the start of the value.
    let mut scanner = Scanner::new(body);
    scanner.peek();
    let body = &body[scanner.at()..];
    let mut reader = Reader {
        dialect,
        body,
        scanner: Scanner::new(body),
        out: MessageWriter::default(),
        left: SCANNED_BYTES_MAX,
    };
    reader.message(shape, 1)?;
    Ok(reader.out.into_bytes())
}

/// The unread part of a body and the message built from it.
struct Reader<'a> {
    dialect: JsonDialect,
    body: &'a [u8],
    scanner: Scanner<'a>,
    out: MessageWriter,
    /// Number of bytes that `jsonpb` may still scan.
    left: usize,
}

impl<'a> Reader<'a> {
    /// Reads an object and appends its fields to the message. `jsonpb` reads `null` as an object without fields. Fails if
    /// `depth` exceeds `RECURSION_LIMIT`.
    fn message(&mut self, shape: &MessageShape, depth: usize) -> ReadResult<()> {
        let too_deep = depth > RECURSION_LIMIT;
        match self.dialect {
            JsonDialect::Jsonpb if too_deep => Err("exceeded max depth".into()),
            JsonDialect::Protojson(_) if too_deep => {
                Err("proto: exceeded max recursion depth".into())
            }
            // `null` is a message without fields.
            JsonDialect::Jsonpb if self.scanner.peek() == Some(b'n') => self.scanner.value(),
            JsonDialect::Jsonpb => self.members_by_field(shape, depth),
            JsonDialect::Protojson(encoding) => {
                let (mut seen, mut oneof) = (Vec::new(), false);
                self.container(b'{', |reader| {
                    reader.member(shape, encoding, (&mut seen, &mut oneof), depth)
                })
            }
        }
    }

    /// Reads an object's fields in proto order, with the fields of oneofs last. Fails if the object is longer than the number
    /// of bytes that may still be scanned.
    fn members_by_field(&mut self, shape: &MessageShape, depth: usize) -> ReadResult<()> {
        let start = self.scanner.at();
        let members = self.members(shape)?;
        let end = self.scanner.at();
        self.spend(&(start..end))?;
        let named = |name: &str| {
            let mut members = members.iter();
            let found = members.find(|(known, _)| &**known == name.as_bytes());
            found.map(|(_, place)| place)
        };
        let of_oneof = |wanted: bool| {
            let fields = shape.fields.iter();
            fields.filter(move |field| field.oneof.is_some() == wanted)
        };
        for field in of_oneof(false).chain(of_oneof(true)) {
            if let Some(place) = named(field.json_name).or_else(|| named(field.name)) {
                self.scanner.seek(place.start);
                if field.list && self.scanner.peek() == Some(b'[') {
                    self.spend(place)?;
                }
                let encoding = Encoding::Base64;
                self.field(NamedField { field, encoding }, depth)?;
            }
        }
        self.scanner.seek(end);
        Ok(())
    }

    /// Reads an object and returns the names of its fields and the positions of their values. Drops all other members, because
    /// an object can have a large number of them.
    fn members(&mut self, shape: &MessageShape) -> ReadResult<Vec<Member<'a>>> {
        let mut members: Vec<Member<'a>> = Vec::new();
        self.container(b'{', |reader| {
            let (name, place) = (reader.name()?.text(), reader.value()?);
            let is_name = |known: &str| known.as_bytes() == &*name;
            let mut fields = shape.fields.iter();
            if fields.any(|field| is_name(field.json_name) || is_name(field.name)) {
                // Of several members with the same name, only the last one is kept.
                members.retain(|(known, _)| *known != name);
                members.push((name, place));
            }
            Ok(())
        })?;
        Ok(members)
    }

    /// Reads the next member of an object. Skips unknown names and `null`. Fails if the field or its oneof is already set.
    /// `seen` contains the numbers of the fields that the object named before, and `oneof` says whether the object's oneof is
    /// set. A message type has at most one oneof.
    fn member(
        &mut self,
        shape: &MessageShape,
        encoding: Encoding,
        (seen, oneof): (&mut Vec<u32>, &mut bool),
        depth: usize,
    ) -> ReadResult<()> {
        let name = self.name()?;
        let Some(named) = encoding.field(shape, &name.text()) else {
            return self.skip();
        };
        let quoted = || String::from_utf8_lossy(name.raw);
        let NamedField { field, .. } = named;
        if seen.contains(&field.number) {
            return Err(self.refused(name.at, &format!("duplicate field {}", quoted())));
        }
        seen.push(field.number);
        if self.scanner.peek() == Some(b'n') {
            return self.skip();
        }
        if let Some(full_name) = field.oneof {
            if *oneof {
                let text = format!(
                    "error parsing {}, oneof {full_name} is already set",
                    quoted()
                );
                return Err(self.refused(name.at, &text));
            }
            *oneof = true;
        }
        self.field(named, depth)
    }

    /// Reads a field's value, or all elements of a list, and appends them to the message. Appends nothing for a list or message
    /// that is `null`.
    fn field(&mut self, named: NamedField<'_>, depth: usize) -> ReadResult<()> {
        let is_container = named.field.list || matches!(named.field.kind, FieldKind::Message(_));
        // `null` is an empty list or an absent message. As a list element, `null` makes etcd 3.4 panic.
        if is_container && self.scanner.peek() == Some(b'n') {
            return self.scanner.value();
        }
        if named.field.list {
            self.container(b'[', |reader| reader.one(named, depth))
        } else {
            self.one(named, depth)
        }
    }

    /// Reads one value of a field, or one element of a list, and appends it to the message.
    fn one(&mut self, named: NamedField<'_>, depth: usize) -> ReadResult<()> {
        let FieldKind::Message(shape) = named.field.kind else {
            return self.scalar(named);
        };
        let start = self.out.begin(named.field.number);
        self.message(shape, depth + 1)?;
        self.out.end(start);
        Ok(())
    }

    /// Reads a container that starts with the byte `open`. Calls `one` for each member or element.
    fn container(
        &mut self,
        open: u8,
        mut one: impl FnMut(&mut Self) -> ReadResult<()>,
    ) -> ReadResult<()> {
        let token = self.token()?;
        if token.raw != [open] {
            return Err(self.not_container(token, open));
        }
        // In ASCII, the code of a closing bracket is two above the code of its opening bracket.
        let close = open + 2;
        if self.scanner.peek() == Some(close) {
            self.scanner.token()?;
            return Ok(());
        }
        loop {
            one(self)?;
            match self.scanner.token()? {
                b',' => {}
                byte if byte == close => return Ok(()),
                _ => return Err("invalid JSON".into()),
            }
        }
    }

    /// Deducts the length of a part of the body from the bytes that may still be scanned. Fails if too few bytes are left.
    fn spend(&mut self, text: &Range<usize>) -> ReadResult<()> {
        let left = self.left.checked_sub(text.len());
        self.left = left.ok_or("exceeded max depth for its length")?;
        Ok(())
    }
}

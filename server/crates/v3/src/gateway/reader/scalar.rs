//! Reads scalar values and builds the errors for values of the wrong type.

use std::borrow::Cow;

use witan_api::v3::shape::{EnumShape, FieldKind, FieldShape};
use witan_gocompat::{json, text::quote};

use super::{
    JsonDialect, ReadResult, Reader,
    base64::{decode_any_base64, decode_standard_base64},
    number,
    token::Token,
};
use crate::gateway::encoding::{Encoding, NamedField};

impl<'a> Reader<'a> {
    /// Reads a scalar value and appends it. `jsonpb` reads `null` as 0 or empty. `protojson` ignores an unknown enum name.
    pub(super) fn scalar(&mut self, named: NamedField<'_>) -> ReadResult<()> {
        let field = named.field;
        let value = match field.kind {
            FieldKind::Bytes | FieldKind::String => {
                let bytes = self.bytes(named)?;
                self.out.bytes(field.number, &bytes);
                return Ok(());
            }
            FieldKind::Bool => Some(self.boolean(field)?),
            FieldKind::Enum(names) if self.scanner.peek() == Some(b'"') => {
                self.enumeration(names)?
            }
            FieldKind::Int64
            | FieldKind::Uint64
            | FieldKind::Uint32
            | FieldKind::Enum(_)
            | FieldKind::Message(_) => Some(self.integer(field)?),
        };
        if let Some(value) = value {
            self.out.number(field.number, value);
        }
        Ok(())
    }

    /// Reads a boolean and returns 0 or 1. `jsonpb` reads `null` as 0.
    fn boolean(&mut self, field: &FieldShape) -> ReadResult<u64> {
        let token = self.token()?;
        match token.raw {
            b"true" => Ok(1),
            b"false" => Ok(0),
            b"null" if self.dialect == JsonDialect::Jsonpb => Ok(0),
            _ => Err(self.mismatch(token, field)),
        }
    }

    /// Reads the name of an enum value and returns its number. For an unknown name, `jsonpb` fails and `protojson` returns
    /// `None`. `jsonpb` compares the name without decoding escapes.
    fn enumeration(&mut self, names: &EnumShape) -> ReadResult<Option<u64>> {
        let token = self.token()?;
        let name = match self.dialect {
            JsonDialect::Jsonpb => Cow::Borrowed(token.inner()),
            JsonDialect::Protojson(_) => token.text(),
        };
        let mut known = names.values.iter();
        let found = known.find(|(known, _)| known.as_bytes() == &*name);
        if found.is_none() && self.dialect == JsonDialect::Jsonpb {
            let (name, of) = (quote(&name), names.name);
            return Err(format!("unknown value {name} for enum {of}"));
        }
        Ok(found.map(|(_, value)| i64::from(*value).cast_unsigned()))
    }

    /// Reads an integer, or the number of an enum value, and returns the bits of a varint. `jsonpb` ignores quotes around plain
    /// digits and reads `null` as 0; `protojson` accepts a whole number in any notation.
    fn integer(&mut self, field: &FieldShape) -> ReadResult<u64> {
        let mut token = self.token()?;
        let value = match self.dialect {
            JsonDialect::Jsonpb => {
                if token.is_string() {
                    json::check(token.inner())?;
                    token.raw = token.inner().trim_ascii();
                }
                match token.raw {
                    b"null" => Some(0),
                    digits => number::plain(field.kind, digits),
                }
            }
            JsonDialect::Protojson(_) if token.is_string() => {
                number::in_text(field.kind, &token.text())
            }
            JsonDialect::Protojson(_) => number::bare(field.kind, token.raw),
        };
        value.ok_or_else(|| self.mismatch(token, field))
    }

    /// Reads text, or bytes in the field's encoding. `jsonpb` also reads `null` as empty, and a list of numbers as bytes.
    fn bytes(
        &mut self,
        NamedField { field, encoding }: NamedField<'_>,
    ) -> ReadResult<Cow<'a, [u8]>> {
        let is_text = matches!(field.kind, FieldKind::String);
        let jsonpb = self.dialect == JsonDialect::Jsonpb;
        if jsonpb && !is_text && self.scanner.peek() == Some(b'[') {
            return self.octets();
        }
        let token = self.token()?;
        if jsonpb && token.raw == b"null" {
            return Ok(Cow::Borrowed(b""));
        }
        if !token.is_string() {
            return Err(self.mismatch(token, field));
        }
        let text = token.text();
        if is_text || encoding == Encoding::Utf8 {
            return Ok(text);
        }
        let bytes = match self.dialect {
            JsonDialect::Jsonpb => decode_standard_base64(&text)
                .map_err(|at| format!("illegal base64 data at input byte {at}")),
            JsonDialect::Protojson(_) => {
                decode_any_base64(&text).ok_or_else(|| self.mismatch(token, field))
            }
        };
        bytes.map(Cow::Owned)
    }

    /// Reads a list of numbers and `null`, which Go accepts as bytes; `null` is 0. Fails if a number does not fit into a byte.
    fn octets(&mut self) -> ReadResult<Cow<'a, [u8]>> {
        let mut octets = Vec::new();
        self.container(b'[', |reader| {
            let raw = reader.token()?.raw;
            let digits = std::str::from_utf8(raw).unwrap_or_default();
            octets.push(match raw {
                b"null" => 0,
                _ => digits
                    .parse()
                    .map_err(|_| go_mismatch(raw, "uint8", true))?,
            });
            Ok(())
        })?;
        Ok(Cow::Owned(octets))
    }

    /// Returns the error for a value that does not match its field's type.
    fn mismatch(&self, token: Token<'_>, field: &FieldShape) -> String {
        let [jsonpb, protojson] = kind_names(field.kind);
        let is_number = !matches!(
            field.kind,
            FieldKind::Bool | FieldKind::String | FieldKind::Bytes
        );
        match self.dialect {
            JsonDialect::Jsonpb => go_mismatch(token.raw, jsonpb, is_number),
            JsonDialect::Protojson(_) => {
                let raw = String::from_utf8_lossy(token.raw);
                let text = format!(
                    "invalid value for {protojson} field {}: {raw}",
                    field.json_name
                );
                self.refused(token.at, &text)
            }
        }
    }

    /// Returns the error for a value where the message requires a container that starts with the byte `open`.
    pub(super) fn not_container(&self, token: Token<'_>, open: u8) -> String {
        match self.dialect {
            JsonDialect::Jsonpb => {
                let name = if open == b'{' {
                    "map[string]json.RawMessage"
                } else {
                    "[]json.RawMessage"
                };
                go_mismatch(token.raw, name, false)
            }
            JsonDialect::Protojson(_) => {
                let raw = String::from_utf8_lossy(token.raw);
                self.syntax(token.at, &format!("unexpected token {raw}"))
            }
        }
    }
}

/// Returns `jsonpb`'s error for a value of the wrong type. `name` is the expected type. The error quotes a number only if a
/// number was expected.
fn go_mismatch(raw: &[u8], name: &str, number_was_expected: bool) -> String {
    let what = match raw[0] {
        b'{' => "object".into(),
        b'[' => "array".into(),
        b'"' => "string".into(),
        b't' | b'f' => "bool".into(),
        _ if number_was_expected => format!("number {}", String::from_utf8_lossy(raw)),
        _ => "number".to_owned(),
    };
    format!("json: cannot unmarshal {what} into Go value of type {name}")
}

/// Returns the names of a kind in the errors of `jsonpb` and `protojson`, in this order.
fn kind_names(kind: FieldKind) -> [&'static str; 2] {
    match kind {
        FieldKind::Bool => ["bool", "bool"],
        FieldKind::Int64 => ["int64", "int64"],
        FieldKind::Uint64 => ["uint64", "uint64"],
        FieldKind::Uint32 => ["uint32", "uint32"],
        FieldKind::String => ["string", "string"],
        FieldKind::Bytes => ["[]uint8", "bytes"],
        FieldKind::Enum(names) => [names.name, "enum"],
        FieldKind::Message(_) => ["message", "message"],
    }
}

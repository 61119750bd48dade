//! Reads bodies as etcd 3.6 does (Go's `protojson`, unknown fields ignored): one pass that stops at
//! the first error, reported with line and column.
//!
//! Text that is not JSON gets another error, which the caller builds.

use std::borrow::Cow;

use witan_api::v3::shape::{FieldKind, MessageShape};
use witan_gocompat::{json::Scanner, text::quote};

use super::{
    encoding::{Encoding, NamedField},
    number,
    text::{self, Base64Variant, MESSAGE_DEPTH_MAX, MessageWriter},
};

/// Why there is no message.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The text is no JSON.
    NotJson,
    /// It is JSON, but does not fit the message.
    Refused(String),
}

impl From<String> for ReadError {
    /// Drops the scanner's text: the caller builds the error of text that is not JSON.
    fn from(_: String) -> Self {
        Self::NotJson
    }
}

type ReadResult<T> = Result<T, ReadError>;

/// Reads the JSON object that `body` begins with as a message of this shape; returns the message's
/// protobuf encoding.
pub(super) fn read(body: &[u8], shape: &MessageShape, encoding: Encoding) -> ReadResult<Vec<u8>> {
    let mut reader = ProtojsonReader { scanner: Scanner::new(body), body, encoding };
    // positions are counted from the beginning of the value
    reader.scanner.peek();
    reader.body = &body[reader.scanner.at()..];
    reader.scanner = Scanner::new(reader.body);
    let mut out = MessageWriter::default();
    reader.message(shape, &mut out, 1)?;
    Ok(out.into_bytes())
}

struct ProtojsonReader<'a> {
    scanner: Scanner<'a>,
    body: &'a [u8],
    encoding: Encoding,
}

/// A scalar value, or the byte that opens a container.
struct Token<'a> {
    at: usize,
    raw: &'a [u8],
}

impl<'a> ProtojsonReader<'a> {
    /// Reads an object of this shape and appends its fields to `out`; an error beyond the depth
    /// `MESSAGE_DEPTH_MAX`.
    fn message(
        &mut self,
        shape: &MessageShape,
        out: &mut MessageWriter,
        depth: usize,
    ) -> ReadResult<()> {
        if depth > MESSAGE_DEPTH_MAX {
            return Err(ReadError::Refused(
                "proto: exceeded max recursion depth".into(),
            ));
        }
        self.open(b'{')?;
        let mut seen = 0_u64;
        let mut oneof = None;
        if self.closes(b'}')? {
            return Ok(());
        }
        loop {
            self.member(shape, out, (&mut seen, &mut oneof), depth)?;
            match self.scanner.token()? {
                b'}' => return Ok(()),
                b',' => {}
                _ => return Err(ReadError::NotJson),
            }
        }
    }

    /// Reads one member of an object. Unknown names and `null` are skipped; a second value of a field
    /// or of a oneof is an error.
    fn member(
        &mut self,
        shape: &MessageShape,
        out: &mut MessageWriter,
        (seen, oneof): (&mut u64, &mut Option<&'static str>),
        depth: usize,
    ) -> ReadResult<()> {
        self.scanner.peek();
        let at = self.scanner.at();
        self.scanner.key()?;
        let raw = self.scanner.since(at);
        let name = self.content(&Token { at, raw })?;
        self.scanner.colon()?;
        let Some(named) = self.encoding.field(shape, &name) else {
            return self.skip();
        };
        let NamedField { index, field, .. } = named;
        let told = || String::from_utf8_lossy(raw);
        if *seen & 1 << index != 0 {
            return Err(self.refused(at, &format!("duplicate field {}", told())));
        }
        *seen |= 1 << index;
        if self.scanner.peek() == Some(b'n') {
            return self.skip();
        }
        if field.list {
            return self.list(named, out, depth);
        }
        if let Some(name) = field.oneof {
            if oneof.is_some() {
                let told = format!("error parsing {}, oneof {name} is already set", told());
                return Err(self.refused(at, &told));
            }
            *oneof = Some(name);
        }
        self.one(named, out, depth)
    }

    /// Reads a list and appends each of its elements as a value of the field.
    fn list(
        &mut self,
        named: NamedField<'_>,
        out: &mut MessageWriter,
        depth: usize,
    ) -> ReadResult<()> {
        self.open(b'[')?;
        if self.closes(b']')? {
            return Ok(());
        }
        loop {
            self.one(named, out, depth)?;
            match self.scanner.token()? {
                b']' => return Ok(()),
                b',' => {}
                _ => return Err(ReadError::NotJson),
            }
        }
    }

    /// Reads one value of a field, or one element of a list, and appends it to `out`.
    fn one(
        &mut self,
        named: NamedField<'_>,
        out: &mut MessageWriter,
        depth: usize,
    ) -> ReadResult<()> {
        let FieldKind::Message(shape) = named.field.kind else {
            return self.scalar(named, out);
        };
        let nested = out.begin(named.field.number);
        self.message(shape, out, depth + 1)?;
        out.end(&nested);
        Ok(())
    }

    /// Reads a value that is no message and appends it; an unknown name of an enum counts as absent.
    fn scalar(&mut self, named: NamedField<'_>, out: &mut MessageWriter) -> ReadResult<()> {
        let NamedField { field, encoding, .. } = named;
        let token = self.token()?;
        let quoted = token.raw[0] == b'"';
        let read = match field.kind {
            FieldKind::Bytes if quoted && encoding == Encoding::Base64 => {
                let bytes = bytes(&self.content(&token)?);
                bytes.map(|bytes| out.bytes(field.number, &bytes))
            }
            FieldKind::Bytes | FieldKind::String if quoted => {
                out.bytes(field.number, &self.content(&token)?);
                Some(())
            }
            FieldKind::Enum(names) if quoted => {
                let name = self.content(&token)?;
                let mut known = names.values.iter();
                // an unknown value counts as absent
                if let Some((_, value)) = known.find(|(known, _)| known.as_bytes() == &*name) {
                    out.number(field.number, i64::from(*value).cast_unsigned());
                }
                Some(())
            }
            FieldKind::Bool => {
                let truth = match token.raw {
                    b"true" => Some(1),
                    b"false" => Some(0),
                    _ => None,
                };
                truth.map(|truth| out.number(field.number, truth))
            }
            FieldKind::Int64 | FieldKind::Uint64 | FieldKind::Uint32 | FieldKind::Enum(_) => {
                let value = match quoted {
                    true => number::in_text(field.kind, &self.content(&token)?),
                    false => number::bare(field.kind, token.raw),
                };
                value.map(|value| out.number(field.number, value))
            }
            FieldKind::Bytes | FieldKind::String | FieldKind::Message(_) => None,
        };
        read.ok_or_else(|| {
            let kind = kind_name(field.kind);
            let raw = String::from_utf8_lossy(token.raw);
            let told = format!("invalid value for {kind} field {}: {raw}", field.json_name);
            self.refused(token.at, &told)
        })
    }

    /// Consumes the next scalar, whose strings must be valid, or the byte that opens a container.
    fn token(&mut self) -> ReadResult<Token<'a>> {
        self.scanner.peek();
        let at = self.scanner.at();
        let first = self.scanner.token()?;
        if !matches!(first, b'{' | b'[') {
            self.scanner.scalar(first)?;
        }
        let raw = self.scanner.since(at);
        let token = Token { at, raw };
        if first == b'"' {
            self.content(&token)?;
        }
        Ok(token)
    }

    /// Consumes the byte that opens a container; any other token is a syntax error.
    fn open(&mut self, bracket: u8) -> ReadResult<()> {
        let token = self.token()?;
        if token.raw == [bracket] {
            return Ok(());
        }
        let raw = String::from_utf8_lossy(token.raw);
        Err(self.syntax(token.at, &format!("unexpected token {raw}")))
    }

    /// Whether a container ends here; if so, its closing byte is consumed.
    fn closes(&mut self, bracket: u8) -> ReadResult<bool> {
        let closes = self.scanner.peek() == Some(bracket);
        if closes {
            self.scanner.token()?;
        }
        Ok(closes)
    }

    /// Skips a value; its strings must be valid nevertheless.
    fn skip(&mut self) -> ReadResult<()> {
        let start = self.scanner.at();
        self.scanner.value()?;
        let skipped = self.scanner.since(start);
        if !skipped.contains(&b'\\') && std::str::from_utf8(skipped).is_ok() {
            return Ok(());
        }
        let mut at = 0;
        while let Some(quote) = skipped[at..].iter().position(|byte| *byte == b'"') {
            let mut string = Scanner::new(&skipped[at + quote..]);
            string.key()?;
            let raw = string.since(0);
            self.content(&Token { at: start + at + quote, raw })?;
            at += quote + raw.len();
        }
        Ok(())
    }

    /// Unescapes a string token. As protojson, and unlike encoding/json, it refuses invalid UTF-8 and
    /// unpaired surrogates.
    fn content(&self, token: &Token<'a>) -> ReadResult<Cow<'a, [u8]>> {
        let inner = &token.raw[1..token.raw.len() - 1];
        let mut from = 0;
        while let Some(escape) = inner[from..].iter().position(|byte| *byte == b'\\') {
            self.utf8(token, &inner[from..from + escape])?;
            let at = from + escape;
            from = at + 2;
            if inner[at + 1] != b'u' {
                continue;
            }
            from += 4;
            let first = text::unit(&inner[at + 2..]).unwrap_or_default();
            if !(0xd800..0xe000).contains(&first) {
                continue;
            }
            // Go reads past the string's end here
            let rest = &self.body[token.at + 1 + from..];
            let Some(next) = rest.get(..6) else {
                return Err(ReadError::Refused("proto: unexpected EOF".into()));
            };
            let second = next.strip_prefix(b"\\u").and_then(text::unit);
            let whole = second.is_some_and(|second| {
                char::decode_utf16([first, second])
                    .next()
                    .is_some_and(|letter| letter.is_ok())
            });
            if !whole {
                let told = format!("invalid escape code {} in string", quote(next));
                return Err(self.syntax(token.at, &told));
            }
            from += 6;
        }
        self.utf8(token, &inner[from..])?;
        if from == 0 {
            Ok(Cow::Borrowed(inner))
        } else {
            Ok(text::unescape(inner))
        }
    }

    /// Checks that bytes of a string token are UTF-8; the error contains the token's position.
    fn utf8(&self, token: &Token<'_>, bytes: &[u8]) -> ReadResult<()> {
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.syntax(token.at, "invalid UTF-8 in string")),
        }
    }

    /// Returns protojson's error for JSON at the offset `at` that does not fit the message.
    fn refused(&self, at: usize, told: &str) -> ReadError {
        ReadError::Refused(format!("proto: {}: {told}", self.place(at)))
    }

    /// Returns protojson's syntax error for the text at the offset `at`.
    fn syntax(&self, at: usize, told: &str) -> ReadError {
        ReadError::Refused(format!("proto: syntax error {}: {told}", self.place(at)))
    }

    /// Formats an offset as line and column, which count from 1, columns in characters.
    fn place(&self, at: usize) -> String {
        let before = &self.body[..at];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n');
        let row = &before[start.map_or(0, |newline| newline + 1)..];
        let valid = row.utf8_chunks();
        let letters: usize = valid
            .map(|chunk| chunk.valid().chars().count() + chunk.invalid().len())
            .sum();
        format!("(line {line}:{})", letters + 1)
    }
}

/// Returns the name of a kind in protojson's error texts.
fn kind_name(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Bool => "bool",
        FieldKind::Int64 => "int64",
        FieldKind::Uint64 => "uint64",
        FieldKind::Uint32 => "uint32",
        FieldKind::String => "string",
        FieldKind::Bytes => "bytes",
        FieldKind::Enum(_) => "enum",
        FieldKind::Message(_) => "message",
    }
}

/// Decodes base64 in either alphabet, padded or not; `None` if it is invalid.
fn bytes(text: &[u8]) -> Option<Vec<u8>> {
    let form = Base64Variant {
        url: text.iter().any(|letter| matches!(letter, b'-' | b'_')),
        padded: text.len().is_multiple_of(4),
    };
    form.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use witan_api::v3::{
        etcdserverpb::{PutRequest, RangeRequest, TxnRequest},
        shape::Shaped,
    };

    use super::*;

    fn told<M: Shaped>(body: &str) -> String {
        match read(body.as_bytes(), M::SHAPE, Encoding::Base64) {
            Err(ReadError::Refused(told)) => told,
            other => panic!("{body}: {other:?}"),
        }
    }

    fn range(body: &str) -> RangeRequest {
        let bytes = read(body.as_bytes(), RangeRequest::SHAPE, Encoding::Base64).expect(body);
        RangeRequest::decode(bytes.as_slice()).unwrap()
    }

    #[test]
    fn errors_have_the_observed_texts() {
        for (body, expect) in [
            (
                r#"{"key":"!!!!"}"#,
                r#"(line 1:8): invalid value for bytes field key: "!!!!""#,
            ),
            (
                r#"{"limit":[]}"#,
                "(line 1:10): invalid value for int64 field limit: [",
            ),
            (
                "\n {\"limit\":\n\n  true}",
                "(line 3:3): invalid value for int64 field limit: true",
            ),
            (
                r#"{"sort_order":true}"#,
                "(line 1:15): invalid value for enum field sortOrder: true",
            ),
            (
                r#"{"key":"YQ==","key":"YQ=="}"#,
                r#"(line 1:15): duplicate field "key""#,
            ),
            (
                r#"{"ä€😀":1,"limit":"ä"}"#,
                r#"(line 1:18): invalid value for int64 field limit: "ä""#,
            ),
        ] {
            assert_eq!(
                told::<RangeRequest>(body),
                format!("proto: {expect}"),
                "{body}"
            );
        }
        for (body, expect) in [
            ("[]", "(line 1:1): unexpected token ["),
            (r#""x""#, r#"(line 1:1): unexpected token "x""#),
            (
                "{\"x\":\"\\ud800\\u0041\"}",
                r#"(line 1:6): invalid escape code "\\u0041" in string"#,
            ),
        ] {
            let told = told::<RangeRequest>(body);
            assert_eq!(told, format!("proto: syntax error {expect}"), "{body}");
        }
        let twice = r#"{"success":[{"request_put":{},"request_range":{}}]}"#;
        assert_eq!(
            told::<TxnRequest>(twice),
            "proto: (line 1:31): error parsing \"request_range\", oneof etcdserverpb.RequestOp.request is already set"
        );
        assert_eq!(
            told::<PutRequest>(r#"{"x":"\ud800"}"#),
            "proto: unexpected EOF"
        );
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let body =
            r#"{"a":{"b":["\n",1e999]},"sort_order":"UP","rangeEnd":"_-8","sort_target":"MOD"} x"#;
        let range = range(body);
        assert_eq!((range.sort_order, range.sort_target), (0, 3));
        assert_eq!(range.range_end[..], [0xff, 0xef]);
    }

    #[test]
    fn invalid_json_is_refused() {
        for body in [
            r#"{"limit":1]"key":"YQ=="}"#,
            r#"{"limit":1"#,
            r#"{"limit" 1}"#,
            r#"{"limit":1,}"#,
            r#"{"x":[1}}"#,
            "{\"key\":\"\n\"}",
        ] {
            let read = read(body.as_bytes(), RangeRequest::SHAPE, Encoding::Base64);
            assert!(matches!(read, Err(ReadError::NotJson)), "{body}: {read:?}");
        }
        let read = read(br#"{"success":[{}}]}"#, TxnRequest::SHAPE, Encoding::Base64);
        assert!(matches!(read, Err(ReadError::NotJson)), "{read:?}");
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |depth: usize| {
            let open = r#"{"success":[{"request_txn":"#.repeat(depth);
            format!("{open}{{}}{}", "}]}".repeat(depth))
        };
        let bytes = read(nested(49).as_bytes(), TxnRequest::SHAPE, Encoding::Base64).unwrap();
        assert!(TxnRequest::decode(bytes.as_slice()).is_ok());
        assert_eq!(
            told::<TxnRequest>(&nested(50)),
            "proto: exceeded max recursion depth"
        );
    }
}

//! Reads bodies as etcd 3.4 does (`jsonpb` on top of Go's decoder): an object is read completely,
//! the last member of a name counts, then its fields are read in the order of the proto.
//!
//! The text is known to be JSON.

use std::borrow::Cow;

use witan_api::v3::shape::{EnumShape, FieldKind, FieldShape, MessageShape};
use witan_gocompat::{
    json::{self, Scanner},
    text::quote,
};

use super::text::{self, Base64Variant, MESSAGE_DEPTH_MAX, MessageWriter};

/// Bound on scanned bytes per body: each level of nesting is scanned again, so deep and large
/// bodies would block a worker. A request of usual size may nest 20 deep.
const SCANNED_BYTES_MAX: usize = 64 << 20;

/// A result with 3.4's error text.
type ReadResult<T> = Result<T, String>;

/// Reads the JSON object that `body` begins with as a message of this shape; returns the message's
/// protobuf encoding.
pub(super) fn read(body: &[u8], shape: &MessageShape) -> ReadResult<Vec<u8>> {
    let mut scanner = Scanner::new(body);
    let value = value(&mut scanner)?;
    let mut reader = JsonpbReader { out: MessageWriter::default(), left: SCANNED_BYTES_MAX };
    reader.message(value, shape, 1)?;
    Ok(reader.out.into_bytes())
}

/// Consumes the next value and returns its text, without the space before it.
fn value<'a>(scanner: &mut Scanner<'a>) -> ReadResult<&'a [u8]> {
    scanner.peek();
    let at = scanner.at();
    scanner.value()?;
    Ok(scanner.since(at))
}

/// A message that is being built.
struct JsonpbReader {
    out: MessageWriter,
    /// Bytes that may still be scanned.
    left: usize,
}

impl JsonpbReader {
    /// Deducts the length of a text from the bytes that may still be scanned; an error if too few are
    /// left.
    fn spend(&mut self, raw: &[u8]) -> ReadResult<()> {
        let left = self.left.checked_sub(raw.len());
        self.left = left.ok_or("exceeded max depth for its length")?;
        Ok(())
    }

    /// Reads an object of this shape; `null` is a message without fields. Fields of a oneof come after
    /// all others.
    fn message(&mut self, raw: &[u8], shape: &MessageShape, depth: usize) -> ReadResult<()> {
        if depth > MESSAGE_DEPTH_MAX {
            return Err("exceeded max depth".into());
        }
        if raw == b"null" {
            return Ok(());
        }
        if raw[0] != b'{' {
            return Err(mismatch(raw, "map[string]json.RawMessage"));
        }
        self.spend(raw)?;
        let members = members(raw)?;
        let named = |name: &str| {
            let mut from_the_last = members.iter().rev();
            from_the_last
                .find(|(known, _)| &**known == name.as_bytes())
                .map(|(_, raw)| *raw)
        };
        let of_oneof = |wanted: bool| {
            let fields = shape.fields.iter();
            fields.filter(move |field| field.oneof.is_some() == wanted)
        };
        for field in of_oneof(false).chain(of_oneof(true)) {
            if let Some(raw) = named(field.json_name).or_else(|| named(field.name)) {
                self.field(raw, field, depth)?;
            }
        }
        Ok(())
    }

    /// Reads the value of a field, each element if it is a list; `null` is an empty list.
    fn field(&mut self, raw: &[u8], field: &FieldShape, depth: usize) -> ReadResult<()> {
        if !field.list {
            return self.one(raw, field, depth);
        }
        match raw[0] {
            b'n' => Ok(()),
            b'[' => {
                self.spend(raw)?;
                let mut items = items(raw)?.into_iter();
                items.try_for_each(|item| self.one(item, field, depth))
            }
            _ => Err(mismatch(raw, "[]json.RawMessage")),
        }
    }

    /// Reads one value of a field, or one element of a list, and appends it to the message.
    fn one(&mut self, raw: &[u8], field: &FieldShape, depth: usize) -> ReadResult<()> {
        let number = field.number;
        let out = &mut self.out;
        match field.kind {
            // `null` differs from an empty message, except in a list, where 3.4 would panic
            FieldKind::Message(_) if raw == b"null" && !field.list => {}
            FieldKind::Message(shape) => {
                let nested = out.begin(number);
                self.message(raw, shape, depth + 1)?;
                self.out.end(&nested);
            }
            FieldKind::Bool => match raw {
                b"true" => out.number(number, 1),
                b"false" | b"null" => out.number(number, 0),
                _ => return Err(mismatch(raw, "bool")),
            },
            FieldKind::String => match raw[0] {
                b'"' => out.bytes(number, &text::unescape(&raw[1..raw.len() - 1])),
                b'n' => out.bytes(number, b""),
                _ => return Err(mismatch(raw, "string")),
            },
            FieldKind::Bytes => out.bytes(number, &bytes(raw)?),
            FieldKind::Enum(names) => out.number(number, enumeration(raw, names)?),
            FieldKind::Int64 | FieldKind::Uint64 | FieldKind::Uint32 => {
                // the quotes are ignored
                let bare = raw
                    .strip_prefix(b"\"")
                    .and_then(|raw| raw.strip_suffix(b"\""));
                let bare = bare.unwrap_or(raw);
                json::check(bare)?;
                out.number(number, integer(bare.trim_ascii(), field.kind)?);
            }
        }
        Ok(())
    }
}

/// A name and the text of its value.
type ObjectMember<'a> = (Cow<'a, [u8]>, &'a [u8]);

/// Splits an object into its members in their order; values stay unread text.
fn members(raw: &[u8]) -> ReadResult<Vec<ObjectMember<'_>>> {
    let mut members = Vec::new();
    let mut scanner = Scanner::new(raw);
    scanner.token()?;
    if scanner.peek() == Some(b'}') {
        return Ok(members);
    }
    loop {
        scanner.peek();
        let at = scanner.at();
        scanner.key()?;
        let name = scanner.since(at);
        scanner.colon()?;
        members.push((
            text::unescape(&name[1..name.len() - 1]),
            value(&mut scanner)?,
        ));
        if scanner.token()? == b'}' {
            return Ok(members);
        }
    }
}

/// Splits a list into the texts of its elements.
fn items(raw: &[u8]) -> ReadResult<Vec<&[u8]>> {
    let mut items = Vec::new();
    let mut scanner = Scanner::new(raw);
    scanner.token()?;
    if scanner.peek() == Some(b']') {
        return Ok(items);
    }
    loop {
        items.push(value(&mut scanner)?);
        if scanner.token()? == b']' {
            return Ok(items);
        }
    }
}

/// Reads bytes from base64 or, as Go does, from a list of numbers; `null` is empty.
fn bytes(raw: &[u8]) -> ReadResult<Cow<'_, [u8]>> {
    match raw[0] {
        b'"' => {
            let form = Base64Variant { url: false, padded: true };
            let bytes = form.decode(&text::unescape(&raw[1..raw.len() - 1]));
            bytes
                .map(Cow::Owned)
                .map_err(|at| format!("illegal base64 data at input byte {at}"))
        }
        b'n' => Ok(Cow::Borrowed(b"")),
        // Go accepts a list of numbers as bytes
        b'[' => items(raw)?
            .into_iter()
            .map(|item| match item {
                b"null" => Ok(0),
                _ => std::str::from_utf8(item)
                    .ok()
                    .and_then(|digits| digits.parse().ok())
                    .ok_or_else(|| mismatch_of_number(item, "uint8")),
            })
            .collect::<ReadResult<Vec<u8>>>()
            .map(Cow::Owned),
        _ => Err(mismatch(raw, "[]uint8")),
    }
}

/// Reads the value of an enum by name or as an integer of 32 bits; `null` is 0.
fn enumeration(raw: &[u8], names: &EnumShape) -> ReadResult<u64> {
    if raw[0] == b'"' {
        let name = &raw[1..raw.len() - 1];
        let mut known = names.values.iter();
        return match known.find(|(known, _)| known.as_bytes() == name) {
            Some((_, value)) => Ok(i64::from(*value).cast_unsigned()),
            None => Err(format!(
                "unknown value {} for enum {}",
                quote(name),
                names.name
            )),
        };
    }
    if raw == b"null" {
        return Ok(0);
    }
    let digits = std::str::from_utf8(raw).ok();
    let number = digits.and_then(|digits| digits.parse::<i32>().ok());
    number
        .map(|number| i64::from(number).cast_unsigned())
        .ok_or_else(|| mismatch_of_number(raw, names.name))
}

/// Parses an integer that is in range of its kind, as the bits of a varint; `null` is 0.
fn integer(raw: &[u8], kind: FieldKind) -> ReadResult<u64> {
    if raw == b"null" {
        return Ok(0);
    }
    let digits = std::str::from_utf8(raw).unwrap_or_default();
    let (value, name) = match kind {
        FieldKind::Uint64 => (digits.parse().ok(), "uint64"),
        FieldKind::Uint32 => (digits.parse::<u32>().ok().map(u64::from), "uint32"),
        FieldKind::Int64
        | FieldKind::Bool
        | FieldKind::String
        | FieldKind::Bytes
        | FieldKind::Enum(_)
        | FieldKind::Message(_) => {
            let value = digits.parse::<i64>().ok();
            (value.map(i64::cast_unsigned), "int64")
        }
    };
    value.ok_or_else(|| mismatch_of_number(raw, name))
}

/// Returns Go's error text for a value of the wrong type, where `name` is the type that was expected.
fn mismatch(raw: &[u8], name: &str) -> String {
    let what = match raw[0] {
        b'{' => "object",
        b'[' => "array",
        b'"' => "string",
        b't' | b'f' => "bool",
        _ => "number",
    };
    format!("json: cannot unmarshal {what} into Go value of type {name}")
}

/// Returns Go's error text for a value that the number type `name` cannot hold; it shows the value if
/// that is a number.
fn mismatch_of_number(raw: &[u8], name: &str) -> String {
    if matches!(raw[0], b'-' | b'0'..=b'9') {
        let number = String::from_utf8_lossy(raw);
        format!("json: cannot unmarshal number {number} into Go value of type {name}")
    } else {
        mismatch(raw, name)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use witan_api::v3::{
        etcdserverpb::{RangeRequest, TxnRequest},
        shape::Shaped,
    };

    use super::*;

    fn told<M: Shaped>(body: &str) -> String {
        read(body.as_bytes(), M::SHAPE).expect_err(body)
    }

    fn range(body: &str) -> RangeRequest {
        let bytes = read(body.as_bytes(), RangeRequest::SHAPE).expect(body);
        RangeRequest::decode(bytes.as_slice()).unwrap()
    }

    #[test]
    fn errors_have_the_observed_texts() {
        let go = |what: &str, name: &str| {
            format!("json: cannot unmarshal {what} into Go value of type {name}")
        };
        let order = "etcdserverpb.RangeRequest_SortOrder";
        for (body, expect) in [
            (
                r#"{"key":"!!!!"}"#,
                "illegal base64 data at input byte 0".into(),
            ),
            (r#"{"key":1}"#, go("number", "[]uint8")),
            (r#"{"key":[97,"a",300]}"#, go("string", "uint8")),
            (r#"{"key":[300]}"#, go("number 300", "uint8")),
            (
                r#"{"limit":"x"}"#,
                "invalid character 'x' looking for beginning of value".into(),
            ),
            (r#"{"limit":""}"#, "unexpected end of JSON input".into()),
            (r#"{"limit":1.5}"#, go("number 1.5", "int64")),
            (r#"{"limit":{}}"#, go("object", "int64")),
            (
                r#"{"sort_order":"UP"}"#,
                format!("unknown value \"UP\" for enum {order}"),
            ),
            (r#"{"sort_order":true}"#, go("bool", order)),
            (r#"{"keys_only":1}"#, go("number", "bool")),
            ("[]", go("array", "map[string]json.RawMessage")),
            // fields are in the order of the proto
            (r#"{"limit":[],"key":1}"#, go("number", "[]uint8")),
        ] {
            assert_eq!(told::<RangeRequest>(body), expect, "{body}");
        }
        assert_eq!(
            told::<TxnRequest>(r#"{"compare":5}"#),
            go("number", "[]json.RawMessage")
        );
    }

    #[test]
    fn go_takes_what_it_can() {
        let body = r#"{"key":"YQ==","key":[98,99],"limit":" 7","sort_order":1,"rangeEnd":"Yg==","range_end":"Yw=="}"#;
        let range = range(body);
        assert_eq!(range.key, "bc");
        assert_eq!((range.limit, range.sort_order), (7, 1));
        assert_eq!(range.range_end, "b");
    }

    #[test]
    fn scanning_deep_and_large_bodies_is_bounded() {
        let large = "x".repeat(2 << 20);
        let nested = |depth: usize| {
            let open = r#"{"success":[{"request_txn":"#.repeat(depth);
            format!("{open}{{\"x\":\"{large}\"}}{}", "}]}".repeat(depth))
        };
        assert!(read(nested(5).as_bytes(), TxnRequest::SHAPE).is_ok());
        assert_eq!(
            told::<TxnRequest>(&nested(40)),
            "exceeded max depth for its length"
        );
    }
}

//! Rewrites the JSON of a response for `encoding=utf8`: base64 becomes a plain string if the bytes are UTF-8. Copies the text,
//! because parsed JSON takes about ten times the memory of short pairs.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use witan_api::v3::shape::{FieldKind, MessageShape};
use witan_gocompat::json::Scanner;

use super::encoding::SUFFIX;

/// Appends the JSON of a message with plain strings. `json` is the JSON of the message with base64, without white space.
pub(super) fn write(json: &[u8], shape: &MessageShape, out: &mut Vec<u8>) -> Result<(), String> {
    let scanner = Scanner::new(json);
    PlainWriter { scanner, out }.message(shape)
}

/// The rest of a message's JSON and the text written so far.
struct PlainWriter<'a> {
    scanner: Scanner<'a>,
    out: &'a mut Vec<u8>,
}

impl PlainWriter<'_> {
    fn message(&mut self, shape: &MessageShape) -> Result<(), String> {
        self.container(|writer| writer.member(shape))
    }

    /// Copies the brackets and commas of an object or array. Calls `one` for each member or element.
    fn container(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let open = self.scanner.token()?;
        self.out.push(open);
        // In ASCII, a closing bracket is two after its opening bracket.
        let close = open + 2;
        if self.scanner.peek() != Some(close) {
            one(self)?;
        }
        loop {
            let byte = self.scanner.token()?;
            self.out.push(byte);
            if byte == close {
                return Ok(());
            }
            one(self)?;
        }
    }

    /// Copies a member of a message. Converts it if it contains bytes.
    fn member(&mut self, shape: &MessageShape) -> Result<(), String> {
        let start = self.scanner.at();
        self.scanner.key()?;
        let quoted = self.scanner.since(start);
        self.scanner.colon()?;
        let name = &quoted[1..quoted.len() - 1];
        let mut fields = shape.fields.iter();
        let field = fields.find(|field| field.name.as_bytes() == name);
        if let Some(FieldKind::Message(inner)) = field.map(|field| field.kind) {
            self.name(name, "");
            return match self.scanner.peek() {
                Some(b'[') => self.container(|writer| writer.message(inner)),
                Some(_) | None => self.message(inner),
            };
        }
        let start = self.scanner.at();
        self.scanner.value()?;
        let value = self.scanner.since(start);
        if !field.is_some_and(|field| matches!(field.kind, FieldKind::Bytes)) {
            self.name(name, "");
            self.out.extend_from_slice(value);
        } else if let Some(text) = plain(value) {
            self.name(name, "");
            self.out.extend_from_slice(&text);
        } else {
            self.name(name, SUFFIX);
            self.out.extend_from_slice(value);
        }
        Ok(())
    }

    fn name(&mut self, name: &[u8], suffix: &str) {
        self.out.push(b'"');
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(suffix.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

/// Converts a base64 string, or a list of them, to plain strings. Returns `None` if any bytes are not UTF-8.
fn plain(value: &[u8]) -> Option<Vec<u8>> {
    if value.starts_with(b"[") {
        let items: Vec<&str> = serde_json::from_slice(value).ok()?;
        let items: Option<Vec<String>> = items.into_iter().map(decode_text).collect();
        serde_json::to_vec(&items?).ok()
    } else {
        let item: &str = serde_json::from_slice(value).ok()?;
        serde_json::to_vec(&decode_text(item)?).ok()
    }
}

/// Decodes base64 into text. Returns `None` if the bytes are not UTF-8.
fn decode_text(base64: &str) -> Option<String> {
    let bytes = STANDARD.decode(base64).ok()?;
    String::from_utf8(bytes).ok()
}

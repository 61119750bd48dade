//! Reads tokens, validates strings as `protojson` does, and computes the positions in error messages.

use std::{borrow::Cow, ops::Range};

use witan_gocompat::{json::Scanner, text::quote};

use super::{JsonDialect, ReadResult, Reader, escapes};

/// A scalar, a member's name, or the byte that opens a container, with its offset.
#[derive(Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) at: usize,
    pub(super) raw: &'a [u8],
}

impl<'a> Token<'a> {
    pub(super) fn is_string(self) -> bool {
        self.raw[0] == b'"'
    }

    /// Returns a string's text between the quotes, with its escapes.
    pub(super) fn inner(self) -> &'a [u8] {
        &self.raw[1..self.raw.len() - 1]
    }

    /// Returns a string's text between the quotes, unescaped.
    pub(super) fn text(self) -> Cow<'a, [u8]> {
        escapes::unescape(self.inner())
    }
}

impl<'a> Reader<'a> {
    /// Consumes the next scalar, or the byte that opens a container. Validates a string.
    pub(super) fn token(&mut self) -> ReadResult<Token<'a>> {
        self.scanner.peek();
        let at = self.scanner.at();
        let first = self.scanner.token()?;
        if !matches!(first, b'{' | b'[') {
            self.scanner.scalar(first)?;
        }
        let token = Token { at, raw: self.scanner.since(at) };
        if token.is_string() {
            self.check_string(token)?;
        }
        Ok(token)
    }

    /// Consumes a member's name and the colon after it. Validates the name.
    pub(super) fn name(&mut self) -> ReadResult<Token<'a>> {
        self.scanner.peek();
        let at = self.scanner.at();
        self.scanner.key()?;
        let token = Token { at, raw: self.scanner.since(at) };
        self.check_string(token)?;
        self.scanner.colon()?;
        Ok(token)
    }

    /// Consumes a value without decoding it and returns its position.
    pub(super) fn value(&mut self) -> ReadResult<Range<usize>> {
        self.scanner.peek();
        let start = self.scanner.at();
        self.scanner.value()?;
        Ok(start..self.scanner.at())
    }

    /// Skips a value but validates its strings.
    pub(super) fn skip(&mut self) -> ReadResult<()> {
        let Range { start, end } = self.value()?;
        let skipped = &self.body[start..end];
        let mut at = 0;
        while let Some(quote) = skipped[at..].iter().position(|byte| *byte == b'"') {
            let mut string = Scanner::new(&skipped[at + quote..]);
            string.key()?;
            let raw = string.since(0);
            self.check_string(Token { at: start + at + quote, raw })?;
            at += quote + raw.len();
        }
        Ok(())
    }

    /// Validates a string. Unlike `jsonpb`, `protojson` rejects invalid UTF-8 and unpaired surrogates.
    fn check_string(&self, token: Token<'_>) -> ReadResult<()> {
        if self.dialect == JsonDialect::Jsonpb {
            return Ok(());
        }
        let inner = token.inner();
        let mut from = 0;
        while let Some(escape) = inner[from..].iter().position(|byte| *byte == b'\\') {
            self.check_utf8(token, &inner[from..from + escape])?;
            let at = from + escape;
            from = at + 2;
            if inner[at + 1] != b'u' {
                continue;
            }
            from += 4;
            let first = escapes::unit(&inner[at + 2..]).unwrap_or_default();
            if !(0xd800..0xe000).contains(&first) {
                continue;
            }
            // Like Go, read beyond the end of the string.
            let rest = &self.body[token.at + 1 + from..];
            let next = rest.get(..6).ok_or("proto: unexpected EOF")?;
            let second = next.strip_prefix(b"\\u").and_then(escapes::unit);
            let whole = second.is_some_and(|second| {
                char::decode_utf16([first, second])
                    .next()
                    .is_some_and(|letter| letter.is_ok())
            });
            if !whole {
                let text = format!("invalid escape code {} in string", quote(next));
                return Err(self.syntax(token.at, &text));
            }
            from += 6;
        }
        self.check_utf8(token, &inner[from..])
    }

    /// Checks that bytes of a string are UTF-8. The error contains the string's position.
    fn check_utf8(&self, token: Token<'_>, bytes: &[u8]) -> ReadResult<()> {
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.syntax(token.at, "invalid UTF-8 in string")),
        }
    }

    /// Returns `protojson`'s error for valid JSON at offset `at` that does not fit the message.
    pub(super) fn refused(&self, at: usize, text: &str) -> String {
        format!("proto: {}: {text}", self.line_and_column(at))
    }

    /// Returns `protojson`'s syntax error for the text at offset `at`.
    pub(super) fn syntax(&self, at: usize, text: &str) -> String {
        format!("proto: syntax error {}: {text}", self.line_and_column(at))
    }

    /// Formats an offset as line and column, both counted from 1. Columns count characters.
    fn line_and_column(&self, at: usize) -> String {
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

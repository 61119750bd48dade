//! Writes JSON byte for byte like Go's encoder.

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, Serializer};

use crate::text::Sink;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends a JSON string like Go's encoder. Escapes `<`, `>`, `&`, U+2028 and U+2029. Replaces each invalid UTF-8 byte with the
/// escape of U+FFFD.
pub fn push_string(out: &mut dyn Sink, bytes: &[u8]) {
    push_string_of(out, [bytes]);
}

/// Appends pieces as one JSON string. A character must not span two pieces.
pub fn push_string_of<'a>(out: &mut dyn Sink, pieces: impl IntoIterator<Item = &'a [u8]>) {
    out.push(b'"');
    for piece in pieces {
        push_escaped(out, piece);
    }
    out.push(b'"');
}

/// Appends the contents of a JSON string, without its quotes.
fn push_escaped(out: &mut dyn Sink, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        push_escaped_text(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Appends the contents of a JSON string without its quotes, escaped like [`push_string`].
fn push_escaped_text(out: &mut dyn Sink, text: &str) {
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let plain = match byte {
            b'"' | b'\\' | b'<' | b'>' | b'&' | ..0x20 => false,
            // The line separators E2 80 A8 and E2 80 A9 are the only multi-byte characters to escape.
            0xe2 => !matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9])),
            _ => true,
        };
        if plain || at < plain_from {
            continue;
        }
        if plain_from < at {
            out.extend_from_slice(&bytes[plain_from..at]);
        }
        plain_from = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0xe2 => {
                out.extend_from_slice(b"\\u202");
                out.push(HEX[usize::from(bytes[at + 2] & 0xf)]);
                plain_from = at + 3;
            }
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 0xf)]);
            }
        }
    }
    out.extend_from_slice(&bytes[plain_from..]);
}

/// Encodes a value as JSON like Go's encoder, without a final newline. The keys of maps must be strings.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    value
        .serialize(&mut Serializer::with_formatter(&mut out, GoJson))
        .expect("the keys are strings, and writing to memory cannot fail");
    out
}

struct GoJson;

impl Formatter for GoJson {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut out = Vec::with_capacity(fragment.len());
        push_escaped_text(&mut out, fragment);
        writer.write_all(&out)
    }

    fn write_char_escape<W>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        // Go before 1.22 has no short escapes for these two characters.
        if matches!(escape, CharEscape::Backspace) {
            return writer.write_all(b"\\u0008");
        }
        if matches!(escape, CharEscape::FormFeed) {
            return writer.write_all(b"\\u000c");
        }
        CompactFormatter.write_char_escape(writer, escape)
    }

    fn write_f64<W>(&mut self, writer: &mut W, value: f64) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        writer.write_all(float(value).as_bytes())
    }
}

/// Formats a finite float like Go's JSON encoder: with the shortest digits, and without an exponent between 1e-6 and 1e21.
pub fn float(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return format!("{value}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        Some(_) | None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Length;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        push_string(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_string_in_pieces_is_measured_and_written_as_one_string() {
        let pieces: [&[u8]; 4] = [
            b"[<\"\n\x01",
            b" != ",
            b"a\xff\xe2\x80",
            "]\u{2028}\u{fc}".as_bytes(),
        ];
        let (mut text, mut length, mut whole) = (Vec::new(), Length::default(), Vec::new());
        push_string_of(&mut text, pieces);
        push_string_of(&mut length, pieces);
        push_string(&mut whole, &pieces.concat());
        assert_eq!(
            String::from_utf8_lossy(&text),
            String::from_utf8_lossy(&whole)
        );
        assert_eq!(length, Length(text.len()));
    }

    #[test]
    fn strings_are_escaped_as_in_go() {
        let table: &[(&[u8], &str)] = &[
            (b"", r#""""#),
            (b"/html<>&", r#""/html\u003c\u003e\u0026""#),
            (
                "<a>&\"\\\n\t\u{1}\u{7f}\u{2028}".as_bytes(),
                "\"\\u003ca\\u003e\\u0026\\\"\\\\\\n\\t\\u0001\u{7f}\\u2028\"",
            ),
            (b"\xff\xfe\0a", r#""\ufffd\ufffd\u0000a""#),
            (
                "世界\u{2029}\u{2030}\r\u{8}\u{c}".as_bytes(),
                "\"世界\\u2029\u{2030}\\r\\u0008\\u000c\"",
            ),
            (b"\xe4\xbd", r#""\ufffd\ufffd""#),
            (b"\xed\xa0\x80", r#""\ufffd\ufffd\ufffd""#),
            ("\u{fffd}".as_bytes(), "\"\u{fffd}\""),
        ];
        for (bytes, expect) in table {
            assert_eq!(escaped(bytes), *expect);
            if let Ok(text) = std::str::from_utf8(bytes) {
                assert_eq!(String::from_utf8(encode(&text)).unwrap(), *expect);
            }
        }
    }

    #[test]
    fn floats_are_printed_as_in_go() {
        let table = [
            (0.0, "0"),
            (745.0, "745"),
            (0.00009, "0.00009"),
            (0.001_946_800_000_000_000_3, "0.0019468000000000003"),
            (1e-7, "1e-7"),
            (2.5e-9, "2.5e-9"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (9_223_372_036_854_775_808.0, "9223372036854776000"),
            (-1.5, "-1.5"),
        ];
        for (value, expect) in table {
            assert_eq!(float(value), expect);
            assert_eq!(String::from_utf8(encode(&value)).unwrap(), expect);
        }
    }
}

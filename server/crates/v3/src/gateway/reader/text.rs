//! Decodes JSON strings, decodes base64 like Go, and writes protobuf messages.

use std::borrow::Cow;

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prost::encoding::encode_varint;

/// Number of bytes reserved for the length of a nested message. The length is written at the end of the message.
const LENGTH_BYTES: usize = 5;

/// Ignores the unused low bits of the last letter, as Go does.
const LOOSE: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
const PADDED: GeneralPurposeConfig =
    LOOSE.with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
const BARE: GeneralPurposeConfig = LOOSE.with_decode_padding_mode(DecodePaddingMode::RequireNone);
const STANDARD_PADDED: GeneralPurpose = GeneralPurpose::new(&STANDARD, PADDED);
const STANDARD_BARE: GeneralPurpose = GeneralPurpose::new(&STANDARD, BARE);
const URL_PADDED: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, PADDED);
const URL_BARE: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, BARE);

/// Decodes base64 like `protojson`, which accepts both alphabets, with or without padding. Expects padding if the length, with
/// line breaks, is a multiple of four. Returns `None` for invalid base64.
pub(super) fn decode_any_base64(text: &[u8]) -> Option<Vec<u8>> {
    let is_url = text.iter().any(|letter| matches!(letter, b'-' | b'_'));
    let is_padded = text.len().is_multiple_of(4);
    let engine = match (is_url, is_padded) {
        (false, true) => &STANDARD_PADDED,
        (false, false) => &STANDARD_BARE,
        (true, true) => &URL_PADDED,
        (true, false) => &URL_BARE,
    };
    decode_lines(engine, text)
}

/// Decodes base64 like `jsonpb`, which accepts the standard alphabet with padding. Fails with the offset in Go's message.
pub(super) fn decode_standard_base64(text: &[u8]) -> Result<Vec<u8>, usize> {
    decode_lines(&STANDARD_PADDED, text).ok_or_else(|| error_offset(text))
}

/// Decodes base64; `None` for invalid text. Like Go, ignores line breaks.
fn decode_lines(engine: &GeneralPurpose, text: &[u8]) -> Option<Vec<u8>> {
    if let Ok(decoded) = engine.decode(text) {
        return Some(decoded);
    }
    let is_letter = |byte: &u8| !matches!(byte, b'\n' | b'\r');
    let letters: Vec<u8> = text.iter().copied().filter(is_letter).collect();
    engine.decode(letters).ok()
}

/// Returns the offset in Go's error message for invalid base64 in the standard alphabet with padding.
fn error_offset(text: &[u8]) -> usize {
    let mut letters = text
        .iter()
        .enumerate()
        .filter(|(_, letter)| !matches!(letter, b'\n' | b'\r'));
    let mut filled = 0;
    while let Some((at, letter)) = letters.next() {
        match letter {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => filled = (filled + 1) % 4,
            b'=' if filled >= 2 => {
                if filled == 2 {
                    match letters.next() {
                        Some((_, b'=')) => {}
                        // As in Go, the offset refers to the preceding character.
                        Some((second, _)) => return second - 1,
                        None => return text.len(),
                    }
                }
                return letters.next().map_or(text.len(), |(garbage, _)| garbage);
            }
            _ => return at,
        }
    }
    text.len() - filled
}

/// Parses the first four characters as the hexadecimal digits of an escape. Returns `None` if there are fewer or other
/// characters.
pub(super) fn unit(digits: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(digits.get(..4)?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

/// Decodes the escapes in the contents of a JSON string. Unpaired surrogates and invalid UTF-8 become replacement characters.
pub(super) fn unescape(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&b'\\') {
        return match String::from_utf8_lossy(raw) {
            Cow::Borrowed(_) => Cow::Borrowed(raw),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.push_str(&String::from_utf8_lossy(&rest[..at]));
        let code = rest.get(at + 1).copied().unwrap_or(b'\\');
        rest = rest.get(at + 2..).unwrap_or_default();
        match code {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let first = unit(rest).unwrap_or_default();
                rest = rest.get(4..).unwrap_or_default();
                let second = rest.strip_prefix(b"\\u").and_then(unit);
                let pair = second.map(|second| [first, second]);
                match pair.and_then(|pair| char::decode_utf16(pair).next()?.ok()) {
                    // A surrogate pair is one character. An unpaired surrogate becomes a replacement character.
                    Some(letter) if char::from_u32(u32::from(first)).is_none() => {
                        out.push(letter);
                        rest = &rest[6..];
                    }
                    _ => out.push(char::from_u32(u32::from(first)).unwrap_or('\u{fffd}')),
                }
            }
            other => out.push(char::from(other)),
        }
    }
    out.push_str(&String::from_utf8_lossy(rest));
    Cow::Owned(out.into_bytes())
}

#[derive(Debug, Default)]
pub(super) struct MessageWriter(Vec<u8>);

impl MessageWriter {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, value: u64) {
        encode_varint(value, &mut self.0);
    }

    /// Appends a numeric field: a number, a bool or an enum.
    pub(super) fn number(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field) << 3);
        self.varint(value);
    }

    /// Appends a field with bytes or a string.
    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// Starts a nested message and reserves space for its length. Returns the message's offset for [`Self::end`].
    pub(super) fn begin(&mut self, field: u32) -> usize {
        self.varint(u64::from(field) << 3 | 2);
        self.0.extend_from_slice(&[0; LENGTH_BYTES]);
        self.0.len()
    }

    /// Writes the length of the nested message that starts at `start`, padded to the reserved size.
    pub(super) fn end(&mut self, start: usize) {
        let mut length = self.0.len() - start;
        let place = &mut self.0[start - LENGTH_BYTES..start];
        for byte in &mut *place {
            *byte = (length & 0x7f) as u8 | 0x80;
            length >>= 7;
        }
        place[LENGTH_BYTES - 1] &= 0x7f;
    }
}

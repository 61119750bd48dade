//! Decodes base64 like Go: like `protojson` in etcd 3.6, and like `jsonpb` in etcd 3.4.

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

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

/// Decodes base64 like `protojson`, which accepts both alphabets, with or without padding. Expects padding if the length,
/// including line breaks, is a multiple of four. Returns `None` for invalid base64.
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

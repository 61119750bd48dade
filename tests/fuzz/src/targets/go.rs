//! Go's text forms: each written text can be read again.

use std::time::Duration;

use witan_gocompat::{
    json::{encode, float, push_string},
    text::{self, parse_duration, quote},
};

use crate::input::Input;

/// Each form gets the same input. Numbers are its first eight bytes.
pub(super) fn texts(bytes: &[u8]) {
    let mut json = Vec::new();
    push_string(&mut json, bytes);
    assert!(json.len() <= 6 * bytes.len() + 2, "an escape per byte");
    let mut expect = String::new();
    for chunk in bytes.utf8_chunks() {
        expect.push_str(chunk.valid());
        expect.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    let read: String = serde_json::from_slice(&json).expect("a JSON string");
    assert_eq!(read, expect);
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(encode(&text), json, "both encoders agree");
    }
    let quoted = quote(bytes);
    assert!(quoted.len() <= 4 * bytes.len() + 2, "an escape per byte");
    assert!(quoted.is_ascii() || std::str::from_utf8(bytes).is_ok() || !bytes.is_ascii());

    let number = Input::new(bytes).long();
    let value = f64::from_bits(number);
    if value.is_finite() {
        assert_eq!(float(value).parse::<f64>().map(f64::to_bits), Ok(number));
    }
    let signed = number.cast_signed();
    let time = text::time(signed);
    assert!(time.len() <= "2262-04-11T23:47:16.854775807Z".len() && time.ends_with('Z'));
    let printed = text::duration(signed);
    let size = Duration::from_nanos(signed.unsigned_abs());
    let read = parse_duration(printed.trim_start_matches('-'));
    // Only with its sign does the lowest duration fit in an `i64`.
    assert_eq!(read, (signed != i64::MIN).then_some(size), "{printed}");
}

//! Go's textual forms: what is written can be read again.

use std::time::Duration;

use witan::{
    api::fuzz::{go_duration, go_float, go_quote, go_string, go_text, go_time},
    config::fuzz::duration,
};

use crate::input::Input;

/// One input for each form; numbers are its first eight bytes.
pub(super) fn texts(bytes: &[u8]) {
    let json = go_string(bytes);
    assert!(json.len() <= 6 * bytes.len() + 2, "one escape for a byte");
    let mut expect = String::new();
    for chunk in bytes.utf8_chunks() {
        expect.push_str(chunk.valid());
        expect.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    let read: String = serde_json::from_slice(&json).expect("a JSON string");
    assert_eq!(read, expect);
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(go_text(text), json, "both writers agree");
    }
    let quoted = go_quote(bytes);
    assert!(quoted.len() <= 4 * bytes.len() + 2, "one escape for a byte");
    assert!(quoted.is_ascii() || std::str::from_utf8(bytes).is_ok() || !bytes.is_ascii());

    let number = Input::new(bytes).long();
    let float = f64::from_bits(number);
    if float.is_finite() {
        assert_eq!(go_float(float).parse::<f64>().map(f64::to_bits), Ok(number));
    }
    let signed = number.cast_signed();
    let time = go_time(signed);
    assert!(time.len() <= "2262-04-11T23:47:16.854775807Z".len() && time.ends_with('Z'));
    let text = go_duration(signed);
    let size = Duration::from_nanos(signed.unsigned_abs());
    assert_eq!(duration(text.trim_start_matches('-')), Some(size), "{text}");
}

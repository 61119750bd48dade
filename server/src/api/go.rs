//! Go's textual forms, which clients compare by byte: JSON strings and floats, times, durations
//! and quoted strings. Knows nothing of keys or members.

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

const HEX: &[u8; 16] = b"0123456789abcdef";
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Appends a JSON string as Go's encoder writes it: `<`, `>`, `&`, U+2028 and U+2029 are escaped,
/// and each byte that is not part of valid UTF-8 becomes the escape of U+FFFD.
pub(crate) fn push_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    push_escaped(out, bytes);
    out.push(b'"');
}

fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        push_escaped_text(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

fn push_escaped_text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let plain = match byte {
            b'"' | b'\\' | b'<' | b'>' | b'&' | ..0x20 => false,
            // The line separators E2 80 A8 and E2 80 A9 are the only multi-byte escapes.
            0xe2 => !matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9])),
            _ => true,
        };
        if plain || at < plain_from {
            continue;
        }
        out.extend_from_slice(&bytes[plain_from..at]);
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
            _ => push_unicode_escape(out, byte),
        }
    }
    out.extend_from_slice(&bytes[plain_from..]);
}

fn push_unicode_escape(out: &mut Vec<u8>, byte: u8) {
    out.extend_from_slice(b"\\u00");
    out.push(HEX[usize::from(byte >> 4)]);
    out.push(HEX[usize::from(byte & 0xf)]);
}

/// Appends a decimal number.
pub(crate) fn push_number(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    io::Write::write_fmt(out, format_args!("{number}")).expect("writing to memory cannot fail");
}

/// Appends what every error body of the older dialects begins with; the object stays open.
pub(crate) fn push_error_head(out: &mut Vec<u8>, code: u16, message: &str, cause: &[u8]) {
    out.extend_from_slice(b"{\"errorCode\":");
    push_number(out, code);
    out.extend_from_slice(b",\"message\":");
    push_string(out, message.as_bytes());
    if !cause.is_empty() {
        out.extend_from_slice(b",\"cause\":");
        push_string(out, cause);
    }
}

/// A value as JSON in Go's form, without a newline.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    value
        .serialize(&mut Serializer::with_formatter(&mut out, GoJson))
        .expect("the shapes of the api crate have string keys, and memory does not fail");
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
        let byte = match escape {
            CharEscape::Quote => b'"',
            CharEscape::ReverseSolidus => b'\\',
            CharEscape::Solidus => return writer.write_all(b"/"),
            CharEscape::Backspace => 0x08,
            CharEscape::FormFeed => 0x0c,
            CharEscape::LineFeed => b'\n',
            CharEscape::CarriageReturn => b'\r',
            CharEscape::Tab => b'\t',
            CharEscape::AsciiControl(byte) => byte,
        };
        let mut out = Vec::with_capacity(6);
        push_escaped(&mut out, &[byte]);
        writer.write_all(&out)
    }

    fn write_f64<W>(&mut self, writer: &mut W, value: f64) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        writer.write_all(float(value).as_bytes())
    }
}

/// A float as Go's JSON encoder writes it: shortest digits, plain between 1e-6 and 1e21.
pub(crate) fn float(value: f64) -> String {
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

/// A Unix time in nanoseconds as RFC 3339 in UTC, the fraction without trailing zeros.
pub(crate) fn time(unix_ns: i64) -> String {
    const SECONDS_PER_DAY: i64 = 86_400;
    let seconds = unix_ns.div_euclid(NANOS_PER_SECOND);
    let (year, month, day) = civil_date(seconds.div_euclid(SECONDS_PER_DAY));
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    push_fraction(&mut text, unix_ns.rem_euclid(NANOS_PER_SECOND), 9);
    text.push('Z');
    text
}

/// Proleptic Gregorian date of a day counted from 1970-01-01. The year is taken to begin in March,
/// so that the leap day is the last of it.
fn civil_date(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    const DAYS_TO_EPOCH: i64 = 719_468;
    let shifted = days + DAYS_TO_EPOCH;
    let era = shifted.div_euclid(DAYS_PER_ERA);
    let of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

/// A duration as Go prints it: `0s`, `1.5µs`, `812.5ms`, `4m17.1s`, `1h0m0s`.
pub(crate) fn duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    let small = |unit: u64, digits: usize, name: &str| {
        let mut text = format!("{sign}{}", size / unit);
        push_fraction(&mut text, i64::try_from(size % unit).unwrap_or(0), digits);
        text.push_str(name);
        text
    };
    match size {
        0 => return "0s".into(),
        1..1_000 => return small(1, 0, "ns"),
        1_000..1_000_000 => return small(1_000, 3, "µs"),
        1_000_000..1_000_000_000 => return small(1_000_000, 6, "ms"),
        1_000_000_000.. => {}
    }
    let seconds = size / NANOS_PER_SECOND.unsigned_abs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let mut text = String::from(sign);
    if hours > 0 {
        text.push_str(&format!("{hours}h"));
    }
    if hours > 0 || minutes > 0 {
        text.push_str(&format!("{minutes}m"));
    }
    text.push_str(&format!("{}", seconds % 60));
    push_fraction(
        &mut text,
        i64::try_from(size % NANOS_PER_SECOND.unsigned_abs()).unwrap_or(0),
        9,
    );
    text.push('s');
    text
}

fn push_fraction(text: &mut String, fraction: i64, digits: usize) {
    if fraction != 0 {
        let padded = format!("{fraction:0digits$}");
        text.push('.');
        text.push_str(padded.trim_end_matches('0'));
    }
}

/// A string between double quotes as Go's `%q` prints it; bytes that are not UTF-8 become `\xNN`.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{b}' => out.push_str("\\v"),
                '\u{c}' => out.push_str("\\f"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\0'..' ' | '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                '\u{80}'..'\u{a0}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                _ => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        push_string(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_escaped_as_go_does() {
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
                assert_eq!(String::from_utf8(json(&text)).unwrap(), *expect);
            }
        }
    }

    #[test]
    fn floats_are_printed_as_go_does() {
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
            assert_eq!(String::from_utf8(json(&value)).unwrap(), expect);
        }
    }

    #[test]
    fn times_are_printed_as_go_does() {
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (1_795_149_072_160_305_925, "2026-11-20T04:31:12.160305925Z"),
            (2_795_149_074_072_474_000, "2058-07-29T06:17:54.072474Z"),
            (951_782_400_500_000_000, "2000-02-29T00:00:00.5Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
        ];
        for (ns, expect) in table {
            assert_eq!(time(ns), expect);
        }
    }

    #[test]
    fn durations_are_printed_as_go_does() {
        let table = [
            (0, "0s"),
            (12, "12ns"),
            (1_500, "1.5µs"),
            (812_500_000, "812.5ms"),
            (1_814_052_141, "1.814052141s"),
            (257_101_551_412, "4m17.101551412s"),
            (25_825_176_557_500, "7h10m25.1765575s"),
            (3_600_000_000_000, "1h0m0s"),
            (60_000_000_000, "1m0s"),
            (-1_500_000_000, "-1.5s"),
            (1_000_000, "1ms"),
        ];
        for (ns, expect) in table {
            assert_eq!(duration(ns), expect);
        }
    }

    #[test]
    fn quotes_are_printed_as_go_does() {
        assert_eq!(quote(b"%zz"), r#""%zz""#);
        assert_eq!(quote("a\"\\\n\u{7f}é".as_bytes()), r#""a\"\\\n\x7fé""#);
        assert_eq!(quote(b"%\xff"), r#""%\xff""#);
    }
}

//! Prints and parses times, durations, booleans, quoted strings and system errors like Go.

use std::{
    fmt::{self, Write as _},
    io,
    time::Duration,
};

use jiff::Timestamp;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A destination for text: memory, or a byte counter.
pub trait Sink {
    /// Appends bytes.
    fn extend_from_slice(&mut self, bytes: &[u8]);

    /// Appends a byte.
    fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }
}

impl Sink for Vec<u8> {
    fn extend_from_slice(&mut self, bytes: &[u8]) {
        Vec::extend_from_slice(self, bytes);
    }
}

/// A sink that counts bytes without storing them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Length(pub usize);

impl Sink for Length {
    fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// An adapter that writes a formatter's output to a sink.
struct Formatted<'a>(&'a mut dyn Sink);

impl fmt::Write for Formatted<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Appends a decimal number.
pub fn push_number(out: &mut dyn Sink, number: impl fmt::Display) {
    write!(Formatted(out), "{number}").expect("a sink cannot fail");
}

/// Formats Unix nanoseconds as RFC 3339 in UTC. The fraction has no trailing zeros.
pub fn time(unix_ns: i64) -> String {
    let time = Timestamp::from_nanosecond(unix_ns.into());
    time.expect("64 bits of nanoseconds are in range")
        .to_string()
}

/// Parses a time in Go's JSON format (RFC 3339) to Unix nanoseconds. Returns `None` if the time is invalid or out of range.
pub fn parse_time(text: &str) -> Option<i64> {
    // The parser accepts times without seconds, so check the colon before them.
    let has_seconds = text.as_bytes().get(16) == Some(&b':');
    let time: Timestamp = text.parse().ok().filter(|_| has_seconds)?;
    time.as_nanosecond().try_into().ok()
}

/// Formats a duration in nanoseconds like Go: `0s`, `1.5µs`, `812.5ms`, `4m17.1s`, `1h0m0s`.
pub fn duration(nanos: i64) -> String {
    let mut text = String::from(if nanos < 0 { "-" } else { "" });
    let size = nanos.unsigned_abs();
    let (unit_ns, digits, name) = match size {
        0 => return "0s".into(),
        1..1_000 => (1, 0, "ns"),
        1_000..1_000_000 => (1_000, 3, "µs"),
        1_000_000..NANOS_PER_SECOND => (1_000_000, 6, "ms"),
        NANOS_PER_SECOND.. => (NANOS_PER_SECOND, 9, "s"),
    };
    let seconds = size / NANOS_PER_SECOND;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    if hours > 0 {
        text.push_str(&format!("{hours}h"));
    }
    if seconds >= 60 {
        text.push_str(&format!("{minutes}m"));
    }
    let whole = size / unit_ns - seconds / 60 * 60;
    text.push_str(&whole.to_string());
    let fraction = size % unit_ns;
    if fraction != 0 {
        let padded = format!("{fraction:0digits$}");
        text.push('.');
        text.push_str(padded.trim_end_matches('0'));
    }
    text.push_str(name);
    text
}

/// Quotes a string like Go's `%q`. Bytes outside valid UTF-8 become `\xNN`. Of the valid characters, escapes only quotes,
/// backslashes and control characters, while Go also escapes other characters that cannot be printed.
pub fn quote(bytes: &[u8]) -> String {
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

/// Returns Go's message for a missing file or a missing permission, otherwise the system's message.
pub fn io_error(error: &io::Error) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        "no such file or directory".into()
    } else if kind == io::ErrorKind::PermissionDenied {
        "permission denied".into()
    } else {
        error.to_string()
    }
}

/// Formats bytes as Go prints a slice: decimal numbers in brackets, separated by spaces.
pub fn byte_slice(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(u8::to_string).collect();
    format!("[{}]", digits.join(" "))
}

/// Parses a boolean like `strconv.ParseBool`. Returns `None` where Go returns an error.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Parses digits like `strconv.ParseUint`. Returns `None` for an empty string, any other character, or a number out of range.
pub fn parse_uint(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| digits)?;
    text.parse().ok()
}

/// The units of Go's durations in nanoseconds. `ms` precedes `m` and `s`, because the first unit that is a prefix is used.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("h", 3600 * NANOS_PER_SECOND),
];

/// Parses an unsigned duration like `time.ParseDuration`: numbers with optional fractions, each with a unit, or `0`. Returns
/// `None` if the duration is invalid or too large.
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let mut units = UNITS.iter();
        let unit = units.find_map(|(name, ns)| Some((*ns, tail.strip_prefix(name)?)));
        let (unit_ns, tail) = unit?;
        total = total.checked_add(parse_part(number, unit_ns)?)?;
        rest = tail;
    }
    // Go counts nanoseconds in an i64.
    i64::try_from(total.as_nanos()).ok().map(|_| total)
}

/// Converts a decimal number of units to a duration in whole nanoseconds. Returns `None` if the number is invalid or too large.
fn parse_part(number: &str, unit_ns: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut ns = whole.checked_mul(unit_ns)?;
    let mut scale = unit_ns;
    for digit in fraction.chars() {
        scale /= 10;
        ns = ns.checked_add(scale.checked_mul(u64::from(digit.to_digit(10)?))?)?;
    }
    Some(Duration::from_nanos(ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formatted_times_can_be_parsed() {
        for unix_ns in [
            0,
            1,
            951_826_123_456_789_000,
            1_700_000_000_000_000_000,
            4_102_444_799_999_999_999,
        ] {
            assert_eq!(
                parse_time(&time(unix_ns)),
                Some(unix_ns),
                "{}",
                time(unix_ns)
            );
        }
        assert_eq!(
            parse_time("2000-02-29T23:30:00-00:30"),
            Some(951_868_800_000_000_000)
        );
        for bad in [
            "",
            "T",
            "2000-01-01",
            "2000-13-01T00:00:00Z",
            "2001-02-29T00:00:00Z",
            "2000-01-01T00:00Z",
            "2000-01-01T00:00:00+1",
        ] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_are_printed_as_in_go() {
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
    fn durations_are_printed_as_in_go() {
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
    fn quoted_strings_are_printed_as_in_go() {
        assert_eq!(quote(b"%zz"), r#""%zz""#);
        assert_eq!(quote("a\"\\\n\u{7f}é".as_bytes()), r#""a\"\\\n\x7fé""#);
        assert_eq!(quote(b"%\xff"), r#""%\xff""#);
    }

    #[test]
    fn durations_are_parsed_as_in_go() {
        for (text, ms) in [
            ("0", 0),
            ("300ms", 300),
            ("1h0m0s", 3_600_000),
            ("1.5s", 1_500),
            (".5s", 500),
            ("2m30s", 150_000),
            ("1500000us", 1_500),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(ms)),
                "{text}"
            );
        }
        for bad in [
            "",
            "5",
            "s",
            "1x",
            "-1s",
            ".s",
            "1.2.3s",
            "2562048h",
            "9223372036s1s",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn booleans_are_parsed_as_in_go() {
        assert_eq!(
            ["T", "0", "yes"].map(parse_bool),
            [Some(true), Some(false), None]
        );
    }
}

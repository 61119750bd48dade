//! Reads integers. etcd 3.6 accepts a whole number in any notation, bare or in a string.

use witan_api::v3::shape::FieldKind;

use witan_gocompat::json::Scanner;

/// Number of digits of the largest integer; a longer number is invalid.
const LONGEST_INTEGER_DIGITS: usize = 20;

/// Parses plain digits for a field of this kind into the bits of a varint. Returns `None` if the digits are invalid or out of
/// range.
pub(super) fn plain(kind: FieldKind, digits: &[u8]) -> Option<u64> {
    integer(kind, std::str::from_utf8(digits).ok()?)
}

/// Parses a JSON number for a field of this kind into the bits of a varint. Returns `None` if the number is not a whole number
/// or is out of range.
pub(super) fn bare(kind: FieldKind, number: &[u8]) -> Option<u64> {
    integer(kind, &whole(number)?)
}

/// Like [`bare`], but parses the number at the start of a string. Also returns `None` if there is no number.
pub(super) fn in_text(kind: FieldKind, text: &[u8]) -> Option<u64> {
    integer(kind, &leading_integer(text)?)
}

/// Returns, in plain digits, the integer at the start of a string (`1e3` becomes `1000`), or `None` without an integer. As in
/// Go's protojson, the text must not start or end with a space. Text after the number is ignored (`1,x` becomes `1`), unless it
/// starts with a letter, a digit, or one of `-+._`.
fn leading_integer(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    if text.trim().len() != text.len() {
        return None;
    }
    let mut scanner = Scanner::new(text.as_bytes());
    let first = scanner.token().ok()?;
    if !matches!(first, b'-' | b'0'..=b'9') || scanner.scalar(first).is_err() {
        return None;
    }
    let number = scanner.since(0);
    let follows = text.as_bytes().get(number.len());
    let ends = follows.is_none_or(|byte| {
        !matches!(byte, b'-' | b'+' | b'.' | b'_') && !byte.is_ascii_alphanumeric()
    });
    if ends { whole(number) } else { None }
}

/// Returns the sign and the plain digits of a JSON number in any notation. Returns `None` if the number is not a whole number
/// or is too long.
fn whole(number: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(number).ok()?;
    let starts = |byte: u8| byte == b'-' || byte.is_ascii_digit();
    if !text.bytes().next().is_some_and(starts) {
        return None;
    }
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, ""));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let before = before.strip_prefix('0').unwrap_or(before);
    let after = after.trim_end_matches('0');
    if before.is_empty() && after.is_empty() {
        return Some("0".into());
    }
    let exponent: i32 = match exponent {
        "" => 0,
        digits => digits.parse().ok()?,
    };
    let shift = usize::try_from(exponent.unsigned_abs()).ok()?;
    let digits = if exponent >= 0 {
        if after.len() > shift || before.len() + shift > LONGEST_INTEGER_DIGITS {
            return None;
        }
        let zeros = "0".repeat(shift - after.len());
        format!("{before}{after}{zeros}")
    } else {
        let kept = before.len().checked_sub(shift)?;
        let (digits, dropped) = before.split_at(kept);
        if !after.is_empty() || dropped.bytes().any(|digit| digit != b'0') {
            return None;
        }
        digits.to_owned()
    };
    Some(format!("{sign}{digits}"))
}

/// Parses an integer of this kind into the bits of a varint. Returns `None` if the integer is out of range or the kind is not
/// an integer.
fn integer(kind: FieldKind, digits: &str) -> Option<u64> {
    match kind {
        FieldKind::Int64 => digits.parse::<i64>().ok().map(i64::cast_unsigned),
        FieldKind::Uint64 => digits.parse().ok(),
        FieldKind::Uint32 => digits.parse::<u32>().ok().map(u64::from),
        FieldKind::Enum(_) => {
            let number = digits.parse::<i32>().ok()?;
            Some(i64::from(number).cast_unsigned())
        }
        FieldKind::Bool | FieldKind::String | FieldKind::Bytes | FieldKind::Message(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tests/differ/src/v3/oddity.rs` compares the results of all other cases with etcd's but has no unsigned field.
    #[test]
    fn an_unsigned_field_accepts_no_sign() {
        assert_eq!(bare(FieldKind::Uint64, b"1"), Some(1));
        assert_eq!(bare(FieldKind::Uint64, b"-1"), None);
    }
}

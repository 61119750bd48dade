//! What a key and a range end mean together. An empty end is the one key, a single zero byte is
//! everything from the key on, anything else is exclusive.

use bytes::{Bytes, BytesMut};

/// The range end that means "everything from the key on".
pub const FROM_KEY: &[u8] = b"\0";

/// The end of the range that holds every key beginning with `prefix`: the prefix with its last byte
/// below 0xff raised by one, or [`FROM_KEY`] when there is none.
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    let Some(last) = prefix.iter().rposition(|&byte| byte < 0xff) else {
        return Bytes::from_static(FROM_KEY);
    };
    let mut end = BytesMut::from(&prefix[..=last]);
    end[last] += 1;
    end.freeze()
}

/// Whether `candidate` lies in the range.
pub fn contains(key: &[u8], range_end: &[u8], candidate: &[u8]) -> bool {
    match range_end {
        [] => candidate == key,
        [0] => candidate >= key,
        end => candidate >= key && candidate < end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_after_its_last_key() {
        assert_eq!(prefix_end(b"foo"), "fop");
        assert_eq!(prefix_end(b"a\xff\xff"), "b");
        assert_eq!(prefix_end(b"\xff"), FROM_KEY);
        assert_eq!(prefix_end(b""), FROM_KEY);
    }

    #[test]
    fn the_three_forms_of_a_range() {
        assert!(contains(b"a", b"", b"a") && !contains(b"a", b"", b"b"));
        assert!(contains(b"b", b"\0", b"z") && !contains(b"b", b"\0", b"a"));
        assert!(contains(b"a", b"c", b"b") && !contains(b"a", b"c", b"c"));
    }
}

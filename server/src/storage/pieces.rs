//! Reads the records of format 1, which stood in the checkpoint's database in pieces of up to 29 KiB.
//! Pure; no database here. Nothing is written so any more; tests still do.
//!
//! A piece's name is the record's key, escaped so that no key is a prefix of another and the order
//! is kept, and the number of the piece. The first piece begins with a checksum over key and value
//! and with the number of pieces, so a lost, foreign or changed piece shows.
//!
//! A key above 1 KiB (a long v2 path) gives only its beginning to the name, then a digest of the
//! whole; the key itself stands before the value. Such records with the same beginning are
//! neighbors, but in the order of their digests: reading sorts them.

use std::vec;

use witan_replica::machine::record::Corrupt;

/// Checksum and number of pieces.
const HEADER_BYTES: usize = 8;
/// A zero byte in a key is followed by this one.
const ESCAPED: u8 = 0xff;
/// The key's end: a zero byte followed by this one, which sorts before every longer key.
const END: u8 = 0x01;
/// The end of an abbreviated key: a zero byte, this one, and the digest of the whole key.
const ABBREVIATED: u8 = 0x02;
const DIGEST_BYTES: usize = 20;

/// The key that makes a stem; `None` if it is not one.
fn unescape(stem: &[u8]) -> Option<Vec<u8>> {
    let escaped = stem.strip_suffix(&[0, END])?;
    let mut key = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(byte) = bytes.next() {
        key.push(*byte);
        if *byte == 0 && bytes.next() != Some(&ESCAPED) {
            return None;
        }
    }
    Some(key)
}

/// Whether a stem shows only the beginning of its key. A whole key cannot be mistaken for that:
/// in it, a zero byte is never followed by [`ABBREVIATED`].
fn abbreviated(stem: &[u8]) -> bool {
    let before = stem
        .len()
        .checked_sub(DIGEST_BYTES)
        .and_then(|end| stem.get(..end));
    before.is_some_and(|before| before.ends_with(&[0, ABBREVIATED]))
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

/// A record: key and value.
type Record = (Vec<u8>, Vec<u8>);

/// Joins pieces in the order of their names into records in the order of their keys.
pub(super) struct Joined<I> {
    pieces: I,
    /// Records with abbreviated keys of one beginning, sorted.
    group: vec::IntoIter<Record>,
    /// The record that ended the group.
    behind: Option<Record>,
}

impl<I> Joined<I> {
    pub(super) fn new(pieces: I) -> Self {
        Self {
            pieces,
            group: Vec::new().into_iter(),
            behind: None,
        }
    }
}

impl<I, K, V, E> Joined<I>
where
    I: Iterator<Item = Result<(K, V), E>>,
    K: AsRef<[u8]>,
    V: AsRef<[u8]>,
    E: From<Corrupt>,
{
    /// The next record in the order of names, and its stem.
    fn record(&mut self) -> Result<Option<(Vec<u8>, Record)>, E> {
        let Some(piece) = self.pieces.next() else {
            return Ok(None);
        };
        let (name, first) = piece?;
        let (name, first) = (name.as_ref(), first.as_ref());
        let corrupt =
            |what: &str| Corrupt::new(format!("{what} in record {}", name.escape_ascii()));
        let Some(stem) = name.strip_suffix(&[0; 4]) else {
            return Err(corrupt("the first piece is missing").into());
        };
        let (Some(sum), Some(count)) = (u32_at(first, 0), u32_at(first, 4)) else {
            return Err(corrupt("the header is missing").into());
        };
        let mut content = first[HEADER_BYTES..].to_vec();
        for number in 1..count {
            let (name, piece) = self
                .pieces
                .next()
                .ok_or_else(|| corrupt("the last pieces are missing"))??;
            if name.as_ref() != [stem, &number.to_be_bytes()].concat() {
                return Err(corrupt("a piece is missing").into());
            }
            content.extend_from_slice(piece.as_ref());
        }
        let whole = if abbreviated(stem) {
            unpack(content)
        } else {
            unescape(stem).map(|key| (key, content))
        };
        let whole = whole.filter(|(key, value)| checksum(key, value) == sum);
        let (key, value) = whole.ok_or_else(|| corrupt("the checksum fails"))?;
        Ok(Some((stem.to_vec(), (key, value))))
    }

    fn next_record(&mut self) -> Result<Option<Record>, E> {
        if let Some(record) = self.group.next().or_else(|| self.behind.take()) {
            return Ok(Some(record));
        }
        let Some((stem, record)) = self.record()? else {
            return Ok(None);
        };
        if !abbreviated(&stem) {
            return Ok(Some(record));
        }
        // Neighbors with another beginning may join: sorting all of them keeps all in order.
        let mut group = vec![record];
        while let Some((stem, record)) = self.record()? {
            if !abbreviated(&stem) {
                self.behind = Some(record);
                break;
            }
            group.push(record);
        }
        group.sort_unstable();
        self.group = group.into_iter();
        Ok(self.group.next())
    }
}

impl<I, K, V, E> Iterator for &mut Joined<I>
where
    I: Iterator<Item = Result<(K, V), E>>,
    K: AsRef<[u8]>,
    V: AsRef<[u8]>,
    E: From<Corrupt>,
{
    type Item = Result<Record, E>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().transpose()
    }
}

/// Key and value of a record whose name does not show its key.
fn unpack(content: Vec<u8>) -> Option<Record> {
    let length = usize::try_from(u32_at(&content, 0)?).ok()?;
    let (key, value) = content[4..].split_at_checked(length)?;
    Some((key.to_vec(), value.to_vec()))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
pub(super) mod tests {
    use sha1::{Digest, Sha1};

    use super::*;

    /// Bytes of a value in one piece; with name and header a piece stays below 32 KiB.
    const PIECE_BYTES: usize = 29 << 10;
    /// A longer key is abbreviated in names. Escaping can double it.
    const KEY_BYTES_MAX: usize = 1 << 10;

    type Piece = (Vec<u8>, Vec<u8>);

    /// Name of a piece.
    pub(super) fn name(key: &[u8], piece: u32) -> Vec<u8> {
        let mut name = stem(key);
        name.extend_from_slice(&piece.to_be_bytes());
        name
    }

    /// What the names of all pieces of a record begin with.
    fn stem(key: &[u8]) -> Vec<u8> {
        let shown = &key[..key.len().min(KEY_BYTES_MAX)];
        let mut stem = Vec::with_capacity(shown.len() + 16);
        for byte in shown {
            stem.push(*byte);
            if *byte == 0 {
                stem.push(ESCAPED);
            }
        }
        if shown.len() < key.len() {
            stem.extend_from_slice(&[0, ABBREVIATED]);
            stem.extend_from_slice(&Sha1::digest(key));
        } else {
            stem.extend_from_slice(&[0, END]);
        }
        stem
    }

    /// Emits the pieces of a record and answers how many they are.
    pub(in super::super) fn split(
        key: &[u8],
        value: &[u8],
        mut emit: impl FnMut(Vec<u8>, Vec<u8>),
    ) -> u32 {
        let joined;
        let content = if key.len() > KEY_BYTES_MAX {
            let length = u32::try_from(key.len()).expect("a key is far smaller than 4 GiB");
            joined = [&length.to_le_bytes(), key, value].concat();
            &joined
        } else {
            value
        };
        let count = content.len().div_ceil(PIECE_BYTES).max(1);
        let count = u32::try_from(count).expect("a record is far smaller than 2^32 pieces");
        let sum = checksum(key, value);
        let first = &content[..content.len().min(PIECE_BYTES)];
        emit(
            name(key, 0),
            [&sum.to_le_bytes(), &count.to_le_bytes(), first].concat(),
        );
        for (number, piece) in (1..).zip(content[first.len()..].chunks(PIECE_BYTES)) {
            emit(name(key, number), piece.to_vec());
        }
        count
    }

    fn pieces(records: &[(&[u8], Vec<u8>)]) -> Vec<Piece> {
        let mut out = Vec::new();
        for (key, value) in records {
            split(key, value, |name, piece| out.push((name, piece)));
        }
        out.sort();
        out
    }

    fn joined(pieces: Vec<Piece>) -> Result<Vec<Piece>, Corrupt> {
        let mut joined = Joined::new(pieces.into_iter().map(Ok));
        (&mut joined).collect()
    }

    fn records() -> Vec<(&'static [u8], Vec<u8>)> {
        vec![
            (b"", vec![]),
            (b"\0", vec![1]),
            (b"\0\0\xff", vec![2; PIECE_BYTES]),
            (b"\0\x01", vec![3; PIECE_BYTES + 1]),
            (b"a", vec![4; 10 << 20]),
            (b"a\0", vec![5; 3]),
            (b"a\0\0\0\0\x01", vec![6; 3 * PIECE_BYTES]),
            (b"a\x01", vec![7]),
            (b"b", vec![8]),
        ]
    }

    #[test]
    fn any_record_comes_back_and_in_key_order() {
        let records = records();
        let back = joined(pieces(&records)).unwrap();
        let expected: Vec<Piece> = records.into_iter().map(|(k, v)| (k.to_vec(), v)).collect();
        assert_eq!(back, expected);
    }

    #[test]
    fn long_keys_come_back_in_order() {
        // The first two share a beginning, the third equals it, the last differ late.
        let long = |tail: &[u8]| [&[b'x'; KEY_BYTES_MAX], tail].concat();
        let keys = [
            long(b""),
            long(b"\0"),
            long(b"a"),
            long(&[b'b'; 60_000]),
            long(b"c"),
        ];
        let other = [
            vec![b'w'; 5000],
            vec![b'y'; 5000],
            vec![0; 5000],
            b"x".to_vec(),
        ];
        let mut keys: Vec<Vec<u8>> = keys.into_iter().chain(other).collect();
        keys.extend((0..50_u8).map(|n| long(&[b'd', n, n ^ 0x55])));
        let records: Vec<_> = keys
            .iter()
            .map(|k| (k.as_slice(), k[..1].repeat(40_000)))
            .collect();
        let back = joined(pieces(&records)).unwrap();
        let mut expected: Vec<Piece> = records
            .iter()
            .map(|(k, v)| (k.to_vec(), v.clone()))
            .collect();
        expected.sort();
        assert!(back == expected, "the records differ");
    }

    #[test]
    fn no_piece_is_larger_than_32_kib() {
        for key in [vec![0; KEY_BYTES_MAX], vec![0; 64 << 10], b"short".to_vec()] {
            let mut sizes = Vec::new();
            split(&key, &vec![0; 10 << 20], |name, piece| {
                sizes.push(name.len() + piece.len())
            });
            assert!(
                sizes.iter().all(|size| *size <= 32 << 10),
                "{:?}",
                sizes.iter().max()
            );
        }
    }

    #[test]
    fn a_missing_or_changed_piece_shows() {
        let whole = pieces(&[(b"key", vec![9; 3 * PIECE_BYTES])]);
        for missing in 0..whole.len() {
            let mut less = whole.clone();
            less.remove(missing);
            assert!(joined(less).is_err(), "piece {missing} is missing");
            let mut changed = whole.clone();
            changed[missing].1[10] ^= 1;
            assert!(joined(changed).is_err(), "piece {missing} is changed");
        }
    }
}

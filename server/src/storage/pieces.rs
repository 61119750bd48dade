//! How a record of any size becomes small records of the checkpoint's database and comes back.
//! Pure; no database here.
//!
//! A piece's name is the record's key, escaped so that no key is a prefix of another and the order
//! is kept, and the number of the piece. The first piece begins with a checksum over key and value
//! and with the number of pieces, so a lost, foreign or changed piece shows.

use std::collections::HashMap;

use witan_replica::machine::record::Corrupt;

/// Bytes of a value in one piece; with name and header a piece stays below 32 KiB.
pub(super) const PIECE_BYTES: usize = 31 << 10;
/// Checksum and number of pieces.
const HEADER_BYTES: usize = 8;
/// A zero byte in a key is followed by this one.
const ESCAPED: u8 = 0xff;
/// The key's end: a zero byte followed by this one, which sorts before every longer key.
const END: u8 = 0x01;

/// Name of a piece.
pub(super) fn name(key: &[u8], piece: u32) -> Vec<u8> {
    let mut name = Vec::with_capacity(key.len() + 14);
    for byte in key {
        name.push(*byte);
        if *byte == 0 {
            name.push(ESCAPED);
        }
    }
    name.extend_from_slice(&[0, END]);
    name.extend_from_slice(&piece.to_be_bytes());
    name
}

/// The key and the number that make a name; `None` if it is not one.
fn parse(name: &[u8]) -> Option<(Vec<u8>, u32)> {
    let (name, piece) = name.split_last_chunk::<4>()?;
    let name = name.strip_suffix(&[0, END])?;
    let mut key = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        key.push(*byte);
        if *byte == 0 && bytes.next() != Some(&ESCAPED) {
            return None;
        }
    }
    Some((key, u32::from_be_bytes(*piece)))
}

/// Emits the pieces of a record and answers how many they are.
pub(super) fn split(key: &[u8], value: &[u8], mut emit: impl FnMut(Vec<u8>, Vec<u8>)) -> u32 {
    let count = value.len().div_ceil(PIECE_BYTES).max(1);
    let count = u32::try_from(count).expect("a record is far smaller than 2^32 pieces");
    let sum = checksum(key, value);
    let first = &value[..value.len().min(PIECE_BYTES)];
    emit(
        name(key, 0),
        [&sum.to_le_bytes(), &count.to_le_bytes(), first].concat(),
    );
    for (number, piece) in (1..).zip(value[first.len()..].chunks(PIECE_BYTES)) {
        emit(name(key, number), piece.to_vec());
    }
    count
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

/// Joins pieces in the order of their names into records in the order of their keys.
pub(super) struct Joined<I> {
    pieces: I,
    split: HashMap<Vec<u8>, u32>,
}

impl<I> Joined<I> {
    pub(super) fn new(pieces: I) -> Self {
        Self {
            pieces,
            split: HashMap::new(),
        }
    }

    /// Keys of the records that came in more than one piece, with their number of pieces.
    pub(super) fn into_split(self) -> HashMap<Vec<u8>, u32> {
        self.split
    }
}

impl<I, K, V, E> Joined<I>
where
    I: Iterator<Item = Result<(K, V), E>>,
    K: AsRef<[u8]>,
    V: AsRef<[u8]>,
    E: From<Corrupt>,
{
    fn join(&mut self, name: &[u8], first: &[u8]) -> Result<(Vec<u8>, Vec<u8>), E> {
        let corrupt =
            |what: &str| Corrupt::new(format!("{what} in record {}", name.escape_ascii()));
        let Some((key, 0)) = parse(name) else {
            return Err(corrupt("a first piece is missing").into());
        };
        let (Some(sum), Some(count)) = (u32_at(first, 0), u32_at(first, 4)) else {
            return Err(corrupt("a header is missing").into());
        };
        let mut value = first[HEADER_BYTES..].to_vec();
        for number in 1..count {
            let (name, piece) = self
                .pieces
                .next()
                .ok_or_else(|| corrupt("the last pieces are missing"))??;
            if parse(name.as_ref()) != Some((key.clone(), number)) {
                return Err(corrupt("a piece is missing").into());
            }
            value.extend_from_slice(piece.as_ref());
        }
        if checksum(&key, &value) != sum {
            return Err(corrupt("the checksum fails").into());
        }
        if count > 1 {
            self.split.insert(key.clone(), count);
        }
        Ok((key, value))
    }
}

impl<I, K, V, E> Iterator for &mut Joined<I>
where
    I: Iterator<Item = Result<(K, V), E>>,
    K: AsRef<[u8]>,
    V: AsRef<[u8]>,
    E: From<Corrupt>,
{
    type Item = Result<(Vec<u8>, Vec<u8>), E>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.pieces.next()? {
            Ok((name, first)) => Some(self.join(name.as_ref(), first.as_ref())),
            Err(error) => Some(Err(error)),
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Piece = (Vec<u8>, Vec<u8>);

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
    fn no_piece_is_larger_than_32_kib() {
        let long = vec![b'k'; 900];
        let mut sizes = Vec::new();
        split(&long, &vec![0; 10 << 20], |name, piece| {
            sizes.push(name.len() + piece.len())
        });
        assert!(
            sizes.iter().all(|size| *size <= 32 << 10),
            "{:?}",
            sizes.iter().max()
        );
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

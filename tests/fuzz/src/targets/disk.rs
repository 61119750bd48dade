//! What stands beside the log: the small files, and the checkpoint.

use std::{collections::BTreeMap, slice};

use witan::storage::fuzz::{Pair, current, identity_text, join, line};
use witan_replica::machine::{
    record::{self, Corrupt},
    view::View,
};

use super::machine::{compared, records, used};
use crate::input::{Input, push_chunk};

/// The text of `identity` or of `current`, or the bytes of the line record.
pub(super) fn identity(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(read) = witan::storage::fuzz::identity(text) {
            let again = witan::storage::fuzz::identity(&identity_text(&read));
            assert_eq!(again.as_ref(), Ok(&read), "parse(render(x))");
        }
        // the sum is made here, so that what stands before it is looked at
        let sum = crc32fast::hash(text.as_bytes());
        for text in [text.to_owned(), format!("{text}sum {sum:08x}\n")] {
            if let Some(again) = current(&text) {
                assert_eq!(current(&again), Some(again), "parse(render(x))");
            }
        }
    }
    if let Some(again) = line(bytes) {
        assert_eq!(again, bytes[..16], "decode(encode(x))");
    }
}

/// Chunks: names and pieces in turn, as a database of format 1 gives them; or keys and values of
/// which small pieces are made here, because the checksums would let nothing else pass.
pub(super) fn pieces(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (kind, change) = (input.byte(), input.short());
    let pairs = pairs(&mut input);
    if kind & 1 == 0 {
        let size: usize = pairs.values().map(Vec::len).sum();
        if let Ok(records) = join(pairs.into_iter().collect()) {
            assert!(
                records.windows(2).all(|two| two[0].0 <= two[1].0),
                "in order"
            );
            let joined: usize = records.iter().map(|(_, value)| value.len()).sum();
            assert!(joined <= size, "joining never adds");
        }
        return;
    }
    let names: BTreeMap<_, _> = pairs
        .iter()
        .flat_map(|(key, value)| pieces_of(key, value))
        .collect();
    let mut pieces: Vec<_> = names.into_iter().collect();
    let joined = join(pieces.clone());
    assert_eq!(joined, Ok(pairs.into_iter().collect()), "join(split(x))");
    let at = usize::from(change) % pieces.len().max(1);
    if change != 0 && at < pieces.len() {
        pieces.remove(at);
        assert_ne!(
            join(pieces),
            joined,
            "a lost piece shows, or a whole record is gone"
        );
    }
}

/// The pieces of a record: names of the escaped key and a number; checksum and count in the first.
pub fn pieces_of(key: &[u8], value: &[u8]) -> Vec<Pair> {
    /// Far less than real ones have, so that small records have several.
    const PIECE_BYTES: usize = 16;
    let mut stem = Vec::new();
    for byte in key {
        stem.extend_from_slice(if *byte == 0 {
            &[0, 0xff]
        } else {
            slice::from_ref(byte)
        });
    }
    stem.extend_from_slice(&[0, 1]);
    let count = u32::try_from(value.len().div_ceil(PIECE_BYTES).max(1)).expect("few");
    let sum = crc32fast::hash(&[key, value].concat());
    let mut pieces: Vec<Vec<u8>> = value.chunks(PIECE_BYTES).map(<[u8]>::to_vec).collect();
    if pieces.is_empty() {
        pieces.push(Vec::new());
    }
    let header = [sum.to_le_bytes(), count.to_le_bytes()].concat();
    pieces[0].splice(0..0, header);
    let name = |number: u32| [stem.as_slice(), &number.to_be_bytes()].concat();
    (0..).map(name).zip(pieces).collect()
}

fn pairs(input: &mut Input<'_>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut pairs = BTreeMap::new();
    while let Some(key) = input.chunk() {
        let value = input.chunk().unwrap_or_default();
        pairs.insert(key.to_vec(), value.to_vec());
    }
    pairs
}

/// Chunks: keys and contents of records, whose checksums are made here, because damage that the
/// checksums show is the other half: a first byte above 127 leaves them as they are.
pub(super) fn checkpoint(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let seal = input.byte() < 0x80;
    let records = pairs(&mut input).into_iter().map(|(key, value)| {
        let value = if seal { sealed(&key, value) } else { value };
        Ok::<_, Corrupt>((key, value))
    });
    let Ok(view) = View::restore(records) else {
        return;
    };
    let again = View::restore(records_of(&view).into_iter().map(Ok::<_, Corrupt>));
    let again = again.expect("a restored view makes a checkpoint");
    compared(&view.machine, &again.machine);
    // Versions whose links lie are not found out before a compaction, and then only by this refusal.
    let _ = used(view.machine);
}

fn records_of(view: &View) -> BTreeMap<Vec<u8>, Vec<u8>> {
    records(|emit| view.changes(None, emit))
}

/// The checksum that a healthy checkpoint has.
fn sealed(key: &[u8], mut contents: Vec<u8>) -> Vec<u8> {
    let crc = match key.split_first() {
        Some((&record::KV, _)) => crc32fast::hash(&contents),
        Some((&record::TREE, key)) => crc32fast::hash(&[key, &contents].concat()),
        Some(_) | None => return contents,
    };
    contents.extend_from_slice(&crc.to_le_bytes());
    contents
}

/// The input that is a view's checkpoint: what `checkpoint` takes.
pub fn checkpoint_input(view: &View) -> Vec<u8> {
    let mut out = vec![0];
    for (key, value) in records_of(view) {
        let sums = [record::KV, record::TREE].contains(&key[0]);
        let contents = value.len() - if sums { 4 } else { 0 };
        push_chunk(&mut out, &key);
        push_chunk(&mut out, &value[..contents]);
    }
    out
}

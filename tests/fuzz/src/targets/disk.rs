//! The small files next to the log and the checkpoint.

use std::collections::BTreeMap;

use witan_machine::{
    record::{self, CorruptRecord},
    view::View,
};
use witan_storage::fuzz::{current, line, owner};

use super::machine::{compared, records, used};
use crate::input::Input;

/// The input is the text of `identity`, `owner` or `current`, or the bytes of a log-start record.
pub(super) fn identity(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Some(again) = witan_storage::fuzz::identity(text) {
            assert_eq!(again, text, "parse(render(x))");
        }
        if let Some(again) = owner(text) {
            assert_eq!(owner(&again), Some(again), "parse(render(x))");
        }
        if let Some(again) = current(text) {
            assert_eq!(current(&again), Some(again), "parse(render(x))");
        }
    }
    if let Some(again) = line(bytes) {
        assert_eq!(again, bytes[..again.len()], "decode(encode(x))");
        assert_eq!(line(&again), Some(again), "decode(encode(x))");
    }
}

fn pairs(input: &mut Input<'_>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut pairs = BTreeMap::new();
    while let Some(key) = input.chunk() {
        let value = input.chunk().unwrap_or_default();
        pairs.insert(key.to_vec(), value.to_vec());
    }
    pairs
}

/// The chunks are keys and contents of records. The target adds valid checksums, so that damage reaches the parser. With a
/// first byte above 127, it leaves the contents unchanged.
pub(super) fn checkpoint(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let seal = input.byte() < 0x80;
    let records = pairs(&mut input).into_iter().map(|(key, value)| {
        let value = if seal { sealed(&key, value) } else { value };
        Ok::<_, CorruptRecord>((key, value))
    });
    let Ok(view) = View::restore(records) else {
        return;
    };
    let again = View::restore(records_of(&view).into_iter().map(Ok::<_, CorruptRecord>));
    let again = again.expect("a restored view can be restored again");
    compared(&view.machine, &again.machine);
    // Only a compaction detects versions with wrong links and refuses them.
    let _ = used(view.machine);
}

fn records_of(view: &View) -> BTreeMap<Vec<u8>, Vec<u8>> {
    records(|emit| view.changes(None, emit))
}

/// Adds the checksum that the records of v3 blocks and of v2 nodes have. Returns other contents unchanged.
fn sealed(key: &[u8], mut contents: Vec<u8>) -> Vec<u8> {
    let crc = match key.split_first() {
        Some((&record::KV, _)) => crc32fast::hash(&contents),
        Some((&record::TREE, key)) => crc32fast::hash(&[key, &contents].concat()),
        Some(_) | None => return contents,
    };
    contents.extend_from_slice(&crc.to_le_bytes());
    contents
}

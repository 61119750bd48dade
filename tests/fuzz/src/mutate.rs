//! Seeded mutations of corpus entries, without guidance by coverage.

use witan_http2_tests::dice::Dice;

/// Maximum number of changes. More changes would destroy the original request.
const CHANGES_MAX: u64 = 6;
/// Byte values at which programs often behave differently.
const BYTES: [u8; 16] = [
    0, 1, 0x7f, 0x80, 0xff, b'/', b'.', b'%', b'"', b'\\', b'{', b'[', b'-', b'9', b'&', b'\n',
];

/// Returns a changed copy of an entry of `corpus`, which must not be empty. The copy has at most `bytes_max` bytes.
pub fn mutated(seed: u64, corpus: &[Vec<u8>], bytes_max: usize) -> Vec<u8> {
    let dice = &mut Dice::new(seed);
    let mut bytes = corpus[dice.below(corpus.len())].clone();
    for _ in 0..=dice.draw() % CHANGES_MAX {
        change(dice, &mut bytes, corpus);
    }
    bytes.truncate(bytes_max);
    bytes
}

/// Makes one random change: flips, sets, inserts, removes, copies or increments bytes, truncates, or splices from the corpus.
fn change(dice: &mut Dice, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let at = dice.below(bytes.len() + 1);
    let end = at + dice.below(bytes.len() + 1 - at);
    match dice.draw() % 8 {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = BYTES[dice.below(BYTES.len())];
            }
        }
        2 => bytes.insert(at, BYTES[dice.below(BYTES.len())]),
        3 => drop(bytes.drain(at..end.min(at + 1 + dice.below(16)))),
        4 => {
            let copy = bytes[at..end].to_vec();
            let to = dice.below(bytes.len() + 1);
            bytes.splice(to..to, copy);
        }
        5 => bytes.truncate(end.max(1)),
        6 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = byte.wrapping_add(if dice.draw().is_multiple_of(2) {
                    1
                } else {
                    0xff
                });
            }
        }
        _ => {
            let other = &corpus[dice.below(corpus.len())];
            let from = dice.below(other.len() + 1);
            let until = from + dice.below(other.len() + 1 - from);
            bytes.splice(at..end, other[from..until].iter().copied());
        }
    }
}

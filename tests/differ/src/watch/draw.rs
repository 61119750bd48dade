//! Random steps with few keys, so that steps affect each other, and with revisions near the limits.

use super::step::{At, Step};
use crate::rng::Rng;

pub(super) const STREAMS: usize = 3;

const KEYS: [&str; 8] = ["a", "aa", "ab", "b", "ba", "c", "d", "e"];
const ENDS: [&str; 6] = ["", "", "", "\0", "b", "d"];
const IDS: [i64; 10] = [0, 0, 0, 0, 1, 2, 3, 5, -1, -7];

fn key(rng: &mut Rng) -> String {
    (*rng.pick(&KEYS)).to_owned()
}

pub(super) fn step(rng: &mut Rng) -> Step {
    let stream = rng.below(STREAMS);
    match rng.index(&[40, 12, 10, 3, 25, 8, 4, 2]) {
        0 => Step::Put { key: key(rng), value: rng.range(0, 999).to_string() },
        1 => Step::Delete { key: key(rng), end: (*rng.pick(&ENDS)).to_owned() },
        2 => {
            let mut keys = KEYS.map(str::to_owned).to_vec();
            let from = rng.below(keys.len());
            keys.rotate_left(from);
            let count = rng.below(4);
            Step::Txn {
                delete: rng.chance(50).then(|| keys[7].clone()),
                puts: keys[..count].to_vec(),
            }
        }
        3 => Step::Compact(if rng.chance(30) {
            At::Now
        } else {
            At::Back(i64::from(rng.chance(50)) + rng.range(0, 20).cast_signed())
        }),
        4 => create(rng, stream),
        5 => Step::Cancel { stream, id: rng.range(0, 8).cast_signed() - 1 },
        6 => Step::Progress { stream },
        _ => Step::Reopen { stream },
    }
}

fn create(rng: &mut Rng, stream: usize) -> Step {
    let start = match rng.range(0, 9) {
        0..=3 => At::Now,
        4..=7 => At::Back(rng.range(0, 40).cast_signed()),
        8 => At::Ahead(rng.range(1, 10).cast_signed()),
        _ => At::Exactly(rng.range(0, 4).cast_signed() - 2),
    };
    let key = if rng.chance(5) {
        String::new()
    } else {
        key(rng)
    };
    Step::Create {
        stream,
        key,
        end: (*rng.pick(&ENDS)).to_owned(),
        start,
        id: *rng.pick(&IDS),
        no_put: rng.chance(10),
        no_delete: rng.chance(10),
        prev_kv: rng.chance(40),
        fragment: rng.chance(20),
    }
}

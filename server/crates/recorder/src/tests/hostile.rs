//! Files that somebody has made: whatever they say, a replay ends with words and within bounds.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use prost::Message as _;

use super::*;
use crate::{
    format::{Frame, Frozen, Input, InputKind, Proposal, Turn},
    frame::HEADER_BYTES,
};

/// Altered recordings that are executed.
const MUTATIONS: u64 = 500;

/// A number that follows from others.
fn draw(seed: (u64, u64), below: usize) -> usize {
    let number = BuildHasherDefault::<DefaultHasher>::default().hash_one(seed);
    (number % below.max(1) as u64) as usize
}

/// The payloads of the frames of a file.
fn payloads(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut found) = (&bytes[MAGIC.len()..], Vec::new());
    while let Some((header, more)) = rest.split_at_checked(HEADER_BYTES) {
        let (length, _) = frame::fields(header.try_into().unwrap());
        let (payload, more) = more.split_at(length);
        found.push(payload.to_vec());
        rest = more;
    }
    found
}

/// A file of these payloads, with checksums that are right.
fn file(payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for payload in payloads {
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
        bytes.extend_from_slice(payload);
    }
    bytes
}

/// Alters a frame, or the order of the frames.
fn mutate(payloads: &mut Vec<Vec<u8>>, seed: u64) {
    let at = draw((seed, 0), payloads.len());
    let place = draw((seed, 1), payloads[at].len());
    let byte = draw((seed, 2), 256) as u8;
    match draw((seed, 3), 6) {
        0 | 1 if payloads[at].is_empty() => payloads[at].push(byte),
        0 => payloads[at][place] ^= 1 << (byte % 8),
        1 => payloads[at][place] = byte,
        2 => payloads[at].truncate(place),
        3 => drop(payloads.remove(at)),
        4 => payloads.insert(place % payloads.len(), payloads[at].clone()),
        _ => {
            let other = payloads[draw((seed, 4), payloads.len())].clone();
            let rest = other[draw((seed, 5), other.len())..].to_vec();
            payloads[at].truncate(place);
            payloads[at].extend(rest);
        }
    }
}

#[test]
fn an_altered_recording_with_right_checksums_ends_with_words() {
    let folder = Folder::new("mutations");
    let mut replica = started(Directly::open(folder.settings(256 << 10, false)));
    // the files end with frozen replicas and begin with them
    (1..=1000).for_each(|turn| step(&mut replica, turn));
    drop(replica);
    let path = folder.files()[1].clone();
    let whole = payloads(&fs::read(&path).unwrap());
    let frozen = |payload: &Vec<u8>| {
        matches!(
            Frame::decode(&payload[..]).unwrap().part,
            Some(Part::Frozen(_))
        )
    };
    assert!(whole.iter().any(frozen));
    let short: Vec<Vec<u8>> = whole.into_iter().take(20).collect();
    let mut equal = 0;
    for seed in 0..MUTATIONS {
        let mut altered = short.clone();
        (0..=draw((seed, 6), 3) as u64).for_each(|more| mutate(&mut altered, seed * 4 + more));
        fs::write(&path, file(&altered)).unwrap();
        if let Ok(replayed) = replay(&path, &mut |_| {}) {
            equal += replayed.iter().map(|it| it.equal).sum::<u64>();
        }
    }
    // most are executed up to what was altered
    assert!(equal > MUTATIONS, "{equal}");
}

/// The replay of a small recording with other parts before the turn 11.
fn with(folder: &str, parts: Vec<Part>) -> Replayed {
    let folder = Folder::new(folder);
    run(folder.ring(8 << 20, false), 30);
    let path = folder.files().remove(0);
    let mut altered = payloads(&fs::read(&path).unwrap());
    let more = parts
        .into_iter()
        .map(|part| Frame { part: Some(part) }.encode_to_vec());
    altered.splice(12.., more);
    fs::write(&path, file(&altered)).unwrap();
    quietly(&folder.0)
}

fn turn(kind: InputKind) -> Part {
    let inputs = vec![Input { kind: Some(kind) }];
    Part::Turn(Turn { number: 11, inputs, ..Turn::default() })
}

fn why(replayed: &Replayed) -> &str {
    match &replayed.verdict {
        Verdict::Shown { why } => why,
        Verdict::Reproduced | Verdict::Differs { .. } => panic!("{replayed:?}"),
    }
}

#[test]
fn values_do_not_take_more_memory_than_a_bound() {
    // a value that says that it has 4 GiB
    let mut hidden = put("");
    hidden.value = vec![0xff; 12].into();
    let entry: Box<Entry> = Entry::unstamped(KvOperation::Put(hidden).into(), None);
    let proposal = Proposal { entry: entry.encode_to_vec().into(), ..Proposal::default() };
    let replayed = with("values-max", vec![turn(InputKind::Propose(proposal))]);
    assert!(
        why(&replayed).contains("more bytes of values"),
        "{replayed:?}"
    );
    assert_eq!(replayed.equal, 10);
}

/// The replay of a ring's second file, in whose frozen replica something is replaced.
fn with_frozen(folder: &str, replaced: &[(&str, &str)]) -> Replayed {
    let folder = Folder::new(folder);
    let mut replica = started(Directly::open(folder.settings(256 << 10, false)));
    (1..=1000).for_each(|turn| step(&mut replica, turn));
    drop(replica);
    let path = folder.files().remove(1);
    alter(&path, |part| match part {
        Part::Frozen(frozen) => {
            let mut json = String::from_utf8(frozen.replica.to_vec()).unwrap();
            for (from, to) in replaced {
                assert!(json.contains(from), "{json}");
                json = json.replace(from, to);
            }
            Part::Frozen(Frozen { replica: json.into(), ..frozen })
        }
        part @ (Part::Head(_) | Part::Start(_) | Part::Turn(_) | Part::Gap(_)) => part,
    });
    quietly(&path)
}

#[test]
fn a_log_of_a_frozen_replica_has_no_more_entries_than_a_bound() {
    let many =
        r#""applied":[{"count":18446744073709551615,"term":1,"bytes":9,"changes_members":false}]"#;
    let replayed = with_frozen("entries-max", &[(r#""applied":[]"#, many)]);
    assert!(why(&replayed).contains("too many entries"), "{replayed:?}");
}

#[test]
fn a_panic_of_the_core_is_a_verdict() {
    let bad = r#""waiting":{"5":{"since":18446744073709551615,"stage":{"Copied":{"handed_in":null,"data":"ff"}}}},"held":[5]"#;
    let replayed = with_frozen("panic", &[(r#""waiting":{},"held":[]"#, bad)]);
    assert!(
        why(&replayed).starts_with("the core panics: "),
        "{replayed:?}"
    );
    assert_eq!(replayed.equal, 0);
}

#[test]
fn a_frozen_replica_of_another_release_is_not_executed() {
    let replayed = with_frozen("other", &[(r#""campaigns""#, r#""campaigned""#)]);
    assert!(
        why(&replayed).contains("of another release"),
        "{replayed:?}"
    );
}

#[test]
fn a_length_is_not_believed() {
    let folder = Folder::new("length");
    run(folder.ring(8 << 20, false), 5);
    let path = folder.files().remove(0);
    let whole = fs::read(&path).unwrap();
    for (length, text) in [
        (FRAME_BYTES_MAX as u32, "ends within a frame"),
        (u32::MAX, "is damaged"),
    ] {
        let mut bytes = whole.clone();
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        fs::write(&path, bytes).unwrap();
        let replayed = quietly(&path);
        let mut said = replayed.faults.iter().chain(&replayed.cut);
        assert!(said.any(|it| it.contains(text)), "{replayed:?}");
        assert_eq!(replayed.equal, 5);
    }
}

#[test]
fn what_follows_damage_is_read_from_where_a_file_begins() {
    let folder = Folder::new("joined");
    run(folder.ring(8 << 20, false), 10);
    run(folder.ring(8 << 20, false), 20);
    let [first, second] = [0, 1].map(|at| fs::read(&folder.files()[at]).unwrap());
    let joined = folder.0.join("joined");
    let mut damaged = first.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    for (first, equal) in [(first, 10), (damaged, 9)] {
        fs::write(&joined, [first, second.clone()].concat()).unwrap();
        let replayed = replay(&joined, &mut |_| {}).unwrap();
        let all: Vec<u64> = replayed.iter().map(|it| it.equal).collect();
        assert_eq!(all, [equal, 20], "{replayed:?}");
    }
}

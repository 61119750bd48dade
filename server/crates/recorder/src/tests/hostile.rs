//! Files that somebody has made: whatever they say, a replay ends with words and within bounds.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use prost::Message as _;

use super::*;
use crate::{
    bounds,
    format::{
        Effect, Frame, Frozen, Input, InputKind, LogEntry, PARTS_MAX, Proposal, Record, Turn,
    },
    frame::HEADER_BYTES,
    hide::Filler,
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
    // the files end with frozen replicas and begin with them
    run(Directly::open(folder.settings(256 << 10, false)), 1000);
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
    let parts = parts.into_iter();
    let payloads = parts.map(|part| Frame { part: Some(part) }.encode_to_vec());
    with_payloads(folder, payloads.collect())
}

/// The same with the payloads of frames.
fn with_payloads(folder: &str, more: Vec<Vec<u8>>) -> Replayed {
    let folder = Folder::new(folder);
    run(folder.ring(8 << 20, false), 30);
    let path = folder.files().remove(0);
    let mut altered = payloads(&fs::read(&path).unwrap());
    altered.splice(12.., more);
    fs::write(&path, file(&altered)).unwrap();
    quietly(&folder.0)
}

fn turn(kind: InputKind) -> Part {
    let inputs = vec![Input { kind: Some(kind) }];
    Part::Turn(Turn { number: 11, inputs, ..Turn::default() })
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
        why(&replayed).contains("have more bytes than a replay makes up"),
        "{replayed:?}"
    );
    assert_eq!(replayed.equal, 10);
}

/// Bytes as a field of each of these numbers in the one before.
fn nested(tags: &[u32], bytes: Vec<u8>) -> Vec<u8> {
    tags.iter().rev().fold(bytes, |bytes, tag| {
        let mut field = Vec::new();
        prost::encoding::bytes::encode(*tag, &bytes, &mut field);
        field
    })
}

/// Places in frames where many small parts may be: the numbers of the fields on the way, the first bytes there, and a part.
const MANY: [(&[u32], &[u8], &[u8]); 9] = [
    // inputs, effects, records, the log
    (&[3], &[], &[3 << 3 | 2, 0]),
    (&[3], &[], &[4 << 3 | 2, 0]),
    // behind a group, which decoders skip
    (&[3], &[9 << 3 | 3, 9 << 3 | 4], &[4 << 3 | 2, 0]),
    (&[2, 2], &[], &[1 << 3 | 2, 0]),
    (&[5, 2], &[], &[1 << 3 | 2, 0]),
    (&[2], &[], &[4 << 3 | 2, 0]),
    // records of a state that is received, and of members
    (&[3, 3, 3, 4], &[], &[1 << 3 | 2, 0]),
    (&[3, 3, 12, 1], &[], &[1 << 3 | 2, 0]),
    // entries of a message of raft
    (&[3, 3, 3, 3], &[0], &[7 << 3 | 2, 0]),
];

#[test]
fn parts_of_a_frame_are_counted_before_they_are_decoded() {
    for (at, (tags, first, part)) in MANY.into_iter().enumerate() {
        let payload = |parts| nested(tags, [first, &part.repeat(parts)].concat());
        let few = payload(PARTS_MAX - 16);
        assert!(bounds::check_frame(&few).is_ok(), "{at}");
        assert!(Frame::decode(&few[..]).is_ok(), "{at}");
        let replayed = with_payloads(&format!("parts-{at}"), vec![payload(PARTS_MAX)]);
        let fault = replayed.faults.iter().any(|it| it.contains("is damaged"));
        assert!(fault && replayed.equal == 10, "{at}: {replayed:?}");
    }
}

#[test]
fn a_part_takes_little_memory() {
    let sizes = [
        size_of::<Input>(),
        size_of::<Effect>(),
        size_of::<Record>(),
        size_of::<LogEntry>(),
    ];
    assert!(sizes.iter().all(|size| *size <= 250), "{sizes:?}");
}

#[test]
fn a_turn_with_too_many_parts_is_not_written() {
    let mut turn = NotedTurn::new(Hider::new(false));
    let mut put = |inputs| {
        turn.next();
        (0..inputs).for_each(|index| turn.input(InputKind::Durable(index)));
        turn.put(0, &mut Vec::new())
    };
    // an input is a part, and what it consists of another one
    assert!(put(PARTS_MAX as u64 / 2 - 4));
    assert!(!put(PARTS_MAX as u64 / 2 + 4));
}

#[test]
fn fields_of_a_command_are_counted_before_they_are_decoded() {
    let operations = [2 << 3 | 2, 0].repeat(2 << 20);
    // the transaction of a command of keys
    let txn = KvOperation::Txn(Txn::default()).into();
    let encoded = Entry::unstamped(txn, None).encode_to_vec();
    let tags = [encoded[0], encoded[2]].map(|key| u32::from(key >> 3));
    let entry = nested(&tags, operations);
    assert!(Entry::decode(&entry[..]).is_ok());
    let proposal = Proposal { entry: entry.clone().into(), ..Proposal::default() };
    let replayed = with("fields", vec![turn(InputKind::Propose(proposal))]);
    assert!(why(&replayed).contains("more fields"), "{replayed:?}");
    assert_eq!(replayed.equal, 10);
    // as a part of a message it becomes one that this release does not know
    let data = [&[1][..], &entry].concat();
    let filled = Filler::new(false).fill_encoded(&data.clone().into());
    assert_eq!(filled, vec![0xfe; data.len()]);
}

/// The replay of a ring's second file, in whose frozen replica something is replaced.
fn with_frozen(folder: &str, replaced: &[(&str, &str)]) -> Replayed {
    let folder = Folder::new(folder);
    run(Directly::open(folder.settings(256 << 10, false)), 1000);
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

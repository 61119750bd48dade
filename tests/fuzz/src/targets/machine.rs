//! The state machine under arbitrary commands: I2, `apply` is total and deterministic.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use witan_machine::{
    StateMachine,
    command::{Command, Entry, Stamp},
    fingerprint, kv,
    record::{CorruptRecord, RecordChange},
};

use crate::input::Input;

/// Maximum number of entries in an input; more entries would only cost time.
const ENTRIES_MAX: usize = 64;

/// Each chunk is the bytes of an entry without its version byte.
pub(super) fn apply(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut entries = Vec::new();
    while let Some(chunk) = input.chunk().filter(|_| entries.len() < ENTRIES_MAX) {
        if let Ok(entry) = Entry::decode(Bytes::copy_from_slice(chunk)) {
            entries.push(entry);
        }
    }
    let (mut one, mut two) = (StateMachine::default(), StateMachine::default());
    let half = entries.len() / 2;
    let mut middle = None;
    for (at, entry) in entries.iter().enumerate() {
        if at == half {
            middle = Some(one.clone());
        }
        let before = one.kv.revision();
        let outcome = one.apply(entry);
        assert!(outcome.revision >= before, "revisions never decrease");
        assert_eq!(outcome, two.apply(entry), "apply is deterministic");
    }
    let whole = records(|emit| one.changes(None, emit));
    if let Some(middle) = middle {
        let mut rest = records(|emit| middle.changes(None, emit));
        one.changes(Some(&middle), &mut |change| {
            match change {
                RecordChange::Put { key, value } => rest.insert(key, value),
                RecordChange::Delete { key } => rest.remove(&key),
            };
        });
        assert_eq!(rest, whole, "the difference is complete");
    }
    let mut loaded = StateMachine::default();
    for (key, value) in &whole {
        loaded.load(key, value).expect("a valid record");
    }
    loaded.finish_load().expect("valid records");
    compared(&one, &loaded);
    assert_eq!(used(one), Ok(()), "the machine's checkpoint can be loaded");
}

/// Returns the records that `changes` puts, by key. Panics at a deletion or a repeated key.
pub(super) fn records(
    changes: impl FnOnce(&mut dyn FnMut(RecordChange)),
) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records = BTreeMap::new();
    changes(&mut |change| match change {
        RecordChange::Put { key, value } => assert!(records.insert(key, value).is_none(), "twice"),
        RecordChange::Delete { key } => panic!("{key:?} was never written"),
    });
    records
}

/// Panics if two machines differ.
pub(super) fn compared(one: &StateMachine, two: &StateMachine) {
    assert_eq!(fingerprint::of(&one.kv), fingerprint::of(&two.kv));
    assert_eq!(fingerprint::of(&one.tree), fingerprint::of(&two.tree));
    assert_eq!(one.members, two.members);
    let sizes = |machine: &StateMachine| {
        let kv = &machine.kv;
        (
            kv.len(),
            kv.size_bytes(),
            kv.live_size_bytes(),
            kv.revision(),
            kv.compacted(),
        )
    };
    assert_eq!(sizes(one), sizes(two));
    assert_eq!(one.tree.index(), two.tree.index());
}

/// Runs reads, writes, a compaction and an expiration on an accepted machine. Fails if its later checkpoint is refused.
pub(super) fn used(mut machine: StateMachine) -> Result<(), CorruptRecord> {
    let everything = kv::Range {
        // No client can put the empty key, but the machine accepts any key in the log.
        key: Bytes::new(),
        range_end: Bytes::from_static(&[0]),
        ..kv::Range::default()
    };
    let found = machine
        .kv
        .range(&everything, kv::ValueSource::Disk)
        .expect("the present state");
    assert_eq!(found.kvs.len(), machine.kv.len());
    assert_eq!(found.count, i64::try_from(machine.kv.len()).expect("few"));
    for pair in &found.kvs {
        assert!(pair.create_revision <= pair.mod_revision && pair.version >= 1);
        assert!(pair.mod_revision <= machine.kv.revision());
        let old = kv::Range {
            key: pair.key.clone(),
            revision: pair.mod_revision.0,
            ..kv::Range::default()
        };
        if let Ok(old) = machine.kv.range(&old, kv::ValueSource::Disk) {
            assert_eq!(old.kvs.first(), Some(pair), "the pair at its revision");
        }
    }
    machine.tree.get(b"/", true, 0).expect("the root exists");
    let first = found.kvs.first().map(|pair| pair.key.clone());
    let put = kv::Put {
        key: first.unwrap_or_else(|| Bytes::from_static(b"k")),
        value: Bytes::from_static(b"v"),
        ..kv::Put::default()
    };
    let set = witan_tree::Set {
        path: Bytes::from_static(b"/used"),
        expires_ns: Some(2),
        ..witan_tree::Set::default()
    };
    let delete = kv::DeleteRange {
        key: everything.key.clone(),
        range_end: everything.range_end.clone(),
        prev_kv: true,
        bounded: true,
    };
    step(&mut machine, kv_command(kv::KvOperation::Put(put)));
    let revision = machine.kv.revision().0;
    step(
        &mut machine,
        tree_command(witan_tree::TreeOperation::Set(set)),
    );
    step(
        &mut machine,
        kv_command(kv::KvOperation::Compact(kv::Compact { revision })),
    );
    step(&mut machine, kv_command(kv::KvOperation::Delete(delete)));
    step(
        &mut machine,
        tree_command(witan_tree::TreeOperation::Expire(
            witan_tree::ExpireNodes {},
        )),
    );
    assert!(machine.kv.is_empty());
    let whole = records(|emit| machine.changes(None, emit));
    let mut loaded = StateMachine::default();
    let taken = whole
        .iter()
        .try_for_each(|(key, value)| loaded.load(key, value));
    taken.and_then(|()| loaded.finish_load())
}

fn step(machine: &mut StateMachine, command: Command) {
    machine.apply(&Entry {
        stamp: Some(Stamp { now_ns: i64::MAX, ..Stamp::default() }),
        command: Some(command),
        caller: None,
    });
}

fn kv_command(verb: kv::KvOperation) -> Command {
    Command::Kv(kv::KvCommand { operation: Some(verb) })
}

fn tree_command(verb: witan_tree::TreeOperation) -> Command {
    Command::Tree(witan_tree::TreeCommand { operation: Some(verb) })
}

//! Checks that this release refuses records from a later release and distinguishes them from damaged records.

use std::collections::BTreeMap;

use witan_machine::{
    StateMachine,
    alarm::{AlarmAction, AlarmCommand, AlarmType},
    auth::{
        AuthOperation, UserAdd,
        path_permissions::{PathAuthOperation, PathPatterns, RoleCreate},
    },
    command::{Command, Entry},
    kv::{KvOperation, Put},
    lease::{LeaseGrant, LeaseOperation},
    member::Member,
    record::{self, CorruptRecord},
    values::test_support,
    view::View,
};
use witan_tree::{Set, TreeOperation};

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Field 1000 of a message. No release writes it.
const LATER_FIELD: [u8; 3] = [0xc0, 0x3e, 1];

/// Returns the records of a state that has every kind of record.
fn records() -> Records {
    let put = Put { key: "k".into(), value: "v".into(), ..Put::default() };
    let set = Set { path: "/a".into(), value: "v".into(), ..Set::default() };
    let user = UserAdd {
        name: "u".into(),
        password: "hash".into(),
        no_password: false,
    };
    let patterns = PathPatterns { read: vec!["/a".into()], write: Vec::new() };
    let alarm = AlarmCommand {
        action: AlarmAction::Activate as i32,
        member: 7,
        kind: AlarmType::NoSpace as i32,
    };
    let mut machine = StateMachine::default();
    let member = Member { id: 7, ..Member::default() };
    machine.members.by_id.insert(member.member_id(), member);
    let commands: [Command; 6] = [
        KvOperation::Put(put).into(),
        TreeOperation::Set(set).into(),
        LeaseOperation::Grant(LeaseGrant { id: 7, ttl_s: 60 }).into(),
        AuthOperation::UserAdd(user).into(),
        PathAuthOperation::RoleCreate(RoleCreate { name: "r".into(), patterns }).into(),
        Command::Alarm(alarm),
    ];
    for command in commands {
        machine.apply(&Entry { command: Some(command), ..Entry::default() });
    }
    test_support::records(&View { machine, ..View::default() })
}

fn restore(records: Records) -> Result<View, CorruptRecord> {
    View::restore(records.into_iter().map(Ok))
}

/// Returns a record's value with contents changed by `change`, and with a valid checksum if its kind has one.
fn changed(key: &[u8], value: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let has_checksum = [record::KV, record::TREE].contains(&key[0]);
    let mut contents = value.to_vec();
    if has_checksum {
        contents.truncate(value.len() - 4);
    }
    change(&mut contents);
    if has_checksum {
        let of_key = if key[0] == record::TREE {
            &key[1..]
        } else {
            &[]
        };
        let sum = crc32fast::hash(&[of_key, &contents].concat());
        contents.extend(sum.to_le_bytes());
    }
    contents
}

/// Returns the error for loading the records with a new value at `key`.
fn refused(mut records: Records, key: &[u8], value: Vec<u8>) -> CorruptRecord {
    records.insert(key.to_vec(), value);
    restore(records).expect_err(&key.escape_ascii().to_string())
}

#[test]
fn a_record_with_an_unknown_field_is_from_a_later_release() {
    let whole = records();
    restore(whole.clone()).expect("this release wrote the records");
    let mut kinds = Vec::new();
    // A block is not a protobuf message.
    for (key, value) in whole.iter().filter(|(key, _)| !record::is_block(key)) {
        let later = changed(key, value, |contents| contents.extend(LATER_FIELD));
        let error = refused(whole.clone(), key, later);
        assert!(error.is_later(), "{}: {error}", key.escape_ascii());
        let text = error.to_string();
        assert!(text.contains("Start the release that wrote it"), "{text}");
        let length = if key[0] == record::LEASE { 1 } else { 2 };
        kinds.push(String::from_utf8_lossy(&key[..length.min(key.len())]).into_owned());
    }
    let all = [
        "a", "ka", "l", "m", "th", "tm", "tn", "um", "un", "up", "ur", "uu", "v",
    ];
    assert_eq!(kinds, all);
}

#[test]
fn a_record_of_an_unknown_kind_is_from_a_later_release() {
    for key in [&b"z"[..], b"kz", b"tz", b"uz"] {
        let error = refused(records(), key, changed(key, &[0; 4], Vec::clear));
        assert!(error.is_later(), "{}: {error}", key.escape_ascii());
    }
}

#[test]
fn an_unknown_v2_action_or_counter_is_from_a_later_release() {
    let whole = records();
    let set_action = |contents: &mut Vec<u8>| {
        assert_eq!(contents[..2], [8, 1], "field 1 is the action `set`");
        contents[1] = 99;
    };
    let add_counter = |contents: &mut Vec<u8>| {
        assert_eq!(contents[2..4], [18, 13], "field 2 has 13 counters");
        contents[3] += 1;
        contents.push(1);
    };
    let refuses = |kind: &[u8], change: &dyn Fn(&mut Vec<u8>)| {
        let known = whole.iter().find(|(key, _)| key.starts_with(kind));
        let (key, value) = known.expect("the state has such a record");
        let error = refused(whole.clone(), key, changed(key, value, change));
        assert!(error.is_later(), "{}: {error}", key.escape_ascii());
    };
    refuses(b"th", &set_action);
    refuses(b"tm", &add_counter);
}

#[test]
fn a_damaged_record_is_not_from_a_later_release() {
    let whole = records();
    for (key, value) in whole.iter().filter(|(key, _)| !record::is_block(key)) {
        // The length of the added string exceeds the rest of the record.
        let damaged = changed(key, value, |contents| contents.extend([0x0a, 0x7f]));
        let error = refused(whole.clone(), key, damaged);
        assert!(!error.is_later(), "{}: {error}", key.escape_ascii());
    }
}

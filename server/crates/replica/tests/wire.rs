//! Golden bytes of log payloads. A changed byte breaks every existing data directory.

use bytes::Bytes;
use witan_machine::{
    alarm, auth,
    command::{
        ChangeMembers, ClusterVersion, Command, Downgrade, Entry, PublishAttributes, Stamp,
        UpdatePeerUrls,
    },
    kv, lease,
    member::Member,
};
use witan_replica::wire::{EntryError, decode_entry, encode_entry};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Returns an entry with the stamp that [`STAMP`] encodes.
fn entry(command: Command) -> Entry {
    let stamp = Stamp {
        now_ns: 1_000_000_007,
        member: 0xabc,
        ticket: 300,
        incarnation: 5,
    };
    Entry { stamp: Some(stamp), command: Some(command), caller: None }
}

/// Returns commands for users, each with the bytes of its encoding after the stamp, in hexadecimal.
fn of_users() -> [(Command, &'static str); 2] {
    [
        (
            Command::Auth(auth::AuthCommand {
                operation: Some(auth::AuthOperation::UserAdd(auth::UserAdd {
                    name: "u".into(),
                    password: "h".into(),
                    no_password: true,
                })),
                ..auth::AuthCommand::default()
            }),
            "4a0a 2208 0a0175 120168 1801",
        ),
        (
            Command::Auth(auth::AuthCommand {
                operation: Some(auth::AuthOperation::Paths(
                    auth::path_permissions::PathAuthCommand {
                        operation: Some(auth::path_permissions::PathAuthOperation::UserCreate(
                            auth::path_permissions::UserCreate {
                                name: "u".into(),
                                password: "h".into(),
                                roles: vec!["r".into()],
                            },
                        )),
                    },
                )),
                ..auth::AuthCommand::default()
            }),
            "4a0d 6a0b 1a09 0a0175 120168 1a0172",
        ),
    ]
}

/// Returns commands for leases, with the bytes of their encodings as in [`of_users`].
fn of_leases() -> [(Command, &'static str); 4] {
    [
        (
            lease::LeaseGrant { id: 7, ttl_s: 60 }.into(),
            "420d 0a0b 090700000000000000 103c",
        ),
        (
            lease::LeaseRevoke { id: -1 }.into(),
            "420b 1209 09ffffffffffffffff",
        ),
        (
            lease::LeaseOperation::Expire(lease::LeaseExpire { ids: vec![7, 8] }).into(),
            "4214 1a12 0a10 0700000000000000 0800000000000000",
        ),
        (
            lease::LeaseCheckpoint { remaining: vec![lease::RemainingTtl { id: 7, seconds: 9 }] }
                .into(),
            "420f 220d 0a0b 090700000000000000 1009",
        ),
    ]
}

/// Version byte 01, then field 1 (the stamp), as in every entry below.
const STAMP: &str = "01\
    0a17088ea8d6b90711bc0a00000000000018ac022505000000";

/// Returns commands for the cluster, with the bytes of their encodings as in [`of_users`].
fn of_cluster() -> Vec<(Command, &'static str)> {
    vec![
        (
            Command::PeerUrls(UpdatePeerUrls { id: 7, peer_urls: vec!["u".into()] }),
            "3a0c090700000000000000 120175",
        ),
        (
            Command::Members(ChangeMembers {
                add: Some(Member {
                    id: 7,
                    peer_urls: vec!["u".into()],
                    learner: true,
                    ..Member::default()
                }),
                learners_max: 1,
                remove: 0,
                ..ChangeMembers::default()
            }),
            "5212 0a0e 090700000000000000 1a0175 2801 1001",
        ),
        (
            Command::Members(ChangeMembers { remove: 7, ..ChangeMembers::default() }),
            "5209 190700000000000000",
        ),
        (
            Command::ClusterVersion(ClusterVersion::of("3.6.0")),
            "2a070a05332e362e30",
        ),
        (
            Command::ClusterVersion(ClusterVersion { level: 2, ..ClusterVersion::default() }),
            "2a021002",
        ),
        (
            Command::Downgrade(Downgrade { target: "3.5.0".into() }),
            "5a070a05332e352e30",
        ),
    ]
}

#[test]
fn entries_keep_their_bytes() {
    let put = kv::Put {
        key: "k".into(),
        value: "v".into(),
        lease: 9,
        ..kv::Put::default()
    };
    let set = witan_tree::Set {
        path: "/a".into(),
        value: "x".into(),
        expires_ns: Some(-2),
        ..witan_tree::Set::default()
    };
    let publish = PublishAttributes {
        id: 7,
        name: "m".into(),
        client_urls: vec!["u".into()],
        store_id: 9,
        store_ancestors: vec![8],
    };
    let cases = [
        (put.into(), "120a0a080a016b120176 1809"),
        (
            witan_tree::TreeOperation::Set(set).into(),
            "1a0b0a090a022f61120178 2003",
        ),
        (
            Command::Publish(publish),
            "2222090700000000000000 12016d 1a0175 210900000000000000 2a080800000000000000",
        ),
        (
            Command::Alarm(alarm::AlarmCommand {
                action: alarm::AlarmAction::Deactivate as i32,
                member: 7,
                kind: alarm::AlarmType::NoSpace as i32,
            }),
            "320d 0801 110700000000000000 1801",
        ),
    ];
    for (command, golden) in cases
        .into_iter()
        .chain(of_users())
        .chain(of_leases())
        .chain(of_cluster())
    {
        let entry = entry(command);
        let bytes = encode_entry(&entry);
        assert_eq!(
            hex(&bytes),
            format!("{STAMP}{golden}").replace(' ', ""),
            "{entry:?}"
        );
        assert_eq!(decode_entry(&Bytes::from(bytes)), Ok(entry));
    }
}

#[test]
fn the_caller_follows_the_command() {
    let entry = Entry {
        caller: Some(auth::Caller { user: "u".into(), revision: 3 }),
        ..entry(Command::Auth(auth::AuthCommand::default()))
    };
    let bytes = encode_entry(&entry);
    assert_eq!(
        hex(&bytes),
        format!("{STAMP}4a00 62050a01751003").replace(' ', "")
    );
    assert_eq!(decode_entry(&Bytes::from(bytes)), Ok(entry));
}

/// A decoder keeps unknown values of enums, so re-encoding does not reveal them.
#[test]
fn an_entry_with_an_unknown_value_is_unknown() {
    let alarm = |kind| Command::Alarm(alarm::AlarmCommand { kind, ..Default::default() });
    let compare = |result| {
        let compare = vec![kv::Compare { result, ..kv::Compare::default() }];
        Command::from(kv::KvOperation::Txn(kv::Txn {
            compare,
            ..kv::Txn::default()
        }))
    };
    for (number, is_known) in [(1, true), (99, false)] {
        for command in [alarm(number), compare(number)] {
            let bytes = Bytes::from(encode_entry(&entry(command)));
            let decoded = decode_entry(&bytes);
            match is_known {
                true => assert!(decoded.is_ok(), "{decoded:?}"),
                false => assert_eq!(decoded, Err(EntryError::Unknown)),
            }
        }
    }
}

#[test]
fn an_unknown_version_and_a_torn_entry_differ_from_an_empty_entry() {
    assert_eq!(decode_entry(&Bytes::new()), Ok(Entry::default()));
    for newer in [
        // Parts that this release does not know: a version, a command, a field of the stamp, a v3 operation.
        [2, 0].as_slice(),
        &[1, 0x82, 0x06, 0],
        &[1, 0x0a, 2, 0x48, 1],
        &[1, 0x12, 3, 0xf2, 0x07, 0],
    ] {
        let decoded = decode_entry(&Bytes::copy_from_slice(newer));
        assert_eq!(decoded, Err(EntryError::Unknown), "{newer:?}");
    }
    let torn = decode_entry(&Bytes::from_static(&[1, 0x0a, 0x17]));
    assert!(matches!(torn, Err(EntryError::Corrupt(_))));
}

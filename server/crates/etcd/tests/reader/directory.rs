//! Reads intact data directories as etcd leaves them.

use std::fs::{self, File};

use super::builder::{
    Directory, OWNER, commit, first_segment, normal, positions, put, wal_snapshot,
};
use bytes::Bytes;
use prost::Message as _;
use witan_etcd::{
    ConfChange, ConfChangeKind, ConfState, EntryPayload, EtcdError, MemberContext, RequestV2,
    SegmentEncoder,
    raft_messages::{RaftEntry, RaftEntryKind},
};

#[test]
fn later_entries_replace_earlier_ones() {
    let mut segment = first_segment();
    for index in 1..=5 {
        segment.entry(&put(index, 1, 20));
    }
    segment.state(&commit(1, 2));
    segment.entry(&put(3, 2, 20));
    segment.entry(&put(4, 2, 20));
    segment.state(&commit(2, 3));
    let directory = Directory::new(3);
    directory.segment(0, 0, segment.bytes());
    let read = directory.open().unwrap();
    assert_eq!(positions(&read), [(1, 1), (2, 1), (3, 2), (4, 2)]);
    assert_eq!(
        (read.member_id, read.cluster_id),
        (OWNER.member_id, OWNER.cluster_id)
    );
    assert_eq!(read.hard_state, commit(2, 3));
    assert_eq!((read.snapshot, read.torn_bytes), (None, 0));
}

#[test]
fn the_newest_intact_committed_snapshot_is_used() {
    let mut first = first_segment();
    for index in 1..=4 {
        first.entry(&put(index, 1, 20));
    }
    first.snapshot(&wal_snapshot(2, 1));
    let mut second = SegmentEncoder::new(first.crc(), OWNER);
    second.entry(&put(5, 1, 20));
    second.snapshot(&wal_snapshot(4, 1));
    second.snapshot(&wal_snapshot(5, 1));
    second.state(&commit(1, 4));
    let directory = Directory::new(4);
    directory.segment(0, 0, first.bytes());
    directory.segment(1, 5, second.bytes());
    fs::write(directory.wal().join("1.tmp"), "x").unwrap();
    fs::write(
        directory
            .wal()
            .join("0000000000000007-0000000000000009.wal.broken"),
        "x",
    )
    .unwrap();
    let read = |expected: Option<u64>| {
        let read = directory.open().unwrap();
        assert_eq!(
            read.snapshot.as_ref().map(|snapshot| snapshot.index),
            expected
        );
        assert_eq!(
            read.entries.first().map(|entry| entry.index),
            Some(expected.unwrap_or(0) + 1)
        );
        assert_eq!(read.entries.last().map(|entry| entry.index), Some(5));
        read.snapshot
    };
    read(None);
    // The snapshot at entry 5 is not committed, and the log does not refer to a snapshot at entry 3.
    directory.snapshot(5, 1);
    directory.snapshot(3, 1);
    read(None);
    directory.snapshot(2, 1);
    read(Some(2));
    let newest = directory.snapshot(4, 1);
    let snapshot = read(Some(4)).unwrap();
    let conf_state = ConfState { voters: vec![OWNER.member_id], ..ConfState::default() };
    assert_eq!(
        (snapshot.term, snapshot.conf_state, snapshot.data),
        (1, conf_state, Bytes::from("{}"))
    );
    let mut bytes = fs::read(&newest).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&newest, bytes).unwrap();
    read(Some(2));
}

#[test]
fn the_log_can_be_in_another_directory() {
    let directory = Directory::new(0);
    directory.segment(0, 0, first_segment().bytes());
    let elsewhere = directory.root.join("elsewhere");
    fs::rename(directory.wal(), &elsewhere).unwrap();
    directory.refuses("--wal-dir");
    let read = witan_etcd::open(&directory.root, Some(&elsewhere)).unwrap();
    assert_eq!(read.member_id, OWNER.member_id);
}

#[test]
fn the_directory_of_a_running_etcd_is_refused() {
    let directory = Directory::new(0);
    directory.segment(0, 0, first_segment().bytes());
    let held = File::open(directory.snap().join("db")).unwrap();
    held.try_lock().unwrap();
    assert!(matches!(directory.open(), Err(EtcdError::Running { .. })));
    drop(held);
    directory.open().unwrap();
    let missing = witan_etcd::open(&directory.root.join("member"), None);
    assert!(matches!(missing, Err(EtcdError::NoData { .. })));
}

#[test]
fn backend_metadata_is_read() {
    let directory = Directory::new(0);
    directory.segment(0, 0, first_segment().bytes());
    let member = br#"{"id":161,"peerURLs":["http://a:1"],"name":"a","clientURLs":null}"#;
    let learner = br#"{"id":178,"peerURLs":["http://b:1"],"isLearner":true}"#;
    directory.backend(
        "db",
        &[
            (
                "cluster",
                &[
                    ("clusterVersion", b"3.6.0"),
                    ("downgrade", br#"{"target-version":"3.5.0","enabled":true}"#),
                ],
            ),
            ("key", &[]),
            ("members", &[("a1", member), ("b2", learner)]),
            ("members_removed", &[("c3", b"removed")]),
            (
                "meta",
                &[
                    ("consistent_index", &7_u64.to_be_bytes()),
                    ("storageVersion", b"3.6.0"),
                    ("term", &3_u64.to_be_bytes()),
                ],
            ),
        ],
    );
    let meta = directory.open().unwrap().backend;
    assert_eq!(
        (meta.consistent_index, meta.term, meta.removed),
        (7, 3, vec![0xc3])
    );
    assert_eq!(meta.cluster_version.as_deref(), Some("3.6.0"));
    assert_eq!(meta.storage_version.as_deref(), Some("3.6.0"));
    assert_eq!(
        meta.downgrade
            .map(|asked| (asked.target_version, asked.enabled)),
        Some(("3.5.0".into(), true))
    );
    let members: Vec<_> = meta
        .members
        .iter()
        .map(|member| (&member.name[..], member.is_learner))
        .collect();
    assert_eq!(members, [("a", false), ("", true)]);
    directory.backend("db", &[("members", &[("a2", member)])]);
    directory.refuses("bucket members, key a2: its value belongs to another member");
}

/// The member stopped while it installed the leader's snapshot.
#[test]
fn the_backend_received_with_a_snapshot_is_used() {
    let mut segment = first_segment();
    segment.snapshot(&wal_snapshot(9, 2));
    segment.state(&commit(2, 9));
    let directory = Directory::new(3);
    directory.segment(0, 0, segment.bytes());
    directory.snapshot(9, 2);
    assert!(matches!(
        directory.open(),
        Err(EtcdError::BackendTooOld { index: 3, snapshot: 9, .. })
    ));
    let index = 9_u64.to_be_bytes();
    directory.backend(
        "0000000000000009.snap.db",
        &[("meta", &[("consistent_index", &index)])],
    );
    let read = directory.open().unwrap();
    assert_eq!((read.backend.consistent_index, read.entries), (9, vec![]));
    assert!(read.backend.path.ends_with("0000000000000009.snap.db"));
}

#[test]
fn requests_for_keys_that_the_backend_contains_are_read_without_data() {
    let mut segment = first_segment();
    for index in 1..=3 {
        segment.entry(&put(index, 1, 20));
    }
    segment.state(&commit(1, 3));
    let directory = Directory::new(2);
    directory.segment(0, 0, segment.bytes());
    let entries = directory.open().unwrap().entries;
    let is_empty = entries
        .iter()
        .map(|entry| entry.payload == EntryPayload::Empty);
    assert_eq!(is_empty.collect::<Vec<_>>(), [true, true, false]);
}

/// Returns the payload that the reader decodes from a log with this entry.
fn payload(entry: &RaftEntry) -> Result<EntryPayload, String> {
    let mut segment = first_segment();
    segment.entry(entry);
    let directory = Directory::new(0);
    directory.segment(0, 0, segment.bytes());
    let mut read = directory.open().map_err(|error| error.to_string())?;
    Ok(read.entries.remove(0).payload)
}

#[test]
fn entries_are_decoded_as_in_etcd() {
    assert_eq!(payload(&normal(1, 1, Vec::new())), Ok(EntryPayload::Empty));
    let Ok(EntryPayload::Request(request)) = payload(&put(1, 1, 3)) else {
        panic!("a put")
    };
    assert_eq!(request.put.unwrap().value, "vvv");
    let context = br#"{"id":178,"peerURLs":["http://b:1"],"isLearner":true,"isPromote":true}"#;
    let change = ConfChange {
        id: 5,
        kind: ConfChangeKind::AddNode as i32,
        node_id: 178,
        context: Bytes::from_static(context),
    };
    let mut entry = normal(1, 1, change.encode_to_vec());
    entry.kind = RaftEntryKind::ConfChange as i32;
    assert_eq!(
        payload(&entry),
        Ok(EntryPayload::ConfChange(change.clone()))
    );
    let context = MemberContext::parse(&change.context).unwrap();
    assert!(context.is_promote && context.member.is_learner && context.member.id == 178);
    entry.kind = 3;
    assert!(
        payload(&entry)
            .unwrap_err()
            .contains("entry 1 of the log cannot be decoded: it has the unknown type 3")
    );
}

/// etcd 3.4 encodes all fields of a v2 request, even default values.
#[test]
fn v2_requests_are_distinguished_from_v3_requests() {
    let golden = b"\x08\x07\x12\x04POST\x1a\x04/1/x\x22\x01v\x28\x00\x32\x00\x38\x00\x48\x00\x50\x00\x58\x00\x60\x00\x68\x00\x70\x00\x78\x00\x80\x01\x00\x88\x01\x01";
    let expected = RequestV2 {
        id: 7,
        method: "POST".into(),
        path: "/1/x".into(),
        val: "v".into(),
        refresh: Some(true),
        ..RequestV2::default()
    };
    let read = payload(&normal(1, 1, golden.to_vec()));
    assert_eq!(
        read,
        Ok(EntryPayload::RequestV2(Box::new(expected.clone())))
    );
    let inside = [&[0x12, golden.len() as u8], &golden[..]].concat();
    assert_eq!(
        payload(&normal(1, 1, inside)),
        Ok(EntryPayload::RequestV2(Box::new(expected)))
    );
}

#[test]
fn requests_of_a_later_release_are_refused() {
    for (data, what) in [
        (
            &b"\x08\x01\xca\x5d\x00"[..],
            "of an unknown kind (field 1497)",
        ),
        (b"\x08\x01", "it contains no request"),
        (b"\xff", "neither a v3 request nor a v2 request"),
    ] {
        let error = payload(&normal(1, 1, data.to_vec())).unwrap_err();
        assert!(
            error.contains("entry 1 of") && error.contains(what),
            "{error}"
        );
    }
}

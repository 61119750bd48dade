//! Tests that damaged segments are refused and that segments follow each other without gaps.

use super::*;
use crate::v3::mvccpb::KeyValue;

fn id(first: i64, number: u32) -> SegmentId {
    SegmentId { generation: 1_000, first, number }
}

/// Returns a segment of cluster 7 with a change of the key `k` at each revision. Each list of revisions is a group.
fn segment(groups: &[&[i64]]) -> Segment {
    let event = |mod_revision: &i64| Event {
        kv: Some(KeyValue {
            key: "k".into(),
            mod_revision: *mod_revision,
            ..KeyValue::default()
        }),
        ..Event::default()
    };
    let groups = groups
        .iter()
        .map(|revisions| ChangeGroup { time_ms: 5, events: revisions.iter().map(event).collect() });
    Segment {
        cluster_id: 7,
        groups: groups.collect(),
        ..Segment::default()
    }
}

#[test]
fn names_sort_in_the_order_of_the_log() {
    let ordered = [
        id(9, 0),
        id(9, 1),
        id(10, 0),
        SegmentId { generation: 1_001, ..id(2, 0) },
    ];
    for pair in ordered.windows(2) {
        assert!(pair[0] < pair[1] && pair[0].file_name() < pair[1].file_name());
    }
    for known in ordered {
        assert_eq!(SegmentId::parse(&known.file_name()), Some(known));
    }
    let wrong = [
        "",
        "1-2-3.events",
        "1000-9-0.events",
        &id(0, 2).file_name(),
        &id(3, 0).file_name().replace("3-0", "3-9999999999"),
        &SegmentId { generation: 0, ..id(3, 0) }.file_name(),
        &id(3, 0).file_name().replace("events", "gap"),
    ];
    for name in wrong {
        assert_eq!(SegmentId::parse(name), None, "{name}");
    }
}

#[test]
fn an_incomplete_or_changed_segment_is_refused() {
    let sound = segment(&[&[4, 4, 5], &[6]]);
    let bytes = encode(&sound);
    assert_eq!(decode(id(4, 0), &bytes), Ok(sound));
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert!(decode(id(4, 0), &flipped).is_err(), "byte {at}");
        assert!(decode(id(4, 0), &bytes[..at]).is_err(), "cut at {at}");
    }
    for wrong in [id(3, 0), id(5, 0), id(i64::MAX, 0)] {
        assert!(decode(wrong, &bytes).is_err(), "{wrong:?}");
    }
    let unordered: [&[&[i64]]; 6] = [
        &[&[4, 6]],
        &[&[4], &[4, 5, 6]],
        &[&[4], &[], &[5, 6]],
        &[&[4, 5], &[5, 6]],
        &[&[4, i64::MIN]],
        &[&[i64::MAX]],
    ];
    for groups in unordered {
        assert!(
            decode(id(4, 0), &encode(&segment(groups))).is_err(),
            "{groups:?}"
        );
    }
}

/// A program that does not know a format must not report its files as damaged.
#[test]
fn a_segment_of_another_version_is_not_reported_as_broken() {
    let mut bytes = encode(&segment(&[&[4]]));
    bytes[7] = b'2';
    let length = bytes.len() - DIGEST_BYTES;
    let digest = Sha256::digest(&bytes[..length]);
    bytes[length..].copy_from_slice(&digest);
    assert_eq!(decode(id(4, 0), &bytes), Err(Unreadable::Foreign('2')));
}

/// If the unknown part were ignored, the restored keys would differ from the keys of the cluster.
#[test]
fn a_part_of_a_later_release_is_refused() {
    let mut later = segment(&[&[4]]);
    later.groups[0].events[0].r#type = 7;
    assert_eq!(decode(id(4, 0), &encode(&later)), Err(Unreadable::Later));
    let mut bytes = encode(&segment(&[&[4]]));
    bytes.truncate(bytes.len() - DIGEST_BYTES);
    bytes.extend_from_slice(&[0xa0, 0x06, 0x01]);
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    let refused = decode(id(4, 0), &bytes);
    assert_eq!(refused, Err(Unreadable::Later));
    let text = Unreadable::Later.to_string();
    assert!(text.contains("read it with that release"), "{text}");
}

/// Encodes the segments of a log, each with the digest of the previous one.
fn log(segments: &[Segment]) -> Vec<(SegmentId, Vec<u8>)> {
    let (mut at, mut previous, mut log) = (id(4, 0), Bytes::new(), Vec::new());
    for segment in segments {
        let bytes = encode(&Segment { previous, ..segment.clone() });
        let next = at.next(segment);
        previous = digest(&bytes);
        log.push((at, bytes));
        at = next;
    }
    log
}

fn read(log: &[(SegmentId, Vec<u8>)]) -> Result<(), Unreadable> {
    let mut reader = LogReader::default();
    log.iter()
        .try_for_each(|(id, bytes)| reader.read(*id, bytes).map(drop))
}

#[test]
fn segments_follow_one_another() {
    let log = log(&[
        segment(&[&[4, 5]]),
        segment(&[]),
        segment(&[]),
        segment(&[&[6, 7, 8]]),
        segment(&[&[9]]),
    ]);
    let names: Vec<_> = log.iter().map(|(id, _)| (id.first, id.number)).collect();
    assert_eq!(names, [(4, 0), (6, 0), (6, 1), (6, 2), (9, 0)]);
    assert_eq!(read(&log), Ok(()));
    assert_eq!(read(&log[2..]), Ok(()), "the older segments are removed");
    for (lost, first, last) in [(1, 6, 6), (3, 6, 8)] {
        let mut holed = log.clone();
        holed.remove(lost);
        assert_eq!(read(&holed), Err(Unreadable::Missing { first, last }));
    }
}

/// Two processes, or two histories of one cluster, can write segments with the same revisions.
#[test]
fn a_segment_of_another_log_is_refused() {
    let mut mixed = log(&[segment(&[&[4, 5]]), segment(&[&[6]])]);
    let other = log(&[segment(&[&[4], &[5]]), segment(&[&[6]])]);
    mixed[1] = other[1].clone();
    assert!(matches!(read(&mixed), Err(Unreadable::Broken(_))));
    assert_eq!(read(&other), Ok(()));
}

#[test]
fn a_snapshot_belongs_to_the_generation_of_its_time() {
    let of = |generation| SegmentId { generation, ..id(3, 0) };
    let ids = [of(10), of(10), of(20)];
    for (time, generation) in [(9, 10), (10, 10), (19, 10), (20, 20), (99, 20)] {
        assert_eq!(generation_at(&ids, time), Some(generation), "{time}");
    }
    assert_eq!(generation_at(&[], 9), None);
}

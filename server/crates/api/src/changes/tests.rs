//! Segments are whole or refused, and their chain has no hole.

use super::*;
use crate::v3::mvccpb::KeyValue;

fn span(first: i64, last: i64) -> Span {
    Span { first, last, kind: SpanKind::Events }
}

fn gap(first: i64, last: i64) -> Span {
    Span { kind: SpanKind::Gap, ..span(first, last) }
}

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
    Segment { cluster_id: 7, groups: groups.collect(), leases: Vec::new() }
}

#[test]
fn names_are_in_the_order_of_revisions() {
    assert!(span(9, 9).file_name() < span(10, 11).file_name());
    for known in [span(2, 30), gap(2, 30)] {
        assert_eq!(Span::parse(&known.file_name()), Some(known));
    }
    let wrong = [
        "",
        "1-2.events",
        "covered.json",
        &span(3, 2).file_name(),
        &span(0, 2).file_name(),
    ];
    for name in wrong {
        assert_eq!(Span::parse(name), None, "{name}");
    }
}

#[test]
fn a_segment_is_whole_or_refused() {
    let sound = segment(&[&[4, 4, 5], &[6]]);
    let bytes = encode(&sound);
    assert_eq!(decode(span(4, 6), &bytes), Ok(sound));
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert!(decode(span(4, 6), &flipped).is_err(), "byte {at}");
        assert!(decode(span(4, 6), &bytes[..at]).is_err(), "cut at {at}");
    }
    for wrong in [span(4, 5), span(4, 7), span(3, 6), span(5, 6)] {
        assert!(decode(wrong, &bytes).is_err(), "{wrong:?}");
    }
    let unordered: [&[&[i64]]; 5] = [
        &[&[4, 6]],
        &[&[4], &[4, 5, 6]],
        &[&[4], &[], &[5, 6]],
        &[&[4, 5], &[5, 6]],
        &[],
    ];
    for groups in unordered {
        assert!(
            decode(span(4, 6), &encode(&segment(groups))).is_err(),
            "{groups:?}"
        );
    }
}

#[test]
fn segments_follow_a_snapshot() {
    let stored = [span(21, 30), span(1, 10), span(11, 20)];
    assert_eq!(
        chain(&stored, 10, i64::MAX),
        Ok(vec![span(11, 20), span(21, 30)])
    );
    assert_eq!(chain(&stored, 15, 20), Ok(vec![span(11, 20)]));
    assert_eq!(chain(&stored, 30, i64::MAX), Ok(Vec::new()));
    assert_eq!(chain(&stored, 40, 50), Ok(Vec::new()));
    let overlapping = [span(1, 10), span(1, 14), span(5, 8), span(12, 20)];
    assert_eq!(
        chain(&overlapping, 0, i64::MAX),
        Ok(vec![span(1, 14), span(12, 20)])
    );
    let nested = [span(1, 14), span(15, 15), span(3, 9), span(16, 17)];
    assert_eq!(
        chain(&nested, 0, i64::MAX),
        Ok(vec![span(1, 14), span(15, 15), span(16, 17)])
    );
}

#[test]
fn what_is_missing_is_named() {
    let stored = [span(1, 10), span(21, 30), gap(31, 40), span(41, 50)];
    let lost = Missing { first: 11, last: 20, is_gap: false };
    assert_eq!(chain(&stored, 0, i64::MAX), Err(lost));
    assert_eq!(chain(&stored, 0, 10), Ok(vec![span(1, 10)]));
    assert_eq!(chain(&stored, 0, 12), Err(Missing { last: 12, ..lost }));
    let known = Missing { first: 31, last: 40, is_gap: true };
    assert_eq!(chain(&stored, 25, i64::MAX), Err(known));
    assert_eq!(chain(&stored, 40, i64::MAX), Ok(vec![span(41, 50)]));
}

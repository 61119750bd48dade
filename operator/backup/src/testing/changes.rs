//! Segments for tests.

use witan_api::{
    changes::{ChangeGroup, Segment},
    v3::mvccpb::{Event, KeyValue},
};

/// Returns a segment. Each group is a time and its revisions.
pub(crate) fn segment(cluster_id: u64, groups: &[(i64, &[i64])]) -> Segment {
    let event = |mod_revision: &i64| Event {
        kv: Some(KeyValue {
            key: "k".into(),
            mod_revision: *mod_revision,
            ..KeyValue::default()
        }),
        ..Event::default()
    };
    let group = |(time_ms, revisions): &(i64, &[i64])| ChangeGroup {
        time_ms: *time_ms,
        events: revisions.iter().map(event).collect(),
    };
    Segment {
        cluster_id,
        groups: groups.iter().map(group).collect(),
        ..Segment::default()
    }
}

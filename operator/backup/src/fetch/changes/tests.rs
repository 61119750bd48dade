//! Changes are fetched up to a revision or a time, and only if it is certain that all of them are there.

use std::sync::Arc;

use object_store::memory::InMemory;
use witan_api::changes::SpanKind;

use super::*;
use crate::{
    changes::segments::Covered,
    testing::{TestFolder, changes::segment, record},
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// The backup has revision 12; of the revisions 11 to 20 two were received each 10 s, from second 100 on.
async fn segments() -> (Store, SegmentStore) {
    let store = Store::of_test(Arc::new(InMemory::new()));
    let segments = SegmentStore::of(&store, "cafe").unwrap();
    let groups: [(i64, &[i64]); 5] = [
        (100_000, &[11, 12]),
        (110_000, &[13, 14]),
        (120_000, &[15, 16]),
        (130_000, &[17, 18]),
        (140_000, &[19, 20]),
    ];
    for groups in [&groups[..2], &groups[2..]] {
        let bytes = changes::encode(&segment(0xcafe, groups));
        let (first, last) = (groups[0].1[0], groups[groups.len() - 1].1[1]);
        let span = Span { first, last, kind: SpanKind::Events };
        segments.put(span, bytes.into()).await.unwrap();
    }
    (store, segments)
}

fn span(first: i64, last: i64) -> Span {
    Span { first, last, kind: SpanKind::Events }
}

/// Fetches into a new folder; returns the target and the names of the segments.
async fn fetched(store: &Store, until: Until) -> Result<(Target, Vec<Span>), BackupError> {
    let folder = TestFolder::new("fetch-changes");
    let to = folder.path().join("changes");
    fetch(store, &record("first", 10), until, &to).await?;
    let target = serde_json::from_slice(&fs::read(to.join(TARGET)).unwrap()).unwrap();
    let names = fs::read_dir(&to)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut spans: Vec<_> = names
        .filter_map(|name| Span::parse(name.to_str()?))
        .collect();
    spans.sort_by_key(|span| span.first);
    Ok((target, spans))
}

async fn missing(store: &Store, until: Until, words: &str) {
    let error = fetched(store, until).await.unwrap_err();
    assert_eq!(error.reason, Reason::ChangesMissing);
    assert!(error.message.contains(words), "{error}");
}

#[tokio::test]
async fn changes_go_to_the_target() {
    let (store, _) = segments().await;
    let (all, first) = (vec![span(11, 14), span(15, 20)], vec![span(11, 14)]);
    let exact = |revision| Target { revision, at_least: false };
    let newest = Target { revision: 20, at_least: true };
    for (until, target, spans) in [
        (Until::Newest, newest, all.clone()),
        (Until::Revision(20), exact(20), all.clone()),
        (Until::Revision(15), exact(15), all.clone()),
        (Until::Revision(14), exact(14), first.clone()),
        (Until::Revision(12), exact(12), Vec::new()),
        (Until::Time(at(139)), exact(18), all.clone()),
        (Until::Time(at(130)), exact(18), all),
        (Until::Time(at(119)), exact(14), first.clone()),
        // the snapshot has later ones than those that had come
        (Until::Time(at(99)), exact(12), Vec::new()),
    ] {
        assert_eq!(fetched(&store, until).await, Ok((target, spans)), "{until}");
    }
}

#[tokio::test]
async fn a_time_is_refused_until_it_is_known_what_was_there() {
    let (store, segments) = segments().await;
    missing(&store, Until::Revision(21), "the last revision is 20").await;
    missing(&store, Until::Time(at(150)), "--to-revision 20").await;
    let until = |revision, second| Covered { revision, time: at(second) };
    segments.put_covered(until(20, 149)).await.unwrap();
    missing(&store, Until::Time(at(150)), "1970-01-01T00:02:29Z").await;
    // it tells of a segment that is not there
    segments.put_covered(until(21, 150)).await.unwrap();
    missing(&store, Until::Time(at(150)), "the last revision is 20").await;
    segments.put_covered(until(20, 150)).await.unwrap();
    let (target, _) = fetched(&store, Until::Time(at(150))).await.unwrap();
    assert_eq!(target.revision, 20);
}

#[tokio::test]
async fn a_lost_or_broken_segment_is_refused() {
    let (store, segments) = segments().await;
    let bytes = changes::encode(&segment(0xcafe, &[(150_000, &[25, 26])]));
    segments.put(span(25, 26), bytes.into()).await.unwrap();
    missing(
        &store,
        Until::Newest,
        "revisions 21 to 24 are missing: a segment is lost",
    )
    .await;
    missing(&store, Until::Time(at(145)), "revisions 21 to 24").await;
    assert_eq!(
        fetched(&store, Until::Time(at(135)))
            .await
            .unwrap()
            .0
            .revision,
        18
    );
    let gap = Span { kind: SpanKind::Gap, ..span(21, 24) };
    segments.put(gap, Vec::new().into()).await.unwrap();
    missing(&store, Until::Newest, "compacted before they could be kept").await;
    segments
        .put(span(11, 14), vec![1; 100].into())
        .await
        .unwrap();
    let error = fetched(&store, Until::Revision(20)).await.unwrap_err();
    assert_eq!(error.reason, Reason::BackupBroken);
}

#[tokio::test]
async fn only_a_folder_of_changes_is_overwritten() {
    let (store, _) = segments().await;
    let (folder, record) = (TestFolder::new("fetch-again"), record("first", 10));
    for until in [Until::Newest, Until::Revision(13)] {
        fetch(&store, &record, until, folder.path()).await.unwrap();
    }
    assert!(!folder.path().join(span(15, 20).file_name()).exists());
    fs::write(folder.path().join("mine.txt"), "").unwrap();
    let error = fetch(&store, &record, Until::Newest, folder.path())
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::LocalDisk);
    assert!(folder.path().join("mine.txt").exists());
}

#[test]
fn a_snapshot_is_not_later_than_the_target() {
    let record = record("first", 10);
    for (until, admits) in [
        (Until::Newest, true),
        (Until::Revision(12), true),
        (Until::Revision(11), false),
        (Until::Time(at(10)), true),
        (Until::Time(at(9)), false),
    ] {
        assert_eq!(until.admits(&record), admits, "{until}");
    }
}

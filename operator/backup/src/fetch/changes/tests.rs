//! Tests that changes are fetched up to a revision or a time, and only if all changes up to that point are stored.

use bytes::Bytes;

use super::*;
use crate::testing::{TestFolder, changes::segment, memory_store, record};

const FIRST: i64 = 1_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn id(first: i64) -> SegmentId {
    SegmentId { generation: FIRST, first, number: 0 }
}

/// Stores consecutive segments of a generation, starting with `begin`.
async fn append(store: &SegmentStore, begin: SegmentId, log: &[Segment]) {
    let (mut at, mut previous) = (begin, Bytes::new());
    for segment in log {
        let bytes = Bytes::from(changes::encode(&Segment { previous, ..segment.clone() }));
        store.append(at, bytes.clone()).await.unwrap();
        (at, previous) = (at.next(segment), changes::digest(&bytes));
    }
}

/// Returns a log of the revisions 11 to 20. Two revisions were received every 10 s from second 100.
fn log() -> [Segment; 2] {
    [
        segment(0xcafe, &[(100_000, &[11, 12]), (110_000, &[13, 14])]),
        segment(
            0xcafe,
            &[
                (120_000, &[15, 16]),
                (130_000, &[17, 18]),
                (140_000, &[19, 20]),
            ],
        ),
    ]
}

async fn segments() -> (Store, SegmentStore) {
    stored(id(11), &log()).await
}

async fn stored(begin: SegmentId, log: &[Segment]) -> (Store, SegmentStore) {
    let store = memory_store();
    let segments = SegmentStore::of(&store, "cafe").unwrap();
    append(&segments, begin, log).await;
    (store, segments)
}

/// Returns a backup at revision 12 of that log, started at `second`.
fn backup(second: i64) -> BackupRecord {
    let revision_digest = digest_of(&log()[0].groups, 12).map(|found| found.digest);
    BackupRecord { revision_digest, ..record("first", second) }
}

fn quiet(covered_s: i64) -> Segment {
    Segment { covered_ms: covered_s * 1000, ..segment(0xcafe, &[]) }
}

/// Fetches into a new directory. Returns the target and the segments.
async fn fetched(store: &Store, until: Until) -> Result<(Target, Vec<SegmentId>), BackupError> {
    fetched_after(store, &backup(10), until).await
}

/// Like [`fetched`], but after the backup `record`.
async fn fetched_after(
    store: &Store,
    record: &BackupRecord,
    until: Until,
) -> Result<(Target, Vec<SegmentId>), BackupError> {
    let folder = TestFolder::new("fetch-changes");
    let to = folder.path().join("changes");
    fetch(store, record, until, &to).await?;
    let target = serde_json::from_slice(&fs::read(to.join(TARGET)).unwrap()).unwrap();
    let names = fs::read_dir(&to)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut ids: Vec<_> = names
        .filter_map(|name| SegmentId::parse(name.to_str()?))
        .collect();
    ids.sort_unstable();
    Ok((target, ids))
}

async fn missing(store: &Store, until: Until, words: &str) {
    let error = fetched(store, until).await.unwrap_err();
    assert_eq!(error.reason, Reason::ChangesMissing);
    assert!(error.message.contains(words), "{error}");
}

#[tokio::test]
async fn changes_are_fetched_up_to_the_target() {
    let (store, _) = segments().await;
    let (all, first) = (vec![id(11), id(15)], vec![id(11)]);
    let exact = |revision| Target { revision, at_least: false };
    let newest = Target { revision: 20, at_least: true };
    for (until, target, ids) in [
        (Until::Newest, newest, all.clone()),
        (Until::Revision(20), exact(20), all.clone()),
        (Until::Revision(15), exact(15), all.clone()),
        (Until::Revision(14), exact(14), first.clone()),
        (Until::Revision(12), exact(12), Vec::new()),
        (Until::Time(at(139)), exact(18), all.clone()),
        (Until::Time(at(130)), exact(18), all.clone()),
        (Until::Time(at(119)), exact(14), all),
        // The snapshot has later revisions than the cluster had at that time.
        (Until::Time(at(99)), exact(12), first),
    ] {
        assert_eq!(fetched(&store, until).await, Ok((target, ids)), "{until}");
    }
}

/// The members of a new cluster fetch one after the other and must start from the same revision.
#[tokio::test]
async fn a_time_is_refused_until_its_state_is_certain() {
    let [first, second] = log();
    let more = segment(0xcafe, &[(150_001, &[21])]);
    let whole = [first, second, quiet(149), quiet(150), more];
    let (store, _) = stored(id(11), &whole[..3]).await;
    missing(&store, Until::Revision(21), "the last revision is 20").await;
    missing(&store, Until::Time(at(150)), "--to-revision 20").await;
    missing(&store, Until::Time(at(150)), "1970-01-01T00:02:29Z").await;
    for length in [4, 5] {
        let (store, _) = stored(id(11), &whole[..length]).await;
        let (target, _) = fetched(&store, Until::Time(at(150))).await.unwrap();
        assert_eq!(target.revision, 20);
    }
}

#[tokio::test]
async fn a_lost_or_broken_segment_is_refused() {
    let (store, segments) = segments().await;
    let later = changes::encode(&segment(0xcafe, &[(150_000, &[25, 26])]));
    segments.append(id(25), later.into()).await.unwrap();
    missing(
        &store,
        Until::Newest,
        "revisions 21 to 24 are missing: an earlier segment",
    )
    .await;
    missing(&store, Until::Time(at(145)), "revisions 21 to 24").await;
    let (target, _) = fetched(&store, Until::Time(at(135))).await.unwrap();
    assert_eq!(target.revision, 18);
    let store = memory_store();
    let segments = SegmentStore::of(&store, "cafe").unwrap();
    segments.append(id(11), vec![1; 100].into()).await.unwrap();
    let error = fetched(&store, Until::Revision(20)).await.unwrap_err();
    assert_eq!(error.reason, Reason::BackupBroken);
}

/// The first segments were removed with their backups, and the remaining segments need a later backup.
#[tokio::test]
async fn changes_that_begin_later_are_refused() {
    let (store, _) = stored(id(15), &log()[1..]).await;
    for until in [Until::Newest, Until::Revision(16), Until::Time(at(125))] {
        missing(&store, until, "the changes start at revision 15").await;
    }
}

/// A lost quorum was recovered from a member that was behind, so its revisions from 15 on differ.
#[tokio::test]
async fn two_histories_are_never_mixed() {
    let (store, segments) = segments().await;
    let mut other = segment(0xcafe, &[(210_000, &[14, 15]), (220_000, &[16])]);
    for event in other.groups.iter_mut().flat_map(|group| &mut group.events) {
        event.kv.as_mut().unwrap().value = "other".into();
    }
    let generation = 200_000;
    let begin = SegmentId { generation, first: 14, number: 0 };
    append(&segments, begin, std::slice::from_ref(&other)).await;
    // The earlier generation can still be restored.
    let (target, ids) = fetched(&store, Until::Revision(19)).await.unwrap();
    assert_eq!((target.revision, ids), (19, vec![id(11), id(15)]));
    missing(
        &store,
        Until::Newest,
        "a backup that was started at 1970-01-01T00:03:20Z",
    )
    .await;
    missing(&store, Until::Revision(21), "the last revision is 20").await;
    missing(&store, Until::Time(at(215)), "the last revision is 20").await;
    // A backup that was started later can also be restored.
    let of = |revision, groups| BackupRecord {
        revision,
        revision_digest: digest_of(groups, revision).map(|found| found.digest),
        ..record("second", 200)
    };
    let own = of(14, &other.groups);
    let (target, ids) = fetched_after(&store, &own, Until::Newest).await.unwrap();
    assert_eq!((target.revision, ids), (16, vec![begin]));
    // The first backup contains the earlier history, because the switch was not known yet; the second has no digest.
    for wrong in [of(15, &log()[1].groups), of(15, &[])] {
        let error = fetched_after(&store, &wrong, Until::Newest)
            .await
            .unwrap_err();
        assert!(
            error.message.contains("have different histories"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_time_of_a_clock_that_was_ahead_is_refused() {
    let ahead = segment(0xcafe, &[(900_000, &[15, 16])]);
    let [first, _] = log();
    let (store, segments) = stored(id(11), &[first.clone(), ahead]).await;
    let begin = SegmentId { generation: 150_000, first: 16, number: 0 };
    append(
        &segments,
        begin,
        &[segment(0xcafe, &[(160_000, &[16, 17])])],
    )
    .await;
    missing(&store, Until::Time(at(120)), "was ahead").await;
    let (target, _) = fetched(&store, Until::Time(at(105))).await.unwrap();
    assert_eq!(target.revision, 12);
    // Without a later generation, the current time decides.
    let far = Timestamp::now().as_millisecond() + 60_000;
    let ahead = segment(0xcafe, &[(far, &[15, 16])]);
    let (store, _) = stored(id(11), &[first.clone(), ahead]).await;
    missing(&store, Until::Time(at(120)), "was ahead").await;
    // Times that go back are refused.
    let (store, _) = stored(id(11), &[first, segment(0xcafe, &[(105_000, &[15])])]).await;
    let error = fetched(&store, Until::Time(at(120))).await.unwrap_err();
    assert!(error.message.contains("earlier times"), "{error}");
}

#[tokio::test]
async fn only_a_folder_of_changes_is_overwritten() {
    let (store, _) = segments().await;
    let (folder, record) = (TestFolder::new("fetch-again"), backup(10));
    for until in [Until::Newest, Until::Revision(13)] {
        fetch(&store, &record, until, folder.path()).await.unwrap();
    }
    assert!(!folder.path().join(id(15).file_name()).exists());
    fs::write(folder.path().join("mine.txt"), "").unwrap();
    let error = fetch(&store, &record, Until::Newest, folder.path())
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::LocalDisk);
    assert!(error.message.contains("mine.txt"), "{error}");
    let files = || fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files(), 3, "a segment, the target and the other file");
    fs::remove_file(folder.path().join("mine.txt")).unwrap();
    prepare_folder(folder.path()).unwrap();
    assert_eq!(files(), 0);
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

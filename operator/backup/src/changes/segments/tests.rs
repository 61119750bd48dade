//! Tests that a segment is written once, read unchanged, and kept while a snapshot needs it.

use witan_api::changes::LogReader;

use super::*;
use crate::testing::{TestFolder, changes::segment, memory_store};

fn id(first: i64) -> SegmentId {
    SegmentId { generation: 1_000, first, number: 0 }
}

fn bytes(cluster_id: u64, revisions: &[i64]) -> Bytes {
    changes::encode(&segment(cluster_id, &[(5, revisions)])).into()
}

fn memory() -> SegmentStore {
    SegmentStore::of(&memory_store(), "7").unwrap()
}

#[tokio::test]
async fn each_cluster_has_its_segments() {
    let folder = TestFolder::new("segments");
    let at = format!("file://{}/deep", folder.path().display())
        .parse()
        .unwrap();
    let on_disk = Store::create(&at, &crate::command::S3Flags::default()).unwrap();
    for store in [memory_store(), on_disk] {
        let (segments, other) = (
            SegmentStore::of(&store, "7").unwrap(),
            SegmentStore::of(&store, "8").unwrap(),
        );
        assert!(segments.ids().await.unwrap().is_empty());
        segments.append(id(3), bytes(7, &[3])).await.unwrap();
        segments.append(id(2), bytes(7, &[2])).await.unwrap();
        assert_eq!(segments.ids().await.unwrap(), [id(2), id(3)]);
        assert!(other.ids().await.unwrap().is_empty());
        assert!(
            store.files().await.unwrap().is_empty(),
            "no files of backups"
        );
        // A retry after a lost response succeeds; a write of another process fails.
        segments.append(id(3), bytes(7, &[3])).await.unwrap();
        let error = segments.append(id(3), bytes(7, &[3, 4])).await.unwrap_err();
        assert_eq!(error.reason, Reason::AlreadyExists, "{error}");
        let (read, stored) = segments.read(id(3), changes::decode).await.unwrap();
        assert_eq!((read.cluster_id, stored), (7, bytes(7, &[3])));
        segments.prune(&[(2_000, 3)]).await.unwrap();
        assert_eq!(segments.ids().await.unwrap(), [id(3)]);
    }
    assert!(SegmentStore::of(&memory_store(), "../7").is_err());
}

#[tokio::test]
async fn a_changed_segment_is_refused() {
    let mut flipped = bytes(7, &[2]).to_vec();
    flipped[20] ^= 1;
    let mut foreign = bytes(7, &[2]).to_vec();
    foreign[7] = b'2';
    for (wrong, reason) in [
        (flipped.into(), Reason::BackupBroken),
        (bytes(7, &[3]), Reason::BackupBroken),
        (bytes(8, &[2]), Reason::BackupBroken),
        (foreign.into(), Reason::ForeignFormat),
    ] {
        let segments = memory();
        segments.append(id(2), wrong).await.unwrap();
        let error = segments.read(id(2), changes::decode).await.unwrap_err();
        assert_eq!(error.reason, reason, "{error}");
    }
    let segments = memory();
    for first in [2, 4] {
        segments
            .append(id(first), bytes(7, &[first]))
            .await
            .unwrap();
    }
    let mut log = LogReader::default();
    segments
        .read(id(2), |id, bytes| log.read(id, bytes))
        .await
        .unwrap();
    let read = segments.read(id(4), |id, bytes| log.read(id, bytes));
    assert_eq!(read.await.unwrap_err().reason, Reason::ChangesMissing);
}

/// The generations 10 and 20 each have segments that begin with the revisions 2, 5 and 8.
#[test]
fn segments_stay_while_a_snapshot_needs_them() {
    let mut ids = Vec::new();
    for generation in [10, 20] {
        ids.extend([2, 5, 8].map(|first| SegmentId { generation, first, number: 0 }));
    }
    let removed = |kept: &[(i64, i64)]| {
        let unneeded = unneeded(&ids, kept);
        unneeded
            .into_iter()
            .map(|id| (id.generation, id.first))
            .collect::<Vec<_>>()
    };
    assert_eq!(removed(&[(11, 1), (22, 1)]), []);
    // The segment with the revision of the snapshot stays.
    assert_eq!(removed(&[(11, 8), (22, 1)]), [(10, 2), (10, 5)]);
    assert_eq!(removed(&[(11, 7), (12, 9), (22, 5)]), [(10, 2), (20, 2)]);
    // A generation without snapshots is deleted, unless it is the newest.
    assert_eq!(removed(&[(22, 1)]), [(10, 2), (10, 5), (10, 8)]);
    assert_eq!(removed(&[(11, 1)]), []);
}

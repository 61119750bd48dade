//! The segments of a cluster in a location: `changes/CLUSTER/FIRST-LAST.events`, and `covered.json` beside them.

use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use witan_api::changes::{self, Segment, Span};

use crate::{
    name,
    reason::{BackupError, Reason},
    store::Store,
};

/// The folder of all clusters.
const FOLDER: &str = "changes";
/// The file that tells how far the changes reach in quiet times.
const COVERED: &str = "covered.json";
/// A segment has some MiB, and one revision of any size; a larger file is none.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// All changes that were received until a time are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Covered {
    /// The last stored revision at least.
    pub(crate) revision: i64,
    /// The time.
    pub(crate) time: Timestamp,
}

/// The segments of a cluster.
#[derive(Debug)]
pub(crate) struct SegmentStore {
    store: Store,
    cluster_id: String,
}

impl SegmentStore {
    /// Returns the segments of a cluster, whose id is in hex.
    pub(crate) fn of(location: &Store, cluster_id: &str) -> Result<Self, BackupError> {
        name::check(cluster_id)?;
        let store = location.below(FOLDER).below(cluster_id);
        Ok(Self { store, cluster_id: cluster_id.to_owned() })
    }

    /// Deletes what killed processes have left.
    pub(crate) fn sweep(&self) {
        self.store.sweep("");
    }

    /// Returns the URL of a segment.
    pub(crate) fn url(&self, span: Span) -> String {
        self.store.url(&span.file_name())
    }

    /// Returns the URL of the folder.
    pub(crate) fn folder_url(&self) -> &str {
        self.store.folder_url()
    }

    /// Lists what is there, in the order of revisions.
    pub(crate) async fn spans(&self) -> Result<Vec<Span>, BackupError> {
        let files = self.store.files().await?;
        let mut spans: Vec<_> = files
            .iter()
            .filter_map(|file| Span::parse(&file.name))
            .collect();
        spans.sort_by_key(|span| (span.first, span.last));
        Ok(spans)
    }

    /// Stores a segment, or a gap without bytes.
    pub(crate) async fn put(&self, span: Span, bytes: Bytes) -> Result<(), BackupError> {
        self.store.put(&span.file_name(), bytes).await
    }

    /// Reads a segment and checks it; returns its bytes, too.
    pub(crate) async fn read(&self, span: Span) -> Result<(Segment, Vec<u8>), BackupError> {
        let file = span.file_name();
        let (length, mut pieces) = self.store.read(&file).await?;
        let broken = |why: &str| {
            let message = format!("{} is broken: {why}", self.url(span));
            BackupError::new(Reason::BackupBroken, message)
        };
        if length > SEGMENT_BYTES_MAX {
            return Err(broken("it is too large for a segment"));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.store.read_failed(&file, &error))?;
            bytes.extend_from_slice(&piece);
        }
        let segment = changes::decode(span, &bytes).map_err(|why| broken(&why))?;
        if format!("{:x}", segment.cluster_id) != self.cluster_id {
            return Err(broken(&format!(
                "it is of cluster {:x}",
                segment.cluster_id
            )));
        }
        Ok((segment, bytes))
    }

    /// Deletes a segment.
    pub(crate) async fn delete(&self, span: Span) -> Result<(), BackupError> {
        self.store.delete(&span.file_name()).await
    }

    /// Deletes what no snapshot needs whose revision is at least this one.
    pub(crate) async fn prune(&self, oldest: i64) -> Result<(), BackupError> {
        let spans = self.spans().await?;
        for span in spans.into_iter().filter(|span| span.last <= oldest) {
            self.delete(span).await?;
        }
        Ok(())
    }

    /// Returns until when the changes are stored; `None` if nothing tells it.
    pub(crate) async fn covered(&self) -> Result<Option<Covered>, BackupError> {
        let json = self.store.small_file(COVERED).await?;
        Ok(json.and_then(|json| serde_json::from_slice(&json).ok()))
    }

    /// Notes until when the changes are stored.
    pub(crate) async fn put_covered(&self, covered: Covered) -> Result<(), BackupError> {
        let json = serde_json::to_vec(&covered)
            .map_err(|error| BackupError::new(Reason::Internal, error.to_string()))?;
        self.store.put(COVERED, json.into()).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use witan_api::changes::SpanKind;

    use super::*;
    use crate::testing::{TestFolder, changes::segment};

    fn span(first: i64, last: i64) -> Span {
        Span { first, last, kind: SpanKind::Events }
    }

    async fn fill(segments: &SegmentStore) {
        for (first, last) in [(11, 12), (1, 10)] {
            let revisions: Vec<_> = (first..=last).collect();
            let bytes = changes::encode(&segment(7, &[(5, &revisions)]));
            segments.put(span(first, last), bytes.into()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn each_cluster_has_its_segments() {
        let folder = TestFolder::new("segments");
        let at = format!("file://{}/deep", folder.path().display())
            .parse()
            .unwrap();
        let on_disk = Store::create(&at, &crate::command::S3Flags::default()).unwrap();
        for store in [Store::of_test(Arc::new(InMemory::new())), on_disk] {
            let (segments, other) = (
                SegmentStore::of(&store, "7").unwrap(),
                SegmentStore::of(&store, "8").unwrap(),
            );
            assert!(segments.spans().await.unwrap().is_empty());
            fill(&segments).await;
            assert_eq!(segments.spans().await.unwrap(), [span(1, 10), span(11, 12)]);
            assert!(other.spans().await.unwrap().is_empty());
            assert!(
                store.files().await.unwrap().is_empty(),
                "no files of backups"
            );
            segments.prune(11).await.unwrap();
            assert_eq!(segments.spans().await.unwrap(), [span(11, 12)]);
            assert_eq!(segments.covered().await.unwrap(), None);
            let covered = Covered { revision: 12, time: Timestamp::from_second(9).unwrap() };
            segments.put_covered(covered).await.unwrap();
            assert_eq!(segments.covered().await.unwrap(), Some(covered));
        }
        assert!(SegmentStore::of(&Store::of_test(Arc::new(InMemory::new())), "../7").is_err());
    }

    #[tokio::test]
    async fn a_segment_that_is_not_what_was_written_is_refused() {
        let store = Store::of_test(Arc::new(InMemory::new()));
        let segments = SegmentStore::of(&store, "7").unwrap();
        fill(&segments).await;
        let (read, bytes) = segments.read(span(1, 10)).await.unwrap();
        assert_eq!(read.cluster_id, 7);
        let mut flipped = bytes.clone();
        flipped[20] ^= 1;
        let of_other = changes::encode(&segment(8, &[(5, &[11, 12])]));
        for wrong in [flipped, bytes, of_other] {
            segments.put(span(11, 12), wrong.into()).await.unwrap();
            let error = segments.read(span(11, 12)).await.unwrap_err();
            assert_eq!(error.reason, Reason::BackupBroken, "{error}");
        }
    }
}

//! The end of a cluster's log: the id of the next segment, and the digests that a member's history must match.

use bytes::Bytes;
use witan_api::changes::{self, ChangeGroup, Segment, SegmentId};

use super::{
    history::{RevisionDigest, digests},
    segments::SegmentStore,
};
use crate::reason::{BackupError, Reason};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) at: SegmentId,
    /// Digest of the last segment; empty before the first segment.
    pub(super) previous: Bytes,
    pub(super) digests: Vec<RevisionDigest>,
    pub(super) time_ms: i64,
}

impl Tail {
    /// Begins a generation whose first segment starts after revision `stored`.
    pub(super) fn begin(generation: i64, stored: i64) -> Self {
        let at = SegmentId { generation, first: stored + 1, number: 0 };
        Self { at, previous: Bytes::new(), digests: Vec::new(), time_ms: 0 }
    }

    /// Reads the end of the newest generation. Returns `None` if there is no generation, or if the end of the newest generation
    /// is damaged.
    pub(super) async fn read(
        segments: &SegmentStore,
        ids: &[SegmentId],
    ) -> Result<Option<Self>, BackupError> {
        let Some(last) = ids.last().copied() else {
            return Ok(None);
        };
        let mut tail = Self::begin(last.generation, last.first - 1);
        let before = ids.iter().rev();
        let before = before.filter(|id| id.generation == last.generation);
        // Many segments without changes may follow the last segment with changes.
        let before = before.copied().find(|id| id.first < last.first);
        for id in [before, Some(last)].into_iter().flatten() {
            match segments.read(id, changes::decode).await {
                Ok((segment, bytes)) => tail.push(id, &segment, &bytes),
                Err(error) if error.reason == Reason::BackupBroken => {
                    tracing::error!(%error, "the end of the stored changes is damaged");
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(tail))
    }

    /// Advances past the segment `id`, whose encoded form is `bytes`. Keeps the digests if the segment has no changes.
    pub(super) fn push(&mut self, id: SegmentId, segment: &Segment, bytes: &[u8]) {
        self.at = id.next(segment);
        self.previous = changes::digest(bytes);
        let received = segment.groups.last();
        let received = received.map_or(0, |group: &ChangeGroup| group.time_ms);
        self.time_ms = self.time_ms.max(received).max(segment.covered_ms);
        if !segment.groups.is_empty() {
            self.digests = digests(&segment.groups, self.stored());
        }
    }

    /// Returns the last stored revision.
    pub(super) fn stored(&self) -> i64 {
        self.at.first - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{changes::segment, memory_store};

    /// Stores the segments of a log that starts after revision 4. Returns the store and the end of the log.
    async fn stored(log: &[Segment]) -> (SegmentStore, Tail) {
        let store = memory_store();
        let segments = SegmentStore::of(&store, "7").unwrap();
        let mut tail = Tail::begin(1_000, 4);
        for segment in log {
            let segment = Segment { previous: tail.previous.clone(), ..segment.clone() };
            let (at, bytes) = (tail.at, Bytes::from(changes::encode(&segment)));
            segments.append(at, bytes.clone()).await.unwrap();
            tail.push(at, &segment, &bytes);
        }
        (segments, tail)
    }

    #[tokio::test]
    async fn the_log_resumes_where_it_ended() {
        let quiet = |covered_ms| Segment { covered_ms, ..segment(7, &[]) };
        let log = [
            segment(7, &[(100, &[5, 6])]),
            segment(7, &[(200, &[7])]),
            quiet(300),
            quiet(400),
        ];
        for length in 1..=log.len() {
            let (segments, tail) = stored(&log[..length]).await;
            let ids = segments.ids().await.unwrap();
            let read = Tail::read(&segments, &ids).await.unwrap().unwrap();
            assert_eq!((read.at, &read.previous), (tail.at, &tail.previous));
            assert_eq!((read.digests, read.time_ms), (tail.digests, tail.time_ms));
        }
        let (segments, tail) = stored(&log).await;
        assert_eq!((tail.stored(), tail.at.number, tail.time_ms), (7, 2, 400));
        assert!(Tail::read(&segments, &[]).await.unwrap().is_none());
    }

    /// Reading the end of the log deletes neither a damaged segment nor a segment in another format.
    #[tokio::test]
    async fn a_damaged_segment_is_not_deleted() {
        let mut broken = changes::encode(&segment(7, &[(100, &[5])]));
        broken.truncate(50);
        let mut foreign = changes::encode(&segment(7, &[(100, &[5])]));
        foreign[7] = b'2';
        for (bytes, reason) in [(broken, None), (foreign, Some(Reason::ForeignFormat))] {
            let (segments, _) = stored(&[]).await;
            let at = Tail::begin(1_000, 4).at;
            segments.append(at, bytes.into()).await.unwrap();
            let ids = segments.ids().await.unwrap();
            let read = Tail::read(&segments, &ids).await;
            assert_eq!(read.map_err(|error| error.reason).err(), reason);
            assert_eq!(segments.ids().await.unwrap(), [at]);
        }
    }
}

//! The archive of one cluster, which stores received changes as segments.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use bytes::Bytes;
use jiff::Timestamp;
use witan_api::{
    changes::{self, GrantedLease, Segment},
    v3::etcdserverpb::WatchResponse,
};

use super::{feed::Feed, pending::Pending, segments::SegmentStore, tail::Tail};
use crate::{
    reason::{BackupError, Reason},
    store::Store,
};

/// How often, in milliseconds, a segment records that a cluster had no changes.
const QUIET_MS: i64 = 60_000;

/// Maximum number of milliseconds by which a stored time may be ahead of this clock. The clocks of two nodes should differ by
/// less.
const AHEAD_MS: i64 = 10_000;

/// Maximum number of leases whose TTL a segment already contains; when it is exceeded, all are forgotten and requested again.
const LEASES_KNOWN_MAX: usize = 100_000;

/// The cluster's last revision at a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastRevision {
    pub(super) revision: i64,
    pub(super) time_ms: i64,
}

/// The received changes of one cluster, and the end of its log.
pub(super) struct ClusterArchive {
    pub(super) cluster_id: u64,
    pub(super) segments: SegmentStore,
    pub(super) feed: Option<Feed>,
    pub(super) pending: Pending,
    /// The end of the log; `None` until the start of a generation's first segment is known.
    pub(super) tail: Option<Tail>,
    /// The newest generation in the store.
    pub(super) newest: Option<i64>,
    /// Whether the newest generation does not follow a backup of the cluster, so that its changes cannot be restored.
    pub(super) needs_backup: bool,
    /// Leases for the next segment, with their TTLs in seconds.
    leases: BTreeMap<i64, i64>,
    /// Leases whose TTLs a stored segment contains.
    known_leases: BTreeSet<i64>,
    /// Whether the store is known to refuse overwriting a segment.
    is_checked: bool,
    /// An encoded segment that is not stored yet.
    unsent: Option<(Segment, Bytes)>,
    /// The last revision that was read from the cluster; `None` once all changes up to it are stored.
    pub(super) last_revision: Option<LastRevision>,
    /// The Unix time in milliseconds up to which all changes are stored.
    pub(super) covered_ms: Option<i64>,
    /// The last time in the stored segments, as Unix time in milliseconds; 0 before the first segment of a generation.
    pub(super) noted_ms: i64,
}

impl ClusterArchive {
    /// Opens the archive of a cluster at the end of its log, and deletes abandoned partial files.
    pub(super) async fn of(location: &Store, cluster_id: u64) -> Result<Self, BackupError> {
        let segments = SegmentStore::of(location, &format!("{cluster_id:x}"))?;
        segments.store.sweep("");
        let ids = segments.ids().await?;
        let tail = Tail::read(&segments, &ids).await?;
        let mut archive = Self {
            cluster_id,
            segments,
            feed: None,
            pending: Pending::after(0, 0),
            tail: None,
            newest: ids.last().map(|id| id.generation),
            needs_backup: false,
            leases: BTreeMap::new(),
            known_leases: BTreeSet::new(),
            is_checked: false,
            unsent: None,
            last_revision: None,
            covered_ms: None,
            noted_ms: 0,
        };
        if let Some(tail) = tail {
            archive.resume_at(tail);
        }
        Ok(archive)
    }

    /// Continues the log at `tail` and drops pending changes.
    pub(super) fn resume_at(&mut self, tail: Tail) {
        tracing::info!(
            to = self.segments.store.folder_url,
            generation = tail.at.generation,
            stored = tail.stored(),
            "storing the changes after this revision"
        );
        self.pending = Pending::after(tail.stored(), tail.time_ms);
        self.noted_ms = tail.time_ms;
        (self.last_revision, self.tail) = (None, Some(tail));
    }

    /// Returns the last stored revision; 0 if the end of the log is unknown.
    pub(super) fn stored(&self) -> i64 {
        self.tail.as_ref().map_or(0, Tail::stored)
    }

    /// Returns whether new changes would get a time that is more than [`AHEAD_MS`] after `now_ms`.
    pub(super) fn is_ahead(&self, now_ms: i64) -> bool {
        self.pending.time_ms > now_ms + AHEAD_MS
    }

    /// Adds the changes of a watch message to the pending changes. Fails if the message is from another cluster, or if its
    /// revisions do not follow the last received revision.
    pub(super) fn add(&mut self, message: WatchResponse) -> Result<(), BackupError> {
        let refused = |why: String| Err(BackupError::new(Reason::SourceRefused, why));
        let answered = message.header.map_or(0, |header| header.cluster_id);
        if answered != self.cluster_id {
            return refused(format!(
                "the member that answered belongs to another cluster, {answered:x}"
            ));
        }
        let now_ms = Timestamp::now().as_millisecond();
        let added = self.pending.add(message.events, message.fragment, now_ms);
        added.or_else(|error| refused(format!("the watch returned events out of order: {error}")))
    }

    /// Closes the watch. Complete revisions stay pending; an incomplete revision is dropped, and the next watch receives it
    /// again.
    pub(super) fn close(&mut self) {
        self.feed = None;
        self.last_revision = None;
        self.pending.drop_incomplete();
    }

    /// Stores all complete revisions that were received. Without new revisions, records every [`QUIET_MS`] that nothing
    /// changed. After an error, the next call retries the same segment. The first call that stores a segment also checks that
    /// the store refuses to overwrite it.
    pub(super) async fn store_all(&mut self) -> Result<(), BackupError> {
        loop {
            if self.unsent.is_none() {
                self.learn_leases().await;
                self.unsent = self.take_segment();
            }
            let (Some((segment, bytes)), Some(tail)) = (&self.unsent, &mut self.tail) else {
                break;
            };
            let at = tail.at;
            self.segments.append(at, bytes.clone()).await?;
            if !self.is_checked {
                self.segments.check_refusal(at, bytes.clone()).await?;
                self.is_checked = true;
            }
            tail.push(at, segment, bytes);
            tracing::debug!(first = at.first, last = tail.stored(), "stored changes");
            self.noted_ms = tail.time_ms;
            self.newest = Some(at.generation);
            if segment.covered_ms > 0 {
                self.covered_ms = Some(segment.covered_ms);
            }
            self.unsent = None;
        }
        Ok(())
    }

    /// If a watch is open, reads the TTLs that the next segment needs. First forgets the known leases if there are more than
    /// [`LEASES_KNOWN_MAX`].
    async fn learn_leases(&mut self) {
        if self.known_leases.len() > LEASES_KNOWN_MAX {
            self.known_leases.clear();
        }
        let leases = self.leases_to_ask();
        let Some(feed) = &mut self.feed else {
            return;
        };
        for GrantedLease { id, ttl_s } in feed.granted(&leases).await {
            self.known_leases.insert(id);
            self.leases.insert(id, ttl_s);
        }
    }

    /// Returns the leases whose TTLs the next segment needs, new leases first. Includes known leases to which a new key is
    /// attached: keys are deleted with their lease, so the id may belong to a new lease.
    fn leases_to_ask(&self) -> Vec<i64> {
        let is_new = |id: &i64| !self.known_leases.contains(id);
        let leases = self.pending.leases();
        let wanted = leases.filter(|(id, creates)| *creates || is_new(id));
        let wanted: BTreeSet<_> = wanted.map(|(id, _)| id).collect();
        let (mut new, known): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_new);
        new.extend(known);
        new
    }

    /// Takes all complete pending revisions as one segment, with the time up to which it is complete. Returns `None` if the end
    /// of the log is unknown, or if no complete revision is pending and the last stored time is recent. Without changes, also
    /// advances `covered_ms`.
    fn take_segment(&mut self) -> Option<(Segment, Bytes)> {
        let tail = self.tail.as_ref()?;
        let groups = self.pending.take_complete();
        let last = groups.last().map_or(tail.stored(), |group| group.last());
        let covered = self.last_revision.take_if(|read| read.revision <= last);
        let covered_ms = covered.map_or(0, |read| read.time_ms);
        if covered_ms > 0 {
            if groups.is_empty() {
                self.covered_ms = Some(covered_ms);
            }
            // Later changes must not get a time that is already covered.
            self.pending.time_ms = self.pending.time_ms.max(covered_ms + 1);
        }
        if groups.is_empty() && covered_ms < self.noted_ms + QUIET_MS {
            return None;
        }
        let segment = Segment {
            cluster_id: self.cluster_id,
            groups,
            leases: mem::take(&mut self.leases)
                .into_iter()
                .map(|(id, ttl_s)| GrantedLease { id, ttl_s })
                .collect(),
            previous: tail.previous.clone(),
            covered_ms,
        };
        let bytes = changes::encode(&segment).into();
        Some((segment, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{changes::segment, memory_store};

    /// Returns an archive whose log ends with revision 5, received at `time_ms`.
    async fn archive(time_ms: i64) -> ClusterArchive {
        let store = memory_store();
        let mut archive = ClusterArchive::of(&store, 7).await.unwrap();
        archive.resume_at(Tail::begin(1_000, 4));
        let events = segment(7, &[(0, &[5])]).groups.remove(0).events;
        archive.pending.add(events, false, time_ms).unwrap();
        archive.store_all().await.unwrap();
        ClusterArchive::of(&store, 7).await.unwrap()
    }

    /// Returns the number of segments, the last stored revision, and `covered_ms`.
    async fn ends(archive: &ClusterArchive) -> (usize, i64, Option<i64>) {
        let segments = archive.segments.ids().await.unwrap().len();
        (segments, archive.stored(), archive.covered_ms)
    }

    #[tokio::test]
    async fn a_time_is_covered_when_its_changes_are_stored() {
        let mut archive = archive(2_000).await;
        assert_eq!(ends(&archive).await, (1, 5, None));
        let read = |revision, time_ms| Some(LastRevision { revision, time_ms });
        // Revision 6 has not arrived yet.
        archive.last_revision = read(6, 70_000);
        archive.store_all().await.unwrap();
        assert_eq!(ends(&archive).await, (1, 5, None));
        let events = segment(7, &[(0, &[6])]).groups.remove(0).events;
        archive.pending.add(events, false, 70_001).unwrap();
        archive.store_all().await.unwrap();
        assert_eq!(ends(&archive).await, (2, 6, Some(70_000)));
        // Quiet times are stored once a minute.
        archive.last_revision = read(6, 130_000);
        archive.store_all().await.unwrap();
        assert_eq!(ends(&archive).await, (2, 6, Some(130_000)));
        archive.last_revision = read(6, 130_001);
        archive.store_all().await.unwrap();
        assert_eq!(ends(&archive).await, (3, 6, Some(130_001)));
        // The time of later changes is after the covered time.
        assert_eq!(archive.pending.time_ms, 130_002);
    }

    /// The keys of the first lease with this id were deleted with it, and its TTL may have been different.
    #[tokio::test]
    async fn a_known_lease_is_requested_again_when_it_gets_a_new_key() {
        let mut archive = archive(2_000).await;
        archive.known_leases = [7, 8].into();
        let mut put = |revision, create_revision, lease| {
            let mut events = segment(7, &[(0, &[revision])]).groups.remove(0).events;
            let pair = events[0].kv.as_mut().unwrap();
            (pair.create_revision, pair.lease) = (create_revision, lease);
            archive.pending.add(events, false, 3_000).unwrap();
            archive.leases_to_ask()
        };
        assert_eq!(put(6, 2, 7), [0; 0], "its key is written again");
        assert_eq!(put(7, 7, 8), [8]);
        assert_eq!(put(8, 3, 9), [9, 8], "unknown leases come first");
        assert_eq!(put(9, 9, 0), [9, 8], "a key without a lease");
    }

    #[tokio::test]
    async fn a_stored_time_may_be_ahead_by_seconds() {
        let archive = archive(50_000).await;
        assert!(archive.is_ahead(50_000 - AHEAD_MS - 1));
        assert!(!archive.is_ahead(50_000 - AHEAD_MS));
    }
}

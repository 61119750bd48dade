//! The archive of one cluster: its changes on their way from a member to the segments.

use std::{collections::BTreeSet, mem};

use bytes::Bytes;
use jiff::Timestamp;
use witan_api::{
    changes::{self, GrantedLease, Segment, Span, SpanKind},
    v3::etcdserverpb::WatchResponse,
};

use super::{
    feed::Feed,
    pending::Pending,
    segments::{Covered, SegmentStore},
};
use crate::{
    inventory,
    reason::{BackupError, Reason},
    store::Store,
};

/// How often a quiet cluster is noted in the store, in milliseconds.
const QUIET_MS: i64 = 60_000;

/// Leases whose time is in a segment already. Beyond this number all are forgotten, and asked for again.
const LEASES_KNOWN_MAX: usize = 100_000;

/// The changes of one cluster that are received, and how far they are stored.
pub(super) struct ClusterArchive {
    pub(super) cluster_id: u64,
    pub(super) segments: SegmentStore,
    pub(super) feed: Option<Feed>,
    pub(super) pending: Pending,
    /// Leases that the next segment tells of.
    leases: Vec<GrantedLease>,
    /// Leases that a segment tells of.
    known_leases: BTreeSet<i64>,
    /// A segment that the store has not taken yet.
    unsent: Option<(Span, Bytes)>,
    /// The last stored revision.
    pub(super) stored: i64,
    /// The last revision of the cluster at a time, until it is stored.
    pub(super) asked: Option<Covered>,
    /// Until when changes are stored.
    pub(super) covered: Option<Covered>,
    /// When the store last got a segment or `covered.json`.
    noted_ms: i64,
}

impl ClusterArchive {
    /// Finds where to go on: behind the last stored revision, else behind the newest snapshot, else behind `revision`.
    pub(super) async fn of(
        location: &Store,
        cluster_id: u64,
        revision: i64,
    ) -> Result<Self, BackupError> {
        let hex = format!("{cluster_id:x}");
        let segments = SegmentStore::of(location, &hex)?;
        segments.sweep();
        let mut spans = segments.spans().await?;
        spans.sort_by_key(|span| span.last);
        let mut time_ms = segments
            .covered()
            .await?
            .map_or(0, |covered| covered.time.as_millisecond());
        let mut stored = None;
        while let Some(span) = spans.pop() {
            if span.kind == SpanKind::Events {
                match segments.read(span).await {
                    Ok((segment, _)) => {
                        let last = segment.groups.last();
                        time_ms = time_ms.max(last.map_or(0, |group| group.time_ms));
                    }
                    // the members may still have its changes
                    Err(error) if error.reason == Reason::BackupBroken => {
                        tracing::warn!(%error, "the last segment is stored again");
                        segments.delete(span).await?;
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            stored = Some(span.last);
            break;
        }
        let stored = match stored {
            Some(stored) => stored,
            None => {
                let mut records = inventory::complete(location).await?.into_iter();
                let newest = records.find(|record| record.cluster_id == hex);
                newest.map_or(revision, |record| record.revision)
            }
        };
        tracing::info!(
            to = segments.folder_url(),
            stored,
            "storing the changes behind this revision"
        );
        Ok(Self {
            cluster_id,
            segments,
            feed: None,
            pending: Pending::after(stored, time_ms),
            leases: Vec::new(),
            known_leases: BTreeSet::new(),
            unsent: None,
            stored,
            asked: None,
            covered: None,
            noted_ms: time_ms,
        })
    }

    /// Adds the changes of a message.
    pub(super) fn add(&mut self, message: WatchResponse) -> Result<(), BackupError> {
        let refused = |why: String| Err(BackupError::new(Reason::SourceRefused, why));
        let answered = message.header.map_or(0, |header| header.cluster_id);
        if answered != self.cluster_id {
            return refused(format!("a member of cluster {answered:x} answers"));
        }
        let now_ms = Timestamp::now().as_millisecond();
        match self.pending.add(message.events, message.fragment, now_ms) {
            Ok(()) => Ok(()),
            Err(error) => refused(format!("the watch is not in order: {error}")),
        }
    }

    /// Ends the watch.
    pub(super) fn close(&mut self) {
        self.feed = None;
        self.pending.drop_part();
    }

    /// Stores all whole revisions that were received.
    pub(super) async fn store_all(&mut self) -> Result<(), BackupError> {
        loop {
            if self.unsent.is_none() {
                self.learn_leases().await;
                self.unsent = self.cut();
            }
            let Some((span, bytes)) = &self.unsent else {
                break;
            };
            self.segments.put(*span, bytes.clone()).await?;
            tracing::debug!(first = span.first, last = span.last, "stored changes");
            self.stored = span.last;
            self.noted_ms = Timestamp::now().as_millisecond();
            self.unsent = None;
        }
        if let Some(asked) = self.asked.take_if(|asked| asked.revision <= self.stored) {
            let revision = self.stored;
            self.covered = Some(Covered { revision, ..asked });
            // a change that comes later is not of a time that is covered
            self.pending.not_before(asked.time.as_millisecond());
        }
        Ok(())
    }

    /// Asks for the times of leases that keys have got.
    async fn learn_leases(&mut self) {
        let Some(feed) = &mut self.feed else {
            return;
        };
        if self.known_leases.len() > LEASES_KNOWN_MAX {
            self.known_leases.clear();
        }
        let new: BTreeSet<_> = self.pending.leases().collect();
        let new: Vec<_> = new.difference(&self.known_leases).copied().collect();
        let granted = feed.granted(&new).await;
        self.known_leases
            .extend(granted.iter().map(|lease| lease.id));
        self.leases.extend(granted);
    }

    /// Makes a segment of all whole revisions; `None` if there are none.
    fn cut(&mut self) -> Option<(Span, Bytes)> {
        let groups = self.pending.take_whole();
        let last = groups.last()?.last();
        let span = Span { first: self.stored + 1, last, kind: SpanKind::Events };
        let leases = mem::take(&mut self.leases);
        let segment = Segment { cluster_id: self.cluster_id, groups, leases };
        Some((span, changes::encode(&segment).into()))
    }

    /// Notes in the store now and then that a quiet cluster has no changes.
    pub(super) async fn note(&mut self) -> Result<(), BackupError> {
        let due = |covered: &Covered| covered.time.as_millisecond() >= self.noted_ms + QUIET_MS;
        if let Some(covered) = self.covered.filter(due) {
            self.segments.put_covered(covered).await?;
            self.noted_ms = covered.time.as_millisecond();
        }
        Ok(())
    }

    /// Goes on behind a later revision.
    pub(super) fn go_on_behind(&mut self, revision: i64) {
        self.stored = self.stored.max(revision);
        self.pending.go_on_behind(self.stored);
        self.asked = None;
    }
}

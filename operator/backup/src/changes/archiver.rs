//! Brings the changes of a cluster from its members to its segments.

use std::future;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;
use witan_api::{
    changes::{Span, SpanKind},
    v3::etcdserverpb::WatchResponse,
};

use super::{
    archive::ClusterArchive,
    feed::{Feed, FeedEnd},
    segments::Covered,
    serve::ChangesStatus,
};
use crate::{
    inventory,
    members::Members,
    reason::{BackupError, Reason},
    retention::Retention,
    save,
    source::{self, Source as _},
    stop::Stop,
    store::Store,
};

/// Archives the changes of the cluster that the endpoints belong to.
pub(super) struct Archiver<'a> {
    members: &'a Members,
    location: &'a Store,
    stop: &'a Stop,
    tell: watch::Sender<ChangesStatus>,
    /// Number of failures: each turns to the next member.
    turn: usize,
    archive: Option<ClusterArchive>,
}

impl<'a> Archiver<'a> {
    pub(super) fn new(
        members: &'a Members,
        location: &'a Store,
        stop: &'a Stop,
        tell: watch::Sender<ChangesStatus>,
    ) -> Self {
        Self { members, location, stop, tell, turn: 0, archive: None }
    }

    /// Waits for the next message of the watch; forever if nothing can be received now. Loses nothing if it is dropped.
    pub(super) async fn next(&mut self) -> Result<WatchResponse, FeedEnd> {
        match &mut self.archive {
            Some(ClusterArchive { feed: Some(feed), pending, .. }) if !pending.is_full() => {
                feed.next().await
            }
            Some(_) | None => future::pending().await,
        }
    }

    /// Takes a message of the watch, or its end.
    pub(super) async fn take(
        &mut self,
        message: Result<WatchResponse, FeedEnd>,
    ) -> Result<(), BackupError> {
        let Some(archive) = &mut self.archive else {
            return Ok(());
        };
        let failure = match message {
            Ok(message) => archive.add(message).err(),
            Err(FeedEnd::Compacted(from)) => {
                archive.close();
                return self.bridge(from).await;
            }
            Err(FeedEnd::Failed(error)) => Some(error),
        };
        match failure {
            Some(error) => {
                archive.close();
                self.turn += 1;
                Err(error)
            }
            None if archive.pending.is_full() => self.store_all().await,
            None => Ok(()),
        }
    }

    /// Stores what was received, and looks whether the member is behind.
    pub(super) async fn look(&mut self) -> Result<(), BackupError> {
        // changes that are here are stored, whatever the members do
        self.store_all().await?;
        self.look_at_members().await?;
        // what is stored already may be all there is
        self.store_all().await?;
        self.tell.send_modify(|status| status.error = None);
        Ok(())
    }

    /// Opens the watch if there is none, and learns the cluster's last revision.
    async fn look_at_members(&mut self) -> Result<(), BackupError> {
        if self
            .archive
            .as_ref()
            .is_none_or(|archive| archive.feed.is_none())
        {
            self.open().await?;
        }
        let Some(ClusterArchive { feed: Some(feed), cluster_id, asked, .. }) = &mut self.archive
        else {
            return Ok(());
        };
        let time = Timestamp::now();
        match feed.revision().await {
            Ok((answered, revision)) if answered == *cluster_id => {
                asked.get_or_insert(Covered { revision, time });
                Ok(())
            }
            Ok((answered, _)) => {
                let message = format!(
                    "{} is a member of cluster {answered:x} now",
                    feed.endpoint()
                );
                self.archive = None;
                Err(BackupError::new(Reason::SourceRefused, message))
            }
            Err(error) => {
                self.turn += 1;
                if let Some(archive) = &mut self.archive {
                    archive.close();
                }
                Err(error)
            }
        }
    }

    /// Watches a member, behind what is stored or received of its cluster.
    async fn open(&mut self) -> Result<(), BackupError> {
        let members = source::in_order(self.members.survey().await)?;
        let member = &members[self.turn % members.len()];
        let known = self
            .archive
            .take_if(|archive| archive.cluster_id == member.cluster_id);
        let mut archive = match known {
            Some(archive) => archive,
            None => ClusterArchive::of(self.location, member.cluster_id, member.revision).await?,
        };
        let opened = Feed::open(self.members, &member.endpoint, archive.pending.last() + 1).await;
        let failed = opened.map(|feed| archive.feed = Some(feed)).err();
        self.archive = Some(archive);
        self.turn += usize::from(failed.is_some());
        failed.map_or(Ok(()), Err)
    }

    /// Stores all whole revisions that were received.
    pub(super) async fn store_all(&mut self) -> Result<(), BackupError> {
        let Some(archive) = &mut self.archive else {
            return Ok(());
        };
        archive.store_all().await?;
        archive.note().await?;
        let (cluster_id, revision) = (format!("{:x}", archive.cluster_id), archive.stored);
        let time = archive.covered.map(|covered| covered.time);
        self.tell.send_modify(|status| {
            (status.cluster_id, status.revision) = (cluster_id, revision);
            status.time = time.or(status.time);
        });
        Ok(())
    }

    /// Goes on behind revisions that were compacted before they could be stored: from a snapshot that has them. `from` is the
    /// first revision that was not.
    async fn bridge(&mut self, from: i64) -> Result<(), BackupError> {
        self.store_all().await?;
        let Some(archive) = &mut self.archive else {
            return Ok(());
        };
        let cluster_id = format!("{:x}", archive.cluster_id);
        let known = inventory::complete(self.location).await?;
        let has_them = known
            .into_iter()
            .filter(|record| record.cluster_id == cluster_id && record.revision + 1 >= from)
            .min_by_key(|record| record.revision);
        let record = match has_them {
            Some(record) => record,
            None => {
                let name = Timestamp::now()
                    .strftime("after-gap-%Y%m%dT%H%M%SZ")
                    .to_string();
                let all = Retention::default();
                save::save(
                    self.location,
                    self.members,
                    &name,
                    save::Extras::of(all),
                    self.stop,
                )
                .await?
            }
        };
        let (first, last) = (archive.stored + 1, record.revision);
        tracing::warn!(
            first,
            last,
            snapshot = record.name,
            "revisions were compacted before they could be stored; going on behind a snapshot"
        );
        if first <= last {
            let gap = Span { first, last, kind: SpanKind::Gap };
            archive.segments.put(gap, Bytes::new()).await?;
            self.tell.send_modify(|status| status.gaps += 1);
        }
        archive.go_on_behind(last);
        Ok(())
    }

    /// Notes why changes are not stored.
    pub(super) fn failed(&self, message: String) {
        self.tell.send_modify(|status| status.error = Some(message));
    }
}

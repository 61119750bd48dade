//! Brings the changes of a cluster from its members to its shelf.

use std::future;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;
use witan_api::{
    changes::{Span, SpanKind},
    v3::etcdserverpb::WatchResponse,
};

use super::{
    feed::{Feed, FeedEnd},
    kept::Kept,
    serve::ChangesStatus,
    shelf::Covered,
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

/// Keeps the changes of the cluster that the endpoints belong to.
pub(super) struct Keeper<'a> {
    members: &'a Members,
    location: &'a Store,
    stop: &'a Stop,
    tell: watch::Sender<ChangesStatus>,
    /// Members that have failed: the next one is asked.
    turn: usize,
    kept: Option<Kept>,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(
        members: &'a Members,
        location: &'a Store,
        stop: &'a Stop,
        tell: watch::Sender<ChangesStatus>,
    ) -> Self {
        Self { members, location, stop, tell, turn: 0, kept: None }
    }

    /// Waits for the next message of the watch; forever if nothing can be received now. Loses nothing if it is dropped.
    pub(super) async fn next(&mut self) -> Result<WatchResponse, FeedEnd> {
        match &mut self.kept {
            Some(Kept { feed: Some(feed), pending, .. }) if !pending.is_full() => feed.next().await,
            Some(_) | None => future::pending().await,
        }
    }

    /// Takes a message of the watch, or its end.
    pub(super) async fn take(
        &mut self,
        message: Result<WatchResponse, FeedEnd>,
    ) -> Result<(), BackupError> {
        let Some(kept) = &mut self.kept else {
            return Ok(());
        };
        let failure = match message {
            Ok(message) => kept.add(message).err(),
            Err(FeedEnd::Compacted(from)) => {
                kept.close();
                return self.bridge(from).await;
            }
            Err(FeedEnd::Failed(error)) => Some(error),
        };
        match failure {
            Some(error) => {
                kept.close();
                self.turn += 1;
                Err(error)
            }
            None if kept.pending.is_full() => self.store_all().await,
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
        if self.kept.as_ref().is_none_or(|kept| kept.feed.is_none()) {
            self.open().await?;
        }
        let Some(Kept { feed: Some(feed), cluster_id, asked, .. }) = &mut self.kept else {
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
                self.kept = None;
                Err(BackupError::new(Reason::SourceRefused, message))
            }
            Err(error) => {
                self.turn += 1;
                if let Some(kept) = &mut self.kept {
                    kept.close();
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
            .kept
            .take_if(|kept| kept.cluster_id == member.cluster_id);
        let mut kept = match known {
            Some(kept) => kept,
            None => Kept::of(self.location, member.cluster_id, member.revision).await?,
        };
        let opened = Feed::open(self.members, &member.endpoint, kept.pending.last() + 1).await;
        let failed = opened.map(|feed| kept.feed = Some(feed)).err();
        self.kept = Some(kept);
        self.turn += usize::from(failed.is_some());
        failed.map_or(Ok(()), Err)
    }

    /// Stores all whole revisions that were received.
    pub(super) async fn store_all(&mut self) -> Result<(), BackupError> {
        let Some(kept) = &mut self.kept else {
            return Ok(());
        };
        kept.store_all().await?;
        kept.note().await?;
        let (cluster_id, revision) = (format!("{:x}", kept.cluster_id), kept.stored);
        let time = kept.covered.map(|covered| covered.time);
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
        let Some(kept) = &mut self.kept else {
            return Ok(());
        };
        let cluster_id = format!("{:x}", kept.cluster_id);
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
                save::save(self.location, self.members, &name, all, self.stop).await?
            }
        };
        let (first, last) = (kept.stored + 1, record.revision);
        tracing::warn!(
            first,
            last,
            snapshot = record.name,
            "revisions were compacted before they could be stored; going on behind a snapshot"
        );
        if first <= last {
            let gap = Span { first, last, kind: SpanKind::Gap };
            kept.shelf.put(gap, Bytes::new()).await?;
            self.tell.send_modify(|status| status.gaps += 1);
        }
        kept.go_on_behind(last);
        Ok(())
    }

    /// Notes why changes are not stored.
    pub(super) fn failed(&self, message: String) {
        self.tell.send_modify(|status| status.error = Some(message));
    }
}

//! Brings the changes of a cluster from its members to its segments.

use std::future;

use futures_util::future::LocalBoxFuture;
use jiff::Timestamp;
use tokio::sync::watch;
use witan_api::{
    changes::{Span, generation_at},
    v3::etcdserverpb::WatchResponse,
};

use super::{
    archive::{Asked, ClusterArchive},
    feed::{Feed, FeedEnd, Head},
    history,
    serve::ChangesStatus,
    tail::Tail,
};
use crate::{
    inventory,
    members::Members,
    reason::{BackupError, Reason},
    result::BackupRecord,
    save::{self, NewBackup},
    source::{self, Source as _, Standing},
    stop::Stop,
    store::Store,
};

/// Archives the changes of the cluster that the endpoints belong to.
pub(super) struct Archiver<'a> {
    members: Members,
    location: &'a Store,
    stop: &'a Stop,
    tell: watch::Sender<ChangesStatus>,
    /// Number of failures: each turns to the next member.
    turn: usize,
    archive: Option<ClusterArchive>,
    /// A backup that is saved while changes are received.
    saving: Option<LocalBoxFuture<'a, Result<BackupRecord, BackupError>>>,
}

/// What the archiver waits for.
pub(super) enum Event {
    /// A message of the watch, or its end.
    Message(Result<WatchResponse, FeedEnd>),
    /// The backup is saved, or not.
    Saved(Result<BackupRecord, BackupError>),
}

impl<'a> Archiver<'a> {
    pub(super) fn new(
        members: Members,
        location: &'a Store,
        stop: &'a Stop,
        tell: watch::Sender<ChangesStatus>,
    ) -> Self {
        Self {
            members,
            location,
            stop,
            tell,
            turn: 0,
            archive: None,
            saving: None,
        }
    }

    /// Waits for the next event; forever if there can be none now. Loses nothing if it is dropped.
    pub(super) async fn next(&mut self) -> Event {
        let message = async {
            match &mut self.archive {
                Some(ClusterArchive { feed: Some(feed), pending, .. }) if !pending.is_full() => {
                    feed.next().await
                }
                Some(_) | None => future::pending().await,
            }
        };
        let saved = async {
            match &mut self.saving {
                Some(saving) => saving.await,
                None => future::pending().await,
            }
        };
        let event = tokio::select! {
            message = message => Event::Message(message),
            saved = saved => Event::Saved(saved),
        };
        if let Event::Saved(_) = event {
            self.saving = None;
        }
        event
    }

    /// Takes an event.
    pub(super) async fn take(&mut self, event: Event) -> Result<(), BackupError> {
        let Some(archive) = &mut self.archive else {
            return Ok(());
        };
        let failure = match event {
            Event::Saved(saved) => {
                let begun = archive.tail.as_ref().map(|tail| tail.at.generation);
                let record = saved?;
                let begun_ms = record.started_at.as_millisecond();
                // another generation may have begun since
                archive.needs_backup &= begun.is_none_or(|begun| begun_ms < begun);
                return Ok(());
            }
            Event::Message(Ok(message)) => archive.add(message).err(),
            // what the next watch goes on from is decided when it is opened
            Event::Message(Err(FeedEnd::Compacted(_))) => {
                archive.close();
                return Ok(());
            }
            Event::Message(Err(FeedEnd::Failed(error))) => Some(error),
        };
        match failure {
            Some(error) => Err(self.turned(error)),
            None if archive.pending.is_full() => self.store_all().await,
            None => Ok(()),
        }
    }

    /// Ends the watch and turns to the next member, by a new connection: behind one address there may be all members.
    fn turned(&mut self, error: BackupError) -> BackupError {
        if let Some(archive) = &mut self.archive {
            archive.close();
        }
        self.turn += 1;
        match self.members.anew() {
            Ok(members) => self.members = members,
            Err(error) => tracing::warn!(%error, "the connections to the members stay as they are"),
        }
        error
    }

    /// Stores what was received, and looks whether the member is behind.
    pub(super) async fn look(&mut self) -> Result<(), BackupError> {
        // changes that are here are stored, whatever the members do
        self.store_all().await?;
        if let Err(error) = self.look_at_members().await {
            return Err(self.turned(error));
        }
        // what is stored already may be all there is
        self.store_all().await?;
        self.tell.send_modify(|status| status.error = None);
        Ok(())
    }

    /// Opens the watch if there is none, and learns the cluster's last revision.
    async fn look_at_members(&mut self) -> Result<(), BackupError> {
        let now_ms = Timestamp::now().as_millisecond();
        if let Some(archive) = &mut self.archive
            && archive.is_ahead(now_ms)
        {
            tracing::warn!("the clock was ahead: the changes go on in a new generation");
            archive.close();
            archive.tail = None;
        }
        let is_open = |archive: &ClusterArchive| archive.feed.is_some();
        if !self.archive.as_ref().is_some_and(is_open) {
            self.open().await?;
        }
        let needs_backup = |archive: &ClusterArchive| archive.needs_backup;
        if self.saving.is_none() && self.archive.as_ref().is_some_and(needs_backup) {
            self.save()?;
        }
        self.ask().await
    }

    /// Learns the cluster's last revision, and whether the watch is still one on its history.
    async fn ask(&mut self) -> Result<(), BackupError> {
        let Some(ClusterArchive { feed: Some(feed), cluster_id, tail, asked, .. }) =
            &mut self.archive
        else {
            return Ok(());
        };
        let time_ms = Timestamp::now().as_millisecond();
        let before = feed.head();
        let head = feed.ask().await?;
        let refused = |why: String| {
            let message = format!("{}: {why}", feed.endpoint());
            Err(BackupError::new(Reason::SourceRefused, message))
        };
        if head.cluster_id != *cluster_id {
            let answered = head.cluster_id;
            let refusal = refused(format!("it is a member of cluster {answered:x} now"));
            self.archive = None;
            return refusal;
        }
        // the next watch shows whether the history is the same
        if head.revision < tail.as_ref().map_or(0, Tail::stored) {
            return refused(format!("the cluster is back at revision {}", head.revision));
        }
        // a member may have started with other data
        if head.term != before.term {
            tracing::info!("another leader was elected: the watch begins again");
            if let Some(archive) = &mut self.archive {
                archive.close();
            }
            return Ok(());
        }
        asked.get_or_insert(Asked { revision: head.revision, time_ms });
        Ok(())
    }

    /// Watches a member behind what is stored of its cluster, if it has that history.
    async fn open(&mut self) -> Result<(), BackupError> {
        let members = source::in_order(self.members.survey().await)?;
        let member = &members[self.turn % members.len()];
        let known = self
            .archive
            .take_if(|archive| archive.cluster_id == member.cluster_id);
        let mut archive = match known {
            Some(archive) => archive,
            None => ClusterArchive::of(self.location, member.cluster_id).await?,
        };
        let opened = self.go_on(&mut archive, member).await;
        self.archive = Some(archive);
        opened
    }

    /// Opens the watch where the log ends, else where a new generation begins.
    async fn go_on(
        &self,
        archive: &mut ClusterArchive,
        member: &Standing,
    ) -> Result<(), BackupError> {
        let now_ms = Timestamp::now().as_millisecond();
        if archive.is_ahead(now_ms) {
            archive.tail = None;
        }
        if let Some(tail) = archive.tail.take_if(|tail| !tail.is_new()) {
            let mut feed =
                Feed::open(&self.members, &member.endpoint, archive.pending.last() + 1).await;
            let known = match &mut feed {
                Ok(feed) => self.has_history(feed, &tail).await,
                Err(error) => Err(error.clone()),
            };
            // a failure says nothing about the history
            let is_known = known.inspect_err(|_| archive.tail = Some(tail.clone()))?;
            if is_known {
                archive.needs_backup = self.needs_backup(archive).await?;
                (archive.tail, archive.feed) = (Some(tail), Some(feed?));
                return Ok(());
            }
            tracing::warn!(
                stored = tail.stored(),
                "the cluster does not go on from the stored changes, or has compacted what shows it: a new generation begins"
            );
        }
        self.begin(archive, member).await
    }

    /// Whether a member has the history whose end is stored.
    async fn has_history(&self, feed: &mut Feed, tail: &Tail) -> Result<bool, BackupError> {
        let Head { revision, .. } = feed.ask().await?;
        if revision < tail.stored() {
            return Ok(false);
        }
        let (Some(first), Some(last)) = (tail.marks.first(), tail.marks.last()) else {
            // there were no changes before
            return Ok(tail.stored() <= 1);
        };
        let range = (first.revision, last.revision);
        let read = history::read(&self.members, feed.endpoint(), range).await?;
        Ok(read.is_some_and(|read| history::is_same(&tail.marks, &read)))
    }

    /// Begins a generation. The first one goes on from the newest backup if it can, others need one of their own.
    async fn begin(
        &self,
        archive: &mut ClusterArchive,
        member: &Standing,
    ) -> Result<(), BackupError> {
        let now_ms = Timestamp::now().as_millisecond();
        if let Some(newest) = archive.newest.filter(|newest| *newest >= now_ms) {
            let time = Timestamp::from_millisecond(newest).unwrap_or_default();
            let message = format!(
                "{} has changes since {time}, which is in the future: correct the clock, or move these changes away",
                archive.segments.folder_url()
            );
            return Err(BackupError::new(Reason::ChangesMissing, message));
        }
        let records = self.records(archive.cluster_id).await?;
        let newest = records.first().filter(|_| archive.newest.is_none());
        let connected = match newest {
            Some(record) => self.connected(record, member).await?,
            None => None,
        };
        // nothing was changed before revision 2
        let first = connected.unwrap_or(member.revision).max(2);
        let mut feed = Feed::open(&self.members, &member.endpoint, first).await?;
        feed.ask().await?;
        if archive.newest.is_some() {
            self.tell.send_modify(|status| status.gaps += 1);
        }
        // without any backup, somebody is to take the first one
        archive.needs_backup = connected.is_none() && !records.is_empty();
        archive.go_on(Tail::begin(now_ms, first - 1));
        archive.feed = Some(feed);
        Ok(())
    }

    /// Returns the records of the complete backups of a cluster, the newest first.
    async fn records(&self, cluster_id: u64) -> Result<Vec<BackupRecord>, BackupError> {
        let mut records = inventory::complete(self.location).await?;
        records.retain(|record| record.cluster_id == format!("{cluster_id:x}"));
        Ok(records)
    }

    /// Returns the first revision of changes that go on from a backup; `None` if the member has compacted it or has another
    /// history.
    async fn connected(
        &self,
        record: &BackupRecord,
        member: &Standing,
    ) -> Result<Option<i64>, BackupError> {
        let first = record.revision.max(2);
        if first > member.revision {
            return Ok((record.revision <= 1).then_some(first));
        }
        let read = history::read(&self.members, &member.endpoint, (first, first)).await?;
        let mark = read.as_deref().and_then(<[_]>::first);
        let is_same = mark.is_some_and(|mark| mark.revision == first && record.has_mark(mark));
        Ok(is_same.then_some(first))
    }

    /// Whether backups are there, and no changes after the newest generation's beginning go on from one of them.
    async fn needs_backup(&self, archive: &ClusterArchive) -> Result<bool, BackupError> {
        let spans = archive.segments.spans().await?;
        let records = self.records(archive.cluster_id).await?;
        Ok(!records.is_empty() && !records.iter().any(|record| fits(record, &spans)))
    }

    /// Begins to save a backup, by connections of its own: the watch does not wait for the snapshot.
    fn save(&mut self) -> Result<(), BackupError> {
        let name = Timestamp::now()
            .strftime("after-gap-%Y%m%dT%H%M%SZ")
            .to_string();
        tracing::info!(name, "saving a backup from which the changes go on");
        let (location, stop, members) = (self.location, self.stop, self.members.anew()?);
        self.saving = Some(Box::pin(async move {
            let new = NewBackup { name: &name, begins_changes: true, hash_keys: false };
            save::save(location, &members, new, stop).await
        }));
        Ok(())
    }

    /// Stores all whole revisions that were received.
    pub(super) async fn store_all(&mut self) -> Result<(), BackupError> {
        let Some(archive) = &mut self.archive else {
            return Ok(());
        };
        archive.store_all().await?;
        let (cluster_id, revision) = (format!("{:x}", archive.cluster_id), archive.stored());
        let covered = archive.covered_ms.map(Timestamp::from_millisecond);
        let time = covered.and_then(Result::ok);
        self.tell.send_modify(|status| {
            (status.cluster_id, status.revision) = (cluster_id, revision);
            status.time = time.or(status.time);
        });
        Ok(())
    }

    /// Waits for a backup that is saved, which ends soon after the process was asked to end.
    pub(super) async fn end(&mut self) -> Result<(), BackupError> {
        if let Some(saving) = self.saving.take() {
            saving.await?;
        }
        Ok(())
    }

    /// Notes why changes are not stored.
    pub(super) fn failed(&self, message: String) {
        self.tell.send_modify(|status| status.error = Some(message));
    }
}

/// Whether the changes of the newest generation go on from a backup.
fn fits(record: &BackupRecord, spans: &[Span]) -> bool {
    let newest = spans.last().map(|span| span.generation);
    let first = spans.iter().find(|span| Some(span.generation) == newest);
    let begun_ms = record.started_at.as_millisecond();
    record.shows_history()
        && generation_at(spans, begun_ms) == newest
        && first.is_some_and(|first| first.first <= record.revision.max(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    /// The test's backups have revision 12.
    #[test]
    fn a_backup_is_needed_until_changes_go_on_from_one() {
        let at = |generation, first| Span { generation, first, number: 0 };
        let backup = |second| BackupRecord { mark: Some("ab".to_owned()), ..record("a", second) };
        let (first, later) = (at(10_000, 12), at(20_000, 12));
        assert!(fits(&backup(15), &[first]));
        assert!(
            fits(&backup(5), &[first]),
            "the first generation goes on from it"
        );
        assert!(!fits(&backup(15), &[at(10_000, 13)]), "it is earlier");
        assert!(
            !fits(&backup(15), &[first, later]),
            "it is of the one before"
        );
        assert!(fits(&backup(20), &[first, later]));
        assert!(
            !fits(&record("a", 20), &[first, later]),
            "nothing shows its history"
        );
    }
}

//! Brings the changes of a cluster from its members to its segments.

use std::{future, sync::Arc};

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
    members: Arc<Members>,
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
            members: Arc::new(members),
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
                let generation = archive.tail.as_ref().map(|tail| tail.at.generation);
                archive.needs_backup &= !generation.is_some_and(|begun| fits(&saved, begun));
                return saved.map(drop);
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
            Ok(members) => self.members = Arc::new(members),
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
            self.save();
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
        &mut self,
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
                archive.needs_backup = self.needs_backup(archive, tail.at).await?;
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

    /// Begins a generation. The first one goes on from the newest backup, others need one of their own.
    async fn begin(
        &mut self,
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
        let first = match archive.newest {
            Some(_) => member.revision,
            None => self.first_revision(member).await?,
        };
        // nothing was changed before revision 2
        let mut feed = Feed::open(&self.members, &member.endpoint, first.max(2)).await?;
        feed.ask().await?;
        archive.needs_backup = archive.newest.is_some();
        if archive.needs_backup {
            self.tell.send_modify(|status| status.gaps += 1);
        }
        archive.go_on(Tail::begin(now_ms, first.max(2) - 1));
        archive.feed = Some(feed);
        Ok(())
    }

    /// Returns the first revision that is stored: that of the newest backup, if the member has it, else the member's.
    async fn first_revision(&self, member: &Standing) -> Result<i64, BackupError> {
        let cluster_id = format!("{:x}", member.cluster_id);
        let records = inventory::complete(self.location).await?;
        let newest = records.into_iter().find(|one| one.cluster_id == cluster_id);
        let Some(record) = newest.filter(|one| one.revision < member.revision) else {
            return Ok(member.revision);
        };
        let first = record.revision.max(2);
        let read = history::read(&self.members, &member.endpoint, (first, first)).await?;
        let mark = read.as_deref().and_then(<[_]>::first);
        Ok(match mark {
            Some(mark) if record.has_mark(mark) => first,
            Some(_) | None => member.revision,
        })
    }

    /// Whether no backup belongs to the generation of a segment, though an earlier generation is there.
    async fn needs_backup(&self, archive: &ClusterArchive, at: Span) -> Result<bool, BackupError> {
        let spans = archive.segments.spans().await?;
        if generation_at(&spans, 0) == Some(at.generation) {
            return Ok(false);
        }
        let cluster_id = format!("{:x}", archive.cluster_id);
        let records = inventory::complete(self.location).await?;
        let mut own = records
            .into_iter()
            .filter(|one| one.cluster_id == cluster_id);
        Ok(!own.any(|record| fits(&Ok(record), at.generation)))
    }

    /// Begins to save a backup.
    fn save(&mut self) {
        let name = Timestamp::now()
            .strftime("after-gap-%Y%m%dT%H%M%SZ")
            .to_string();
        tracing::info!(name, "saving a backup from which the changes go on");
        let (location, stop, members) = (self.location, self.stop, self.members.clone());
        self.saving = Some(Box::pin(async move {
            let new = NewBackup { name: &name, begins_changes: true };
            save::save(location, members.as_ref(), new, stop).await
        }));
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

/// Whether a backup was begun since a generation was, and shows its history.
fn fits(saved: &Result<BackupRecord, BackupError>, generation: i64) -> bool {
    saved.as_ref().is_ok_and(|record| {
        record.started_at.as_millisecond() >= generation && record.shows_history()
    })
}

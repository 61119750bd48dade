//! Copies a cluster's changes from its members to its segments. `beginning` decides where to continue, and `retry` when to
//! retry a backup that failed.

mod beginning;
mod retry;
#[cfg(test)]
mod tests;

use std::{future, time::Instant};

use futures_util::future::LocalBoxFuture;
use jiff::Timestamp;
use tokio::sync::watch;
use witan_api::{
    backup::{BackupRecord, ChangesStatus},
    v3::etcdserverpb::WatchResponse,
};

use super::{
    archive::{ClusterArchive, LastRevision},
    feed::Feed,
    is_final,
    tail::Tail,
};
use crate::{
    members::Members,
    reason::{BackupError, Reason},
    save::{self, NewBackup},
    source::{self, Source as _},
    stop::Stop,
    store::Store,
};
use retry::FailedBackup;

/// Archives the changes of the cluster at the endpoints.
pub(super) struct Archiver<'a> {
    members: Members,
    location: &'a Store,
    stop: &'a Stop,
    status: watch::Sender<ChangesStatus>,
    /// Number of failures. It determines the next member to read from.
    turn: usize,
    archive: Option<ClusterArchive>,
    /// A backup that is being saved while changes are received.
    saving: Option<LocalBoxFuture<'a, Result<BackupRecord, BackupError>>>,
    /// The failure of the last backup; `None` after a success.
    failed_backup: Option<FailedBackup>,
}

pub(super) enum Event {
    Message(Result<WatchResponse, BackupError>),
    Saved(Result<BackupRecord, BackupError>),
}

impl<'a> Archiver<'a> {
    /// Creates an archiver, which opens the archive and the watch at its first tick. `status` receives the progress.
    pub(super) fn new(
        members: Members,
        location: &'a Store,
        stop: &'a Stop,
        status: watch::Sender<ChangesStatus>,
    ) -> Self {
        Self {
            members,
            location,
            stop,
            status,
            turn: 0,
            archive: None,
            saving: None,
            failed_backup: None,
        }
    }

    /// Waits for the next event; never returns if none can occur. Pauses the watch while a segment is full. Cancel-safe.
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

    /// Handles an event of the watch or of the running backup. Stores the pending changes once they fill a segment. Closes the
    /// watch after an error, or if the next revisions were compacted. Ignores all events while there is no archive.
    pub(super) async fn handle(&mut self, event: Event) -> Result<(), BackupError> {
        let Some(archive) = &mut self.archive else {
            return Ok(());
        };
        let added = match event {
            Event::Saved(saved) => return self.backup_saved(saved).await,
            // Opening the next watch decides where to continue.
            Event::Message(Ok(message)) if message.compact_revision > 0 => {
                archive.close();
                return Ok(());
            }
            Event::Message(message) => message.and_then(|message| archive.add(message)),
        };
        match added {
            Err(error) => Err(self.close_watch(error)),
            Ok(()) if archive.pending.is_full() => self.store_all().await,
            Ok(()) => Ok(()),
        }
    }

    /// Handles the end of a backup. The backup cannot be used if a new generation started, or a restore replaced the cluster,
    /// while it was being saved. Returns only errors that a retry cannot fix; any other failure delays the next attempt.
    async fn backup_saved(
        &mut self,
        saved: Result<BackupRecord, BackupError>,
    ) -> Result<(), BackupError> {
        let fits = async {
            let location = saved?.location;
            if let Some(archive) = &self.archive
                && self.needs_backup(archive).await?
            {
                let message = format!("the stored changes do not start from {location}");
                return Err(BackupError::new(Reason::ChangesMissing, message));
            }
            Ok(())
        };
        match fits.await {
            Ok(()) => {
                self.backup_fits();
                Ok(())
            }
            Err(error) if is_final(error.reason) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "failed to save the backup from which the changes start");
                let last = self.failed_backup.as_ref();
                self.failed_backup = Some(FailedBackup::after(last, &error, Instant::now()));
                Ok(())
            }
        }
    }

    /// Records that the generation follows a backup.
    fn backup_fits(&mut self) {
        self.failed_backup = None;
        if let Some(archive) = &mut self.archive {
            archive.needs_backup = false;
        }
    }

    /// Closes the watch and returns the error. The next watch uses the next member over a new connection.
    fn close_watch(&mut self, error: BackupError) -> BackupError {
        if let Some(archive) = &mut self.archive {
            archive.close();
        }
        self.turn += 1;
        match self.members.reconnected() {
            Ok(members) => self.members = members,
            Err(error) => tracing::warn!(%error, "failed to reconnect; keeping old connections"),
        }
        error
    }

    /// Stores the received changes, opens the watch and starts a backup if needed, reads the last revision, stores again and
    /// reports success. If any step other than storing fails, closes the watch and returns the error.
    pub(super) async fn tick(&mut self) -> Result<(), BackupError> {
        // Received changes are stored even if the members fail.
        self.store_all().await?;
        if let Err(error) = self.advance().await {
            return Err(self.close_watch(error));
        }
        // All changes up to the revision that was just read may already be stored.
        self.store_all().await?;
        self.report_success();
        Ok(())
    }

    /// Clears the error in the status, but keeps the last failure of a required backup while the backup is missing.
    fn report_success(&self) {
        let needs_backup = self.is_backup_missing();
        let failed = self.failed_backup.as_ref().filter(|_| needs_backup);
        self.status.send_modify(|status| {
            status.needs_backup = needs_backup;
            status.error = failed.map(|failed| failed.message.clone());
        });
    }

    fn is_backup_missing(&self) -> bool {
        self.archive
            .as_ref()
            .is_some_and(|archive| archive.needs_backup)
    }

    /// Opens the watch if none is open, starts a backup if the changes need one, and reads the cluster's last revision. If
    /// stored times are ahead of the clock, starts a new generation.
    async fn advance(&mut self) -> Result<(), BackupError> {
        let now_ms = Timestamp::now().as_millisecond();
        if let Some(archive) = &mut self.archive
            && archive.is_ahead(now_ms)
        {
            tracing::warn!("the clock was ahead: starting a new generation of changes");
            archive.close();
            archive.tail = None;
        }
        let is_open = |archive: &ClusterArchive| archive.feed.is_some();
        if !self.archive.as_ref().is_some_and(is_open) {
            self.open().await?;
        }
        self.save_if_due(Instant::now()).await?;
        self.read_head().await
    }

    /// Starts to save the backup that the generation needs, unless the last attempt failed too recently. Before a retry, checks
    /// whether another process has saved such a backup.
    async fn save_if_due(&mut self, now: Instant) -> Result<(), BackupError> {
        let failed = self.failed_backup.as_ref();
        let is_early = failed.is_some_and(|failed| now < failed.retry_at);
        if self.saving.is_some() || !self.is_backup_missing() || is_early {
            return Ok(());
        }
        // A schedule or a user may have saved a backup since the last attempt.
        if failed.is_some()
            && let Some(archive) = &self.archive
            && !self.needs_backup(archive).await?
        {
            self.backup_fits();
            return Ok(());
        }
        self.save()
    }

    /// Reads the cluster's last revision and checks that the watch still follows the same history. Does nothing if there is no
    /// watch. After an election, closes the watch, because only a new watch checks the history. Fails if the revision went
    /// back. If the member belongs to another cluster, drops the archive and fails.
    async fn read_head(&mut self) -> Result<(), BackupError> {
        let Some(ClusterArchive { feed: Some(feed), cluster_id, tail, last_revision, .. }) =
            &mut self.archive
        else {
            return Ok(());
        };
        let time_ms = Timestamp::now().as_millisecond();
        let before = feed.head;
        let head = feed.read_head().await?;
        let refused = |why: String| {
            let message = format!("{}: {why}", feed.endpoint);
            Err(BackupError::new(Reason::SourceRefused, message))
        };
        if head.cluster_id != *cluster_id {
            let answered = head.cluster_id;
            let refusal = refused(format!(
                "the member now belongs to another cluster, {answered:x}"
            ));
            self.archive = None;
            return refusal;
        }
        // Opening the next watch checks the history.
        if head.revision < tail.as_ref().map_or(0, Tail::stored) {
            return refused(format!(
                "the cluster went back to revision {}",
                head.revision
            ));
        }
        // A member may have restarted with other data.
        if head.raft_term != before.raft_term {
            tracing::info!("another leader was elected: restarting the watch");
            if let Some(archive) = &mut self.archive {
                archive.close();
            }
            return Ok(());
        }
        last_revision.get_or_insert(LastRevision { revision: head.revision, time_ms });
        Ok(())
    }

    /// Opens a watch at a member. The watch resumes after the last stored change if the member's history matches the stored
    /// changes. Otherwise, a new generation begins, which may need a backup. After an error, no watch is open.
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
        let opened = self.open_watch(&mut archive, member).await;
        self.archive = Some(archive);
        opened
    }

    /// Starts to save a backup over separate connections, so that the snapshot does not delay the watch.
    fn save(&mut self) -> Result<(), BackupError> {
        let name = Timestamp::now()
            .strftime("after-gap-%Y%m%dT%H%M%SZ")
            .to_string();
        tracing::info!(name, "saving a backup from which the changes start");
        let (location, stop, members) = (self.location, self.stop, self.members.reconnected()?);
        self.saving = Some(Box::pin(async move {
            let new = NewBackup { name: &name, begins_changes: true, ..NewBackup::default() };
            save::save(location, &members, new, stop).await
        }));
        Ok(())
    }

    /// Stores the complete revisions that were received (see [`ClusterArchive::store_all`]) and updates the status. Does
    /// nothing while there is no archive.
    pub(super) async fn store_all(&mut self) -> Result<(), BackupError> {
        let Some(archive) = &mut self.archive else {
            return Ok(());
        };
        archive.store_all().await?;
        let (cluster_id, revision) = (format!("{:x}", archive.cluster_id), archive.stored());
        let covered = archive.covered_ms.map(Timestamp::from_millisecond);
        let time = covered.and_then(Result::ok);
        self.status.send_modify(|status| {
            (status.cluster_id, status.revision) = (cluster_id, revision);
            status.time = time.or(status.time);
        });
        Ok(())
    }

    /// Waits for a running backup. The backup ends soon after a stop is requested.
    pub(super) async fn wait_for_backup(&mut self) -> Result<(), BackupError> {
        if let Some(saving) = self.saving.take() {
            saving.await?;
        }
        Ok(())
    }

    pub(super) fn report_failure(&self, message: String) {
        self.status
            .send_modify(|status| status.error = Some(message));
    }
}

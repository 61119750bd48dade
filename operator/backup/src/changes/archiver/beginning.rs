//! Decides where changes continue: after the stored changes if the member's history matches them, otherwise in a new
//! generation.

use jiff::Timestamp;
use witan_api::{
    backup::{BackupRecord, ChangesGap},
    changes::{SegmentId, generation_at},
};

use super::{Archiver, ClusterArchive, Feed, Tail};
use crate::{
    changes::history,
    inventory,
    reason::{BackupError, Reason},
    source::Report,
};

impl Archiver<'_> {
    /// Opens a watch after the stored changes if the member has the same history; otherwise begins a generation. After an
    /// error, no watch is open.
    pub(super) async fn open_watch(
        &self,
        archive: &mut ClusterArchive,
        member: &Report,
    ) -> Result<(), BackupError> {
        let now_ms = Timestamp::now().as_millisecond();
        if archive.is_ahead(now_ms) {
            archive.tail = None;
        }
        if let Some(tail) = &archive.tail
            && !tail.previous.is_empty()
        {
            // After a failed read, the tail stays, because the failure does not show that the histories differ.
            let next = archive.pending.last + 1;
            let mut feed = Feed::open(&self.members, &member.endpoint, next).await?;
            if self.has_history(&mut feed, tail).await? {
                archive.needs_backup = self.needs_backup(archive).await?;
                archive.feed = Some(feed);
                return Ok(());
            }
            tracing::warn!(
                stored = tail.stored(),
                "the history of the member differs from the stored changes, or was compacted: starting a new generation of changes"
            );
            archive.tail = None;
        }
        self.begin(archive, member).await
    }

    /// Returns whether a member's history matches the end of the log; `false` if the member is behind or has compacted the end.
    async fn has_history(&self, feed: &mut Feed, tail: &Tail) -> Result<bool, BackupError> {
        if feed.read_head().await?.revision < tail.stored() {
            return Ok(false);
        }
        let (Some(first), Some(last)) = (tail.digests.first(), tail.digests.last()) else {
            // The log contains no changes yet.
            return Ok(tail.stored() <= 1);
        };
        let range = (first.revision, last.revision);
        let read = history::read(&self.members, &feed.endpoint, range).await?;
        Ok(read.is_some_and(|read| history::is_same(&tail.digests, &read)))
    }

    /// Begins a generation. The first generation continues from the newest verified backup of the cluster if possible.
    /// Otherwise, the generation needs a new backup. Fails if the newest stored generation begins in the future.
    async fn begin(
        &self,
        archive: &mut ClusterArchive,
        member: &Report,
    ) -> Result<(), BackupError> {
        let now_ms = Timestamp::now().as_millisecond();
        if let Some(newest) = archive.newest.filter(|newest| *newest >= now_ms) {
            let time = Timestamp::from_millisecond(newest).unwrap_or_default();
            let message = format!(
                "{} has changes from {time}, which is in the future; correct the clock, or move these changes away",
                archive.segments.store.folder_url
            );
            return Err(BackupError::new(Reason::ChangesMissing, message));
        }
        let records = self.records(archive.cluster_id).await?;
        let newest = records.iter().find(|record| !record.unverified);
        let newest = newest.filter(|_| archive.newest.is_none());
        let resumed = match newest {
            Some(record) => self.resume_revision(record, member).await?,
            None => None,
        };
        // Revision 1 has no changes.
        let first = resumed.unwrap_or(member.revision).max(2);
        let mut feed = Feed::open(&self.members, &member.endpoint, first).await?;
        feed.read_head().await?;
        self.report_gap(archive, now_ms);
        // The cluster may have no backup at all: the schedule is new, or an in-place restore gave the cluster another id. The
        // next scheduled backup may be days away.
        archive.needs_backup = resumed.is_none();
        archive.resume_at(Tail::begin(now_ms, first - 1));
        archive.feed = Some(feed);
        Ok(())
    }

    /// Sets the gap in the status: the period whose changes are missing before the generation that begins at `now_ms`. Does
    /// nothing for the first generation. If nothing was stored since the last gap, extends that gap and does not count a new
    /// gap.
    fn report_gap(&self, archive: &ClusterArchive, now_ms: i64) {
        let (Some(_), Ok(until)) = (archive.newest, Timestamp::from_millisecond(now_ms)) else {
            return;
        };
        let last = Some(archive.noted_ms).filter(|last| (1..now_ms).contains(last));
        let after = last.and_then(|last| Timestamp::from_millisecond(last).ok());
        // Nothing was stored since the last gap, so this is the same gap.
        let is_same = archive.tail.is_some();
        self.status.send_modify(|status| {
            let known = status.gap.as_ref().filter(|_| is_same);
            let after = after.or_else(|| known?.after);
            status.gaps += u64::from(!is_same);
            status.gap = Some(ChangesGap { after, until });
        });
    }

    /// Returns the records of a cluster's complete backups, newest first.
    async fn records(&self, cluster_id: u64) -> Result<Vec<BackupRecord>, BackupError> {
        let mut records = inventory::complete(self.location).await?;
        records.retain(|record| record.cluster_id == format!("{cluster_id:x}"));
        Ok(records)
    }

    /// Returns the revision from which changes can continue a backup: the backup's own revision, but at least 2. The backup and
    /// the changes both contain that revision, so its digests can be compared. Returns `None` if the member is behind the
    /// backup, has compacted that revision or has another history.
    async fn resume_revision(
        &self,
        record: &BackupRecord,
        member: &Report,
    ) -> Result<Option<i64>, BackupError> {
        let first = record.revision.max(2);
        if first > member.revision {
            return Ok((record.revision <= 1).then_some(first));
        }
        let digest = history::read_one(&self.members, &member.endpoint, first).await?;
        let is_same = digest.is_some_and(|digest| record.has_digest(&digest));
        Ok(is_same.then_some(first))
    }

    /// Returns whether a new backup is needed because the newest generation does not follow a verified backup of the cluster.
    pub(super) async fn needs_backup(&self, archive: &ClusterArchive) -> Result<bool, BackupError> {
        let mut ids = archive.segments.ids().await?;
        // A new generation may have no segment yet.
        ids.extend(archive.tail.as_ref().map(|tail| tail.at));
        let records = self.records(archive.cluster_id).await?;
        Ok(!records.iter().any(|record| fits(record, &ids)))
    }
}

/// Returns whether the newest generation follows the backup, which must be verified and show its history. `ids` are all
/// segments of the cluster.
fn fits(record: &BackupRecord, ids: &[SegmentId]) -> bool {
    let newest = ids.last().map(|id| id.generation);
    let first = ids.iter().find(|id| Some(id.generation) == newest);
    let begun_ms = record.started_at.as_millisecond();
    record.shows_history()
        && !record.unverified
        && generation_at(ids, begun_ms) == newest
        && first.is_some_and(|first| first.first <= record.revision.max(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    /// Every backup in this test has revision 12.
    #[test]
    fn a_backup_is_needed_until_changes_continue_from_one() {
        let at = |generation, first| SegmentId { generation, first, number: 0 };
        let backup = |second| BackupRecord {
            revision_digest: Some("ab".to_owned()),
            ..record("a", second)
        };
        let (first, later) = (at(10_000, 12), at(20_000, 12));
        assert!(fits(&backup(15), &[first]));
        assert!(
            fits(&backup(5), &[first]),
            "the first generation continues from it"
        );
        assert!(!fits(&backup(15), &[at(10_000, 13)]), "it is earlier");
        assert!(
            !fits(&backup(15), &[first, later]),
            "it belongs to the generation before"
        );
        assert!(fits(&backup(20), &[first, later]));
        assert!(!fits(&record("a", 20), &[first, later]), "it has no digest");
        let rejected = BackupRecord { unverified: true, ..backup(15) };
        assert!(!fits(&rejected, &[first]), "it is not verified");
    }
}

//! Fetches the changes after a snapshot, up to a revision or a time, for `witan snapshot restore --changes`.

use std::{fs, path::Path};

use jiff::Timestamp;
use witan_api::{
    backup::BackupRecord,
    changes::{self, LogReader, Segment, SegmentId, TARGET, Target},
};

use super::{PartialFile, local_disk_error};
use crate::{
    changes::{history::digest_of, segments::SegmentStore},
    command::FetchFlags,
    reason::{BackupError, Reason},
    store::Store,
};

/// The target up to which changes are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    Newest,
    Revision(i64),
    /// The last revision received at or before this time.
    Time(Timestamp),
}

impl Until {
    pub(super) fn of(flags: &FetchFlags) -> Self {
        match (flags.to_revision, flags.to_time) {
            (Some(revision), _) => Self::Revision(revision),
            (None, Some(time)) => Self::Time(time),
            (None, None) => Self::Newest,
        }
    }

    /// Returns whether a snapshot is not later than the target, so that changes can be applied to it.
    pub(super) fn admits(self, record: &BackupRecord) -> bool {
        match self {
            Self::Newest => true,
            Self::Revision(revision) => record.revision <= revision,
            Self::Time(time) => record.started_at <= time,
        }
    }
}

impl std::fmt::Display for Until {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Newest => f.write_str("now"),
            Self::Revision(revision) => write!(f, "revision {revision}"),
            Self::Time(time) => time.fmt(f),
        }
    }
}

/// The allowed difference between two clocks, in milliseconds.
const CLOCKS_MS: i64 = 10_000;

/// The point up to which the changes were fetched.
struct Reached {
    /// The last revision to restore.
    revision: i64,
    /// The Unix time in milliseconds up to which all changes are fetched; 0 before the first segment.
    time_ms: i64,
    /// Whether all changes up to the target are fetched.
    is_complete: bool,
}

/// Fetches the changes after a snapshot into a directory, and writes the target of the restore to the file [`TARGET`] there.
/// Returns the last revision to restore. Fails if the stored changes do not reach the target.
pub(super) async fn fetch(
    store: &Store,
    record: &BackupRecord,
    until: Until,
    to: &Path,
) -> Result<i64, BackupError> {
    let segments = SegmentStore::of(store, &record.cluster_id)?;
    let ids = segments.ids().await?;
    let started_ms = record.started_at.as_millisecond();
    let generation = changes::generation_at(&ids, started_ms);
    let own = ids.iter().filter(|id| Some(id.generation) == generation);
    let own: Vec<_> = own.copied().collect();
    let later = ids.iter().map(|id| id.generation);
    let later = later.filter(|one| Some(*one) > generation).min();
    prepare_folder(to)?;
    let mut reached = Reached { revision: record.revision, time_ms: 0, is_complete: false };
    reached.is_complete = matches!(until, Until::Revision(revision) if revision <= record.revision);
    if !reached.is_complete {
        let after = after(&segments, &own, record)?;
        download_segments(&segments, after, (record, until), to, &mut reached).await?;
    }
    if until == Until::Newest {
        reached.is_complete = later.is_none();
    }
    if let (Until::Time(time), true) = (until, reached.is_complete) {
        check_clock(time, reached.time_ms, later)?;
    }
    if !reached.is_complete {
        return Err(not_stored(&segments, until, &reached, later));
    }
    let revision = match until {
        Until::Revision(revision) => revision,
        Until::Newest | Until::Time(_) => reached.revision,
    };
    let target = Target { revision, at_least: until == Until::Newest };
    let json = serde_json::to_vec(&target).map_err(BackupError::internal)?;
    let mut file = PartialFile::create(&to.join(TARGET))?;
    file.write(&json)?;
    file.keep()?;
    tracing::info!(path = %to.display(), revision, "fetched the changes after the backup up to this revision");
    Ok(revision)
}

/// Returns a generation's segments, starting with the one that contains the snapshot's revision. Fails if the segments start
/// later. Returns an empty list if the generation has no segments.
fn after<'a>(
    segments: &SegmentStore,
    own: &'a [SegmentId],
    record: &BackupRecord,
) -> Result<&'a [SegmentId], BackupError> {
    // Revision 1 has no changes.
    let revision = record.revision.max(2);
    match (own.iter().rposition(|id| id.first <= revision), own.first()) {
        (Some(at), _) => Ok(&own[at..]),
        (None, None) => Ok(own),
        (None, Some(first)) => {
            let message = format!(
                "{}: the changes start at revision {}, but the backup {} has revision {}; use a later backup",
                segments.store.folder_url, first.first, record.name, record.revision
            );
            Err(BackupError::new(Reason::ChangesMissing, message))
        }
    }
}

/// Downloads segments into `to` and advances `reached`, until `until` is reached or no segment is left. Fails if the backup
/// belongs to another history.
async fn download_segments(
    segments: &SegmentStore,
    ids: &[SegmentId],
    (record, until): (&BackupRecord, Until),
    to: &Path,
    reached: &mut Reached,
) -> Result<(), BackupError> {
    let mut log = LogReader::default();
    for id in ids {
        let (segment, bytes) = segments.read(*id, |id, bytes| log.read(id, bytes)).await?;
        if (id.first..=id.last(&segment)).contains(&record.revision) {
            check_history(segments, record, &segment)?;
        }
        reached.advance(&segment, until)?;
        // The restore skips revisions that the snapshot already contains.
        let path = to.join(id.file_name());
        fs::write(&path, bytes).map_err(|error| local_disk_error(&path, &error))?;
        if reached.is_complete {
            break;
        }
    }
    Ok(())
}

/// Fails unless a segment has the same changes as a snapshot at the snapshot's revision.
fn check_history(
    segments: &SegmentStore,
    record: &BackupRecord,
    segment: &Segment,
) -> Result<(), BackupError> {
    let digest = digest_of(&segment.groups, record.revision);
    if digest.is_some_and(|digest| record.has_digest(&digest.digest)) {
        return Ok(());
    }
    let (folder, name, revision) = (&segments.store.folder_url, &record.name, record.revision);
    let message = format!(
        "{folder}: the backup {name} and these changes may have different histories, because their changes at revision \
         {revision} differ; use another backup"
    );
    Err(BackupError::new(Reason::ChangesMissing, message))
}

/// Fails if the clock that stamped the changes was ahead, so that their times are uncertain. `found_ms` is the last time that
/// was read from the segments, and `later` is the start of the next generation (Unix time in milliseconds).
fn check_clock(wanted: Timestamp, found_ms: i64, later: Option<i64>) -> Result<(), BackupError> {
    let now_ms = Timestamp::now().as_millisecond();
    let end_ms = later.map_or(now_ms, |later| later.min(now_ms));
    if found_ms <= end_ms + CLOCKS_MS {
        return Ok(());
    }
    let found = Timestamp::from_millisecond(found_ms).unwrap_or_default();
    let message = format!(
        "the changes around {wanted} have times up to {found}, because a clock was ahead. The state at {wanted} is not \
         certain; restore to a revision instead (toRevision, --to-revision)"
    );
    Err(BackupError::new(Reason::ChangesMissing, message))
}

impl Reached {
    /// Advances over the requested changes of a segment. Sets `is_complete` at the target. Fails if the times go back.
    fn advance(&mut self, segment: &Segment, until: Until) -> Result<(), BackupError> {
        for group in &segment.groups {
            if group.time_ms < self.time_ms {
                let message = format!(
                    "the changes after revision {} have earlier times than the changes before it",
                    self.revision
                );
                return Err(BackupError::new(Reason::BackupBroken, message));
            }
            self.time_ms = group.time_ms;
            if matches!(until, Until::Time(wanted) if group.time_ms > wanted.as_millisecond()) {
                self.is_complete = true;
                return Ok(());
            }
            self.revision = self.revision.max(group.last());
        }
        self.time_ms = self.time_ms.max(segment.covered_ms);
        self.is_complete = match until {
            Until::Newest => false,
            Until::Revision(revision) => self.revision >= revision,
            Until::Time(wanted) => segment.covered_ms >= wanted.as_millisecond(),
        };
        Ok(())
    }
}

/// Creates a directory that only its owner can read. If the directory exists, keeps its mode and removes the files of an
/// earlier fetch. If it contains any other file, fails and removes nothing.
fn prepare_folder(folder: &Path) -> Result<(), BackupError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let failed = |error| local_disk_error(folder, &error);
    if !folder.exists() {
        return fs::DirBuilder::new()
            .mode(0o700)
            .create(folder)
            .map_err(failed);
    }
    let mut earlier = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        if SegmentId::parse(name).is_none() && !name.starts_with(TARGET) {
            let message = format!(
                "--changes {}: the directory contains {name:?}, which is not a file of changes; use another directory",
                folder.display()
            );
            return Err(BackupError::new(Reason::LocalDisk, message));
        }
        earlier.push(entry.path());
    }
    for path in earlier {
        fs::remove_file(&path).map_err(|error| local_disk_error(&path, &error))?;
    }
    Ok(())
}

/// Returns the error for a target whose changes are not all stored. The error names the last point that can be restored.
/// `later` is the start of the next stored history, if there is one, as Unix time in milliseconds.
fn not_stored(
    segments: &SegmentStore,
    until: Until,
    reached: &Reached,
    later: Option<i64>,
) -> BackupError {
    let (folder, last) = (&segments.store.folder_url, reached.revision);
    let time = Timestamp::from_millisecond(reached.time_ms);
    let time = time.ok().filter(|_| reached.time_ms > 0);
    let time = time.map(|time| format!(", at {time}")).unwrap_or_default();
    let later = later.and_then(|later| Timestamp::from_millisecond(later).ok());
    let later = later.map(|later| {
        format!(
            "; the cluster did not continue from this revision, or its changes were compacted before they were stored: to \
             restore a later point, use a backup that was started at {later} or later"
        )
    });
    let message = format!(
        "{folder}: the changes up to {until} are not stored: the last revision is {last}{time}; to restore all stored \
         changes, use --to-revision {last}{}",
        later.unwrap_or_default()
    );
    BackupError::new(Reason::ChangesMissing, message)
}

#[cfg(test)]
mod tests;

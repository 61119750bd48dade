//! Fetches the changes after a snapshot, up to a revision or a time, for `witan snapshot restore --changes`.

use std::{fs, path::Path};

use jiff::Timestamp;
use witan_api::changes::{self, Missing, Segment, Span, TARGET, Target};

use super::{PartialFile, of_disk};
use crate::{
    changes::segments::SegmentStore,
    reason::{BackupError, Reason},
    result::BackupRecord,
    store::Store,
};

/// How far changes are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// As far as they are stored.
    Newest,
    /// To this revision.
    Revision(i64),
    /// To the last revision that was received at this time or before.
    Time(Timestamp),
}

impl Until {
    /// Whether changes go on from a snapshot: it is not later than this.
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

/// The end of the changes that are fetched so far.
struct Reached {
    /// The last wanted revision so far.
    revision: i64,
    /// When the last change was received.
    time: Option<Timestamp>,
    /// Whether a change was found that is later than the time that is wanted.
    is_past: bool,
}

/// Fetches the changes after a snapshot into a folder. Returns the revision to which they go.
pub(super) async fn fetch(
    store: &Store,
    record: &BackupRecord,
    until: Until,
    to: &Path,
) -> Result<i64, BackupError> {
    let segments = SegmentStore::of(store, &record.cluster_id)?;
    // before the segments, so that they are at least as far as it says
    let covered = segments.covered().await?;
    let spans = segments.spans().await?;
    let last = match until {
        Until::Revision(revision) => revision,
        Until::Newest | Until::Time(_) => i64::MAX,
    };
    let (chain, missing) = match changes::chain(&spans, record.revision, last) {
        Ok(chain) => (chain, None),
        // a time may be before what is missing
        Err(missing) if matches!(until, Until::Time(_)) => {
            let before = changes::chain(&spans, record.revision, missing.first - 1);
            (before.unwrap_or_default(), Some(missing))
        }
        Err(missing) => return Err(of_missing(&segments, missing)),
    };
    empty(to)?;
    let mut reached = Reached { revision: record.revision, time: None, is_past: false };
    for span in chain {
        let (segment, bytes) = segments.read(span).await?;
        let before = reached.revision;
        reached.take(&segment, until);
        if reached.revision > before {
            let path = to.join(span.file_name());
            fs::write(&path, bytes).map_err(|error| of_disk(&path, &error))?;
        }
        if reached.is_past {
            break;
        }
    }
    let is_there = match until {
        Until::Newest => true,
        Until::Revision(revision) => reached.revision >= revision,
        Until::Time(time) => {
            let is_covered =
                covered.is_some_and(|at| at.time >= time && at.revision <= reached.revision);
            reached.is_past || (is_covered && missing.is_none())
        }
    };
    if !is_there {
        return Err(missing.map_or_else(
            || {
                not_stored(
                    &segments,
                    until,
                    &reached,
                    covered.map(|covered| covered.time),
                )
            },
            |missing| of_missing(&segments, missing),
        ));
    }
    let revision = match until {
        Until::Revision(revision) => revision,
        Until::Newest | Until::Time(_) => reached.revision,
    };
    let target = Target { revision, at_least: until == Until::Newest };
    let json = serde_json::to_vec(&target)
        .map_err(|error| BackupError::new(Reason::Internal, error.to_string()))?;
    let mut file = PartialFile::create(&to.join(TARGET)).await?;
    file.write(&json).await?;
    file.keep().await?;
    tracing::info!(path = %to.display(), revision, "fetched the changes after the backup up to this revision");
    Ok(revision)
}

impl Reached {
    fn take(&mut self, segment: &Segment, until: Until) {
        for group in &segment.groups {
            let time = Timestamp::from_millisecond(group.time_ms).ok();
            if matches!(until, Until::Time(wanted) if time.is_none_or(|time| time > wanted)) {
                self.is_past = true;
                return;
            }
            self.time = time;
            self.revision = self.revision.max(group.last());
        }
    }
}

/// Makes a folder that has nothing of an earlier fetch, which only its owner reads.
fn empty(folder: &Path) -> Result<(), BackupError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let failed = |error| of_disk(folder, &error);
    if !folder.exists() {
        return fs::DirBuilder::new()
            .mode(0o700)
            .create(folder)
            .map_err(failed);
    }
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        if Span::parse(name).is_none() && !name.starts_with(TARGET) {
            let message = format!(
                "--changes {}: it holds {name:?}, which is no file of changes: name another folder",
                folder.display()
            );
            return Err(BackupError::new(Reason::LocalDisk, message));
        }
        fs::remove_file(entry.path()).map_err(|error| of_disk(&entry.path(), &error))?;
    }
    Ok(())
}

fn of_missing(segments: &SegmentStore, missing: Missing) -> BackupError {
    let message = format!("{}: {missing}", segments.folder_url());
    BackupError::new(Reason::ChangesMissing, message)
}

fn not_stored(
    segments: &SegmentStore,
    until: Until,
    reached: &Reached,
    covered: Option<Timestamp>,
) -> BackupError {
    let (folder, last) = (segments.folder_url(), reached.revision);
    let time = reached.time.max(covered);
    let time = time.map(|time| format!(", at {time}")).unwrap_or_default();
    let message = format!(
        "{folder}: the changes up to {until} are not stored: the last revision is {last}{time}; --to-revision {last} restores all \
         that is there"
    );
    BackupError::new(Reason::ChangesMissing, message)
}

#[cfg(test)]
mod tests;

//! The segments of a cluster in a location: `changes/CLUSTER/GENERATION-FIRST-NUMBER.events`. A segment is never overwritten.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use witan_api::changes::{self, Segment, SegmentId, Unreadable};

use crate::{
    name,
    reason::{BackupError, Reason},
    store::Store,
};

const FOLDER: &str = "changes";
const DELETIONS_AT_ONCE: usize = 16;

pub(crate) struct SegmentStore {
    pub(crate) store: Store,
    cluster_id: String,
}

impl SegmentStore {
    /// Returns the segments of the cluster with this hexadecimal id. Fails if the id cannot be the name of a directory.
    pub(crate) fn of(location: &Store, cluster_id: &str) -> Result<Self, BackupError> {
        name::check(cluster_id)?;
        let store = location.below(FOLDER).below(cluster_id);
        Ok(Self { store, cluster_id: cluster_id.to_owned() })
    }

    /// Returns the ids of the stored segments in ascending order. Ignores other files.
    pub(crate) async fn ids(&self) -> Result<Vec<SegmentId>, BackupError> {
        let files = self.store.files().await?;
        let mut ids: Vec<_> = files
            .iter()
            .filter_map(|file| SegmentId::parse(&file.name))
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Stores a segment. Succeeds if an identical segment exists, because the response to an earlier attempt may have been
    /// lost. Fails if another process has stored a different segment with this id.
    pub(crate) async fn append(&self, id: SegmentId, bytes: Bytes) -> Result<(), BackupError> {
        let file = id.file_name();
        if self.store.put_new(&file, bytes.clone()).await?
            || self.store.bytes(&file).await? == bytes
        {
            return Ok(());
        }
        let message = format!(
            "{} was written by another process that stores the changes of the same cluster; stop one of the processes",
            self.store.url(&file)
        );
        Err(BackupError::new(Reason::AlreadyExists, message))
    }

    /// Fails if the store overwrites existing files despite `If-None-Match`, as some stores do. Writes the stored segment
    /// `id` again to find out.
    pub(crate) async fn check_refusal(
        &self,
        id: SegmentId,
        bytes: Bytes,
    ) -> Result<(), BackupError> {
        if !self.store.put_new(&id.file_name(), bytes).await? {
            return Ok(());
        }
        let message = format!(
            "{}: the store overwrites existing files despite If-None-Match; use a store that supports conditional \
             writes",
            self.store.folder_url
        );
        Err(BackupError::internal(message))
    }

    /// Reads a segment and decodes it with `read`. Returns the segment and its bytes. Fails if the segment belongs to another
    /// cluster.
    pub(crate) async fn read(
        &self,
        id: SegmentId,
        read: impl FnOnce(SegmentId, &[u8]) -> Result<Segment, Unreadable>,
    ) -> Result<(Segment, Bytes), BackupError> {
        let bytes = self.store.bytes(&id.file_name()).await?;
        let url = || self.store.url(&id.file_name());
        let segment = read(id, &bytes).map_err(|why| {
            let reason = match why {
                Unreadable::Foreign(_) | Unreadable::Later => Reason::ForeignFormat,
                Unreadable::Broken(_) => Reason::BackupBroken,
                Unreadable::Missing { .. } => Reason::ChangesMissing,
            };
            BackupError::new(reason, format!("{}: {why}", url()))
        })?;
        if format!("{:x}", segment.cluster_id) != self.cluster_id {
            let message = format!(
                "{}: the file is invalid: it belongs to another cluster, {:x}",
                url(),
                segment.cluster_id
            );
            return Err(BackupError::new(Reason::BackupBroken, message));
        }
        Ok((segment, bytes))
    }

    /// Deletes the segments that no kept snapshot needs, but keeps the newest generation if no kept snapshot belongs to it.
    /// `kept` lists the start (Unix time in milliseconds) and the revision of each kept snapshot.
    pub(crate) async fn prune(&self, kept: &[(i64, i64)]) -> Result<(), BackupError> {
        let ids = self.ids().await?;
        let unneeded = unneeded(&ids, kept);
        stream::iter(unneeded)
            .map(|id| async move { self.store.delete(&id.file_name()).await })
            .buffer_unordered(DELETIONS_AT_ONCE)
            .try_collect()
            .await
    }
}

/// Returns the segments that no snapshot in `kept` (start times and revisions) needs. A snapshot also needs the segment with
/// its own revision, which proves that the snapshot and the segments have the same history. A generation is needed only if it
/// is the newest generation or has kept snapshots.
fn unneeded(ids: &[SegmentId], kept: &[(i64, i64)]) -> Vec<SegmentId> {
    let newest = ids.last().map(|id| id.generation);
    let oldest_of = |generation| {
        let of_it = kept.iter();
        let of_it = of_it.filter(|(time, _)| changes::generation_at(ids, *time) == generation);
        of_it.map(|(_, revision)| *revision).min()
    };
    let mut unneeded = Vec::new();
    for of_one in ids.chunk_by(|a, b| a.generation == b.generation) {
        let generation = of_one.first().map(|id| id.generation);
        let needed = match oldest_of(generation) {
            Some(oldest) => of_one
                .iter()
                .rposition(|id| id.first <= oldest)
                .unwrap_or(0),
            None if generation == newest => 0,
            None => of_one.len(),
        };
        unneeded.extend_from_slice(&of_one[..needed]);
    }
    unneeded
}

#[cfg(test)]
mod tests;

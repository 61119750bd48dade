//! Copies the source's writes: combines the events of a watch into revisions and proposes the revisions in order.

use std::time::Instant;

use futures_util::FutureExt as _;
use tonic::{Status, Streaming};
use witan_api::v3::etcdserverpb::WatchResponse;
use witan_machine::follow::{FollowError, FollowOperation, FollowRevisions, FollowedRevision};
use witan_node::{Node, NodeError};

use super::{
    calls::Calls,
    error::CopyError,
    fence::FenceError,
    received::{ENTRY_BYTES, ENTRY_WRITES, ReceivedRevisions, size},
    source::Source,
    status::FollowHandle,
};

/// The copier of one session with the source.
pub(super) struct Copier<'a> {
    pub(super) calls: Calls<'a>,
    watch: Streaming<WatchResponse>,
    /// Received revisions that are not copied yet.
    received: ReceivedRevisions,
    /// The last copied revision.
    pub(super) revision: i64,
    /// Another cluster's fence at the source. It makes a cut-over impossible.
    pub(super) fenced_by: Option<FenceError>,
    /// The revision of users and roles that this session has copied.
    pub(super) auth_revision: Option<u64>,
    /// Earliest time of the next comparison of hashes.
    pub(super) compare_at: Instant,
    /// Earliest time of the next copy of users and roles.
    pub(super) users_at: Instant,
}

impl<'a> Copier<'a> {
    /// Opens a session and a watch of all revisions that this cluster does not have. Updates the endpoint and the revision in
    /// the status. Fails with `NotFollowing` if this cluster no longer follows a source.
    pub(super) async fn begin(
        node: &'a Node,
        source: &'a Source,
        handle: &'a FollowHandle,
    ) -> Result<Self, CopyError> {
        let (revision, source_cluster_id) = {
            let view = node.read().await?;
            let members = &view.machine.members;
            if !members.follows {
                return Err(FollowError::NotFollowing.into());
            }
            (view.machine.kv.revision().0, members.source_cluster_id)
        };
        let calls = Calls::open(node, source, handle, source_cluster_id).await?;
        let session = &calls.session;
        let watch = session.watch(revision + 1).await?;
        tracing::info!(
            endpoint = session.endpoint,
            revision,
            "following the source"
        );
        handle.update(|status| {
            status.endpoint = Some(session.endpoint.to_owned());
            status.revision = revision;
        });
        Ok(Self {
            calls,
            watch,
            received: ReceivedRevisions::default(),
            revision,
            fenced_by: None,
            auth_revision: None,
            compare_at: Instant::now(),
            users_at: Instant::now(),
        })
    }

    /// Waits for a watch message. Returns the complete revisions that have arrived, up to about the size of one log entry.
    /// Returns an empty list after a progress notification. Cancel-safe.
    pub(super) async fn next_revisions(&mut self) -> Result<Vec<FollowedRevision>, CopyError> {
        let answer = self.watch.message().await;
        self.revisions_from(answer).await
    }

    /// Takes a watch message, and further messages that are available or that complete its last revision. Returns the complete
    /// revisions.
    async fn revisions_from(
        &mut self,
        first: Result<Option<WatchResponse>, Status>,
    ) -> Result<Vec<FollowedRevision>, CopyError> {
        self.take(first)?;
        let session = self.calls.session.clone();
        while !self.received.is_full() {
            let answer = match self.received.is_whole() {
                true => self.watch.message().now_or_never(),
                false => Some(session.more(self.watch.message()).await?),
            };
            let Some(answer) = answer else { break };
            self.take(answer)?;
        }
        Ok(self.received.take())
    }

    /// Adds the revisions of a watch message and shows the source's revision in the status. Fails if the watch has ended, the
    /// source has compacted missing revisions, another cluster has answered, or a revision is too large.
    fn take(&mut self, answer: Result<Option<WatchResponse>, Status>) -> Result<(), CopyError> {
        let failed = |status| self.calls.session.error(status);
        let answer = answer.map_err(failed)?;
        let answer = answer.ok_or_else(|| failed(Status::unavailable("the watch has ended")))?;
        if answer.compact_revision > 0 {
            return Err(CopyError::Compacted { revision: self.revision });
        }
        if answer.canceled {
            return Err(failed(Status::unavailable(answer.cancel_reason)).into());
        }
        let header = answer.header.unwrap_or_default();
        self.calls.check_cluster(header.cluster_id)?;
        let seen = header.revision;
        self.calls
            .handle
            .update(|status| status.source_revision = status.source_revision.max(seen));
        self.received.add(answer.events, answer.fragment)
    }

    /// Proposes revisions and waits until they are applied. Each log entry contains up to [`ENTRY_BYTES`] and [`ENTRY_WRITES`],
    /// or one larger revision.
    pub(super) async fn write(
        &mut self,
        revisions: Vec<FollowedRevision>,
    ) -> Result<(), CopyError> {
        let mut entry = Vec::new();
        let (mut bytes, mut writes) = (0, 0);
        for revision in revisions {
            let of_next = (size(&revision), revision.writes.len());
            let is_full = bytes + of_next.0 > ENTRY_BYTES || writes + of_next.1 > ENTRY_WRITES;
            if is_full && !entry.is_empty() {
                self.propose_revisions(std::mem::take(&mut entry)).await?;
                (bytes, writes) = (0, 0);
            }
            bytes += of_next.0;
            writes += of_next.1;
            entry.push(revision);
        }
        if entry.is_empty() {
            return Ok(());
        }
        self.propose_revisions(entry).await
    }

    /// Proposes revisions as one log entry. If a lease is missing, adds it and proposes the entry again.
    async fn propose_revisions(
        &mut self,
        revisions: Vec<FollowedRevision>,
    ) -> Result<(), CopyError> {
        let last = revisions
            .last()
            .map_or(self.revision, |revision| revision.revision);
        let operation = FollowOperation::Revisions(FollowRevisions { revisions });
        loop {
            match self.calls.propose(operation.clone()).await {
                Err(CopyError::Refused(FollowError::LeaseNotFound { lease })) => {
                    self.add_lease(lease).await?;
                }
                Err(CopyError::Node(NodeError::TooLarge)) => return Err(too_large(&operation)),
                outcome => {
                    outcome?;
                    self.revision = last;
                    self.calls.handle.update(|status| status.copied(last));
                    return Ok(());
                }
            }
        }
    }

    /// Copies until this cluster has the source's `revision`.
    pub(super) async fn copy_to(&mut self, revision: i64) -> Result<(), CopyError> {
        let session = self.calls.session.clone();
        while self.revision < revision {
            let answer = session.more(self.watch.message()).await?;
            let revisions = self.revisions_from(answer).await?;
            self.write(revisions).await?;
        }
        Ok(())
    }
}

/// Returns the error for an entry that is too large. The error names the entry's largest revision.
fn too_large(operation: &FollowOperation) -> CopyError {
    let FollowOperation::Revisions(FollowRevisions { revisions }) = operation else {
        return CopyError::Node(NodeError::TooLarge);
    };
    let largest = revisions.iter().max_by_key(|revision| size(revision));
    let (revision, writes) = largest.map_or((0, 0), |it| (it.revision, it.writes.len()));
    CopyError::TooLarge { revision, writes }
}

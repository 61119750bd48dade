//! Copies what the source writes: events of its watch become revisions, which are proposed in order.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::time::sleep;
use tonic::{Status, Streaming};
use witan_api::v3::{
    etcdserverpb::WatchResponse,
    mvccpb::{Event, KeyValue, event::EventType},
};
use witan_machine::follow::{
    FollowError, FollowOperation, FollowRevisions, FollowedRevision, FollowedWrite,
};
use witan_node::{Node, NodeError, ProposeError};

use super::{
    seed::SeedError,
    source::{Source, SourceError, SourceSession},
    status::FollowHandle,
};

/// Bytes of keys and values that one entry holds, unless one revision is larger.
const ENTRY_BYTES: usize = 1 << 20;

/// Writes that one entry holds, unless one revision has more: an entry of these is executed at once.
const ENTRY_WRITES: usize = 1024;

/// Delay before a proposal is repeated that this cluster did not take.
const PROPOSE_RETRY: Duration = Duration::from_millis(100);

/// Why following stops for now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(
        "the source has compacted the revisions behind {revision}, which this cluster has not copied: stop its members, \
         remove their data directories and begin again"
    )]
    Compacted { revision: i64 },
    #[error(
        "{endpoint} is a member of cluster {found:x}, and cluster {expected:x} is followed: name its members with --from"
    )]
    OtherCluster {
        endpoint: String,
        found: u64,
        expected: u64,
    },
    #[error(transparent)]
    Refused(#[from] FollowError),
    #[error(
        "revision {revision} of the source has {writes} writes, too many for one entry of the log: stop this cluster's members, remove \
         their data directories and begin again behind it"
    )]
    TooLarge { revision: i64, writes: usize },
    #[error("users or roles of the source were changed during the cut-over: try again")]
    UsersChanged,
    #[error("the cut-over took longer than {0:?}")]
    Late(Duration),
    #[error(transparent)]
    Users(#[from] SeedError),
    #[error("this cluster: {0}")]
    Node(NodeError),
}

/// Copies through one session.
pub(super) struct Copier<'a> {
    pub(super) node: &'a Node,
    pub(super) handle: &'a FollowHandle,
    pub(super) session: SourceSession<'a>,
    watch: Streaming<WatchResponse>,
    /// Revisions that have come in part: the last of them may go on in the next message.
    fragments: Vec<FollowedRevision>,
    /// The last copied revision.
    pub(super) revision: i64,
    /// The id of the followed cluster; 0 if it is not known.
    source_cluster_id: u64,
    /// The revision of users and roles that was copied through this session.
    pub(super) auth_revision: Option<u64>,
    /// When hashes are compared next.
    pub(super) compare_at: Instant,
    /// When users and roles may be copied again.
    pub(super) users_at: Instant,
}

impl<'a> Copier<'a> {
    /// Opens a session and watches from the revision behind that of this cluster.
    pub(super) async fn begin(
        node: &'a Node,
        source: &'a Source,
        handle: &'a FollowHandle,
    ) -> Result<Self, CopyError> {
        let (revision, source_cluster_id) = {
            let view = node.read().await.map_err(CopyError::Node)?;
            let members = &view.machine.members;
            if !members.follows {
                return Err(FollowError::NotFollowing.into());
            }
            (view.machine.kv.revision(), members.source_cluster_id)
        };
        let unreached =
            |error: SourceError| SourceError { endpoint: source.endpoints().join(","), ..error };
        let session = source.open().await.map_err(unreached)?;
        let watch = session.watch(revision + 1).await?;
        tracing::info!(endpoint = session.endpoint, revision, "following");
        handle.update(|status| status.connected(session.endpoint, revision));
        Ok(Self {
            node,
            handle,
            session,
            watch,
            fragments: Vec::new(),
            revision,
            source_cluster_id,
            auth_revision: None,
            compare_at: Instant::now(),
            users_at: Instant::now(),
        })
    }

    /// Asks for the source's last revision, and whether the answer is the followed cluster's.
    pub(super) async fn source_revision(&self) -> Result<i64, CopyError> {
        let there = self.session.read().await?;
        self.check_cluster(there.cluster_id)?;
        Ok(there.revision)
    }

    /// Refuses what another cluster answers: the endpoints may have been given to one.
    fn check_cluster(&self, found: u64) -> Result<(), CopyError> {
        let expected = self.source_cluster_id;
        if expected == 0 || found == expected {
            return Ok(());
        }
        let endpoint = self.session.endpoint.to_owned();
        Err(CopyError::OtherCluster { endpoint, found, expected })
    }

    /// Waits for the next revisions, and adds those that are there already, up to an entry. Loses nothing if it is dropped.
    pub(super) async fn next_revisions(&mut self) -> Result<Vec<FollowedRevision>, CopyError> {
        let answer = self.watch.message().await;
        let mut is_whole = self.take(answer)?;
        while !is_whole || !is_full(&self.fragments) {
            let answer = match is_whole {
                true => self.watch.message().now_or_never(),
                false => Some(self.watch.message().await),
            };
            let Some(answer) = answer else { break };
            is_whole = self.take(answer)?;
        }
        Ok(std::mem::take(&mut self.fragments))
    }

    /// Adds the revisions of a message of the watch. Returns whether the last of them is whole.
    fn take(&mut self, answer: Result<Option<WatchResponse>, Status>) -> Result<bool, CopyError> {
        let answer = answer.map_err(|status| self.session.error(status))?;
        let ended = || Status::unavailable("the watch has ended");
        let answer = answer.ok_or_else(|| self.session.error(ended()))?;
        if answer.compact_revision > 0 {
            return Err(CopyError::Compacted { revision: self.revision });
        }
        if answer.canceled {
            let canceled = Status::unavailable(answer.cancel_reason);
            return Err(self.session.error(canceled).into());
        }
        let header = answer.header.unwrap_or_default();
        self.check_cluster(header.cluster_id)?;
        let seen = header.revision;
        self.handle
            .update(|status| status.source_revision = status.source_revision.max(seen));
        for event in answer.events {
            add(&mut self.fragments, event);
        }
        Ok(!answer.fragment)
    }

    /// Proposes revisions and waits until they are applied, in entries of up to [`ENTRY_BYTES`] and [`ENTRY_WRITES`], a
    /// larger revision alone. Adds leases that are missing, and retries without a limit; an error if this node has
    /// ended, a revision is refused or too large for the log, or the source does not tell the TTL of a lease.
    pub(super) async fn write(
        &mut self,
        revisions: Vec<FollowedRevision>,
    ) -> Result<(), CopyError> {
        let mut entry = Vec::new();
        let (mut bytes, mut writes) = (0, 0);
        for revision in revisions {
            let of_next = (size(&revision), revision.writes.len());
            if !entry.is_empty()
                && (bytes + of_next.0 > ENTRY_BYTES || writes + of_next.1 > ENTRY_WRITES)
            {
                self.propose_revisions(std::mem::take(&mut entry)).await?;
                (bytes, writes) = (0, 0);
            }
            bytes += of_next.0;
            writes += of_next.1;
            entry.push(revision);
        }
        match entry.is_empty() {
            true => Ok(()),
            false => self.propose_revisions(entry).await,
        }
    }

    /// Proposes one entry of revisions, and the leases that it misses before it.
    async fn propose_revisions(
        &mut self,
        revisions: Vec<FollowedRevision>,
    ) -> Result<(), CopyError> {
        let last = revisions
            .last()
            .map_or(self.revision, |revision| revision.revision);
        let operation = FollowOperation::Revisions(FollowRevisions { revisions });
        loop {
            match self.propose(operation.clone()).await {
                Err(CopyError::Refused(FollowError::LeaseNotFound { lease })) => {
                    self.add_lease(lease).await?;
                }
                Err(CopyError::Node(NodeError::TooLarge)) => return Err(too_large(&operation)),
                outcome => {
                    outcome?;
                    self.revision = last;
                    self.handle.update(|status| status.copied(last));
                    return Ok(());
                }
            }
        }
    }

    /// Proposes an operation until this cluster has applied it: each has no effect the second time. Fails if it is refused
    /// or too large, or if this node was stopped or removed; any other fault is shown in the status and tried again.
    pub(super) async fn propose(&self, operation: FollowOperation) -> Result<(), CopyError> {
        let mut warned = false;
        loop {
            match self.node.propose(operation.clone()).await {
                Ok(_) => break,
                Err(ProposeError::Refused(error)) => return Err(error.into()),
                Err(ProposeError::Fault(
                    fault @ (NodeError::Stopped | NodeError::Removed | NodeError::TooLarge),
                )) => return Err(CopyError::Node(fault)),
                Err(ProposeError::Fault(fault)) => {
                    if !std::mem::replace(&mut warned, true) {
                        tracing::warn!(%fault, "this cluster does not take what is copied; retrying");
                        let error = CopyError::Node(fault).to_string();
                        self.handle.update(|status| status.error = Some(error));
                    }
                }
            }
            sleep(PROPOSE_RETRY).await;
        }
        if warned {
            self.handle.update(|status| status.error = None);
        }
        Ok(())
    }

    /// Copies until the cluster has a revision of the source.
    pub(super) async fn copy_to(&mut self, revision: i64) -> Result<(), CopyError> {
        while self.revision < revision {
            let revisions = self.next_revisions().await?;
            self.write(revisions).await?;
        }
        Ok(())
    }
}

/// Adds an event to its revision. The events of a revision come in order.
pub(crate) fn add(revisions: &mut Vec<FollowedRevision>, event: Event) {
    let deletes = event.r#type() == EventType::Delete;
    let Some(KeyValue { key, value, version, lease, mod_revision, .. }) = event.kv else {
        return;
    };
    let write = match deletes {
        true => FollowedWrite { key, ..FollowedWrite::default() },
        false => FollowedWrite { key, value, version, lease },
    };
    match revisions.last_mut() {
        Some(last) if last.revision == mod_revision => last.writes.push(write),
        Some(_) | None => {
            revisions.push(FollowedRevision { revision: mod_revision, writes: vec![write] });
        }
    }
}

fn size(revision: &FollowedRevision) -> usize {
    let writes = revision.writes.iter();
    writes
        .map(|write| write.key.len() + write.value.len())
        .sum()
}

/// Whether they fill an entry.
fn is_full(revisions: &[FollowedRevision]) -> bool {
    let bytes: usize = revisions.iter().map(size).sum();
    let writes: usize = revisions.iter().map(|revision| revision.writes.len()).sum();
    bytes >= ENTRY_BYTES || writes >= ENTRY_WRITES
}

fn too_large(operation: &FollowOperation) -> CopyError {
    let FollowOperation::Revisions(FollowRevisions { revisions }) = operation else {
        return CopyError::Node(NodeError::TooLarge);
    };
    let largest = revisions.iter().max_by_key(|revision| size(revision));
    let (revision, writes) = largest.map_or((0, 0), |it| (it.revision, it.writes.len()));
    CopyError::TooLarge { revision, writes }
}

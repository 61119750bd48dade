//! The calls of the member that follows: to its cluster, with retries, and to one member of the source.

use std::time::Duration;

use tokio::time::sleep;
use witan_api::v3::etcdserverpb::{AlarmMember, alarm_request::AlarmAction};
use witan_machine::{follow::FollowOperation, member::MemberRegistry};
use witan_node::{Node, NodeError, ProposeError};

use super::{
    error::CopyError,
    fence::{FenceCalls, Fences},
    source::{Source, SourceError, SourceSession},
    status::FollowHandle,
};

/// Delay before a failed proposal is repeated.
const PROPOSE_RETRY: Duration = Duration::from_millis(100);

/// This cluster and a session with a member of the source.
#[derive(Clone)]
pub(super) struct Calls<'a> {
    pub(super) node: &'a Node,
    pub(super) handle: &'a FollowHandle,
    pub(super) session: SourceSession<'a>,
    /// Id of the followed cluster; 0 if unknown.
    source_cluster_id: u64,
}

impl<'a> Calls<'a> {
    /// Opens a session with the source's next endpoint. The error of a failure names all endpoints. Does not compare the
    /// source's cluster id with `source_cluster_id` (0 if unknown): use [`Calls::check_cluster`] for each response.
    pub(super) async fn open(
        node: &'a Node,
        source: &'a Source,
        handle: &'a FollowHandle,
        source_cluster_id: u64,
    ) -> Result<Self, CopyError> {
        let unreached =
            |error: SourceError| SourceError { endpoint: source.endpoints().join(","), ..error };
        let session = source.open().await.map_err(unreached)?;
        Ok(Self { node, handle, session, source_cluster_id })
    }

    /// Fails if the cluster id `found` in a response belongs to another cluster, which may have taken over the source's
    /// endpoints.
    pub(super) fn check_cluster(&self, found: u64) -> Result<(), CopyError> {
        let expected = self.source_cluster_id;
        if expected == 0 || found == expected {
            return Ok(());
        }
        let endpoint = self.session.endpoint.to_owned();
        Err(CopyError::OtherCluster { endpoint, found, expected })
    }

    /// Proposes an operation until this cluster has applied it; applying it again has no effect. Fails if the operation is
    /// refused or too large, or if this node was stopped or removed. Retries after any other error. Logs the first such error
    /// and shows it in the status until the proposal is applied.
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
                        tracing::warn!(%fault, "failed to propose copied data to this cluster; retrying");
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
}

impl FenceCalls for Calls<'_> {
    type Error = CopyError;

    async fn recorded(&self) -> Result<MemberRegistry, CopyError> {
        let view = self.node.read().await?;
        Ok(view.machine.members.clone())
    }

    async fn record(&self, operation: FollowOperation) -> Result<(), CopyError> {
        self.propose(operation).await
    }

    async fn alarm(&self, action: AlarmAction, alarm: AlarmMember) -> Result<(), CopyError> {
        Ok(self.session.alarm(action, alarm).await.map(drop)?)
    }

    async fn fences(&self, recorded: &MemberRegistry) -> Result<Fences, CopyError> {
        Ok(self.session.fences(recorded).await?)
    }

    async fn takes_writes(&self) -> Result<bool, CopyError> {
        Ok(self.session.takes_writes().await?)
    }

    async fn revision(&self) -> Result<i64, CopyError> {
        let there = self.session.read().await?;
        self.check_cluster(there.cluster_id)?;
        Ok(there.revision)
    }
}

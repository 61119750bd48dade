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

    /// Like [`propose`], at this cluster.
    pub(super) async fn propose(&self, operation: FollowOperation) -> Result<(), CopyError> {
        propose(self.node, self.handle, operation).await
    }
}

/// Proposes an operation until the cluster has applied it; applying it again has no effect. Fails if the operation is refused
/// or too large, or if this node was stopped or removed. Retries after any other error. Logs the first such error and shows it
/// in the status until the proposal is applied. The status then shows the earlier error again.
async fn propose(
    node: &Node,
    handle: &FollowHandle,
    operation: FollowOperation,
) -> Result<(), CopyError> {
    let mut before = None;
    loop {
        match node.propose(operation.clone()).await {
            Ok(_) => break,
            Err(ProposeError::Refused(error)) => return Err(error.into()),
            Err(ProposeError::Fault(
                fault @ (NodeError::Stopped | NodeError::Removed | NodeError::TooLarge),
            )) => return Err(CopyError::Node(fault)),
            Err(ProposeError::Fault(fault)) => {
                if before.is_none() {
                    tracing::warn!(%fault, "failed to propose copied data to this cluster; retrying");
                    let error = CopyError::Node(fault).to_string();
                    handle.update(|status| before = Some(status.error.replace(error)));
                }
            }
        }
        sleep(PROPOSE_RETRY).await;
    }
    if let Some(error) = before {
        handle.update(|status| status.error = error);
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;
    use tokio::task::yield_now;
    use witan_base::metrics::Register;
    use witan_config::Config;
    use witan_machine::{follow::SourceGone, kv::Kv};
    use witan_node::testing::NodeOfStates;

    use super::{
        super::{metrics::FollowMetrics, seed::SnapshotFolder},
        *,
    };

    #[test]
    fn a_repeated_proposal_leaves_an_earlier_error_in_the_status() {
        actix_rt::System::new().block_on(async {
            let mut kv = Kv::default();
            let mut states = NodeOfStates::begin(&kv);
            let node = states.node.clone();
            states.withdraw();
            // Fill the queue of the member, whose replica's thread is not running.
            while node.view().now_or_never().is_none() {}
            let folder = SnapshotFolder::of(&Config::default());
            let metrics = FollowMetrics::register(&Register::default());
            let (handle, _requests) = FollowHandle::new(&[], folder, metrics);
            handle.update(|status| status.error = Some("another fence".to_owned()));
            let operation = FollowOperation::SourceGone(SourceGone {});
            let mut proposal = pin!(propose(&node, &handle, operation));
            assert!(proposal.as_mut().now_or_never().is_none());
            let error = handle.status().error;
            assert_eq!(error.as_deref(), Some("this cluster: too many requests"));
            let proposed = loop {
                states.apply(&mut kv);
                match proposal.as_mut().now_or_never() {
                    Some(proposed) => break proposed,
                    None => yield_now().await,
                }
            };
            assert!(proposed.is_ok());
            let error = handle.status().error;
            assert_eq!(error.as_deref(), Some("another fence"));
        });
    }
}

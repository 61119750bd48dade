//! What the monitor reports about the cluster's feature level, and the request to raise it now ([`FeatureLevels`]).
//! `witan_machine::levels` decides, and `monitor` queries the members and proposes.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use witan_machine::{
    levels::{self, Level},
    member::MemberId,
};
use witan_node::NodeError;

use super::{Shared, query::RunningRelease};

/// Requests to raise the level that wait for the monitor; further requests wait until one is taken.
const RAISES_MAX: usize = 1;

/// A member with what it runs, `None` if it did not answer.
pub type MemberRelease = (MemberId, Option<RunningRelease>);

/// What this member knows about the cluster's feature level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelReport {
    /// The feature level of the cluster.
    pub level: Level,
    /// The feature level of this release.
    pub own: Level,
    /// What each member ran in the last round of queries, or `None` if it did not answer.
    pub members: Vec<MemberRelease>,
    /// When this leader raises the level, if all members keep answering until then. `None` if it does not lead, a member does not
    /// know a higher level, or the level rises only by command.
    pub raises_at: Option<SystemTime>,
}

/// Why the level was not raised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RaiseError {
    /// Another member leads, or none does.
    #[error("this member does not lead the cluster")]
    NotLeader,
    /// These members do not know a higher level, or did not answer.
    #[error("some members do not know a higher feature level or did not answer")]
    Unable(Vec<MemberRelease>),
    /// The members return to this release.
    #[error("the cluster returns to release {0}; cancel the downgrade first")]
    Downgrade(String),
    /// The members or the cluster's version or level changed meanwhile.
    #[error("the members of the cluster are changing; retry")]
    Changing,
    /// The replica did not answer, or the raise may not be applied yet.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// A request for the monitor, with the channel for the answer.
pub(super) type RaiseRequest = oneshot::Sender<Result<Level, RaiseError>>;

/// Shows the feature level of the cluster, and raises it.
#[derive(Clone, Debug)]
pub struct FeatureLevels {
    shared: Arc<Shared>,
    reports: watch::Receiver<LevelReport>,
    raises: mpsc::Sender<RaiseRequest>,
}

impl FeatureLevels {
    /// Creates the handle, the sender of reports and the receiver of requests.
    pub(super) fn new(
        shared: Arc<Shared>,
    ) -> (
        Self,
        watch::Sender<LevelReport>,
        mpsc::Receiver<RaiseRequest>,
    ) {
        let first = LevelReport {
            level: levels::FIRST,
            own: levels::OWN,
            members: Vec::new(),
            raises_at: None,
        };
        let (reporter, reports) = watch::channel(first);
        let (raises, requests) = mpsc::channel(RAISES_MAX);
        (Self { shared, reports, raises }, reporter, requests)
    }

    /// Returns the current level, and what the last round of queries has found.
    pub fn report(&self) -> LevelReport {
        let level = self.shared.members().level();
        LevelReport { level, ..self.reports.borrow().clone() }
    }

    /// Raises the cluster to the highest level that all members know, without a hold. Returns the level when this member has
    /// applied the raise. If all members have the cluster's level, returns it and raises nothing.
    pub async fn raise(&self) -> Result<Level, RaiseError> {
        let (to, answer) = oneshot::channel();
        let stopped = || RaiseError::Node(NodeError::Stopped);
        self.raises.send(to).await.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }
}

/// Returns the levels of the members, `None` for a member that did not answer.
pub(super) fn known(running: &[MemberRelease]) -> Vec<Option<Level>> {
    let levels = running.iter();
    levels
        .map(|(_, running)| running.as_ref().map(|running| running.level))
        .collect()
}

/// Returns the members that do not know a level above `cluster`, or did not answer.
pub(super) fn unable(mut running: Vec<MemberRelease>, cluster: Level) -> Vec<MemberRelease> {
    running.retain(|(_, running)| running.as_ref().is_none_or(|it| it.level <= cluster));
    running
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_that_cannot_rise_are_named() {
        let release = |level| RunningRelease { api: (3, 7), witan: None, level };
        let asked = [Some(2), None, Some(1), Some(3)];
        let asked: Vec<MemberRelease> = asked
            .iter()
            .zip(1..)
            .map(|(level, id)| (MemberId(id), level.map(release)))
            .collect();
        assert_eq!(known(&asked), [Some(2), None, Some(1), Some(3)]);
        let found: Vec<u64> = unable(asked, 1).iter().map(|(id, _)| id.0).collect();
        assert_eq!(found, [2, 3]);
    }
}

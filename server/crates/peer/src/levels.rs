//! A handle to the monitor that shows the members' releases and raises the cluster's feature level ([`FeatureLevels`]).
//! `witan_machine::levels` decides whether to raise the level. `monitor` queries the members and proposes the new level.

use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot, watch};
use witan_machine::{levels::Level, member::MemberId};
use witan_node::NodeError;

use super::query::RunningRelease;

/// Maximum number of requests to raise the level that wait for the monitor; further requests wait until one is taken.
pub(super) const RAISES_MAX: usize = 1;

/// A member and the release that it runs, or `None` if the member did not answer.
pub type MemberRelease = (MemberId, Option<RunningRelease>);

/// The result of the last round of queries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LevelReport {
    /// All members with their releases. Empty before the first round.
    pub members: Vec<MemberRelease>,
    /// The time at which this leader raises the level if all members keep answering. `None` if this member does not lead, if a
    /// member cannot rise to a higher level, or if the level rises only by command.
    pub rises_at: Option<SystemTime>,
}

/// The reason why the level was not raised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RaiseError {
    /// This member is not the leader.
    #[error("this member does not lead the cluster")]
    NotLeader,
    /// These members do not support a higher level, do not have enough disk space for it, or did not answer.
    #[error(
        "some members do not support a higher feature level, do not have enough disk space or did not answer"
    )]
    Unable(Vec<MemberRelease>),
    /// A downgrade to this release is in progress.
    #[error("the cluster is being downgraded to release {0}; cancel the downgrade first")]
    Downgrade(String),
    /// The members, the leader, or the cluster's version or level changed in the meantime, or the leader's disk is full.
    #[error("the members of the cluster are changing; retry")]
    Changing,
    /// The replica did not answer, or did not apply the new level before the timeout.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// A request to the monitor with the channel for the response.
pub(super) type RaiseRequest = oneshot::Sender<Result<Level, RaiseError>>;

/// A handle that reports and raises the cluster's feature level.
#[derive(Clone, Debug)]
pub struct FeatureLevels {
    pub(super) reports: watch::Receiver<LevelReport>,
    pub(super) raises: mpsc::Sender<RaiseRequest>,
}

impl FeatureLevels {
    /// Returns the result of the last round of queries.
    pub fn report(&self) -> LevelReport {
        self.reports.borrow().clone()
    }

    /// Raises the cluster to the highest level that all members support, without the usual delay. Returns the level when this
    /// member has applied it. If all members support only the cluster's level, returns that level and proposes nothing.
    pub async fn raise(&self) -> Result<Level, RaiseError> {
        let (to, answer) = oneshot::channel();
        let stopped = || RaiseError::Node(NodeError::Stopped);
        self.raises.send(to).await.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }
}

/// Returns the level that each member can reach, or `None` for a member that did not answer. `later` is the first level with a
/// later data format than the cluster's, for which members need disk space. If `later` is `None`, their disk space does not
/// matter.
pub(super) fn reachable_levels(
    running: &[MemberRelease],
    later: Option<Level>,
) -> Vec<Option<Level>> {
    let levels = running.iter();
    levels
        .map(|(_, running)| running.as_ref().map(|running| running.reachable(later)))
        .collect()
}

/// Returns the members that keep the cluster at the level `cluster`, including members that did not answer. `later` has the
/// same meaning as in [`reachable_levels`].
pub(super) fn blocking_members(
    mut running: Vec<MemberRelease>,
    cluster: Level,
    later: Option<Level>,
) -> Vec<MemberRelease> {
    running.retain(|(_, running)| {
        let running = running.as_ref();
        running.is_none_or(|running| running.reachable(later) <= cluster)
    });
    running
}

#[cfg(test)]
mod tests {
    use witan_machine::{levels::decide, member::MemberRegistry};

    use super::*;

    /// Returns the responses of members 1, 2 and so on. Each response has the member's level and the number of bytes that its
    /// disk lacks.
    fn answers(of: &[Option<(Level, u64)>]) -> Vec<MemberRelease> {
        let release =
            |(level, lacks_bytes)| RunningRelease { api: (3, 7), witan: None, level, lacks_bytes };
        let numbered = of.iter().zip(1..);
        numbered
            .map(|(answer, id)| (MemberId(id), answer.map(release)))
            .collect()
    }

    fn ids(members: &[MemberRelease]) -> Vec<u64> {
        members.iter().map(|(id, _)| id.0).collect()
    }

    #[test]
    fn the_members_that_prevent_a_raise_are_named() {
        let asked = answers(&[Some((2, 0)), None, Some((1, 0)), Some((3, 0))]);
        assert_eq!(
            reachable_levels(&asked, None),
            [Some(2), None, Some(1), Some(3)]
        );
        assert_eq!(ids(&blocking_members(asked, 1, None)), [2, 3]);
    }

    #[test]
    fn only_a_level_with_a_later_format_needs_disk_space() {
        let version =
            MemberRegistry { cluster_version: "3.7.0".into(), ..MemberRegistry::default() };
        let asked = answers(&[Some((3, 0)), Some((3, 70))]);
        for (later, level, prevent) in [
            (None, Some(3), &[][..]),
            (Some(4), Some(3), &[]),
            (Some(3), Some(2), &[]),
            (Some(2), None, &[2]),
        ] {
            let found = decide(&version, &reachable_levels(&asked, later), true);
            assert_eq!(found, level, "{later:?}");
            let found = blocking_members(asked.clone(), 1, later);
            assert_eq!(ids(&found), prevent, "{later:?}");
        }
        let begins = MemberRegistry::default();
        assert_eq!(
            decide(&begins, &reachable_levels(&asked, Some(2)), false),
            None
        );
    }
}

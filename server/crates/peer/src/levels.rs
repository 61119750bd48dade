//! The raise of the cluster's feature level, as this member sees it: how long all members have known a higher level
//! ([`LevelHold`]), what the monitor reports, and the request to raise the level now ([`FeatureLevels`]). `witan_machine::levels`
//! decides, and `monitor` queries the members and proposes.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

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

/// Since when all members have known a level above the cluster's, as the leader has seen it without a gap.
#[derive(Debug, Default)]
pub(super) struct LevelHold(Option<Held>);

#[derive(Debug)]
struct Held {
    level: Level,
    members: Vec<MemberId>,
    since: Instant,
    /// The wall clock at `since`.
    since_clock: SystemTime,
}

impl LevelHold {
    /// Takes the answers of a round. Starts again if a member did not answer or does not know a level above `cluster`, if the
    /// members have changed, or if the highest level that all know is another one.
    pub(super) fn follow(&mut self, running: &[MemberRelease], cluster: Level, now: Instant) {
        let level = levels::known_by_all(&known(running)).filter(|level| *level > cluster);
        let Some(level) = level else {
            self.reset();
            return;
        };
        let members: Vec<MemberId> = running.iter().map(|(id, _)| *id).collect();
        let goes_on = |held: &Held| held.level == level && held.members == members;
        if !self.0.as_ref().is_some_and(goes_on) {
            let since_clock = SystemTime::now();
            self.0 = Some(Held { level, members, since: now, since_clock });
        }
    }

    /// Forgets the time, because this member does not lead or the members return to an earlier release.
    pub(super) fn reset(&mut self) {
        self.0 = None;
    }

    /// Returns for how long the level must still be held before it rises. `None` if it is not held, or if `hold` is `None`
    /// because the level rises only by command.
    pub(super) fn left(&self, hold: Option<Duration>, now: Instant) -> Option<Duration> {
        let held = now.saturating_duration_since(self.0.as_ref()?.since);
        Some(hold?.saturating_sub(held))
    }

    /// Returns the time at which the level rises, or `None` as in [`Self::left`].
    pub(super) fn raises_at(&self, hold: Option<Duration>) -> Option<SystemTime> {
        self.0.as_ref()?.since_clock.checked_add(hold?)
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

    const HOLD: Option<Duration> = Some(Duration::from_secs(60));

    /// Returns what members 1, 2 and so on run, by their levels.
    fn running(levels: &[Option<Level>]) -> Vec<MemberRelease> {
        let release = |level| RunningRelease { api: (3, 7), witan: None, level };
        let members = levels.iter().zip(1..);
        members
            .map(|(level, id)| (MemberId(id), level.map(release)))
            .collect()
    }

    #[test]
    fn a_level_is_held_until_the_time_is_over() {
        let (mut hold, begun) = (LevelHold::default(), Instant::now());
        let after = |seconds| begun + Duration::from_secs(seconds);
        let both = running(&[Some(2), Some(2)]);
        for (second, left) in [(0, 60), (10, 50), (59, 1), (60, 0), (100, 0)] {
            hold.follow(&both, 1, after(second));
            let expected = Some(Duration::from_secs(left));
            assert_eq!(hold.left(HOLD, after(second)), expected, "{second}");
        }
        assert_eq!(hold.left(Some(Duration::ZERO), begun), Some(Duration::ZERO));
        assert!(hold.raises_at(HOLD).is_some());
        // Only by command.
        assert_eq!(
            (hold.left(None, after(100)), hold.raises_at(None)),
            (None, None)
        );
        // The cluster has the level.
        hold.follow(&both, 2, after(101));
        assert_eq!(hold.left(HOLD, after(101)), None);
    }

    #[test]
    fn the_hold_starts_again_when_a_member_is_silent_or_lower_or_joins() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        for interruption in [
            running(&[Some(2), None]),
            running(&[Some(2), Some(1)]),
            running(&[Some(2), Some(2), Some(2)]),
            running(&[Some(2)]),
            running(&[Some(3), Some(3)]),
        ] {
            let mut hold = LevelHold::default();
            hold.follow(&running(&[Some(2), Some(2)]), 1, begun);
            hold.follow(&interruption, 1, after(30));
            hold.follow(&running(&[Some(2), Some(2)]), 1, after(40));
            let left = hold.left(HOLD, after(60));
            assert_eq!(left, Some(Duration::from_secs(40)), "{interruption:?}");
        }
        let mut hold = LevelHold::default();
        hold.follow(&running(&[Some(2), Some(3)]), 1, begun);
        hold.reset();
        assert_eq!(hold.left(HOLD, begun), None);
    }

    #[test]
    fn the_members_that_cannot_rise_are_named() {
        let asked = running(&[Some(2), None, Some(1), Some(3)]);
        let found: Vec<u64> = unable(asked, 1).iter().map(|(id, _)| id.0).collect();
        assert_eq!(found, [2, 3]);
    }
}

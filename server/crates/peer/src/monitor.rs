//! Monitors the versions and clocks of the other members. The leader derives the cluster version and the feature level from the
//! versions (`witan_machine::versions`, `witan_machine::levels`). Each member logs clocks that differ from its own.
//!
//! Each member requests `/version` and `/raft/probing` from the peer ports of the other members. The responses may come from
//! any release of Witan or from etcd. If a higher level has a later data format, the level rises only once every member has
//! enough disk space to rewrite its checkpoint.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures_util::future::join_all;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use witan_base::version;
use witan_config::Url;
use witan_machine::{
    command::{ClusterVersion, Command, Downgrade},
    levels::{self, Level, LevelHold},
    member::{MemberId, MemberRegistry},
    versions::{self, Release, release},
};
use witan_node::NodeError;

use super::{
    Shared,
    levels::{
        FeatureLevels, LevelReport, MemberRelease, RAISES_MAX, RaiseError, RaiseRequest,
        blocking_members, reachable_levels,
    },
    query::{self, RunningRelease},
    urls,
};

/// Interval between two rounds, as in etcd.
const INTERVAL: Duration = Duration::from_secs(5);

/// Interval between two rounds while the cluster version is below this member's version.
const UNSETTLED_INTERVAL: Duration = Duration::from_millis(500);

/// Interval between two rounds while the cluster version is unset, and lower bound of all other intervals.
const UNDECIDED_INTERVAL: Duration = Duration::from_millis(50);

/// Maximum time to wait for the versions of all members of a new cluster.
const UNDECIDED_TIMEOUT: Duration = Duration::from_secs(1);

/// Clock difference in seconds above which a warning is logged, as in etcd.
const CLOCK_DIFFERENCE_MAX_S: f64 = 1.0;

const NS_PER_S: f64 = 1e9;

pub(super) struct Monitor {
    shared: Arc<Shared>,
    begun: Instant,
    /// Time at which the leader last checked whether a downgrade is complete.
    last_downgrade_check: Instant,
    /// Whether each member's clock differs by more than [`CLOCK_DIFFERENCE_MAX_S`].
    apart: BTreeMap<MemberId, bool>,
    /// The release of each other member from its last response.
    releases: BTreeMap<MemberId, RunningRelease>,
    /// The members and the time of the last decision. The decision may still be unapplied.
    decided: Option<(Arc<MemberRegistry>, Instant)>,
    hold: LevelHold,
    /// The members whose lack of disk space prevents the level from rising now.
    lacking: Vec<MemberId>,
    reports: watch::Sender<LevelReport>,
    raises: mpsc::Receiver<RaiseRequest>,
}

/// A member's release and the number of seconds by which its clock is ahead (`None` if unknown). `None` if no URL answered.
type Answer = Option<(RunningRelease, Option<f64>)>;

impl Monitor {
    /// Creates the monitor and the handle to it.
    pub(super) fn new(shared: Arc<Shared>) -> (Self, FeatureLevels) {
        let (reporter, reports) = watch::channel(LevelReport::default());
        let (raises, requests) = mpsc::channel(RAISES_MAX);
        let monitor = Self {
            shared,
            begun: Instant::now(),
            last_downgrade_check: Instant::now(),
            apart: BTreeMap::new(),
            releases: BTreeMap::new(),
            decided: None,
            hold: LevelHold::default(),
            lacking: Vec::new(),
            reports: reporter,
            raises: requests,
        };
        (monitor, FeatureLevels { reports, raises })
    }

    /// Runs rounds and takes requests to raise the level until the process stops.
    pub(super) async fn run(mut self) {
        loop {
            let wait = self.round().await;
            tokio::select! {
                () = self.shared.node.stopping() => return,
                Some(to) = self.raises.recv() => {
                    let raised = self.raise().await;
                    // The requester may have stopped waiting.
                    let _ = to.send(raised);
                }
                () = sleep(wait) => {}
            }
        }
    }

    /// Queries all other members once and acts on their responses. Returns the delay before the next round.
    async fn round(&mut self) -> Duration {
        let (members, running) = self.query_all().await;
        self.apart.retain(|id, _| members.by_id.contains_key(id));
        self.releases.retain(|id, _| members.by_id.contains_key(id));
        let leads = self.leads(&members);
        let level_left = self.update_level_report(&members, &running, leads);
        if leads {
            self.decide(members, &running).await;
        }
        let wait = match release(&self.shared.members().cluster_version) {
            None => UNDECIDED_INTERVAL,
            Some(decided) if Some(decided) < release(version::API) => UNSETTLED_INTERVAL,
            Some(_) => INTERVAL,
        };
        // Only leaders check whether a downgrade is complete.
        let check = self.shared.settings.downgrade_check.filter(|_| leads);
        let check = check.map(|every| every.saturating_sub(self.last_downgrade_check.elapsed()));
        // The round in which no time is left proposes the new level. If that failed, the usual interval applies.
        let level_left = level_left.filter(|left| !left.is_zero());
        let due = [check, level_left].into_iter().flatten().min();
        wait.min(due.unwrap_or(wait)).max(UNDECIDED_INTERVAL)
    }

    /// Queries all other members concurrently and records their releases and clocks. Returns the members, and all releases
    /// including this member's own.
    async fn query_all(&mut self) -> (Arc<MemberRegistry>, Vec<MemberRelease>) {
        let members = self.shared.members();
        let own_id = self.shared.own_id();
        let others = members.by_id.values();
        let others: Vec<(MemberId, Vec<Url>)> = others
            .filter(|member| member.member_id() != own_id)
            .map(|member| (member.member_id(), urls(member)))
            .collect();
        let answers = others.iter().map(|(id, urls)| self.query(*id, urls));
        let answers = join_all(answers).await;
        let lacks_bytes = self.shared.node.disk().rewrite_lacks_bytes();
        let mut running = vec![(own_id, Some(RunningRelease::own(lacks_bytes)))];
        for ((id, _), answer) in others.into_iter().zip(answers) {
            if let Some((found, ahead_s)) = &answer {
                self.record_release(id, found.clone());
                self.record_clock(id, *ahead_s);
            }
            running.push((id, answer.map(|(found, _)| found)));
        }
        (members, running)
    }

    /// Returns whether this member leads the cluster of these members.
    fn leads(&self, members: &MemberRegistry) -> bool {
        let own_id = self.shared.own_id();
        self.shared.node.status().leader == own_id && members.by_id.contains_key(&own_id)
    }

    /// On the leader, records since when the level could rise; other members reset this time. Publishes the report of the
    /// round. Returns the time until the level rises if every member has enough disk space, or `None` if the level does not
    /// rise. If no time is left, logs the members without enough disk space.
    fn update_level_report(
        &mut self,
        members: &MemberRegistry,
        running: &[MemberRelease],
        leads: bool,
    ) -> Option<Duration> {
        match leads {
            true => self.hold.update(
                members,
                &reachable_levels(running, None),
                self.begun.elapsed(),
            ),
            false => self.hold.reset(),
        }
        let (left, level) = (self.level_left(), members.level());
        // During a hold, all members support a higher level, but some may not have enough disk space.
        let lacking = match left {
            Some(_) => blocking_members(running.to_vec(), level, levels::next_format(level)),
            None => Vec::new(),
        };
        let rises = left.filter(|_| lacking.is_empty());
        self.reports.send_replace(LevelReport {
            members: running.to_vec(),
            rises_at: rises.and_then(|left| SystemTime::now().checked_add(left)),
        });
        match left.is_some_and(|left| left.is_zero()) {
            true => self.record_lacking(&lacking),
            false => self.lacking.clear(),
        }
        left
    }

    /// Records the members that do not have enough disk space for a higher level. Logs them when they change.
    fn record_lacking(&mut self, lacking: &[MemberRelease]) {
        let ids: Vec<MemberId> = lacking.iter().map(|(id, _)| *id).collect();
        if self.lacking == ids {
            return;
        }
        for (id, running) in lacking {
            let member = id.to_string();
            let lacks_bytes = running.as_ref().map(|running| running.lacks_bytes);
            tracing::warn!(
                member,
                lacks_bytes,
                "the feature level does not rise: a member does not have enough disk space to rewrite its data in a later format"
            );
        }
        self.lacking = ids;
    }

    /// Returns the time until the level rises automatically, or `None` if it cannot rise or only a command raises it.
    fn level_left(&self) -> Option<Duration> {
        let hold = self.shared.settings.level_hold;
        self.hold.time_left(hold, self.begun.elapsed())
    }

    /// Requests a member's release, and measures the number of seconds by which its clock is ahead. Returns `None` if no URL
    /// answers with a release.
    async fn query(&self, member: MemberId, urls: &[Url]) -> Answer {
        let (dialer, node) = (&self.shared.dialer, &self.shared.node);
        for url in urls {
            match query::running_release(url, dialer, node.identity().cluster_id, member).await {
                Ok(running) => {
                    let begun_ns = witan_node::now_ns();
                    let clock_ns = query::clock(url, dialer).await.ok();
                    let middle_ns = begun_ns.midpoint(witan_node::now_ns());
                    let ahead =
                        |clock_ns: i64| clock_ns.saturating_sub(middle_ns) as f64 / NS_PER_S;
                    return Some((running, clock_ns.map(ahead)));
                }
                Err(error) => tracing::debug!(%url, %error, "failed to get the version of a peer"),
            }
        }
        None
    }

    /// Records a member's release, without its disk space, which changes frequently. Logs a first response that differs from
    /// this member's release and each later change.
    fn record_release(&mut self, member: MemberId, found: RunningRelease) {
        let found = RunningRelease { lacks_bytes: 0, ..found };
        let before = self.releases.insert(member, found.clone());
        if before.unwrap_or_else(|| RunningRelease::own(0)) == found {
            return;
        }
        let remote_peer_id = member.to_string();
        let (major, minor) = found.api;
        tracing::info!(
            remote_peer_id,
            api = format!("{major}.{minor}"),
            release = found.witan.as_deref().unwrap_or("unknown"),
            feature_level = found.level,
            "detected the release of a peer"
        );
    }

    /// Records the number of seconds by which a member's clock is ahead, unless it is unknown. Logs when the difference crosses
    /// [`CLOCK_DIFFERENCE_MAX_S`].
    fn record_clock(&mut self, member: MemberId, ahead_s: Option<f64>) {
        let Some(ahead_s) = ahead_s else { return };
        self.shared.metrics.clock(member, ahead_s);
        let apart = ahead_s.abs() > CLOCK_DIFFERENCE_MAX_S;
        if self.apart.insert(member, apart).unwrap_or_default() != apart {
            let remote_peer_id = member.to_string();
            match apart {
                true => tracing::warn!(
                    remote_peer_id,
                    clock_drift_s = ahead_s,
                    "the clock of a peer differs from the clock of this member; run a time service on all members"
                ),
                false => tracing::info!(remote_peer_id, "the clock of a peer is in sync again"),
            }
        }
    }

    /// Proposes a new cluster version, a higher feature level, or the end of a downgrade, if
    /// [`versions::next_cluster_version`] or [`levels::decide`] says so. Does not repeat a proposal for the same members
    /// within [`INTERVAL`]. Logs a failure; the next round tries again.
    async fn decide(&mut self, members: Arc<MemberRegistry>, running: &[MemberRelease]) {
        let every = self.shared.settings.downgrade_check;
        let checks_downgrade =
            every.is_some_and(|every| self.last_downgrade_check.elapsed() >= every);
        if checks_downgrade {
            self.last_downgrade_check = Instant::now();
        }
        let Some((command, what)) = self.decision(&members, running, checks_downgrade) else {
            return;
        };
        let under_way = |(from, at): &(Arc<MemberRegistry>, Instant)| {
            *from == members && at.elapsed() < INTERVAL
        };
        if self.decided.as_ref().is_some_and(under_way) {
            return;
        }
        match self.shared.node.decide(command, members.clone()).await {
            Ok(true) => {
                let (from, from_level) = (&members.cluster_version, members.level());
                tracing::info!(from, from_level, "proposed {what}");
                self.decided = Some((members, Instant::now()));
            }
            Ok(false) => {
                tracing::debug!(
                    "the members or the cluster version are changing; determining the version again"
                );
            }
            Err(error) => tracing::warn!(%error, "failed to record the cluster version; retrying"),
        }
    }

    /// Returns the command that this leader must propose and its description for the log, or `None` if nothing must change.
    /// `checks_downgrade` says whether to check that a downgrade is complete.
    fn decision(
        &self,
        members: &MemberRegistry,
        running: &[MemberRelease],
        checks_downgrade: bool,
    ) -> Option<(Command, String)> {
        let waits = self.begun.elapsed() < UNDECIDED_TIMEOUT;
        let apis: Vec<Option<Release>> = running
            .iter()
            .map(|(_, running)| running.as_ref().map(|running| running.api))
            .collect();
        let held = self.level_left().is_some_and(|left| left.is_zero());
        let later = levels::next_format(members.level());
        let level = levels::decide(members, &reachable_levels(running, later), held);
        if checks_downgrade && has_returned(members, running) {
            let ends = Command::Downgrade(Downgrade { target: String::new() });
            let target = &members.downgrade_target;
            return Some((ends, format!("the end of the downgrade to {target}")));
        }
        let version = versions::next_cluster_version(members, &apis, waits);
        let version =
            version.map_or_else(String::new, |(major, minor)| format!("{major}.{minor}.0"));
        let what = match (version.as_str(), level) {
            ("", None) => return None,
            ("", Some(level)) => format!("feature level {level}"),
            (version, None) => format!("cluster version {version}"),
            (version, Some(level)) => {
                format!("cluster version {version} and feature level {level}")
            }
        };
        let decided = ClusterVersion { version, level: level.unwrap_or_default() };
        Some((Command::ClusterVersion(decided), what))
    }

    /// Raises the feature level of the cluster as [`super::FeatureLevels::raise`] requests, and waits until this member has
    /// applied it. Fails with `Timeout` if that takes longer than [`INTERVAL`].
    async fn raise(&mut self) -> Result<Level, RaiseError> {
        let (members, running) = self.query_all().await;
        if !self.leads(&members) {
            return Err(RaiseError::NotLeader);
        }
        if levels::downgrade_target(&members).is_some() {
            return Err(RaiseError::Downgrade(members.downgrade_target.clone()));
        }
        let now = members.level();
        let later = levels::next_format(now);
        let Some(level) = levels::decide(&members, &reachable_levels(&running, later), true) else {
            let mut supported = reachable_levels(&running, None).into_iter();
            return match supported.all(|level| level == Some(now)) {
                true => Ok(now),
                false => Err(RaiseError::Unable(blocking_members(running, now, later))),
            };
        };
        let decided = ClusterVersion { level, ..ClusterVersion::default() };
        let command = Command::ClusterVersion(decided);
        if !self.shared.node.decide(command, members).await? {
            return Err(RaiseError::Changing);
        }
        tracing::info!("proposed feature level {level}, as requested");
        let applied = async {
            while self.shared.members().level() < level {
                sleep(UNDECIDED_INTERVAL).await;
            }
        };
        let too_slow = |_| NodeError::Timeout;
        timeout(INTERVAL, applied).await.map_err(too_slow)?;
        Ok(level)
    }
}

/// Returns whether all members run the release that a downgrade targets. Returns `false` if there is no downgrade or while a
/// member's release is unknown.
fn has_returned(members: &MemberRegistry, running: &[MemberRelease]) -> bool {
    let runs = |target| {
        let mut releases = running.iter().map(|(_, running)| running.as_ref());
        releases.all(|running| running.and_then(RunningRelease::release) == Some(target))
    };
    levels::downgrade_target(members).is_some_and(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announced_version_is_the_latest_that_the_state_machine_executes() {
        assert_eq!(release(version::API), Some(versions::LATEST));
    }

    #[test]
    fn a_downgrade_of_witan_has_ended_when_all_members_run_its_target() {
        // A build that does not report its release is treated as the first release.
        let of = |witan: &str| RunningRelease {
            api: versions::LATEST,
            witan: Some(witan.to_owned()).filter(|witan| !witan.is_empty()),
            level: levels::FIRST,
            lacks_bytes: 0,
        };
        for (target, releases, returned) in [
            ("0.1.0", &[Some("0.1.0"), Some("0.1.3"), Some("")][..], true),
            ("0.1.0", &[Some("0.1.0"), Some("0.2.0")], false),
            ("0.1.0", &[Some("0.1.0"), None], false),
            ("", &[Some("0.1.0")], false),
            // Witan has no release 3.7.0.
            ("3.7.0", &[Some("3.7.0")], false),
        ] {
            let members =
                MemberRegistry { downgrade_target: target.into(), ..MemberRegistry::default() };
            let running: Vec<MemberRelease> = releases
                .iter()
                .zip(1..)
                .map(|(release, id)| (MemberId(id), release.map(of)))
                .collect();
            assert_eq!(
                has_returned(&members, &running),
                returned,
                "{target:?} {releases:?}"
            );
        }
    }
}

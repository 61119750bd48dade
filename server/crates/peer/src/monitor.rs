//! Monitors the versions and clocks of the other members. The leader derives the cluster version from the versions
//! (`witan_machine::versions`). Differing clocks are reported.
//!
//! Each member requests `/version` and `/raft/probing` from the peer ports of the other members. The answers may come from any
//! release, or from etcd, with the cluster's id.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use witan_base::version;
use witan_config::Url;
use witan_machine::{
    command::{ClusterVersion, Command, Downgrade},
    member::{MemberId, MemberRegistry},
    versions::{self, Decision, Release, release},
};

use super::{
    Shared,
    query::{self, RunningRelease},
    urls,
};

/// Interval between two rounds, as in etcd.
const INTERVAL: Duration = Duration::from_secs(5);

/// Interval while the cluster version is unset or below this member's version.
const UNSETTLED_INTERVAL: Duration = Duration::from_millis(500);

/// Interval while the cluster version is unset and the members may still be starting.
const UNDECIDED_INTERVAL: Duration = Duration::from_millis(50);

/// How long to wait for the versions of all members of a new cluster.
const UNDECIDED_TIMEOUT: Duration = Duration::from_secs(1);

/// Clock difference in seconds above which a warning is logged, as in etcd.
const CLOCK_DIFFERENCE_MAX_S: f64 = 1.0;

const NS_PER_S: f64 = 1e9;

pub(super) struct Monitor {
    shared: Arc<Shared>,
    begun: Instant,
    /// When the leader last checked whether a downgrade is complete.
    last_downgrade_check: Instant,
    /// Whether each member's clock differs by more than [`CLOCK_DIFFERENCE_MAX_S`].
    apart: BTreeMap<MemberId, bool>,
    /// What each other member runs, by its last answer.
    releases: BTreeMap<MemberId, RunningRelease>,
    /// The members and the time of the last decision, which may not be applied yet.
    decided: Option<(Arc<MemberRegistry>, Instant)>,
}

impl Monitor {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            begun: Instant::now(),
            last_downgrade_check: Instant::now(),
            apart: BTreeMap::new(),
            releases: BTreeMap::new(),
            decided: None,
        }
    }

    /// Runs rounds until the process stops.
    pub(super) async fn run(mut self) {
        loop {
            let wait = self.round().await;
            tokio::select! {
                () = self.shared.node.stopping() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Queries all other members once and acts on their answers. Returns the delay before the next round.
    async fn round(&mut self) -> Duration {
        let members = self.shared.members();
        let own_id = self.shared.own_id();
        let others = members
            .by_id
            .values()
            .filter(|member| member.member_id() != own_id);
        let asked: Vec<(MemberId, Vec<Url>)> = others
            .map(|other| (other.member_id(), urls(other)))
            .collect();
        let answers = asked.iter().map(|(_, urls)| self.ask(urls));
        let answers = join_all(answers).await;
        let mut running = vec![release(version::API)];
        for ((id, _), answer) in asked.iter().zip(answers) {
            running.push(answer.as_ref().map(|(found, _)| found.api));
            if let Some((found, ahead_s)) = answer {
                self.record_release(*id, found);
                self.record_clock(*id, ahead_s);
            }
        }
        self.apart.retain(|id, _| members.by_id.contains_key(id));
        self.releases.retain(|id, _| members.by_id.contains_key(id));
        let leads = self.shared.node.status().leader == own_id;
        if leads && members.by_id.contains_key(&own_id) {
            self.decide(members, &running).await;
        }
        let wait = match release(&self.shared.members().cluster_version) {
            None => UNDECIDED_INTERVAL,
            Some(now) if Some(now) < release(version::API) => UNSETTLED_INTERVAL,
            Some(_) => INTERVAL,
        };
        // Only leaders check whether a downgrade is complete.
        let check = self.shared.settings.downgrade_check.filter(|_| leads);
        let check = check.map(|every| every.saturating_sub(self.last_downgrade_check.elapsed()));
        wait.min(check.unwrap_or(wait)).max(UNDECIDED_INTERVAL)
    }

    /// Requests a member's release and by how many seconds its clock is ahead. Returns `None` if no URL answers.
    async fn ask(&self, urls: &[Url]) -> Option<(RunningRelease, Option<f64>)> {
        let (dialer, node) = (&self.shared.dialer, &self.shared.node);
        for url in urls {
            match query::running_release(url, dialer, node.identity().cluster_id).await {
                Ok(running) => {
                    let asked_ns = witan_node::now_ns();
                    let clock_ns = query::clock(url, dialer).await.ok();
                    let middle_ns = asked_ns.midpoint(witan_node::now_ns());
                    let ahead =
                        |clock_ns: i64| clock_ns.saturating_sub(middle_ns) as f64 / NS_PER_S;
                    return Some((running, clock_ns.map(ahead)));
                }
                Err(error) => tracing::debug!(%url, %error, "failed to get the version of a peer"),
            }
        }
        None
    }

    /// Records what a member runs. Logs a first answer that differs from this member's release, and each later change.
    fn record_release(&mut self, member: MemberId, found: RunningRelease) {
        let before = self.releases.insert(member, found.clone());
        if before.unwrap_or_else(RunningRelease::own) == found {
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

    /// Records by how many seconds a member's clock is ahead. Logs when the difference crosses [`CLOCK_DIFFERENCE_MAX_S`].
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

    /// Proposes a new cluster version, or the end of a downgrade, if [`versions::decide`] says so. While the members stay the
    /// same, does not repeat a proposal within [`INTERVAL`].
    async fn decide(&mut self, members: Arc<MemberRegistry>, running: &[Option<Release>]) {
        let waits = self.begun.elapsed() < UNDECIDED_TIMEOUT;
        let node = &self.shared.node;
        let every = self.shared.settings.downgrade_check;
        let ends = every.is_some_and(|every| self.last_downgrade_check.elapsed() >= every);
        let last_downgrade_check = self.last_downgrade_check;
        if ends {
            self.last_downgrade_check = Instant::now();
        }
        let (command, version, what) = match versions::decide(&members, running, waits, ends) {
            Decision::Keep => return,
            Decision::Set((major, minor)) => {
                let version = format!("{major}.{minor}.0");
                let command = Command::ClusterVersion(ClusterVersion::of(version.clone()));
                (command, version, "set the cluster version")
            }
            Decision::EndDowngrade => {
                let target = String::new();
                let command = Command::Downgrade(Downgrade { target });
                let version = members.downgrade_target.clone();
                (command, version, "completed the downgrade")
            }
        };
        let under_way = |(from, at): &(Arc<MemberRegistry>, Instant)| {
            *from == members && at.elapsed() < INTERVAL
        };
        if self.decided.as_ref().is_some_and(under_way) {
            return;
        }
        match node.decide(command, members.clone()).await {
            Ok(true) => {
                let from = &members.cluster_version;
                tracing::info!(from, version, "{what}");
                self.decided = Some((members, Instant::now()));
            }
            Ok(false) => {
                self.last_downgrade_check = last_downgrade_check;
                tracing::debug!(
                    "the members or the cluster version are changing; determining the version again"
                );
            }
            Err(error) => tracing::warn!(%error, "failed to record the cluster version; retrying"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announced_version_is_the_latest_that_the_state_machine_executes() {
        assert_eq!(release(version::API), Some(versions::LATEST));
    }
}

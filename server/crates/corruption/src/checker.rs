//! Schedules comparisons of states. After a difference, the leader raises alarms, and corrupt members replace their state.
//! Members with a damaged checkpoint also replace their state.

use std::{error::Error, time::Duration};

use tokio::time::{MissedTickBehavior, interval, sleep};
use witan_config::CorruptionChecks;
use witan_machine::{
    alarm::{Alarm, AlarmAction, AlarmCommand, AlarmType},
    member::MemberId,
};
use witan_node::Node;
use witan_peer::PeerDialer;

use super::{
    agreement::{MemberHash, StateAgreement, decide},
    compare::{self, CompareError, Comparison},
    metrics::CorruptionMetrics,
};

/// Interval at which a member checks for its CORRUPT alarm and for a damaged checkpoint.
const ALARM_INTERVAL: Duration = Duration::from_millis(500);

/// Number of attempts to replace the state before a pause of [`REBUILD_PAUSE`].
const REBUILD_ATTEMPTS: u32 = 3;

/// Pause after a failed attempt to compare or replace the state.
const REBUILD_PAUSE: Duration = Duration::from_secs(10);

/// Member id of an alarm for the entire cluster, as in etcd.
const WHOLE_CLUSTER: MemberId = MemberId::NONE;

/// The error of a starting member whose state differs from other members' states. Either no majority agrees on a state, or this
/// member's state could not be replaced.
#[derive(Debug, thiserror::Error)]
#[error(
    "the state of this member differs from other members' states, and no majority with the leader agrees on one \
     state (after entry {index} of the Raft log: {hashes}). Find the member with the correct data, remove the other \
     members and add them again, or restore a backup"
)]
pub struct InconsistentState {
    index: u64,
    hashes: String,
}

/// The result of comparing this member's state with the other members' states.
enum Standing {
    /// The state equals the state of most voters.
    Sound,
    /// No reported state differs, but most voters did not report their state.
    Unconfirmed,
    /// Most voters have a different state, and replacing this member's state failed.
    Corrupt,
    /// Members differ, and there is no majority, or the majority differs from this member and does not include the leader.
    Unknown(Comparison),
}

/// Compares the members' states and repairs this member's state.
#[derive(Clone, Debug)]
pub struct CorruptionChecker {
    /// This member's node.
    pub node: Node,
    /// Connects to the other members.
    pub dialer: PeerDialer,
    /// The schedule of the comparisons.
    pub checks: CorruptionChecks,
    /// Metrics of the comparisons.
    pub metrics: CorruptionMetrics,
}

impl CorruptionChecker {
    /// If the settings require it, compares the states before the member serves clients. Replaces this member's state if it
    /// differs from the majority's. Returns whether the state differed. Fails if no majority with the leader agrees or the
    /// replacement fails. As in etcd, ignores unreachable members, and only logs a failed comparison.
    pub async fn check_at_start(&self) -> Result<bool, InconsistentState> {
        let mut differed = false;
        if !self.checks.initial || self.is_alone().await {
            return Ok(differed);
        }
        match self.repair_state(&mut differed).await {
            Ok(Standing::Sound | Standing::Unconfirmed) => {
                let rebuilt = differed;
                tracing::info!(rebuilt, "initial corruption checking passed; no corruption");
                Ok(differed)
            }
            Ok(Standing::Unknown(found)) => {
                Err(InconsistentState { index: found.index, hashes: found.hashes() })
            }
            Ok(Standing::Corrupt) => Err(InconsistentState {
                index: self.node.status().applied,
                hashes: "the leader's state could not be received".to_owned(),
            }),
            Err(error) => {
                tracing::warn!(%error, "initial corruption checking was not possible");
                Ok(differed)
            }
        }
    }

    /// Compares current states every `--corrupt-check-time`, and states after compactions every `--compact-hash-check-time`.
    /// Replaces this member's state if the member has the CORRUPT alarm or a damaged checkpoint. `differed` is the result of
    /// [`Self::check_at_start`]. Completes when the process stops.
    pub async fn run(self, differed: bool) {
        tokio::select! {
            () = self.node.stopping() => {}
            () = self.compare_regularly() => {}
            () = self.compare_compactions() => {}
            () = self.follow_alarm(differed) => {}
            () = self.follow_damage() => {}
        }
    }

    /// While this member leads other members, compares their states every `--corrupt-check-time` and raises alarms. Never
    /// completes.
    async fn compare_regularly(&self) {
        let Some(every) = self.checks.every else {
            return std::future::pending().await;
        };
        loop {
            sleep(every).await;
            if !self.leads() || self.is_alone().await {
                continue;
            }
            match compare::now(&self.node, &self.dialer, |_| false).await {
                Ok(comparison) => self.raise_alarms(&comparison).await,
                Err(error) => self.comparison_failed(error),
            }
        }
    }

    /// Every `--compact-hash-check-time`, while this member leads other members, compares the states that this member has
    /// hashed, for example at compactions, newest first. Stops at the first state that all members have hashed or in which
    /// members differ, and raises alarms. Never completes.
    async fn compare_compactions(&self) {
        let Some(every) = self.checks.compactions else {
            return std::future::pending().await;
        };
        let mut checked = 0;
        loop {
            sleep(every).await;
            if !self.leads() || self.is_alone().await {
                continue;
            }
            for hash in self.node.state_hashes().after(checked) {
                let dialer = &self.dialer;
                let compared = compare::at(&self.node, dialer, hash.index, |_| true).await;
                let comparison = match compared {
                    Ok(comparison) => comparison,
                    Err(error) => {
                        self.comparison_failed(error);
                        break;
                    }
                };
                self.raise_alarms(&comparison).await;
                if comparison.agreement != (StateAgreement::Agreed { complete: false }) {
                    checked = hash.index;
                    break;
                }
            }
        }
    }

    /// Counts and logs a failed comparison.
    fn comparison_failed(&self, error: CompareError) {
        self.metrics.failed();
        tracing::warn!(%error, "failed to compare the members' states");
    }

    /// While this member has the CORRUPT alarm, compares its state with the other members' states, replaces a corrupt state,
    /// and then disarms the alarm. If the state never differed, a client raised the alarm and must disarm it. `differed` says
    /// whether an earlier comparison found a difference. Never completes.
    async fn follow_alarm(&self, mut differed: bool) {
        let mut looks = interval(ALARM_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let own = Alarm::new(self.node.identity().member_id, AlarmType::Corrupt);
        let mut handled = false;
        loop {
            looks.tick().await;
            if !self.node.has_corrupt_alarm() {
                (handled, differed) = (false, false);
                continue;
            }
            if handled || self.is_alone().await {
                continue;
            }
            match self.repair_state(&mut differed).await {
                Ok(Standing::Sound) if differed => {
                    tracing::warn!(
                        "this member's state equals the majority's again; disarming its alarm"
                    );
                    self.change_alarm(own, AlarmAction::Deactivate).await;
                    continue;
                }
                Ok(Standing::Sound) => {
                    handled = true;
                    continue;
                }
                Ok(Standing::Unconfirmed) => {
                    tracing::warn!("most voters did not report their state; comparing again later");
                }
                Ok(Standing::Corrupt | Standing::Unknown(_)) => {
                    tracing::error!("this member's state is still corrupt; retrying later");
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to compare this member's state; retrying later");
                }
            }
            sleep(REBUILD_PAUSE).await;
        }
    }

    /// Replaces a damaged checkpoint of this member with the leader's state. Retries after a failure. Never completes.
    async fn follow_damage(&self) {
        let mut looks = interval(ALARM_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if !self.node.has_damaged_checkpoint() {
                continue;
            }
            match self.rebuild(&[]).await {
                Ok(()) => tracing::warn!("replaced the damaged checkpoint of this member"),
                Err(error) => {
                    tracing::warn!(%error, "failed to replace the damaged checkpoint; retrying later");
                    sleep(REBUILD_PAUSE).await;
                }
            }
        }
    }

    /// Compares this member's state and replaces it until it equals the majority's, at most [`REBUILD_ATTEMPTS`] times. Returns
    /// the result of the last comparison, [`Standing::Unknown`] if the leader is not part of the majority, or
    /// [`Standing::Corrupt`] after the last attempt. Sets `differed` if most voters have another state, even if a later step
    /// fails. Counts each comparison and each replacement.
    async fn repair_state(&self, differed: &mut bool) -> Result<Standing, CompareError> {
        let own = self.node.identity().member_id;
        for _ in 0..REBUILD_ATTEMPTS {
            let enough = |members: &[MemberHash]| is_confirmed(members, own);
            let compared = compare::now(&self.node, &self.dialer, enough).await;
            let comparison = compared.inspect_err(|_| self.metrics.failed())?;
            self.metrics.compared(&comparison.agreement);
            let majority = match &comparison.agreement {
                StateAgreement::Undecided => return Ok(Standing::Unknown(comparison)),
                StateAgreement::Outvoted { majority, .. } if !majority.contains(&own) => majority,
                StateAgreement::Agreed { .. } | StateAgreement::Outvoted { .. } => {
                    return Ok(match is_confirmed(&comparison.members, own) {
                        true => Standing::Sound,
                        false => Standing::Unconfirmed,
                    });
                }
            };
            *differed = true;
            let (index, hashes) = (comparison.index, comparison.hashes());
            tracing::error!(
                index,
                hashes,
                "this member's state differs from the majority's"
            );
            if !self.leads() && !majority.contains(&self.node.status().leader) {
                return Ok(Standing::Unknown(comparison));
            }
            match self.rebuild(majority).await {
                Ok(()) => {
                    self.metrics.rebuilds.inc();
                    tracing::warn!("rebuilt the state of this member from the leader's");
                }
                Err(error) => tracing::warn!(%error, "failed to rebuild the state of this member"),
            }
        }
        Ok(Standing::Corrupt)
    }

    /// Replaces this member's state with the leader's. A leader first transfers leadership to a voter of `majority`, or, if
    /// `majority` has no voter, to the member that lags least. Fails if leadership cannot be transferred, or if this member
    /// becomes the leader during the replacement.
    async fn rebuild(&self, majority: &[MemberId]) -> Result<(), Box<dyn Error>> {
        if self.leads() {
            let next = {
                let view = self.node.view().await?;
                let members = &view.machine.members;
                majority.iter().copied().find(|id| members.is_voter(*id))
            };
            let transferred = self.node.transfer_leadership(next).await;
            transferred.map_err(|error| format!("cannot transfer leadership: {error}"))?;
        }
        let leading = async {
            while !self.leads() {
                sleep(ALARM_INTERVAL).await;
            }
        };
        tokio::select! {
            rebuilt = self.node.rebuild() => Ok(rebuilt?),
            () = leading => Err("this member is now the leader".into()),
        }
    }

    /// Counts the comparison by its outcome. Raises the CORRUPT alarm for the members that differ from the majority. Without a
    /// majority, raises the alarm for the whole cluster. Skips alarms that are already raised. Raises no alarm if the node has
    /// no state; the next comparison tries again.
    async fn raise_alarms(&self, comparison: &Comparison) {
        self.metrics.compared(&comparison.agreement);
        let (index, hashes) = (comparison.index, comparison.hashes());
        let corrupt = match &comparison.agreement {
            StateAgreement::Agreed { complete } => {
                tracing::debug!(index, complete, "compared the members' states");
                return;
            }
            StateAgreement::Outvoted { corrupt, .. } => corrupt.clone(),
            StateAgreement::Undecided => vec![WHOLE_CLUSTER],
        };
        let view = self.node.view().await;
        let Ok(alarms) = view.map(|view| view.machine.alarms.clone()) else {
            return;
        };
        for member in corrupt {
            let alarm = Alarm::new(member, AlarmType::Corrupt);
            if alarms.contains(alarm) {
                continue;
            }
            let member = member.to_string();
            tracing::error!(
                member,
                index,
                hashes,
                "the states of members differ; raising the CORRUPT alarm"
            );
            self.change_alarm(alarm, AlarmAction::Activate).await;
        }
    }

    /// Raises or disarms an alarm through the log. Only logs a failure, because the next comparison tries again.
    async fn change_alarm(&self, alarm: Alarm, action: AlarmAction) {
        let command = AlarmCommand {
            action: action as i32,
            member: alarm.member.0,
            kind: alarm.kind,
        };
        if let Err(error) = self.node.report_alarm(command).await {
            tracing::warn!(%error, "failed to change the CORRUPT alarm; retrying later");
        }
    }

    /// Returns whether this member believes that it is the leader.
    fn leads(&self) -> bool {
        self.node.status().leader == self.node.identity().member_id
    }

    /// Returns whether this member is the cluster's only member. Returns `false` if the state cannot be read.
    async fn is_alone(&self) -> bool {
        let view = self.node.view().await;
        view.is_ok_and(|view| view.machine.members.by_id.len() <= 1)
    }
}

/// Returns whether most voters, and this member, have reported the same state.
fn is_confirmed(members: &[MemberHash], own: MemberId) -> bool {
    let found = members.iter().filter(|member| member.found.is_some());
    let agreed = match decide(members) {
        StateAgreement::Agreed { .. } => found.map(|member| member.member).collect(),
        StateAgreement::Outvoted { majority, .. } => majority,
        StateAgreement::Undecided => Vec::new(),
    };
    let votes = |member: &&MemberHash| member.votes;
    let voters = members.iter().filter(votes).count();
    let agree = |member: &&MemberHash| member.votes && agreed.contains(&member.member);
    agreed.contains(&own) && members.iter().filter(agree).count() > voters / 2
}

#[cfg(test)]
mod tests {
    use super::{super::agreement::tests::member, *};

    /// Without the other members' states, this member may still be corrupt, so it must not disarm its alarm.
    #[test]
    fn a_state_is_unconfirmed_if_most_voters_report_no_state() {
        for (others, sound) in [
            ([None, None], false),
            ([Some(1), None], true),
            ([Some(1), Some(1)], true),
            ([Some(1), Some(2)], true),
        ] {
            let keys = [Some(1)].into_iter().chain(others);
            let members: Vec<_> = (1..).zip(keys).map(|(id, keys)| member(id, keys)).collect();
            assert_eq!(is_confirmed(&members, MemberId(1)), sound, "{others:?}");
        }
    }
}

//! The fence: alarms that stop the source's writes. This module orders the steps in which a cut-over raises the alarms,
//! disarms them, and checks them afterward.
//!
//! An alarm has no owner and no version, and a request can take effect long after its caller has given up. Each attempt
//! therefore raises alarms under a new id, which the replicated state records first. A cluster disarms only the ids of attempts
//! that it has abandoned and never raises these ids again. A cut-over raises its fence before it looks for other fences, so of
//! two clusters at most one finds no other fence.
//!
//! `calls` makes the calls. The tests run these steps against a source with delayed requests (`world`).

use witan_api::v3::etcdserverpb::{AlarmMember, AlarmType, alarm_request::AlarmAction};
use witan_machine::{
    follow::{BeginCutOver, CutOver, FenceAgain, FollowOperation},
    member::MemberRegistry,
};

/// The reason why a fence does not protect a cut-over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FenceError {
    #[error(
        "the source is fenced by the cut-over of another cluster: it has alarms for {}, which are not ids of its members. If \
         that cluster no longer exists, disarm these alarms (etcdctl alarm disarm) and try again", list(.0)
    )]
    Foreign(Vec<u64>),
    #[error(
        "the source accepts writes despite the fence; disarm all its alarms (etcdctl alarm disarm) and try again"
    )]
    TakesWrites,
    #[error(
        "the source has the CORRUPT alarm (member {}), so this cluster may have copied damaged data. Repair the source, disarm \
         the alarm (etcdctl alarm disarm) and try again", list(.0)
    )]
    Corrupt(Vec<u64>),
}

/// Formats member ids in decimal, separated by commas.
fn list(ids: &[u64]) -> String {
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    ids.join(", ")
}

/// The calls that a fence needs, to this cluster and to the source.
pub(super) trait FenceCalls {
    /// The error of a failed call. The call may still take effect later.
    type Error: From<FenceError>;

    /// Reads this cluster's members and last attempt, linearizably.
    async fn recorded(&self) -> Result<MemberRegistry, Self::Error>;
    /// Records an operation in the log of this cluster.
    async fn record(&self, operation: FollowOperation) -> Result<(), Self::Error>;
    /// Raises or disarms an alarm at the source.
    async fn alarm(&self, action: AlarmAction, alarm: AlarmMember) -> Result<(), Self::Error>;
    /// Returns the source's alarms, without the NOSPACE alarms of its members. `recorded` contains this cluster's attempts.
    async fn fences(&self, recorded: &MemberRegistry) -> Result<Fences, Self::Error>;
    /// Returns whether the source would accept a deletion. Does not change the source.
    async fn takes_writes(&self) -> Result<bool, Self::Error>;
    /// Reads the source's last revision, linearizably.
    async fn revision(&self) -> Result<i64, Self::Error>;
}

/// The member id in the CORRUPT alarm of an etcd cluster in which no majority agrees.
const ALL_MEMBERS: u64 = 0;

/// The alarms of the source, without the NOSPACE alarms of its members.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fences {
    /// Alarms whose ids belong to this cluster's attempts.
    pub(super) own: Vec<AlarmMember>,
    /// Ids that have alarms and belong neither to the source's members nor to this cluster's attempts.
    pub(super) foreign: Vec<u64>,
    /// Ids of the source's members that have the CORRUPT alarm, or [`ALL_MEMBERS`].
    corrupt: Vec<u64>,
}

impl Fences {
    /// Classifies the alarms of a source with the members `members`. `recorded` contains this cluster's attempts.
    pub(super) fn of(alarms: Vec<AlarmMember>, members: &[u64], recorded: &MemberRegistry) -> Self {
        let mut fences = Self::default();
        for alarm in alarms {
            let id = alarm.member_id;
            if members.contains(&id) || id == ALL_MEMBERS {
                if alarm.alarm() == AlarmType::Corrupt {
                    fences.corrupt.push(id);
                }
            } else if recorded.is_recorded_fence(id) {
                fences.own.push(alarm);
            } else if !fences.foreign.contains(&id) {
                fences.foreign.push(id);
            }
        }
        fences
    }

    /// Returns whether all alarms of the fence with this id are raised.
    fn has(&self, id: u64) -> bool {
        let mut alarms = ALARMS.iter();
        alarms.all(|alarm| self.own.contains(&of(id, *alarm)))
    }

    /// Returns whether a fence is raised, by this cluster or by another cluster.
    pub(super) fn any(&self) -> bool {
        !(self.own.is_empty() && self.foreign.is_empty())
    }

    /// Fails if a member of the source has the CORRUPT alarm, because the comparison of keys reads only one member.
    pub(super) fn check_members(&self) -> Result<(), FenceError> {
        match self.corrupt.is_empty() {
            true => Ok(()),
            false => Err(FenceError::Corrupt(self.corrupt.clone())),
        }
    }

    /// Fails if another cluster has raised a fence.
    pub(super) fn check(self) -> Result<(), FenceError> {
        match self.foreign.is_empty() {
            true => Ok(()),
            false => Err(FenceError::Foreign(self.foreign)),
        }
    }
}

/// The alarms of a fence, in the order in which they are raised.
///
/// Before etcd 3.6, a NOSPACE alarm after CORRUPT allows deletions again, and disarming NOSPACE cancels both. Raising NOSPACE
/// again has no effect, so NOSPACE comes first.
const ALARMS: [AlarmType; 2] = [AlarmType::Nospace, AlarmType::Corrupt];

fn of(member_id: u64, alarm: AlarmType) -> AlarmMember {
    AlarmMember { member_id, alarm: alarm as i32 }
}

/// Records the next attempt at a cut-over. The record ends all earlier attempts. Returns the registry with the new attempt.
pub(super) async fn begin<C: FenceCalls>(calls: &C) -> Result<MemberRegistry, C::Error> {
    let mut recorded = calls.recorded().await?;
    recorded.cut_over_attempt = recorded.cut_over_attempt.saturating_add(1);
    let attempt = recorded.cut_over_attempt;
    let begin = FollowOperation::BeginCutOver(BeginCutOver { attempt });
    calls.record(begin).await?;
    Ok(recorded)
}

/// Raises the fence of the last recorded attempt. No earlier call may have raised it.
async fn raise<C: FenceCalls>(calls: &C, recorded: &MemberRegistry) -> Result<(), C::Error> {
    let id = recorded.fence_id(recorded.cut_over_attempt);
    for alarm in ALARMS {
        calls.alarm(AlarmAction::Activate, of(id, alarm)).await?;
    }
    Ok(())
}

/// Disarms the alarms in `alarms` that have the type `kind`.
async fn disarm<C: FenceCalls>(
    calls: &C,
    alarms: &[AlarmMember],
    kind: AlarmType,
) -> Result<(), C::Error> {
    for alarm in alarms.iter().filter(|alarm| alarm.alarm() == kind) {
        calls.alarm(AlarmAction::Deactivate, *alarm).await?;
    }
    Ok(())
}

/// Returns the source's fences. Fails with `TakesWrites` if the last fence is incomplete or the source accepts writes.
async fn ensure_in_force<C: FenceCalls>(
    calls: &C,
    recorded: &MemberRegistry,
) -> Result<Fences, C::Error> {
    let id = recorded.fence_id(recorded.cut_over_attempt);
    let fences = calls.fences(recorded).await?;
    if !fences.has(id) || calls.takes_writes().await? {
        return Err(FenceError::TakesWrites.into());
    }
    Ok(fences)
}

/// Makes the source refuse writes, calls `copy` with its last revision to copy the writes up to it, and makes this cluster
/// accept writes. Returns that revision. Fails if the fence has no effect, another cluster has raised a fence, or a member has
/// the CORRUPT alarm. After an error, the caller must call [`abandon`], because the cut-over may still take effect.
pub(super) async fn take_over<C: FenceCalls>(
    calls: &C,
    recorded: &MemberRegistry,
    copy: impl AsyncFnOnce(i64) -> Result<(), C::Error>,
) -> Result<i64, C::Error> {
    raise(calls, recorded).await?;
    let fences = ensure_in_force(calls, recorded).await?;
    fences.check_members()?;
    fences.check()?;
    let revision = calls.revision().await?;
    copy(revision).await?;
    let cut_over = CutOver { revision, attempt: recorded.cut_over_attempt };
    calls.record(FollowOperation::CutOver(cut_over)).await?;
    Ok(revision)
}

/// Records a new attempt, which abandons all earlier attempts at a cut-over, and then disarms the alarms of the earlier ones.
/// Later log entries of these attempts have no effect. Fails if a cut-over has succeeded; the source then stays fenced.
pub(super) async fn abandon<C: FenceCalls>(calls: &C) -> Result<(), C::Error> {
    let recorded = begin(calls).await?;
    let mut fences = calls.fences(&recorded).await?;
    // Keep the alarms of this attempt, because another process may have begun an attempt with the same number.
    let present = recorded.fence_id(recorded.cut_over_attempt);
    fences.own.retain(|alarm| alarm.member_id != present);
    for kind in ALARMS.into_iter().rev() {
        disarm(calls, &fences.own, kind).await?;
    }
    Ok(())
}

/// The result of checking the source after the cut-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guarded {
    Holds,
    /// The source accepted writes or the fence was incomplete, and a new fence was raised.
    RaisedAgain,
    /// This cluster still follows, or there is no fence to check.
    Ended,
}

/// Checks the source after the cut-over and raises a new fence if the last one is incomplete or has no effect. Returns the
/// result and the source's revision, or `Ended` and 0. `seen` is the last revision at which the source refused writes.
pub(super) async fn guard<C: FenceCalls>(
    calls: &C,
    seen: Option<i64>,
) -> Result<(Guarded, i64), C::Error> {
    let mut recorded = calls.recorded().await?;
    if recorded.follows || recorded.fenced_at == 0 {
        return Ok((Guarded::Ended, 0));
    }
    let fences = calls.fences(&recorded).await?;
    let revision = calls.revision().await?;
    let whole = fences.has(recorded.fence_id(recorded.cut_over_attempt));
    // The source logs each refused write, so the check sends a write only after a change.
    if whole && seen == Some(revision) {
        return Ok((Guarded::Holds, revision));
    }
    let open = calls.takes_writes().await?;
    if whole && !open {
        return Ok((Guarded::Holds, revision));
    }
    recorded.cut_over_attempt = recorded.cut_over_attempt.saturating_add(1);
    let attempt = recorded.cut_over_attempt;
    let again = FollowOperation::FenceAgain(FenceAgain { attempt });
    calls.record(again).await?;
    if open {
        // Before etcd 3.6, a raised CORRUPT alarm can have no effect; a new one has an effect only after the old one is
        // disarmed.
        disarm(calls, &fences.own, AlarmType::Corrupt).await?;
    }
    raise(calls, &recorded).await?;
    disarm(calls, &fences.own, AlarmType::Nospace).await?;
    ensure_in_force(calls, &recorded).await?;
    Ok((Guarded::RaisedAgain, calls.revision().await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_with_the_corrupt_alarm_is_found() {
        let recorded = MemberRegistry::default();
        let found = |alarms: &[AlarmMember]| Fences::of(alarms.to_vec(), &[7, 8], &recorded);
        let full = found(&[of(7, AlarmType::Nospace)]);
        assert_eq!(full, Fences::default());
        assert_eq!(full.check_members(), Ok(()));
        for id in [8, ALL_MEMBERS] {
            let alarms = [of(7, AlarmType::Nospace), of(id, AlarmType::Corrupt)];
            let fences = found(&alarms);
            assert_eq!(fences.check_members(), Err(FenceError::Corrupt(vec![id])));
            assert!(!fences.any());
            assert_eq!(fences.check(), Ok(()), "CORRUPT is not a fence");
        }
    }
}

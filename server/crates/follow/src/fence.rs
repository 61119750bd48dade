//! The fence: alarms that stop the source from taking writes. This module orders the steps in which a cut-over raises the
//! alarms, gives them up, and checks them afterward.
//!
//! An alarm has no owner and no version, and a request can take effect long after its caller has given up. Each attempt
//! therefore raises alarms under a new id, which the replicated state records first. A cluster only lowers the ids of attempts
//! that it has given up, and never raises these again. A cut-over raises its own fence first and then looks for others. Of two
//! clusters, at most one finds no other fence.
//!
//! The calls themselves are in `calls`. The tests run these steps against a source with delayed requests (`world`).

use witan_api::v3::etcdserverpb::{AlarmMember, AlarmType, alarm_request::AlarmAction};
use witan_machine::{
    follow::{BeginCutOver, CutOver, FenceAgain, FollowOperation},
    member::MemberRegistry,
};

/// The reason why a fence does not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FenceError {
    #[error(
        "the source is fenced by the cut-over of another cluster: it has alarms of {}, which are not its members. If that \
         cluster is gone for good, lower them (etcdctl alarm disarm) and try again", list(.0)
    )]
    Foreign(Vec<u64>),
    #[error(
        "the source takes writes in spite of the fence: lower all its alarms (etcdctl alarm disarm) and try again"
    )]
    TakesWrites,
}

/// Formats ids like etcdctl.
fn list(ids: &[u64]) -> String {
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    ids.join(", ")
}

/// The calls that a fence needs, to this cluster and to the source.
pub(super) trait FenceCalls {
    /// The error of a failed call. The call may still take effect, now or later.
    type Error: From<FenceError>;

    /// Returns this cluster's members and its last attempt, obtained with a linearizable read.
    async fn recorded(&self) -> Result<MemberRegistry, Self::Error>;
    /// Records an operation in the log of this cluster.
    async fn record(&self, operation: FollowOperation) -> Result<(), Self::Error>;
    /// Raises or lowers an alarm at the source.
    async fn alarm(&self, action: AlarmAction, alarm: AlarmMember) -> Result<(), Self::Error>;
    /// Returns the source's alarms that belong to fences.
    async fn fences(&self, recorded: &MemberRegistry) -> Result<Fences, Self::Error>;
    /// Returns whether the source would accept a deletion, tested with a request that has no effect.
    async fn takes_writes(&self) -> Result<bool, Self::Error>;
    /// Returns the source's latest revision, obtained with a linearizable read.
    async fn revision(&self) -> Result<i64, Self::Error>;
}

/// The alarms at a source whose ids are not its members'.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fences {
    /// Alarms with ids of this cluster's attempts.
    pub(super) own: Vec<AlarmMember>,
    /// All other ids.
    pub(super) foreign: Vec<u64>,
}

impl Fences {
    /// Classifies the alarms of a source with these members. Ignores the members' own alarms. A cluster without an attempt owns
    /// none of the other alarms.
    pub(super) fn of(alarms: Vec<AlarmMember>, members: &[u64], recorded: &MemberRegistry) -> Self {
        let mut fences = Self::default();
        for alarm in alarms {
            let id = alarm.member_id;
            if members.contains(&id) {
                continue;
            } else if recorded.is_recorded_fence(id) {
                fences.own.push(alarm);
            } else if !fences.foreign.contains(&id) {
                fences.foreign.push(id);
            }
        }
        fences
    }

    /// Returns whether all alarms of this id are raised.
    fn has(&self, id: u64) -> bool {
        let mut alarms = ALARMS.iter();
        alarms.all(|alarm| self.own.contains(&of(id, *alarm)))
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
/// CORRUPT alone is not enough before etcd 3.6. A later NOSPACE alarm replaces it, so that deletions are accepted
/// again, and lowering NOSPACE removes both. Raising NOSPACE again changes nothing, so NOSPACE comes first here.
const ALARMS: [AlarmType; 2] = [AlarmType::Nospace, AlarmType::Corrupt];

fn of(member_id: u64, alarm: AlarmType) -> AlarmMember {
    AlarmMember { member_id, alarm: alarm as i32 }
}

/// Records the next attempt at a cut-over, which ends all earlier attempts.
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

/// Lowers the alarms of this kind.
async fn lower<C: FenceCalls>(
    calls: &C,
    alarms: &[AlarmMember],
    kind: AlarmType,
) -> Result<(), C::Error> {
    for alarm in alarms.iter().filter(|alarm| alarm.alarm() == kind) {
        calls.alarm(AlarmAction::Deactivate, *alarm).await?;
    }
    Ok(())
}

/// Returns the fences once the source refuses writes because of the last attempt's fence.
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

/// Makes the source refuse writes, copies its last writes, and makes this cluster accept writes. Returns the last
/// revision of the source. On error, the caller must abandon the attempt ([`give_up`]): the cut-over may nevertheless
/// have taken effect.
pub(super) async fn take_over<C: FenceCalls>(
    calls: &C,
    recorded: &MemberRegistry,
    copy: impl AsyncFnOnce(i64) -> Result<(), C::Error>,
) -> Result<i64, C::Error> {
    raise(calls, recorded).await?;
    ensure_in_force(calls, recorded).await?.check()?;
    let revision = calls.revision().await?;
    copy(revision).await?;
    let cut_over = CutOver { revision, attempt: recorded.cut_over_attempt };
    calls.record(FollowOperation::CutOver(cut_over)).await?;
    Ok(revision)
}

/// Gives up every attempt at a cut-over, even one whose last entry is in the log and may be applied later, and only
/// then lowers its alarms. Fails if a cut-over was done; the source then stays fenced.
pub(super) async fn give_up<C: FenceCalls>(calls: &C) -> Result<(), C::Error> {
    let recorded = begin(calls).await?;
    let mut fences = calls.fences(&recorded).await?;
    // Another process may have begun the same attempt and be continuing it.
    let present = recorded.fence_id(recorded.cut_over_attempt);
    fences.own.retain(|alarm| alarm.member_id != present);
    for kind in ALARMS.into_iter().rev() {
        lower(calls, &fences.own, kind).await?;
    }
    Ok(())
}

/// The result of checking the source after the cut-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guarded {
    /// The source is fenced.
    Holds,
    /// The source was not fenced, and a new fence was raised.
    RaisedAgain,
    /// The fence is not needed yet, or no longer.
    Ended,
}

/// Checks the source after the cut-over, and raises a new fence if the last one was lowered. Also returns the source's
/// revision. `seen` is the last revision at which the source refused writes. Returns `Ended` with revision 0 if this cluster
/// follows again, or has no fence to check.
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
    // The source logs each refused write, so no test write is sent while nothing changes.
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
        // Before etcd 3.6, a CORRUPT alarm can be raised without effect, and while it is raised the next one may have none
        // either.
        lower(calls, &fences.own, AlarmType::Corrupt).await?;
    }
    raise(calls, &recorded).await?;
    lower(calls, &fences.own, AlarmType::Nospace).await?;
    ensure_in_force(calls, &recorded).await?;
    Ok((Guarded::RaisedAgain, calls.revision().await?))
}

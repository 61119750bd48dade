//! Maintenance calls. Calls that read the entire store run on separate threads against a fixed state, a few at a time.

use std::time::Instant;

use witan_api::v3::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse,
    DowngradeInfo, DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest,
    HashResponse, MoveLeaderRequest, MoveLeaderResponse, StatusRequest, StatusResponse,
    alarm_request::AlarmAction, downgrade_request::DowngradeAction,
};
use witan_base::{account::JobKind, version};
use witan_dialect::Context;
use witan_machine::{
    alarm::{self, Alarm},
    command::Downgrade,
    levels::{self, ReleaseRow},
    member::{MemberId, MemberRegistry},
    revision::Revision,
    versions::{Release, release},
    view::View,
};
use witan_snapshot as snapshot;

use super::{RpcResult, authorize, header};
use crate::error::RpcError;

/// Returns this member's status from its local state, even without a quorum. `errors` lists a missing leader and the alarms.
pub(super) async fn status(ctx: &Context, _request: StatusRequest) -> RpcResult<StatusResponse> {
    let view = ctx.node.view().await?;
    let kv = &view.machine.kv;
    let raft = ctx.node.status();
    let members = &view.machine.members;
    let no_leader = (raft.leader == MemberId::NONE).then(|| RpcError::NoLeader.to_string());
    let alarms = ctx.node.alarms(&view, None).map(alarm_text);
    let errors = no_leader.into_iter().chain(alarms).collect();
    Ok(StatusResponse {
        header: header::at(&ctx.node, kv.revision()),
        version: version::API.into(),
        db_size: bytes(kv.size_bytes()),
        leader: raft.leader.0,
        raft_index: raft.committed,
        raft_term: raft.term,
        raft_applied_index: raft.applied,
        errors,
        // As in etcd, the size includes the history. Unlike in etcd, a compaction leaves no free pages.
        db_size_in_use: bytes(kv.size_bytes()),
        is_learner: ctx.node.is_learner(&view),
        storage_version: version::STORAGE.into(),
        // etcd reports an unlimited quota as -1, the value of its flag.
        db_size_quota: ctx.settings.quota_bytes.map_or(-1, bytes),
        downgrade_info: Some(DowngradeInfo {
            enabled: !members.downgrade_target.is_empty(),
            target_version: members.downgrade_target.clone(),
        }),
    })
}

/// Lists, raises or clears alarms. Raising and clearing require the root role while authentication is enabled. An unknown
/// action has no effect, whereas it crashes etcd 3.6. An unknown alarm type cannot be raised or cleared, because a later
/// release may define it.
pub(super) async fn alarm(ctx: &Context, request: AlarmRequest) -> RpcResult<AlarmResponse> {
    let action = AlarmAction::try_from(request.action);
    // Listing alarms needs fewer permissions, which were checked earlier.
    if action != Ok(AlarmAction::Get) {
        Box::pin(authorize::require_current_admin(ctx)).await?;
    }
    let action = match (action, AlarmType::try_from(request.alarm)) {
        (Ok(AlarmAction::Get), _) => return list(ctx, request.alarm).await,
        (Ok(AlarmAction::Activate), Ok(_)) => alarm::AlarmAction::Activate,
        (Ok(AlarmAction::Deactivate), Ok(_)) => alarm::AlarmAction::Deactivate,
        (Ok(AlarmAction::Activate | AlarmAction::Deactivate), Err(_)) | (Err(_), _) => {
            return Ok(AlarmResponse {
                header: header::at(&ctx.node, ctx.node.view().await?.machine.kv.revision()),
                alarms: Vec::new(),
            });
        }
    };
    let command = alarm::AlarmCommand {
        action: action as i32,
        member: request.member_id,
        kind: request.alarm,
    };
    let done = ctx.node.propose(command).await?;
    Ok(AlarmResponse {
        header: header::at(&ctx.node, done.revision),
        alarms: done.output.into_iter().map(message).collect(),
    })
}

/// Transfers leadership to `target_id`. Does nothing if the target is this member. Fails with `NotLeader` if this member is not
/// the leader, and with `BadLeaderTransferee` if the target is not a voter.
pub(super) async fn move_leader(
    ctx: &Context,
    request: MoveLeaderRequest,
) -> RpcResult<MoveLeaderResponse> {
    let own = ctx.node.identity().member_id;
    if ctx.node.status().leader != own {
        return Err(RpcError::NotLeader);
    }
    let target_id = MemberId(request.target_id);
    let votes = {
        let view = ctx.node.view().await?;
        view.machine.members.is_voter(target_id)
    };
    if !votes {
        return Err(RpcError::BadLeaderTransferee);
    }
    if target_id != own {
        ctx.node.transfer_leadership(Some(target_id)).await?;
    }
    // As in etcd, the response has no header.
    Ok(MoveLeaderResponse { header: None })
}

/// Returns the hash of this member's entire store, including members and cluster settings. etcd computes the same hash for
/// equal data. Waits for a scan permit. Fails with `Corrupt` if the store cannot be read, and with `TooManyRequests` if the
/// state pins too much memory. While authentication is enabled, requires the root role.
pub(super) async fn hash(ctx: &Context, _request: HashRequest) -> RpcResult<HashResponse> {
    let begun = Instant::now();
    let job = ctx.scan().await?;
    authorize::check_admin_on(ctx, &job.machine)?;
    let header = header::at(&ctx.node, job.machine.kv.revision());
    let end = job.end_signal();
    let hash = move |view: &View| snapshot::of_store(view, &|| end.is_told());
    let (hash, _) = job.run(hash).await?;
    ctx.v3_metrics.hash.observe(begun.elapsed().as_secs_f64());
    let hash = hash.map_err(|_| RpcError::Corrupt)?;
    Ok(HashResponse { header, hash })
}

/// Returns the hash of this member's keys at a revision; 0 means the current revision. Fails for a compacted or future
/// revision, and with `TooManyRequests` if the state pins too much memory. etcd computes the same hash for equal data. Waits
/// for a scan permit. While authentication is enabled, requires the root role.
pub(super) async fn hash_kv(ctx: &Context, request: HashKvRequest) -> RpcResult<HashKvResponse> {
    let begun = Instant::now();
    // Refuse an invalid revision before waiting for a permit.
    let present = ctx
        .node
        .view()
        .await?
        .machine
        .kv
        .hash_revision(Revision(request.revision));
    present?;
    let job = ctx.scan().await?;
    authorize::check_admin_on(ctx, &job.machine)?;
    let kv = &job.machine.kv;
    let hash_revision = kv.hash_revision(Revision(request.revision))?;
    let (header, compact_revision) = (header::at(&ctx.node, kv.revision()), kv.compacted().0);
    let end = job.end_signal();
    let hash = move |view: &View| {
        snapshot::of_versions(end.until_told(view.machine.kv.hashed_versions(hash_revision)))
    };
    let (hash, _) = job.run(hash).await?;
    ctx.v3_metrics
        .hash_rev
        .observe(begun.elapsed().as_secs_f64());
    Ok(HashKvResponse {
        header,
        hash,
        compact_revision,
        hash_revision: hash_revision.0,
    })
}

/// Rewrites this member's checkpoint and waits until it is complete, while reads and writes continue. Waits for a scan permit
/// first.
pub(super) async fn defragment(
    ctx: &Context,
    _request: DefragmentRequest,
) -> RpcResult<DefragmentResponse> {
    let begun = Instant::now();
    let _permit = ctx.account().permit(JobKind::Scan).await;
    tracing::info!("starting defragment");
    let inflight = ctx.v3_metrics.one_defrag();
    ctx.node.rewrite().await?;
    drop(inflight);
    let took = begun.elapsed();
    ctx.v3_metrics.defrag.observe(took.as_secs_f64());
    tracing::info!(?took, "finished defragment");
    // As in etcd, the response has no header.
    Ok(DefragmentResponse { header: None })
}

/// Validates, starts or cancels a downgrade to the previous release of Witan, such as `0.1`, and returns the cluster version.
/// While a downgrade is in progress, the feature level does not rise. The leader ends the downgrade once all members run the
/// target release.
pub(super) async fn downgrade(
    ctx: &Context,
    request: DowngradeRequest,
) -> RpcResult<DowngradeResponse> {
    let version = match DowngradeAction::try_from(request.action) {
        Ok(action @ (DowngradeAction::Validate | DowngradeAction::Enable)) => {
            let target = target(&request.version)?;
            let previous = levels::previous();
            let version = validate(&ctx.node.read().await?.machine.members, target, previous)?;
            if action == DowngradeAction::Enable {
                propose_target(ctx, format!("{}.{}.0", target.0, target.1)).await?;
            }
            version
        }
        Ok(DowngradeAction::Cancel) => {
            let (begun, version) = {
                let view = ctx.node.read().await?;
                let members = &view.machine.members;
                (
                    !members.downgrade_target.is_empty(),
                    cluster_version(members),
                )
            };
            // As in etcd, canceling succeeds even if no downgrade is in progress.
            if begun {
                propose_target(ctx, String::new()).await?;
            }
            version?
        }
        Err(_) => return Err(RpcError::UnknownMethod),
    };
    let revision = ctx.node.view().await?.machine.kv.revision();
    Ok(DowngradeResponse {
        header: header::at(&ctx.node, revision),
        version: format!("{}.{}", version.0, version.1),
    })
}

/// Proposes the target version of a downgrade. An empty target ends the downgrade.
async fn propose_target(ctx: &Context, target: String) -> RpcResult<()> {
    ctx.node.propose(Downgrade { target }).await?;
    Ok(())
}

/// Returns the cluster version. Fails if that version is undetermined or a downgrade is in progress. Also fails if `target` is
/// not the `previous` release, or if the previous release does not support the cluster's feature level.
fn validate(
    members: &MemberRegistry,
    target: Release,
    previous: Option<&ReleaseRow>,
) -> RpcResult<Release> {
    let version = cluster_version(members)?;
    if !members.downgrade_target.is_empty() {
        return Err(RpcError::DowngradeInProgress);
    }
    let previous = previous.filter(|row| release(row.release) == Some(target));
    let previous = previous.ok_or(RpcError::InvalidDowngradeTarget)?;
    match members.level() > previous.level {
        true => Err(RpcError::FeatureLevelTooHigh),
        false => Ok(version),
    }
}

/// Returns the cluster version. Fails with `ClusterVersionUnavailable` until the leader has determined it.
fn cluster_version(members: &MemberRegistry) -> RpcResult<Release> {
    release(&members.cluster_version).ok_or(RpcError::ClusterVersionUnavailable)
}

/// Parses the major and minor version in `MAJOR.MINOR` or a semantic version, or fails with `WrongDowngradeVersionFormat`.
fn target(version: &str) -> RpcResult<Release> {
    release(version)
        .or_else(|| release(&format!("{version}.0")))
        .ok_or(RpcError::WrongDowngradeVersionFormat)
}

/// Reads a linearizable state and lists all alarms, or all alarms of one kind. Adds this member's NOSPACE alarm during a
/// shortage. As in etcd, ignores the member in the request.
async fn list(ctx: &Context, kind: i32) -> RpcResult<AlarmResponse> {
    let view = ctx.node.read().await?;
    let kind = (kind != AlarmType::None as i32).then_some(kind);
    Ok(AlarmResponse {
        header: header::at(&ctx.node, view.machine.kv.revision()),
        alarms: ctx.node.alarms(&view, kind).map(message).collect(),
    })
}

fn message(Alarm { kind, member }: Alarm) -> AlarmMember {
    AlarmMember { member_id: member.0, alarm: kind }
}

/// Formats an alarm like Go, which omits a zero member ID. Formats an unknown kind as a number.
fn alarm_text(Alarm { kind, member }: Alarm) -> String {
    let kind = match AlarmType::try_from(kind) {
        Ok(known) => known.as_str_name().to_owned(),
        Err(_) => kind.to_string(),
    };
    if member == MemberId::NONE {
        format!("alarm:{kind}")
    } else {
        format!("memberID:{} alarm:{kind}", member.0)
    }
}

/// Converts a size in bytes to the API's signed type, with `i64::MAX` as the maximum.
fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downgrade_targets_are_parsed_as_in_etcd() {
        for version in ["0.1", "0.1.0", "0.1.1", "0.1.0-rc1", "0.1.0+build.1"] {
            assert_eq!(target(version), Ok((0, 1)), "{version}");
        }
        for version in ["", "3", "v3.5", "abc", "3.", "3.5.0.0", "3.-5", "+3.5"] {
            assert_eq!(
                target(version),
                Err(RpcError::WrongDowngradeVersionFormat),
                "{version}"
            );
        }
    }

    #[test]
    fn a_downgrade_is_valid_until_the_feature_level_rises() {
        let first = ReleaseRow { release: "0.1.0", level: 1, format: 4, changed: "" };
        let (previous, target) = (Some(&first), (0, 1));
        let mut members = MemberRegistry::default();
        assert_eq!(
            validate(&members, target, previous),
            Err(RpcError::ClusterVersionUnavailable)
        );
        members.cluster_version = "3.7.0".into();
        assert_eq!(validate(&members, target, previous), Ok((3, 7)));
        let invalid = Err(RpcError::InvalidDowngradeTarget);
        assert_eq!(validate(&members, target, None), invalid);
        // The releases share one API version, so an earlier API version is not a valid target.
        for other in [(0, 0), (0, 2), (1, 1), (3, 6), (3, 7)] {
            assert_eq!(validate(&members, other, previous), invalid, "{other:?}");
        }
        members.downgrade_target = "0.1.0".into();
        assert_eq!(
            validate(&members, target, previous),
            Err(RpcError::DowngradeInProgress)
        );
        members.downgrade_target.clear();
        members.raised_level = 2;
        assert_eq!(
            validate(&members, target, previous),
            Err(RpcError::FeatureLevelTooHigh)
        );
    }
}

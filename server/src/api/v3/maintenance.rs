//! The verbs for those who run a member.

use witan_api::v3::{
    error::Error,
    etcdserverpb::{
        AlarmRequest, AlarmResponse, DowngradeInfo, StatusRequest, StatusResponse,
        alarm_request::AlarmAction,
    },
};

use super::{Answer, header};
use crate::{api::Context, version};

/// This member as it sees itself, without asking anyone.
pub(super) async fn status(ctx: &Context, _request: StatusRequest) -> Answer<StatusResponse> {
    let view = ctx.node.view().await?;
    let kv = &view.machine.kv;
    let raft = ctx.node.status();
    let own = view
        .machine
        .members
        .book
        .get(&ctx.node.identity().member_id);
    let errors = if raft.leader == 0 {
        vec![Error::NoLeader.to_string()]
    } else {
        Vec::new()
    };
    Ok(StatusResponse {
        header: header::at(&ctx.node, kv.revision()),
        version: version::API.into(),
        db_size: bytes(kv.size_bytes()),
        leader: raft.leader,
        raft_index: raft.committed,
        raft_term: raft.term,
        raft_applied_index: raft.applied,
        errors,
        db_size_in_use: bytes(kv.size_in_use_bytes()),
        is_learner: own.is_some_and(|member| member.learner),
        storage_version: version::STORAGE.into(),
        // etcd shows an unlimited quota as the -1 that asked for it
        db_size_quota: ctx.settings.quota_bytes.map_or(-1, bytes),
        downgrade_info: Some(DowngradeInfo::default()),
    })
}

/// Nothing raises an alarm yet, so none is there to be listed or taken back.
pub(super) async fn alarm(ctx: &Context, request: AlarmRequest) -> Answer<AlarmResponse> {
    match AlarmAction::try_from(request.action) {
        Ok(AlarmAction::Get | AlarmAction::Deactivate) | Err(_) => {
            let view = ctx.node.view().await?;
            Ok(AlarmResponse {
                header: header::at(&ctx.node, view.machine.kv.revision()),
                alarms: Vec::new(),
            })
        }
        Ok(AlarmAction::Activate) => Err(Error::Unimplemented(
            "etcdserverpb.Maintenance/Alarm to activate one",
        )),
    }
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

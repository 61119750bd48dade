//! The verbs for those who run a member.

use witan_api::v3::{
    error::Error,
    etcdserverpb::{
        AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DowngradeInfo, StatusRequest,
        StatusResponse, alarm_request::AlarmAction,
    },
};

use witan_replica::machine::{
    Reply,
    alarm::{self, Alarm},
    command::Command,
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
    let no_leader = (raft.leader == 0).then(|| Error::NoLeader.to_string());
    let alarms = view.machine.alarms.list(None).map(in_words);
    let errors = no_leader.into_iter().chain(alarms).collect();
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

/// Lists, raises or lowers. An action that does not exist does nothing (etcd 3.6 dies of it).
pub(super) async fn alarm(ctx: &Context, request: AlarmRequest) -> Answer<AlarmResponse> {
    let action = match AlarmAction::try_from(request.action) {
        Ok(AlarmAction::Get) => return list(ctx, request.alarm).await,
        Ok(AlarmAction::Activate) => alarm::Action::Raise,
        Ok(AlarmAction::Deactivate) => alarm::Action::Lower,
        Err(_) => {
            return Ok(AlarmResponse {
                header: header::at(&ctx.node, ctx.node.view().await?.machine.kv.revision()),
                alarms: Vec::new(),
            });
        }
    };
    let command = alarm::Command {
        action: action as i32,
        member: request.member_id,
        kind: request.alarm,
    };
    let outcome = ctx.node.propose(Command::Alarm(command)).await?.outcome;
    let Reply::Alarm(alarm) = outcome.reply else {
        unreachable!("a command about an alarm answers as one")
    };
    Ok(AlarmResponse {
        header: header::at(&ctx.node, outcome.revision),
        alarms: alarm.into_iter().map(message).collect(),
    })
}

/// All, or those of one kind; the member is not looked at, as in etcd.
async fn list(ctx: &Context, kind: i32) -> Answer<AlarmResponse> {
    let view = ctx.node.read().await?;
    let kind = (kind != AlarmType::None as i32).then_some(kind);
    Ok(AlarmResponse {
        header: header::at(&ctx.node, view.machine.kv.revision()),
        alarms: view.machine.alarms.list(kind).map(message).collect(),
    })
}

fn message(Alarm { kind, member }: Alarm) -> AlarmMember {
    AlarmMember {
        member_id: member,
        alarm: kind,
    }
}

/// As Go prints the message: fields of zero are left out, and a space follows each.
fn in_words(Alarm { kind, member }: Alarm) -> String {
    let kind = match AlarmType::try_from(kind) {
        Ok(known) => known.as_str_name().to_owned(),
        Err(_) => kind.to_string(),
    };
    if member == 0 {
        format!("alarm:{kind} ")
    } else {
        format!("memberID:{member} alarm:{kind} ")
    }
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

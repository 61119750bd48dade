//! Membership calls. The quorum check (`--strict-reconfig-check`) runs before a change is proposed.

use witan_api::{ids, v3::etcdserverpb as pb};
use witan_config::Url;
use witan_dialect::Context;
use witan_machine::limits::LONG_TEXT_BYTES_MAX;
use witan_machine::{
    command::{ChangeMembers, UpdatePeerUrls},
    member::{Member, MemberId, MemberRegistry},
};
use witan_node::Reconfiguration;

use super::{RpcResult, header};
use crate::error::RpcError;

/// Lists the members. If the request is linearizable, reads a linearizable state; otherwise, reads this member's state.
pub(super) async fn member_list(
    ctx: &Context,
    request: pb::MemberListRequest,
) -> RpcResult<pb::MemberListResponse> {
    let view = if request.linearizable {
        ctx.node.read().await?
    } else {
        ctx.node.view().await?
    };
    Ok(pb::MemberListResponse {
        header: header::bare(&ctx.node),
        members: api_members(&view.machine.members),
    })
}

/// Adds a voter or a learner, unless the addition could cause quorum loss. Returns the new member and all members. Fails for
/// invalid URLs, if a member has one of the URLs, and for a learner if there are already `max_learners` learners.
pub(super) async fn member_add(
    ctx: &Context,
    request: pb::MemberAddRequest,
) -> RpcResult<pb::MemberAddResponse> {
    let mut urls = peer_urls(&request.peer_urls)?;
    urls.sort_unstable();
    let learner = request.is_learner;
    check_quorum(ctx, Reconfiguration::Add { learner }).await?;
    let added_at = witan_node::now_s();
    let member = Member {
        id: ids::member_id(&urls, "", Some(added_at)),
        peer_urls: urls.into_iter().map(str::to_owned).collect(),
        learner,
        ..Member::default()
    };
    let shown = api_member(&member);
    let change = ChangeMembers {
        add: Some(member),
        learners_max: ctx.settings.max_learners,
        voters: true,
        ..ChangeMembers::default()
    };
    ctx.node.propose(change).await?;
    Ok(pb::MemberAddResponse {
        header: header::bare(&ctx.node),
        member: Some(shown),
        members: members(ctx).await?,
    })
}

/// Removes a member, unless the removal could cause quorum loss. Fails with `MemberNotFound` for an unknown ID.
pub(super) async fn member_remove(
    ctx: &Context,
    request: pb::MemberRemoveRequest,
) -> RpcResult<pb::MemberRemoveResponse> {
    let id = MemberId(request.id);
    find_member(ctx, id).await?;
    check_quorum(ctx, Reconfiguration::Remove(id)).await?;
    let change = ChangeMembers { remove: request.id, voters: true, ..ChangeMembers::default() };
    ctx.node.propose(change).await?;
    Ok(pb::MemberRemoveResponse {
        header: header::bare(&ctx.node),
        members: members(ctx).await?,
    })
}

/// Replaces a member's peer URLs. As in etcd, the URLs are not validated, except for their total length.
pub(super) async fn member_update(
    ctx: &Context,
    request: pb::MemberUpdateRequest,
) -> RpcResult<pb::MemberUpdateResponse> {
    check_length(&request.peer_urls)?;
    let change = UpdatePeerUrls { id: request.id, peer_urls: request.peer_urls };
    ctx.node.propose(change).await?;
    Ok(pb::MemberUpdateResponse {
        header: header::bare(&ctx.node),
        members: members(ctx).await?,
    })
}

/// Promotes a learner, unless the learner lags behind or the promotion could cause quorum loss. Fails with `MemberNotLearner`
/// for a voter, and with `MemberNotFound` for an unknown ID.
pub(super) async fn member_promote(
    ctx: &Context,
    request: pb::MemberPromoteRequest,
) -> RpcResult<pb::MemberPromoteResponse> {
    let id = MemberId(request.id);
    if !find_member(ctx, id).await?.learner {
        return Err(RpcError::MemberNotLearner);
    }
    check_quorum(ctx, Reconfiguration::Promote(id)).await?;
    let change = ChangeMembers {
        promote: request.id,
        voters: true,
        ..ChangeMembers::default()
    };
    ctx.node.propose(change).await?;
    ctx.v3_metrics.learners_promoted.inc();
    Ok(pb::MemberPromoteResponse {
        header: header::bare(&ctx.node),
        members: members(ctx).await?,
    })
}

/// Fails if the change could cause quorum loss, unless `--strict-reconfig-check` is disabled.
async fn check_quorum(ctx: &Context, change: Reconfiguration) -> RpcResult<()> {
    if ctx.settings.strict_reconfig_check {
        ctx.node.check_reconfiguration(change).await?;
    }
    Ok(())
}

/// Lists the members in this member's state.
async fn members(ctx: &Context) -> RpcResult<Vec<pb::Member>> {
    Ok(api_members(&ctx.node.view().await?.machine.members))
}

/// Returns the member with this ID from this member's state. If that state lacks the ID, reads a linearizable state, because
/// this member can lag behind. Fails with `MemberNotFound` if both states lack the member.
async fn find_member(ctx: &Context, id: MemberId) -> RpcResult<Member> {
    let find = |members: &MemberRegistry| members.by_id.get(&id).cloned();
    if let Some(member) = find(&ctx.node.view().await?.machine.members) {
        return Ok(member);
    }
    let found = find(&ctx.node.read().await?.machine.members);
    found.ok_or(RpcError::MemberNotFound)
}

fn api_members(members: &MemberRegistry) -> Vec<pb::Member> {
    members.by_id.values().map(api_member).collect()
}

fn api_member(member: &Member) -> pb::Member {
    pb::Member {
        id: member.id,
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone(),
        client_urls: member.client_urls.clone(),
        is_learner: member.learner,
    }
}

/// Returns the trimmed peer URLs. Fails with `MemberBadUrls` if the list is empty or too long, or a URL is invalid.
fn peer_urls(texts: &[String]) -> RpcResult<Vec<&str>> {
    check_length(texts)?;
    let urls: Vec<&str> = texts.iter().map(|url| url.trim()).collect();
    if urls.is_empty() || urls.iter().any(|url| url.parse::<Url>().is_err()) {
        return Err(RpcError::MemberBadUrls);
    }
    Ok(urls)
}

/// Fails with `MemberBadUrls` if the URLs, which stay in memory, exceed `LONG_TEXT_BYTES_MAX` in total. Adds the size of a
/// `String` for each URL, because URLs can be empty.
fn check_length(urls: &[String]) -> RpcResult<()> {
    let bytes = urls.iter().map(|url| url.len() + size_of::<String>());
    if bytes.sum::<usize>() > LONG_TEXT_BYTES_MAX {
        return Err(RpcError::MemberBadUrls);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use witan_machine::{StateMachine, kv::Kv};
    use witan_node::testing::NodeOfStates;

    use super::*;
    use crate::test_context::context;

    #[test]
    fn a_member_that_this_member_does_not_know_yet_is_found() {
        actix_rt::System::new().block_on(async {
            let mut states = NodeOfStates::begin(&Kv::default());
            states.lag();
            let ctx = context(states.node.clone());
            let mut machine = StateMachine::default();
            let added = Member { id: 7, learner: true, ..Member::default() };
            machine.members.by_id.insert(added.member_id(), added);
            for (id, expect) in [(7, Ok(true)), (8, Err(RpcError::MemberNotFound))] {
                let mut found = Box::pin(find_member(&ctx, MemberId(id)));
                assert!(found.as_mut().now_or_never().is_none());
                states.answer_reads(machine.clone());
                let learner = found.await.map(|member| member.learner);
                assert_eq!(learner, expect, "{id}");
            }
        });
    }

    #[test]
    fn urls_are_validated_like_etcd() {
        let judge = |url: &str| peer_urls(&[url.to_owned()]).is_ok();
        assert!(judge("http://10.0.0.1:2380") && judge(" https://[::1]:2380 "));
        let long = format!("http://{}:1", "a".repeat(LONG_TEXT_BYTES_MAX));
        for bad in [
            &*long,
            "bogus",
            "http://10.0.0.1",
            "http://10.0.0.1:2380/x",
            "ftp://10.0.0.1:1",
            "",
        ] {
            assert!(!judge(bad), "{bad}");
        }
        assert_eq!(peer_urls(&[]), Err(RpcError::MemberBadUrls));
    }

    #[test]
    fn empty_urls_count_toward_the_limit() {
        let checked = |urls: usize| check_length(&vec![String::new(); urls]);
        assert_eq!(checked(1024), Ok(()));
        assert_eq!(checked(LONG_TEXT_BYTES_MAX), Err(RpcError::MemberBadUrls));
    }
}

//! The verbs of membership. One member serves alone as yet, so a change is checked as etcd checks
//! it and then refused.

use witan_api::v3::{
    error::Error,
    etcdserverpb::{
        Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
        MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
        MemberUpdateRequest, MemberUpdateResponse,
    },
};
use witan_replica::machine::member::{Member as Known, Members};

use super::{Answer, header};
use crate::{api::Context, config::Url};

pub(super) async fn list(ctx: &Context, request: MemberListRequest) -> Answer<MemberListResponse> {
    let view = if request.linearizable {
        ctx.node.read().await?
    } else {
        ctx.node.view().await?
    };
    Ok(MemberListResponse {
        header: header::bare(&ctx.node),
        members: shown(&view.machine.members),
    })
}

pub(super) async fn add(ctx: &Context, request: MemberAddRequest) -> Answer<MemberAddResponse> {
    let urls = peer_urls(&request.peer_urls)?;
    let view = ctx.node.view().await?;
    let mut members = view.machine.members.book.values();
    if members.any(|member| {
        member
            .peer_urls
            .iter()
            .any(|url| urls.contains(&url.as_str()))
    }) {
        return Err(Error::PeerUrlExists);
    }
    Err(Error::Unhealthy)
}

pub(super) async fn remove(
    ctx: &Context,
    request: MemberRemoveRequest,
) -> Answer<MemberRemoveResponse> {
    known(&ctx.node.view().await?.machine.members, request.id)?;
    Err(Error::MemberNotEnoughStarted)
}

/// Setting the URLs that a member has already is no change.
pub(super) async fn update(
    ctx: &Context,
    request: MemberUpdateRequest,
) -> Answer<MemberUpdateResponse> {
    let view = ctx.node.view().await?;
    let member = known(&view.machine.members, request.id)?;
    if member.peer_urls != request.peer_urls {
        return Err(Error::Unimplemented(
            "etcdserverpb.Cluster/MemberUpdate with other URLs",
        ));
    }
    Ok(MemberUpdateResponse {
        header: header::bare(&ctx.node),
        members: shown(&view.machine.members),
    })
}

pub(super) async fn promote(
    ctx: &Context,
    request: MemberPromoteRequest,
) -> Answer<MemberPromoteResponse> {
    let view = ctx.node.view().await?;
    if known(&view.machine.members, request.id)?.learner {
        Err(Error::LearnerNotReady)
    } else {
        Err(Error::MemberNotLearner)
    }
}

fn known(members: &Members, id: u64) -> Answer<&Known> {
    members.book.get(&id).ok_or(Error::MemberNotFound)
}

fn shown(members: &Members) -> Vec<Member> {
    let members = members.book.values().map(|member| Member {
        id: member.id,
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone(),
        client_urls: member.client_urls.clone(),
        is_learner: member.learner,
    });
    members.collect()
}

/// The URLs, trimmed, if there are any and all are URLs that a member can have.
fn peer_urls(given: &[String]) -> Answer<Vec<&str>> {
    let urls: Vec<&str> = given.iter().map(|url| url.trim()).collect();
    if urls.is_empty() || urls.iter().any(|url| url.parse::<Url>().is_err()) {
        return Err(Error::MemberBadUrls);
    }
    Ok(urls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_judged_as_etcd_does() {
        let judge = |url: &str| peer_urls(&[url.to_owned()]).is_ok();
        assert!(judge("http://10.0.0.1:2380") && judge(" https://[::1]:2380 "));
        for bad in [
            "bogus",
            "http://10.0.0.1",
            "http://10.0.0.1:2380/x",
            "ftp://10.0.0.1:1",
            "",
        ] {
            assert!(!judge(bad), "{bad}");
        }
        assert_eq!(peer_urls(&[]), Err(Error::MemberBadUrls));
    }

    #[test]
    fn members_are_shown_by_id_and_found_or_not() {
        let mut members = Members::default();
        for id in [7, 3] {
            members.book.insert(
                id,
                Known {
                    id,
                    ..Known::default()
                },
            );
        }
        assert_eq!(
            shown(&members).iter().map(|m| m.id).collect::<Vec<_>>(),
            [3, 7]
        );
        assert_eq!(known(&members, 3).map(|m| m.id), Ok(3));
        assert_eq!(known(&members, 4).map(|m| m.id), Err(Error::MemberNotFound));
    }
}

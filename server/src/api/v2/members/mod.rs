//! `/v2/members` and `/v2/machines`: lists members and changes them. A change that would need a
//! quorum of other members is refused as in etcd, with the reason in the log.

pub(in crate::api) mod body;
pub(in crate::api) mod peer_url;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::CONTENT_TYPE},
    web,
};
use witan_api::v2::members::{
    ErrorMessage, INTERNAL, Member, MemberList, NO_LEADER_TEXT, NO_SUCH_MEMBER, NOT_FOUND,
    PEER_URL_EXISTS, REMOVED,
};
use witan_gocompat::json;
use witan_replica::machine::{
    command::{ChangeMembers, UpdatePeerUrls},
    member::{self, Member as Known, MemberRegistry},
};

use super::headers;
use crate::{
    api::{Context, reply},
    node::{NodeError, ProposeError},
};

/// An error response: status and message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MembersHttpError(StatusCode, String);

impl MembersHttpError {
    fn internal(reason: &str) -> Self {
        tracing::warn!(reason, "membership change refused");
        Self(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL.into())
    }

    fn unknown(id: &str) -> Self {
        Self(StatusCode::NOT_FOUND, format!("{NO_SUCH_MEMBER}{id}"))
    }
}

impl From<NodeError> for MembersHttpError {
    fn from(fault: NodeError) -> Self {
        Self::internal(&fault.to_string())
    }
}

/// Answers any request below `/v2/members`; `path` is the whole cleaned path.
pub(super) async fn handle(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
    path: &[u8],
) -> HttpResponse {
    let rest = super::below(path, witan_api::v2::MEMBERS.as_bytes()).unwrap_or_default();
    let rest = String::from_utf8_lossy(rest.strip_prefix(b"/").unwrap_or(rest)).into_owned();
    let served = match (request.method().as_str(), rest.as_str()) {
        ("GET", "") => list(ctx, request).await,
        ("GET", "leader") => leader(ctx, request).await,
        ("GET", _) => Err(MembersHttpError(StatusCode::NOT_FOUND, NOT_FOUND.into())),
        ("POST", _) => refuse_add(ctx, request, payload).await,
        ("PUT" | "DELETE", "") => return without_id(ctx),
        ("PUT", id) => update(ctx, request, payload, id).await,
        (_, id) => remove(ctx, id).await,
    };
    served.unwrap_or_else(|refusal| refused(ctx, refusal))
}

fn refused(ctx: &Context, MembersHttpError(status, message): MembersHttpError) -> HttpResponse {
    headers::build(&ctx.node, status)
        .insert_header((CONTENT_TYPE, reply::JSON))
        .body(json::encode(&ErrorMessage { message }))
}

/// The client URLs of all members as text.
pub(super) async fn machines(ctx: &Context, request: &HttpRequest) -> HttpResponse {
    let members = match ctx.node.view().await {
        Ok(view) => view.machine.members.clone(),
        Err(fault) => return reply::text(StatusCode::SERVICE_UNAVAILABLE, &fault.to_string()),
    };
    let mut urls: Vec<&str> = members
        .by_id
        .values()
        .flat_map(|m| &m.client_urls)
        .map(String::as_str)
        .collect();
    urls.sort_unstable();
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, reply::TEXT))
        .body(reply::framed(request, urls.join(", ").into()))
}

fn without_id(ctx: &Context) -> HttpResponse {
    let mut response = reply::method_not_allowed(None);
    let built = headers::build(&ctx.node, StatusCode::METHOD_NOT_ALLOWED).finish();
    for (name, value) in built.headers() {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    response
}

async fn list(ctx: &Context, request: &HttpRequest) -> Result<HttpResponse, MembersHttpError> {
    let members = members(ctx).await?;
    let list = MemberList {
        members: members.by_id.values().map(shown).collect(),
    };
    Ok(found(ctx, request, json::encode(&list)))
}

async fn leader(ctx: &Context, request: &HttpRequest) -> Result<HttpResponse, MembersHttpError> {
    let members = members(ctx).await?;
    let leader = members.by_id.get(&ctx.node.status().leader);
    let leader = leader
        .ok_or_else(|| MembersHttpError(StatusCode::SERVICE_UNAVAILABLE, NO_LEADER_TEXT.into()))?;
    Ok(found(ctx, request, json::encode(&shown(leader))))
}

/// Refuses every addition: 409 if a member has one of the peer URLs already, else 500, because no voter
/// can join this member.
async fn refuse_add(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
) -> Result<HttpResponse, MembersHttpError> {
    let urls = body::peer_urls(request, payload).await?;
    let members = members(ctx).await?;
    if members
        .by_id
        .values()
        .any(|member| has_any_url(member, &urls))
    {
        return Err(MembersHttpError(
            StatusCode::CONFLICT,
            PEER_URL_EXISTS.into(),
        ));
    }
    Err(MembersHttpError::internal(
        "etcdserver: unhealthy cluster: this member serves alone and cannot be joined",
    ))
}

async fn update(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
    id: &str,
) -> Result<HttpResponse, MembersHttpError> {
    let number = parse_id(id)?;
    let urls = body::peer_urls(request, payload).await?;
    let members = members(ctx).await?;
    known(&members, number)?;
    let taken = |other: &&Known| other.id != number && has_any_url(other, &urls);
    if members.by_id.values().find(taken).is_some() {
        return Err(MembersHttpError(
            StatusCode::CONFLICT,
            PEER_URL_EXISTS.into(),
        ));
    }
    // even the URLs that it has already are a change, which takes an index
    let change = UpdatePeerUrls {
        id: number,
        peer_urls: urls,
    };
    let error = match ctx.node.propose(change).await {
        Ok(_) => return Ok(headers::build(&ctx.node, StatusCode::NO_CONTENT).finish()),
        Err(ProposeError::Fault(fault)) => return Err(fault.into()),
        Err(ProposeError::Refused(error)) => error,
    };
    Err(match error {
        // it was removed meanwhile
        member::MembershipError::PeerUrlExists => {
            MembersHttpError(StatusCode::CONFLICT, PEER_URL_EXISTS.into())
        }
        member::MembershipError::NotFound => MembersHttpError::unknown(&headers::hex(number)),
        member::MembershipError::Exists
        | member::MembershipError::TooManyLearners
        | member::MembershipError::LastVoter
        | member::MembershipError::NotLearner => MembersHttpError::internal(&error.to_string()),
    })
}

/// Removes a learner. A voter is the last one and cannot be removed.
async fn remove(ctx: &Context, id: &str) -> Result<HttpResponse, MembersHttpError> {
    let number = parse_id(id)?;
    let members = members(ctx).await?;
    if known(&members, number)?.learner {
        let change = ChangeMembers {
            remove: number,
            ..ChangeMembers::default()
        };
        return match ctx.node.propose(change).await {
            Ok(_) => Ok(headers::build(&ctx.node, StatusCode::NO_CONTENT).finish()),
            Err(ProposeError::Fault(fault)) => Err(fault.into()),
            // another request removed it meanwhile
            Err(ProposeError::Refused(_)) => Err(MembersHttpError(
                StatusCode::GONE,
                format!("{REMOVED}{number:x}"),
            )),
        };
    }
    Err(MembersHttpError::internal(
        "etcdserver: re-configuration failed due to not enough started members",
    ))
}

async fn members(ctx: &Context) -> Result<MemberRegistry, MembersHttpError> {
    Ok(ctx.node.view().await?.machine.members.clone())
}

/// Up to 16 digits of hex. What is not that is echoed as it was sent.
fn parse_id(id: &str) -> Result<u64, MembersHttpError> {
    let digits = id.bytes().all(|b| b.is_ascii_hexdigit());
    let number = if digits {
        u64::from_str_radix(id, 16).ok()
    } else {
        None
    };
    number.ok_or_else(|| MembersHttpError::unknown(id))
}

fn known(members: &MemberRegistry, id: u64) -> Result<&Known, MembersHttpError> {
    if members.removed_ids.contains(&id) {
        return Err(MembersHttpError(
            StatusCode::GONE,
            format!("{REMOVED}{id:x}"),
        ));
    }
    members
        .by_id
        .get(&id)
        .ok_or_else(|| MembersHttpError::unknown(&headers::hex(id)))
}

fn has_any_url(member: &Known, urls: &[String]) -> bool {
    member.peer_urls.iter().any(|url| urls.contains(url))
}

fn shown(member: &Known) -> Member {
    Member {
        id: headers::hex(member.id),
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone(),
        client_urls: member.client_urls.clone(),
    }
}

fn found(ctx: &Context, request: &HttpRequest, mut json: Vec<u8>) -> HttpResponse {
    json.push(b'\n');
    headers::build(&ctx.node, StatusCode::OK)
        .insert_header((CONTENT_TYPE, reply::JSON))
        .body(reply::framed(request, json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_echoed_as_observed() {
        let unknown =
            |id: &str| MembersHttpError(StatusCode::NOT_FOUND, format!("No such member: {id}"));
        assert_eq!(parse_id("zzz"), Err(unknown("zzz")));
        assert_eq!(parse_id("+1"), Err(unknown("+1")));
        assert_eq!(
            parse_id("12345678901234567"),
            Err(unknown("12345678901234567"))
        );
        assert_eq!(parse_id("02cFbef882bb60a"), Ok(0x2c_fbef_882b_b60a));
    }

    #[test]
    fn unknown_and_removed_members_differ() {
        let mut members = MemberRegistry::default();
        members.removed_ids.insert(0xab);
        assert_eq!(
            known(&members, 0xab),
            Err(MembersHttpError(
                StatusCode::GONE,
                "Member permanently removed: ab".into()
            ))
        );
        assert_eq!(
            known(&members, 0x1234),
            Err(MembersHttpError(
                StatusCode::NOT_FOUND,
                "No such member: 1234".into()
            ))
        );
    }
}

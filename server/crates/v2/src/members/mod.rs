//! `/v2/members` and `/v2/machines` list and change members. As in etcd, a change that could cause quorum loss is refused with
//! a generic message, and only the log contains the reason.

pub mod body;
pub mod peer_url;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::CONTENT_TYPE},
    web,
};
use serde_json::Value;
use witan_api::{
    ids,
    v2::members::{
        ID_EXISTS, INTERNAL, NO_LEADER_TEXT, NO_SUCH_MEMBER, NOT_FOUND, PEER_URL_EXISTS, REMOVED,
    },
};
use witan_dialect::{Context, reply};
use witan_logging::LogLimit;
use witan_machine::{
    command::{ChangeMembers, UpdatePeerUrls},
    member::{Member, MemberId, MemberRegistry, MembershipError},
};
use witan_node::{NodeError, ProposeError, Reconfiguration};

use super::headers::{self, json_response};

/// Limits log lines that any client can trigger.
static REFUSED_CHANGES: LogLimit = LogLimit::new();

/// An error response: status and message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MembersHttpError(StatusCode, String);

impl MembersHttpError {
    /// Logs the reason and returns a 500 error with etcd's generic message.
    fn internal(reason: &str) -> Self {
        if let Some(left_out) = REFUSED_CHANGES.admit() {
            tracing::warn!(left_out, reason, "a request to /v2/members failed");
        }
        Self(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL.into())
    }

    /// Creates the 404 error for an unknown member ID.
    fn unknown(id: &str) -> Self {
        Self(StatusCode::NOT_FOUND, format!("{NO_SUCH_MEMBER}{id}"))
    }

    /// Creates the 410 error for a member that was removed.
    fn removed(id: MemberId) -> Self {
        Self(StatusCode::GONE, format!("{REMOVED}{id}"))
    }
}

impl From<NodeError> for MembersHttpError {
    fn from(fault: NodeError) -> Self {
        Self::internal(&fault.to_string())
    }
}

/// Answers a request below `/v2/members`. `path` is the entire cleaned path; POST ignores an ID in it. The caller must have
/// authorized the client.
pub(super) async fn handle(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
    path: &[u8],
) -> HttpResponse {
    let prefix = witan_api::v2::MEMBERS.as_bytes();
    let rest = path.strip_prefix(prefix).unwrap_or_default();
    let rest = String::from_utf8_lossy(rest.strip_prefix(b"/").unwrap_or(rest));
    let served = match (request.method().as_str(), &*rest) {
        ("GET", "") => list(ctx, request).await,
        ("GET", "leader") => leader(ctx, request).await,
        ("GET", _) => Err(MembersHttpError(StatusCode::NOT_FOUND, NOT_FOUND.into())),
        ("POST", _) => add(ctx, request, payload).await,
        ("PUT", id) if !id.is_empty() => update(ctx, request, payload, id).await,
        ("DELETE", id) if !id.is_empty() => remove(ctx, id).await,
        _ => return missing_id(ctx),
    };
    served.unwrap_or_else(|MembersHttpError(status, message)| {
        reply::error_message(headers::build(&ctx.node, status), message)
    })
}

/// Answers `/v2/machines` with the sorted client URLs of all members in this member's state as text, separated by `, `. Answers
/// with 503 if no state is available.
pub(super) async fn machines(ctx: &Context, request: &HttpRequest) -> HttpResponse {
    let members = match ctx.node.view().await {
        Ok(view) => view.machine.members.clone(),
        Err(fault) => return reply::text(StatusCode::SERVICE_UNAVAILABLE, &fault.to_string()),
    };
    let urls = members.client_urls().join(", ");
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, reply::TEXT))
        .body(reply::framed(request, urls.into()))
}

/// Builds the response to a PUT or DELETE without a member ID: 405 with the cluster ID header.
fn missing_id(ctx: &Context) -> HttpResponse {
    let mut response = reply::method_not_allowed(None);
    let built = headers::build(&ctx.node, StatusCode::METHOD_NOT_ALLOWED).finish();
    for (name, value) in built.headers() {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    response
}

/// Lists the members in this member's state, ordered by numeric ID.
async fn list(ctx: &Context, request: &HttpRequest) -> Result<HttpResponse, MembersHttpError> {
    let members = members(ctx).await?;
    let members: Vec<Value> = members.by_id.values().map(api_member).collect();
    let list = serde_json::json!({ "members": members });
    Ok(json_response(ctx, request, StatusCode::OK, &list))
}

/// Responds with the leader, or fails with 503 if this member knows no leader.
async fn leader(ctx: &Context, request: &HttpRequest) -> Result<HttpResponse, MembersHttpError> {
    let members = members(ctx).await?;
    let Some(leader) = members.by_id.get(&ctx.node.status().leader) else {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(MembersHttpError(status, NO_LEADER_TEXT.into()));
    };
    let leader = api_member(leader);
    Ok(json_response(ctx, request, StatusCode::OK, &leader))
}

/// Adds a voter with the body's peer URLs and returns 201. Fails with 400 or 415 for an invalid body, and with 409 if a member
/// has one of the URLs. Fails with 500 if the change could cause quorum loss.
async fn add(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
) -> Result<HttpResponse, MembersHttpError> {
    let urls = body::peer_urls(request, payload).await?;
    check_quorum(ctx, Reconfiguration::Add { learner: false }).await?;
    let added_at = witan_node::now_s();
    let member = Member {
        id: ids::member_id(&urls, "", Some(added_at)),
        peer_urls: urls,
        ..Member::default()
    };
    let created = api_member(&member);
    let change = ChangeMembers { add: Some(member), voters: true, ..ChangeMembers::default() };
    replicate(ctx, change).await?;
    Ok(json_response(ctx, request, StatusCode::CREATED, &created))
}

/// Replaces a member's peer URLs and returns 204. Fails with 404 for an unknown member, 410 for a removed member, and 409 if
/// another member has one of the URLs.
async fn update(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
    id: &str,
) -> Result<HttpResponse, MembersHttpError> {
    let number = parse_id(id)?;
    let urls = body::peer_urls(request, payload).await?;
    check_exists(ctx, number).await?;
    // Propose even unchanged URLs, because the change increments the v2 index.
    let change = UpdatePeerUrls { id: number.0, peer_urls: urls };
    match ctx.node.propose(change).await {
        Ok(_) => Ok(headers::build(&ctx.node, StatusCode::NO_CONTENT).finish()),
        Err(error) => Err(change_refused(error, number)),
    }
}

/// Removes a member and returns 204, or 404 if it is unknown, 410 if it was removed, and 500 if quorum loss is possible.
async fn remove(ctx: &Context, id: &str) -> Result<HttpResponse, MembersHttpError> {
    let number = parse_id(id)?;
    check_exists(ctx, number).await?;
    check_quorum(ctx, Reconfiguration::Remove(number)).await?;
    let change = ChangeMembers { remove: number.0, voters: true, ..ChangeMembers::default() };
    replicate(ctx, change).await?;
    Ok(headers::build(&ctx.node, StatusCode::NO_CONTENT).finish())
}

/// Proposes an addition or a removal. Fails with 410 if another request has already removed the member.
async fn replicate(ctx: &Context, change: ChangeMembers) -> Result<(), MembersHttpError> {
    let removed = MemberId(change.remove);
    match ctx.node.propose(change).await {
        Ok(_) => Ok(()),
        Err(ProposeError::Refused(MembershipError::NotFound)) if removed != MemberId::NONE => {
            Err(MembersHttpError::removed(removed))
        }
        Err(error) => Err(change_refused(error, removed)),
    }
}

/// Maps the error of a change that was proposed for member `id` to etcd's status and message.
fn change_refused(error: ProposeError<MembershipError>, id: MemberId) -> MembersHttpError {
    let error = match error {
        ProposeError::Fault(fault) => return fault.into(),
        ProposeError::Refused(error) => error,
    };
    let conflict = |text: &str| MembersHttpError(StatusCode::CONFLICT, text.into());
    match error {
        MembershipError::PeerUrlExists => conflict(PEER_URL_EXISTS),
        MembershipError::Exists => conflict(ID_EXISTS),
        MembershipError::NotFound => MembersHttpError::unknown(&id.to_string()),
        MembershipError::TooManyLearners
        | MembershipError::LastVoter
        | MembershipError::NotLearner => MembersHttpError::internal(&error.to_string()),
    }
}

/// Fails with 500 if the change could cause quorum loss or this member's state cannot be read. Does nothing if
/// `--strict-reconfig-check` is disabled.
async fn check_quorum(ctx: &Context, change: Reconfiguration) -> Result<(), MembersHttpError> {
    if !ctx.settings.strict_reconfig_check {
        return Ok(());
    }
    let checked = ctx.node.check_reconfiguration(change).await;
    checked.map_err(|error| MembersHttpError::internal(&error.to_string()))
}

/// Returns the members in this member's state. Like etcd's v2 handlers, does not confirm them with a quorum.
async fn members(ctx: &Context) -> Result<MemberRegistry, MembersHttpError> {
    Ok(ctx.node.view().await?.machine.members.clone())
}

/// Parses a hexadecimal member ID. If the ID is invalid, fails with 404 and a message that contains `id`.
fn parse_id(id: &str) -> Result<MemberId, MembersHttpError> {
    let digits = id.bytes().all(|b| b.is_ascii_hexdigit());
    let number = u64::from_str_radix(id, 16).ok().filter(|_| digits);
    let number = number.ok_or_else(|| MembersHttpError::unknown(id))?;
    Ok(MemberId(number))
}

/// Fails with 410 if the member was removed and with 404 if it never existed, according to this member's state.
async fn check_exists(ctx: &Context, id: MemberId) -> Result<(), MembersHttpError> {
    let members = members(ctx).await?;
    if members.removed_ids.contains(&id) {
        return Err(MembersHttpError::removed(id));
    }
    match members.by_id.contains_key(&id) {
        true => Ok(()),
        false => Err(MembersHttpError::unknown(&id.to_string())),
    }
}

/// Returns a member as JSON. The name and the client URLs are empty until the member has started.
fn api_member(member: &Member) -> Value {
    serde_json::json!({
        "id": member.member_id().to_string(),
        "name": member.name,
        "peerURLs": member.peer_urls,
        "clientURLs": member.client_urls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases for which no response of etcd is recorded. `tests/e2e/tests/pairs` sends the recorded cases.
    #[test]
    fn ids_are_echoed_as_in_etcd() {
        let unknown =
            |id: &str| MembersHttpError(StatusCode::NOT_FOUND, format!("No such member: {id}"));
        assert_eq!(parse_id("+1"), Err(unknown("+1")));
        assert_eq!(
            parse_id("02cFbef882bb60a"),
            Ok(MemberId(0x2c_fbef_882b_b60a))
        );
    }
}

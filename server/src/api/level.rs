//! Endpoints of the feature level: `/level` shows the cluster's level and the members' releases, and `/level/raise`
//! raises the level immediately.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use serde_json::{Value, json};
use witan_dialect::{Context, reply};
use witan_gocompat::text;
use witan_machine::{levels::next_format, member::MemberRegistry};
use witan_peer::{FeatureLevels, MemberRelease, RaiseError};

use super::{answer, refusal};

/// Answers an authorized `GET /level` or `POST /level/raise`, and other methods with 405. If the level cannot rise, responds
/// with 409, and if this member is not the leader or a read fails, with 503.
pub(crate) async fn handle(
    ctx: &Context,
    levels: &FeatureLevels,
    request: &HttpRequest,
    path: &[u8],
) -> HttpResponse {
    let shows = path == b"/level";
    let method = if shows { "GET" } else { "POST" };
    if !reply::allows(request, method) {
        return reply::method_not_allowed(Some(method));
    }
    let view = ctx.node.view().await;
    let members = match view.map(|view| view.machine.members.clone()) {
        Ok(members) => members,
        Err(error) => return refusal(StatusCode::SERVICE_UNAVAILABLE, &error),
    };
    if shows {
        return answer(StatusCode::OK, &report(levels, &members));
    }
    match levels.raise().await {
        Ok(level) => answer(StatusCode::OK, &json!({ "level": level })),
        Err(error @ (RaiseError::Node(_) | RaiseError::NotLeader)) => {
            refusal(StatusCode::SERVICE_UNAVAILABLE, &error)
        }
        Err(RaiseError::Unable(unable)) => {
            let unable: Vec<String> = unable.iter().map(|it| shortfall(it, &members)).collect();
            let message = format!("the feature level cannot rise: {}", unable.join(", "));
            refusal(StatusCode::CONFLICT, &message)
        }
        Err(error @ (RaiseError::Downgrade(_) | RaiseError::Changing)) => {
            refusal(StatusCode::CONFLICT, &error)
        }
    }
}

/// Returns the body of `/level`: the cluster's level, the members' releases, and the time at which the level rises. A member
/// has `lacksBytes` only if its level has a later data format and its disk is too full to rewrite the data.
fn report(levels: &FeatureLevels, members: &MemberRegistry) -> Value {
    let report = levels.report();
    let later = next_format(members.level());
    let shown = report.members.iter().map(|(id, running)| {
        let running = running.as_ref();
        let mut shown = json!({
            "id": id.to_string(),
            "name": members.by_id.get(id).map(|member| &member.name),
            "release": running.and_then(|running| running.witan.as_ref()),
            "level": running.map(|running| running.level),
        });
        let rewrites = |level| later.is_some_and(|later| level >= later);
        if let Some(running) = running.filter(|it| it.lacks_bytes > 0 && rewrites(it.level)) {
            shown["lacksBytes"] = json!(running.lacks_bytes);
        }
        shown
    });
    let shown: Vec<Value> = shown.collect();
    let mut body = json!({ "level": members.level(), "members": shown });
    if let Some(at) = report.rises_at {
        body["risesAt"] = json!(rounded(at));
    }
    body
}

/// Formats a time as in RFC 3339, rounded down to seconds.
fn rounded(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let whole = Duration::from_secs(since.as_secs());
    text::time(i64::try_from(whole.as_nanos()).unwrap_or(i64::MAX))
}

/// Returns why a member keeps the level from rising.
fn shortfall((id, running): &MemberRelease, members: &MemberRegistry) -> String {
    // A member has no name before its first startup.
    let member = members.by_id.get(id).filter(|it| !it.name.is_empty());
    let name = member.map_or_else(|| id.to_string(), |member| member.name.clone());
    match running {
        None => format!("{name} does not answer"),
        Some(running) if running.level > members.level() => {
            let lacks = running.lacks_bytes;
            format!("the disk of {name} lacks {lacks} bytes to rewrite its data in a later format")
        }
        Some(running) => {
            let release = running.witan.as_deref().unwrap_or("an unknown release");
            format!("{name} runs {release} with feature level {}", running.level)
        }
    }
}

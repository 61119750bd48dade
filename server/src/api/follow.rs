//! `/follow`: how far this member has followed another cluster; `/follow/cut-over` has its cluster take that one's place.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::CONTENT_TYPE},
};
use serde::Serialize;
use serde_json::json;
use witan_dialect::{Context, reply};

use crate::follow::{CutOverRefused, FollowHandle};

/// Answers an authorized request: `GET /follow` with the status, `POST /follow/cut-over` by doing the cut-over and
/// waiting for its result; 405 for other methods. No other path is routed here. A member that follows nothing answers 404, and says whether its
/// cluster follows.
pub(crate) async fn handle(
    ctx: &Context,
    handle: Option<&FollowHandle>,
    request: &HttpRequest,
    path: &[u8],
) -> HttpResponse {
    let cuts_over = path != b"/follow";
    let method = if cuts_over { "POST" } else { "GET" };
    if !reply::allows(request, method) {
        return reply::method_not_allowed(Some(method));
    }
    let Some(handle) = handle else {
        return not_here(ctx).await;
    };
    if !cuts_over {
        return answer(StatusCode::OK, &handle.status());
    }
    match handle.cut_over().await {
        Ok(report) => answer(StatusCode::OK, &report),
        Err(refused) => {
            let status = match refused {
                CutOverRefused::Differs(_)
                | CutOverRefused::Lags(_)
                | CutOverRefused::Quota { .. } => StatusCode::CONFLICT,
                CutOverRefused::NotCompared | CutOverRefused::Failed(_) => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
            };
            answer(status, &json!({ "message": refused.to_string() }))
        }
    }
}

/// Answers for a member that was not started with `--from`.
async fn not_here(ctx: &Context) -> HttpResponse {
    let view = ctx.node.view().await.ok();
    let following = view.is_some_and(|view| view.machine.members.follows);
    let message = match following {
        true => "another member of this cluster follows: ask the one that was started with --from",
        false => "this cluster follows no other one",
    };
    answer(
        StatusCode::NOT_FOUND,
        &json!({ "following": following, "message": message }),
    )
}

fn answer(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    let mut text = serde_json::to_string(body).expect("it has texts for keys");
    text.push('\n');
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, reply::JSON))
        .body(text)
}

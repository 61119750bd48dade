//! Endpoints of a cluster that follows another cluster: `/follow` returns the status, `/follow/cut-over` replaces the source,
//! and `/follow/source-gone` stops the checks of the source.

use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, http::StatusCode};
use serde_json::json;
use witan_dialect::{Context, reply};
use witan_follow::{CutOverRefused, FollowHandle};
use witan_machine::follow::{FollowOperation, SourceGone};
use witan_node::ProposeError;

use super::{answer, refusal};

/// Answers an authorized GET of the status or an authorized POST of another path. A POST must have the content type JSON, so
/// that browsers send a preflight request for pages of another origin. If `handle` is `None`, this member was not started with
/// `--from`, and any path except `/follow/source-gone` gets 404. A refused or failed cut-over gets 409 or 503.
pub(crate) async fn handle(
    ctx: &Context,
    handle: Option<&FollowHandle>,
    request: &HttpRequest,
    path: &[u8],
) -> HttpResponse {
    let shows = path == b"/follow";
    let method = if shows { "GET" } else { "POST" };
    if !reply::allows(request, method) {
        return reply::method_not_allowed(Some(method));
    }
    if !shows && request.content_type() != "application/json" {
        let message = "the Content-Type must be application/json";
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, &message);
    }
    if path == b"/follow/source-gone" {
        return source_gone(ctx).await;
    }
    let Some(handle) = handle else {
        return not_following(ctx).await;
    };
    if shows {
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
            refusal(status, &refused)
        }
    }
}

/// Records in the log that the source is gone. Any member of the cluster can do this.
async fn source_gone(ctx: &Context) -> HttpResponse {
    let gone = FollowOperation::SourceGone(SourceGone {});
    match ctx.node.propose(gone).await {
        Ok(_) => answer(StatusCode::OK, &json!({ "guarding": false })),
        Err(ProposeError::Refused(error)) => refusal(StatusCode::CONFLICT, &error),
        Err(ProposeError::Fault(fault)) => refusal(StatusCode::SERVICE_UNAVAILABLE, &fault),
    }
}

/// Returns the response of a member that was not started with `--from`. If the member's state cannot be read, the response says
/// that the cluster follows no source.
async fn not_following(ctx: &Context) -> HttpResponse {
    let view = ctx.node.view().await.ok();
    let members = view.map(|view| view.machine.members.clone());
    let members = members.unwrap_or_default();
    let following = members.follows;
    let message = match (following, members.fenced_at) {
        (true, _) => {
            "another member of this cluster follows; send the request to the member that was started with --from"
        }
        (false, 0) => "this cluster follows no source",
        (false, _) => {
            "this cluster has replaced another cluster; a member with --from checks the fence of the other cluster until you \
             declare that cluster gone"
        }
    };
    answer(
        StatusCode::NOT_FOUND,
        &json!({ "following": following, "message": message }),
    )
}

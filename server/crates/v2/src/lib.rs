//! The v2 dialect of etcd 2.2 to 3.5: `/v2/keys`, `/v2/members`, `/v2/machines`, `/v2/stats`, `/v2/auth`.
//!
//! Reading order: `parse` (the request and its operation) → `keys` (execution) → `watch` → `render`, `error`, `headers` (the
//! response) → `members` (`body`: requests; `peer_url`: their URLs), `stats`, `auth`. `parse`, `render` and `error` are pure.

mod auth;
pub mod error;
pub mod headers;
pub mod keys;
pub mod members;
pub mod parse;
pub mod render;
mod stats;
pub mod watch;

use actix_web::{HttpRequest, HttpResponse, web};
use witan_api::access::V2Resource;
use witan_dialect::{Context, reply};

/// Returns the value of the `Allow` header for a resource, or `None` if it depends on the path.
fn methods(resource: V2Resource) -> Option<&'static str> {
    match resource {
        V2Resource::Keys => Some("HEAD,GET,PUT,POST,DELETE"),
        V2Resource::Members => Some("GET,POST,DELETE,PUT"),
        V2Resource::Auth => None,
        V2Resource::Machines => Some("GET,HEAD"),
        V2Resource::StatsSelf | V2Resource::StatsLeader | V2Resource::StatsStore => Some("GET"),
    }
}

/// Answers a request for a v2 resource. Drains the request's body. Except for keys, the caller must have authorized the client.
pub async fn handle(
    ctx: &Context,
    resource: V2Resource,
    request: &HttpRequest,
    mut payload: web::Payload,
    path: &[u8],
) -> HttpResponse {
    let allow = methods(resource);
    let response = if allow.is_some_and(|allow| !reply::allows(request, allow)) {
        reply::method_not_allowed(allow)
    } else {
        match resource {
            V2Resource::Keys => keys::handle(ctx, request, &mut payload, path).await,
            V2Resource::Members => members::handle(ctx, request, &mut payload, path).await,
            V2Resource::Auth => auth::handle(ctx, request, &mut payload, path).await,
            V2Resource::Machines => members::machines(ctx, request).await,
            V2Resource::StatsSelf => stats::of_self(ctx, request),
            V2Resource::StatsLeader => stats::of_leader(ctx, request),
            V2Resource::StatsStore => stats::of_store(ctx, request).await,
        }
    };
    reply::drain(&mut payload).await;
    response
}

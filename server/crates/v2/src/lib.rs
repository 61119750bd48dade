//! The v2 dialect of etcd 2.2 to 3.5: `/v2/keys`, `/v2/members`, `/v2/machines`, `/v2/stats`,
//! `/v2/auth`.
//!
//! Reading order: `form` → `parse` (the request) → `operation` (its command) → `keys` (execution) → `watch` → `render`,
//! `error`, `headers` (the answer) → `members`, `stats`, `auth`. All are pure except `keys`, `watch`, `members`,
//! `stats` and `auth`.

mod auth;
pub mod error;
mod form;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod headers;
pub mod keys;
mod members;
pub mod operation;
pub mod parse;
pub mod render;
mod stats;
pub mod watch;

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use witan_api::access::Resource;
use witan_dialect::{Context, read_counters::ReadCounters, reply};

/// Returns the methods that a resource of v2 serves, as `Allow` lists them; empty for resources of
/// other dialects.
fn methods(resource: Resource) -> &'static str {
    match resource {
        Resource::Keys => "HEAD,GET,PUT,POST,DELETE",
        Resource::Members => "GET,POST,DELETE,PUT",
        Resource::Auth => "GET,HEAD,PUT,POST,DELETE",
        Resource::Machines => "GET,HEAD",
        Resource::StatsSelf | Resource::StatsLeader | Resource::StatsStore => "GET",
        // other dialects'
        Resource::V1
        | Resource::Operations
        | Resource::LogLevel
        | Resource::FlightRecorder
        | Resource::Follow
        | Resource::OpenApi
        | Resource::Console
        | Resource::NewToken
        | Resource::Token => "",
    }
}

/// Returns what follows `prefix` in a path: empty or beginning with `/`. `None` if the path is not
/// `prefix` or below it.
fn below<'a>(path: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    path.strip_prefix(prefix)
        .filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The dialect with the counters of reads. Clones share.
#[derive(Clone, Debug)]
pub struct V2Dialect {
    ctx: Context,
    reads: Arc<ReadCounters>,
}

impl V2Dialect {
    /// Creates the dialect of the running member. `reads` are shared by v1 and v2.
    pub fn new(ctx: Context, reads: Arc<ReadCounters>) -> Self {
        Self { ctx, reads }
    }

    /// Answers a request for one of v2's resources, whose sender was authorized, and drains its body.
    pub async fn handle(
        &self,
        resource: Resource,
        request: &HttpRequest,
        mut payload: web::Payload,
        path: &[u8],
    ) -> HttpResponse {
        let allow = methods(resource);
        let response = if !reply::allows(request, allow) {
            reply::method_not_allowed(Some(allow))
        } else {
            match resource {
                Resource::Keys => keys::handle(self, request, &mut payload, path).await,
                Resource::Members => members::handle(&self.ctx, request, &mut payload, path).await,
                Resource::Auth => auth::handle(&self.ctx, request, &mut payload, path).await,
                Resource::Machines => members::machines(&self.ctx, request).await,
                Resource::StatsSelf => stats::of_self(&self.ctx, request),
                Resource::StatsLeader => stats::of_leader(&self.ctx, request),
                Resource::StatsStore => stats::of_store(self, request).await,
                Resource::V1
                | Resource::Operations
                | Resource::LogLevel
                | Resource::FlightRecorder
                | Resource::Follow
                | Resource::OpenApi
                | Resource::Console
                | Resource::NewToken
                | Resource::Token => reply::not_found(),
            }
        };
        reply::drain(&mut payload).await;
        response
    }
}

//! The v2 dialect of etcd 2.2 to 3.5: `/v2/keys`, `/v2/members`, `/v2/machines`, `/v2/stats`,
//! `/v2/auth`.
//!
//! Reading order: `form` → `parse` (what was asked) → `verb` (which command that is) → `keys`
//! (do it) → `watch` → `render`, `error`, `headers` (how the answer looks) → `members`, `stats`,
//! `auth`. Pure but for `keys`, `watch`, `members`, `stats` and `auth`.

pub(super) mod auth;
mod error;
pub(super) mod form;
mod headers;
mod keys;
pub(super) mod members;
pub(super) mod parse;
mod render;
mod stats;
pub(super) mod verb;
mod watch;

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};

use super::{Context, go, reads::Reads, reply};

/// What the paths of this dialect name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Keys,
    Members,
    Auth,
    Machines,
    StatsSelf,
    StatsLeader,
    StatsStore,
}

impl Resource {
    /// What a cleaned path names, if it is ours.
    pub(crate) fn of(path: &[u8]) -> Option<Self> {
        match path {
            b"/v2/machines" => Some(Self::Machines),
            b"/v2/stats/self" => Some(Self::StatsSelf),
            b"/v2/stats/leader" => Some(Self::StatsLeader),
            b"/v2/stats/store" => Some(Self::StatsStore),
            _ if below(path, b"/v2/keys").is_some() => Some(Self::Keys),
            _ if below(path, b"/v2/members").is_some() => Some(Self::Members),
            _ if auth::serves(path) => Some(Self::Auth),
            _ => None,
        }
    }

    fn methods(self) -> &'static str {
        match self {
            Self::Keys => "HEAD,GET,PUT,POST,DELETE",
            Self::Members => "GET,POST,DELETE,PUT",
            Self::Auth => "GET,HEAD,PUT,POST,DELETE",
            Self::Machines => "GET,HEAD",
            Self::StatsSelf | Self::StatsLeader | Self::StatsStore => "GET",
        }
    }
}

/// What follows `prefix` as a whole component: empty or beginning with `/`.
fn below<'a>(path: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    path.strip_prefix(prefix)
        .filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The dialect with the counters of reads. Clones share.
#[derive(Clone, Debug)]
pub(crate) struct Dialect {
    ctx: Context,
    reads: Arc<Reads>,
}

impl Dialect {
    pub(crate) fn new(ctx: Context, reads: Arc<Reads>) -> Self {
        Self { ctx, reads }
    }

    /// Answers a request for one of our resources.
    pub(crate) async fn handle(
        &self,
        resource: Resource,
        request: &HttpRequest,
        mut payload: web::Payload,
        path: &[u8],
    ) -> HttpResponse {
        let allow = resource.methods();
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
            }
        };
        reply::drain(&mut payload).await;
        response
    }
}

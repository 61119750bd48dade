//! Creates tokens in the v2 tree, and answers requests for tokens and for paths below them. Every request sees all earlier
//! commits, so a new token works on every member immediately.

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::ACCEPT},
    rt, web,
};
use bytes::Bytes;
use tokio::sync::{Mutex, OwnedMutexGuard};
use witan_api::{
    discovery::{REGISTRY, SIZE, split_token},
    v2::error::ErrorCode,
};
use witan_dialect::{
    Context,
    basic_auth::KeyAccess,
    blocking::{INLINE_BYTES, INLINE_ITEMS},
    jobs, rendering, reply,
};
use witan_gocompat::text::Sink;
use witan_node::{Node, NodeError};
use witan_tree::{Create, Delete, Event, Tree, TreeOperation, WriteMethod};
use witan_v2::{
    error::V2Error,
    headers,
    keys::{self, Intent},
    parse::Params,
    render, watch,
};

use super::{NewTokenError, REGISTRATION_BYTES_MAX, SIZE_MAX, base_url, page};

/// Maximum number of tokens that exist at the same time; further tokens are refused with 507. Because registrations are also
/// limited, the names and values of all tokens use at most 64 MiB.
pub(super) const TOKENS_MAX: usize = 1024;
/// Lifetime of a token, as on the public service. A cluster needs its token only until it has started.
const TOKEN_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Maximum number of registrations of a token, as a multiple of the cluster's size. If surplus members start at the same time,
/// they can also register, and then find that the cluster is full.
const REGISTRATIONS_PER_MEMBER: u64 = 2;

/// Maximum time for which a request waits for the lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// The lock that a request holds while it checks a limit and writes. Without the lock, concurrent requests would all pass the
/// check. Each member has a separate lock, so concurrent requests to several members can exceed a limit by one per member.
#[derive(Debug, Default)]
pub(super) struct RegistryLock(Arc<Mutex<()>>);

impl RegistryLock {
    /// Waits for the lock, which is held until the guard is dropped. Fails with `TooMany` after [`LOCK_WAIT`].
    async fn acquire(&self) -> Result<OwnedMutexGuard<()>, NodeError> {
        let guard = rt::time::timeout(LOCK_WAIT, self.0.clone().lock_owned()).await;
        guard.map_err(|_| NodeError::TooMany)
    }
}

/// Creates a token's directory with the cluster's size. The directory expires after `TOKEN_LIFETIME`. Fails with `RegistryFull`
/// at `TOKENS_MAX` tokens, and with `Store` if the lock is not free within [`LOCK_WAIT`].
pub(super) async fn create(
    node: &Node,
    lock: &RegistryLock,
    token: &str,
    size: u64,
) -> Result<(), NewTokenError> {
    let guard = lock.acquire().await?;
    let full = {
        let view = node.read().await?;
        let tree = &view.machine.tree;
        tree.lists_more_than(REGISTRY.as_bytes(), false, TOKENS_MAX - 1)
    };
    if full {
        return Err(NewTokenError::RegistryFull);
    }
    let lifetime_ns = i64::try_from(TOKEN_LIFETIME.as_nanos()).unwrap_or(i64::MAX);
    let path = directory(token);
    let creates = [
        Create {
            path: path.clone().into(),
            dir: true,
            expires_ns: Some(witan_node::now_ns().saturating_add(lifetime_ns)),
            ..Create::default()
        },
        Create {
            path: format!("{path}/{SIZE}").into(),
            value: size.to_string().into(),
            ..Create::default()
        },
    ];
    let node = node.clone();
    let write = async move {
        for create in creates {
            node.propose(TreeOperation::Create(create)).await?;
        }
        Ok::<_, V2Error>(())
    };
    // Even if the client disconnects, the lock is held until the writes end.
    let (made, _guard) = jobs::run_to_end(guard, write).await?;
    Ok(made?)
}

/// Returns the v2 key of a token's directory.
fn directory(token: &str) -> String {
    format!("{REGISTRY}/{token}")
}

/// Returns the value of the header `Allow` for the path `below` a token, which has no leading or trailing slash. The token
/// itself can be deleted, and a registration can be written or deleted.
fn allowed_methods(below: &[u8]) -> &'static str {
    match below {
        b"" => "GET,HEAD,DELETE",
        // The size, or a path that members do not write.
        name if name.starts_with(b"_") || name.contains(&b'/') => "GET,HEAD",
        _ => "GET,HEAD,PUT,DELETE",
    }
}

/// Answers any request for a token or a path below it. `path` is the entire cleaned path; without a token, the response is 404.
pub(super) async fn handle(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
    path: &[u8],
    lock: &RegistryLock,
) -> HttpResponse {
    let Some((token, rest)) = split_token(path) else {
        return reply::not_found();
    };
    let below = rest.strip_prefix(b"/").unwrap_or_default();
    let below = below.strip_suffix(b"/").unwrap_or(below);
    let allow = allowed_methods(below);
    if !reply::allows(request, allow) {
        return reply::method_not_allowed(Some(allow));
    }
    let asked = TokenRequest { ctx, request, token, below, lock };
    match asked.serve(payload).await {
        Ok(response) => response,
        Err(error) => headers::failure(ctx, request, error).await,
    }
}

struct TokenRequest<'a> {
    ctx: &'a Context,
    request: &'a HttpRequest,
    token: &'a str,
    /// The path after the token, without a leading or trailing slash.
    below: &'a [u8],
    lock: &'a RegistryLock,
}

impl TokenRequest<'_> {
    /// Answers a request whose method is allowed. A GET with `wait` opens a watch, and a browser's GET of the token returns the
    /// page.
    async fn serve(&self, payload: &mut web::Payload) -> Result<HttpResponse, V2Error> {
        let (ctx, request) = (self.ctx, self.request);
        let (intent, params) = keys::intent(ctx, request, payload).await?;
        match intent {
            Intent::Get if params.wait => {
                self.directory(&ctx.node.read().await?.machine.tree)?;
                let access = KeyAccess::new(request, None);
                watch::open(ctx, request, self.key(), access, &params).await
            }
            Intent::Get if self.below.is_empty() && wants_page(request) => self.page().await,
            Intent::Get | Intent::Head => self.get(&params).await,
            Intent::Write(WriteMethod::Put) => self.register(params).await,
            Intent::Write(write) => keys::write(ctx, request, write, self.key(), params).await,
        }
    }

    /// Returns the v2 key of the request: the token's directory or a node below it.
    fn key(&self) -> Bytes {
        let mut key = directory(self.token).into_bytes();
        if !self.below.is_empty() {
            key.push(b'/');
            key.extend_from_slice(self.below);
        }
        key.into()
    }

    /// Returns the token's directory with its registrations. Fails if the token does not exist, or if a v2 client has replaced
    /// its directory with a file. Also fails if the directory is so large that its listing would block the worker.
    fn directory(&self, tree: &Tree) -> Result<witan_tree::Node, V2Error> {
        let path = directory(self.token);
        if tree.shows_more_than(path.as_bytes(), false, INLINE_ITEMS, INLINE_BYTES) {
            let cause = format!("{path} has over {INLINE_ITEMS} nodes or {INLINE_BYTES} bytes");
            return Err(V2Error::before_store(ErrorCode::NoSpace, cause));
        }
        let found = tree.get(path.as_bytes(), false, witan_node::now_ns())?;
        match found.node.dir {
            true => Ok(found.node),
            false => Err(V2Error::before_store(ErrorCode::NotDir, path)),
        }
    }

    /// Responds with a node from a linearizable read, in the format of v2, to everyone who knows the token. Omits the
    /// expiration of the token's directory.
    async fn get(&self, params: &Params) -> Result<HttpResponse, V2Error> {
        let node = &self.ctx.node;
        let view = node.read().await?;
        let is_token = self.below.is_empty();
        let write = move |out: &mut dyn Sink, event: &Event| {
            if !is_token {
                return render::event(out, event);
            }
            // The public service shows no expiration here.
            let mut shown = event.clone();
            (shown.node.expires_ns, shown.node.ttl) = (None, 0);
            render::event(out, &shown);
        };
        let asked = (self.key(), params.recursive);
        let mut access = KeyAccess::new(self.request, None);
        let read = rendering::read(self.ctx, self.request, view, asked, &mut access, write);
        let (body, index) = read.await?;
        Ok(headers::success(node, StatusCode::OK, index).body(body))
    }

    /// Responds with the token's HTML page from a linearizable read.
    async fn page(&self) -> Result<HttpResponse, V2Error> {
        let view = self.ctx.node.read().await?;
        let tree = &view.machine.tree;
        let url = base_url(self.ctx, self.request);
        let url = url.map(|base| format!("{base}/{}", self.token));
        let (size, directory) = (self.size(tree), self.directory(tree)?);
        Ok(page::answer(self.request, url.as_deref(), size, &directory))
    }

    /// Returns the size in the token's directory, or `None` if a client created the directory without a valid size.
    fn size(&self, tree: &Tree) -> Option<u64> {
        let path = format!("{}/{SIZE}", directory(self.token));
        // A v2 client can create a large directory at this path, which a read would list.
        if tree.lists_more_than(path.as_bytes(), false, 0) {
            return None;
        }
        let found = tree.get(path.as_bytes(), false, 0).ok()?;
        let value = found.node.value?;
        std::str::from_utf8(&value).ok()?.parse().ok()
    }

    /// Writes a registration if it is within the limits. Fails if the token expires between the check and the write. In this
    /// case, deletes the directory that the write has created.
    async fn register(&self, params: Params) -> Result<HttpResponse, V2Error> {
        let node = &self.ctx.node;
        let guard = self.lock.acquire().await?;
        let before = {
            let tree = &node.read().await?.machine.tree;
            let before = self.directory(tree)?;
            self.check_bounds(&before, self.size(tree), &params)?;
            before
        };
        let (ctx, request, key) = (self.ctx.clone(), self.request.clone(), self.key());
        let write = async move { keys::write(&ctx, &request, WriteMethod::Put, key, params).await };
        // Even if the client disconnects, the lock is held until the write ends.
        let (response, guard) = jobs::run_to_end(guard, write).await?;
        drop(guard);
        let response = response?;
        let now = self.directory(&node.view().await?.machine.tree)?;
        if now.created == before.created {
            return Ok(response);
        }
        // The token expired before the write, so the write created a directory without expiration. Delete that directory.
        let path = directory(self.token);
        let delete = Delete { path: path.clone().into(), dir: true, recursive: true };
        node.propose(TreeOperation::Delete(delete)).await?;
        Err(V2Error::before_store(ErrorCode::KeyNotFound, path))
    }

    /// Fails if the registration is a directory or too long. Also fails if the registration is new and the token already has
    /// `REGISTRATIONS_PER_MEMBER` registrations per member. `size` is the token's size, or `None` if the token has no valid
    /// size; the limit is then the limit for `SIZE_MAX`.
    fn check_bounds(
        &self,
        directory: &witan_tree::Node,
        size: Option<u64>,
        params: &Params,
    ) -> Result<(), V2Error> {
        let invalid = |cause: String| Err(V2Error::before_store(ErrorCode::InvalidField, cause));
        if params.dir {
            return invalid("a registration must be a value, not a directory".to_owned());
        }
        if self.below.len() + params.value.len() > REGISTRATION_BYTES_MAX {
            return invalid(format!(
                "a registration must not exceed {REGISTRATION_BYTES_MAX} bytes, including its name"
            ));
        }
        let registered = directory.nodes.as_deref().unwrap_or_default();
        let limit = size.unwrap_or(SIZE_MAX).clamp(1, SIZE_MAX) * REGISTRATIONS_PER_MEMBER;
        let key = self.key();
        let is_new = registered.iter().all(|node| node.path != key);
        if is_new && registered.len() as u64 >= limit {
            let cause = format!("this token already has {limit} registrations, which is the limit");
            return Err(V2Error::before_store(ErrorCode::NoSpace, cause));
        }
        Ok(())
    }
}

/// Returns whether the `Accept` header lists `text/html`, as a browser's header does. Ignores parameters such as `q`.
fn wants_page(request: &HttpRequest) -> bool {
    let accepted = request.headers().get_all(ACCEPT);
    accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|kind| kind.split(';').next().unwrap_or_default().trim() == "text/html")
}

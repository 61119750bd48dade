//! `/v2/keys` executes reads and writes and starts watches. `parse` validates parameters and builds write operations.

use std::time::Instant;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode, header::CONTENT_LENGTH},
    web,
};
use bytes::Bytes;
use witan_api::v2::{KEYS, error::ErrorCode};
use witan_dialect::{
    Context,
    basic_auth::KeyAccess,
    blocking::{self, INLINE_BYTES},
    rendering::{self, ReadRefused},
    reply,
};
use witan_gocompat::{mime, text::Sink};
use witan_logging::LogLimit;
use witan_machine::auth::path_permissions::PathAccess;
use witan_node::CurrentView;
use witan_tree::{Action, Event, WriteMethod};

use super::{
    error::V2Error,
    headers,
    parse::{self, Params},
    render, watch,
};

/// Limits log lines that any client can trigger.
static IGNORED_BODIES: LogLimit = LogLimit::new();

/// The action that the HTTP method of a request to `/v2/keys` selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Reads a node.
    Get,
    /// Reads a node and returns only the headers.
    Head,
    /// Changes a node.
    Write(WriteMethod),
}

impl Intent {
    /// Returns the intent of a method. Panics if `/v2/keys` does not serve the method.
    fn of(method: &Method) -> Self {
        match method.as_str() {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "PUT" => Self::Write(WriteMethod::Put),
            "POST" => Self::Write(WriteMethod::Post),
            "DELETE" => Self::Write(WriteMethod::Delete),
            _ => unreachable!("the callers serve no other method"),
        }
    }
}

/// Answers any request below `/v2/keys`; `path` is the entire cleaned path.
pub(super) async fn handle(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
    path: &[u8],
) -> HttpResponse {
    match serve(ctx, request, payload, path).await {
        Ok(response) => response,
        Err(error) => headers::failure(ctx, request, error).await,
    }
}

/// Parses, authorizes, executes and measures a request. As in etcd, `quorum` takes precedence over `wait` and applies only to
/// GET. Metrics count a watch as received, but not as answered.
async fn serve(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
    path: &[u8],
) -> Result<HttpResponse, V2Error> {
    let (intent, params) = intent(ctx, request, payload).await?;
    // As in etcd, the access check includes the final slash: `/app/*` matches `/app/`.
    let sent = path.strip_prefix(KEYS.as_bytes()).unwrap_or_default();
    let key = tree_key(sent);
    let required = PathAccess {
        write: matches!(intent, Intent::Write(_)),
        recursive: params.recursive,
    };
    let mut access = KeyAccess::new(request, Some((sent, required)));
    if !access.is_granted(ctx).await? {
        return Err(ReadRefused::Unauthorized.into());
    }
    let quorum = intent == Intent::Get && params.quorum;
    let label = match quorum {
        true => "QGET",
        false => request.method().as_str(),
    };
    ctx.v2_metrics.count_received(label);
    let began = Instant::now();
    if intent == Intent::Get && params.wait && !quorum {
        return watch::open(ctx, request, key, access, &params).await;
    }
    ctx.count_tree_key(required, &key);
    let answer = match intent {
        Intent::Get | Intent::Head => {
            get(ctx, request, (key, access), params.recursive, quorum).await
        }
        Intent::Write(method) => write(ctx, request, method, key, params).await,
    };
    let status = match &answer {
        Ok(response) => response.status().as_u16(),
        Err(error) => error.code.status(),
    };
    let took = began.elapsed();
    ctx.v2_metrics.record_response(label, status, took);
    answer
}

/// Parses the intent and the parameters from the method, the query and the form body. Panics if `/v2/keys` does not serve the
/// method.
pub async fn intent(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
) -> Result<(Intent, Params), V2Error> {
    let intent = Intent::of(request.method());
    let form = form(intent, request, payload).await?;
    let large = form.as_ref().is_some_and(|form| form.len() > INLINE_BYTES);
    let query = request.uri().query().unwrap_or_default().to_owned();
    let is_get = intent == Intent::Get;
    let read = move || parse::params(is_get, query.as_bytes(), form.as_deref());
    let params = blocking::run_if(ctx.account(), large, read).await??;
    Ok((intent, params))
}

/// Returns the tree key of a path below `/v2/keys`, which is `/` for the root. Removes one trailing slash.
fn tree_key(sent: &[u8]) -> Bytes {
    match sent.strip_suffix(b"/").unwrap_or(sent) {
        b"" => Bytes::from_static(b"/"),
        key => Bytes::copy_from_slice(key),
    }
}

/// Reads the form body of a PUT or POST. Returns `None` for other methods and media types, whose bodies etcd also ignores.
/// Fails with `InvalidForm` if the media type or the form is invalid. Logs some of the ignored bodies of DELETE requests.
async fn form(
    intent: Intent,
    request: &HttpRequest,
    payload: &mut web::Payload,
) -> Result<Option<Vec<u8>>, V2Error> {
    if !matches!(intent, Intent::Write(WriteMethod::Put | WriteMethod::Post)) {
        let length = request.headers().get(CONTENT_LENGTH);
        if intent == Intent::Write(WriteMethod::Delete)
            && length.is_some_and(|length| length != "0")
            && let Some(left_out) = IGNORED_BODIES.admit()
        {
            tracing::warn!(
                left_out,
                "ignoring the body of a DELETE request: conditions must be in the query"
            );
        }
        return Ok(None);
    }
    let media = reply::content_type(request);
    if media.is_empty() {
        return Ok(None);
    }
    let invalid = |cause: &'static str| V2Error::before_store(ErrorCode::InvalidForm, cause);
    if mime::parse(&media).map_err(invalid)? != reply::FORM {
        return Ok(None);
    }
    let form = reply::read_form(payload).await;
    form.map(Some).map_err(invalid)
}

/// Reads a node: linearizably with `quorum`, otherwise from this member's state. Counts the lookup and a successful read.
async fn get(
    ctx: &Context,
    request: &HttpRequest,
    (key, mut access): (Bytes, KeyAccess),
    recursive: bool,
    quorum: bool,
) -> Result<HttpResponse, V2Error> {
    let view = readable_view(ctx, &mut access, quorum).await?;
    let below = (key, recursive);
    let found = rendering::read(ctx, request, view, below, &mut access, render::event).await;
    if let Ok(_) | Err(ReadRefused::Tree(_)) = &found {
        ctx.v2_metrics.count_lookup(found.is_ok());
    }
    let (body, index) = found?;
    ctx.v2_metrics.count_read(recursive);
    Ok(headers::success(&ctx.node, StatusCode::OK, index).body(body))
}

/// Returns the view to read, which is linearizable with `quorum`. Fails if the caller has no access in this view, because the
/// first check may have used an older state.
async fn readable_view(
    ctx: &Context,
    access: &mut KeyAccess,
    quorum: bool,
) -> Result<CurrentView, V2Error> {
    if quorum {
        let view = ctx.node.read().await?;
        if !view.machine.auth.path_auth_enabled() {
            return Ok(view);
        }
        // This member's current state is now at least as new as `view`.
    }
    let view = access.view(ctx).await?;
    view.ok_or_else(|| ReadRefused::Unauthorized.into())
}

/// Proposes a write, without checking the client's access, and returns its event in the response. With `noValueOnSuccess`, PUT
/// and POST return only the action.
pub async fn write(
    ctx: &Context,
    request: &HttpRequest,
    write: WriteMethod,
    key: Bytes,
    params: Params,
) -> Result<HttpResponse, V2Error> {
    let bare = params.no_value_on_success && write != WriteMethod::Delete;
    let mutation = parse::mutation(write, key, params, witan_node::now_ns());
    let event = ctx.node.propose(mutation).await?.output;
    let mut answer = headers::success(&ctx.node, status(&event), event.index);
    let least_bytes = match bare {
        true => 0,
        false => rendering::least_bytes(&event),
    };
    let push: fn(&mut dyn Sink, &Event) = if bare { render::bare } else { render::event };
    let write = move |out: &mut dyn Sink| push(out, &event);
    let body = rendering::body(ctx, request, least_bytes, write).await;
    Ok(answer.body(body))
}

/// Returns 201 if the event has created its node, otherwise 200.
fn status(event: &Event) -> StatusCode {
    match event.action {
        Action::Create => StatusCode::CREATED,
        Action::Set if event.prev.is_none() => StatusCode::CREATED,
        Action::Get
        | Action::Set
        | Action::Update
        | Action::CompareAndSwap
        | Action::CompareAndDelete
        | Action::Delete
        | Action::Expire => StatusCode::OK,
    }
}

//! The v1 dialect of etcd 0.1: `/v1/keys`, `/v1/watch`, `/v1/leader`, `/v1/machines`, `/v1/stats`. v1 is a view of the v2
//! store, with the same indexes and hidden nodes.
//!
//! Reading order: `request` (parsing) → `keys` (execution, `prevValue`) → `watch` → `render`, `error` (the response) →
//! `cluster`. `request` and `render` are pure.

mod cluster;
pub mod error;
mod keys;
mod render;
pub mod request;
mod watch;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::CONTENT_TYPE},
    web::{self, Payload},
};
use witan_api::{v1::error::ErrorCode, v2::auth::INSUFFICIENT};
use witan_dialect::{
    Context,
    basic_auth::KeyAccess,
    blocking::{self, INLINE_BYTES},
    client_connection::Disconnect,
    rendering,
    reply::{self, FramedBody},
};
use witan_gocompat::text::Sink;
use witan_machine::auth::path_permissions::PathAccess;

use request::{V1Request, V1RequestError, parse};

use self::error::V1Error;

/// Answers a request for a v1 path. Drains the request's body.
pub async fn handle(
    ctx: &Context,
    request: &HttpRequest,
    mut payload: Payload,
    path: &[u8],
) -> HttpResponse {
    let answer = answer(ctx, request, &mut payload, path).await;
    reply::drain(&mut payload).await;
    match answer {
        Ok(response) => response,
        Err(error) => error.answer(ctx, request).await,
    }
}

/// Parses, authorizes and executes a request. Fails only with errors that v1 encodes as JSON. An unknown path, a wrong method
/// and missing access get responses without JSON.
async fn answer(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut Payload,
    path: &[u8],
) -> Result<HttpResponse, V1Error> {
    let form = form(request, payload).await?;
    let large = form.as_ref().is_some_and(|form| form.len() > INLINE_BYTES);
    let (method, path) = (request.method().clone(), path.to_vec());
    let query = request.uri().query().unwrap_or_default().to_owned();
    let read = move || parse(method.as_str(), &path, query.as_bytes(), form.as_deref());
    let parsed = match blocking::run_if(ctx.account(), large, read).await? {
        Ok(parsed) => parsed,
        Err(V1RequestError::Path) => return Ok(reply::not_found()),
        Err(V1RequestError::Method) => return Ok(HttpResponse::MethodNotAllowed().finish()),
        Err(V1RequestError::Rule(error)) => return Err(error),
    };
    let required = required_access(&parsed);
    let mut access = KeyAccess::new(request, required);
    if !access.is_granted(ctx).await? {
        return Ok(unauthorized());
    }
    // Watches are not counted as reads or writes.
    if let Some((key, access)) = required
        && !matches!(parsed, V1Request::Watch { .. })
    {
        ctx.count_tree_key(access, key);
    }
    let node = &ctx.node;
    let change = match parsed {
        V1Request::Get { key } => {
            let found = keys::get(ctx, request, key, access).await?;
            return Ok(found.map_or_else(unauthorized, framed));
        }
        V1Request::Put(put) => keys::put(node, put).await?,
        V1Request::Delete { key } => keys::delete(node, key).await?,
        V1Request::Watch { key, from } => {
            match watch::next(ctx, &Disconnect::of(request), access, key, from).await? {
                Some(change) => change,
                None => return Ok(unauthorized()),
            }
        }
        V1Request::MachineRecords { name } => {
            let records = cluster::records(node, name.as_deref()).await?;
            return Ok(text(request, records));
        }
        V1Request::Leader => return Ok(text(request, cluster::leader(node).await?)),
        V1Request::Machines => return Ok(text(request, cluster::machines(node).await?)),
        V1Request::Stats(stats) => return cluster::stats(ctx, request, stats).await,
    };
    let least_bytes = rendering::least_bytes(&change);
    let write = move |out: &mut dyn Sink| render::write_change(out, &change);
    let body = rendering::body(ctx, request, least_bytes, write).await;
    Ok(framed(body))
}

/// Returns the key of a request and the required access by v2's rules. Returns `None` if the request has no key.
fn required_access(parsed: &V1Request) -> Option<(&[u8], PathAccess)> {
    let (key, write, recursive) = match parsed {
        V1Request::Get { key } => (key, false, false),
        V1Request::Put(put) => (&put.key, true, false),
        V1Request::Delete { key } => (key, true, false),
        V1Request::Watch { key, .. } => (key, false, true),
        V1Request::MachineRecords { .. }
        | V1Request::Leader
        | V1Request::Machines
        | V1Request::Stats(_) => return None,
    };
    Some((key, PathAccess { write, recursive }))
}

/// Builds the response to a caller without access to the key. The body is only the message, not JSON: v1 has no code
/// for this error.
fn unauthorized() -> HttpResponse {
    reply::text(StatusCode::UNAUTHORIZED, INSUFFICIENT)
}

/// Builds a plain-text response like [`framed`].
fn text(request: &HttpRequest, body: Vec<u8>) -> HttpResponse {
    framed(reply::framed(request, body))
}

/// Builds a plain-text response. Go's content sniffing chose this type for all v1 responses.
fn framed(body: FramedBody) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, reply::TEXT))
        .body(body)
}

/// Reads the form body of a PUT or POST. Returns `None` for other methods and media types. Fails if the body is too large or
/// incomplete.
async fn form(
    request: &HttpRequest,
    payload: &mut web::Payload,
) -> Result<Option<Vec<u8>>, V1Error> {
    let can_have_form = reply::allows(request, "PUT,POST");
    if !can_have_form || reply::media_type(request) != reply::FORM {
        return Ok(None);
    }
    // v1 has no error for an unreadable form, so report a missing value.
    match reply::read_form(payload).await {
        Ok(form) => Ok(Some(form)),
        Err(cause) => Err(V1Error::new(ErrorCode::ValueRequired, cause)),
    }
}

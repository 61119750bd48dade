//! `/v2/auth` enables and disables authentication and manages users and roles, with etcd 3.4's responses. v3 shares the users.
//!
//! Reading order: this file (the resource) → `users`, `roles`. `witan_dialect::basic_auth` authenticates the caller,
//! `witan_api::access` lists the required access, and `witan_machine::auth::path_permissions` executes the changes.

mod roles;
mod users;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::CONTENT_TYPE},
    web,
};
use serde::de::DeserializeOwned;
use witan_api::v2::{
    auth::{ENABLE, INVALID_JSON, INVALID_PATH, ROLES, USERS},
    members::INTERNAL,
};
use witan_base::account::{Account, Charge, Resource, SMALL_BYTES};
use witan_dialect::{
    Context,
    blocking::{self, INLINE_BYTES},
    rendering,
    reply::{self, ChargedText, ResponseRefused},
};
use witan_gocompat::text::Sink;
use witan_machine::{
    auth::{self, Auth, path_permissions::PathAuthError},
    operation::{ByPath, Operation},
    view::View,
};
use witan_node::{NodeError, ProposeError};

use super::headers::{self, json_response};

/// Memory in bytes that an empty string takes in the lists of the request and of its command. Half of a list's capacity can be
/// unused.
const STRING_BYTES: usize = 4 * size_of::<String>();

/// An error response: status and message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AuthHttpError(StatusCode, String);

impl AuthHttpError {
    /// Creates an error with status 400.
    fn bad(message: &str) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }
}

impl From<NodeError> for AuthHttpError {
    /// Logs the error. The message is generic and the status 500, unless the client can do something about the error (400, 503
    /// or 507).
    fn from(fault: NodeError) -> Self {
        witan_dialect::log_failure("v2 auth", fault);
        match fault {
            NodeError::NoSpace => Self(StatusCode::INSUFFICIENT_STORAGE, fault.of_etcd()),
            NodeError::TooLarge => Self::bad(&fault.of_etcd()),
            NodeError::Follows => Self(StatusCode::SERVICE_UNAVAILABLE, fault.of_etcd()),
            NodeError::NoLeader
            | NodeError::Timeout
            | NodeError::LeaderFailed
            | NodeError::ConnectionLost
            | NodeError::LearnerNotReady
            | NodeError::ClusterVersion
            | NodeError::Learner
            | NodeError::TooMany
            | NodeError::Stopped
            | NodeError::Removed
            | NodeError::Internal => Self(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL.into()),
        }
    }
}

impl From<PathAuthError> for AuthHttpError {
    /// Maps a refusal to etcd's status. The message is the text of the refusal.
    fn from(refusal: PathAuthError) -> Self {
        use PathAuthError as R;
        let status = match refusal {
            R::NoRoot
            | R::Enabled
            | R::Disabled
            | R::UserExists(_)
            | R::RoleAlreadyGranted { .. }
            | R::RoleNotGranted { .. }
            | R::RoleExists(_)
            | R::ReadAlreadyGranted(_)
            | R::WriteAlreadyGranted(_) => StatusCode::CONFLICT,
            R::UserMissing(_)
            | R::UserToDeleteMissing(_)
            | R::RoleMissing(_)
            | R::RoleToDeleteMissing(_) => StatusCode::NOT_FOUND,
            R::RootProtected | R::RootRole(_) => StatusCode::FORBIDDEN,
            R::UserUnchanged | R::RoleUnchanged => StatusCode::BAD_REQUEST,
        };
        Self(status, refusal.to_string())
    }
}

impl From<ProposeError<PathAuthError>> for AuthHttpError {
    fn from(error: ProposeError<PathAuthError>) -> Self {
        match error {
            ProposeError::Fault(fault) => fault.into(),
            ProposeError::Refused(refusal) => refusal.into(),
        }
    }
}

/// A resource below `/v2/auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AuthResource<'a> {
    Enable,
    Users,
    User(&'a str),
    Roles,
    Role(&'a str),
}

impl<'a> AuthResource<'a> {
    /// Parses a path, which must be one of the routes' paths. Returns `None` if the path is not a resource below `/v2/auth`, or
    /// has too many segments.
    fn of(path: &'a str) -> Option<Self> {
        if path == ENABLE {
            return Some(Self::Enable);
        }
        let (users, rest) = match path.strip_prefix(USERS) {
            Some(rest) => (true, rest),
            None => (false, path.strip_prefix(ROLES)?),
        };
        let name = rest.strip_prefix('/').unwrap_or(rest);
        let name = name.strip_suffix('/').unwrap_or(name);
        match (users, name) {
            (true, "") => Some(Self::Users),
            (false, "") => Some(Self::Roles),
            (_, name) if name.contains('/') => None,
            (true, name) => Some(Self::User(name)),
            (false, name) => Some(Self::Role(name)),
        }
    }

    /// Returns the value of the `Allow` header.
    fn methods(self) -> &'static str {
        match self {
            Self::Users | Self::Roles => "GET",
            Self::Enable | Self::User(_) | Self::Role(_) => "GET,PUT,DELETE",
        }
    }
}

/// Answers any request below `/v2/auth`. `path` is the entire cleaned path; an unknown path gets 400, and a method that the
/// resource does not allow gets 405. The caller must have authorized the client.
pub(super) async fn handle(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
    path: &[u8],
) -> HttpResponse {
    let path = String::from_utf8_lossy(path);
    let Some(resource) = AuthResource::of(&path) else {
        return reply::error_message(HttpResponse::BadRequest(), INVALID_PATH.into());
    };
    if !reply::allows(request, resource.methods()) {
        return reply::method_not_allowed(Some(resource.methods()));
    }
    let answer = serve(ctx, request, payload, resource).await;
    answer.unwrap_or_else(|AuthHttpError(status, message)| {
        reply::error_message(headers::build(&ctx.node, status), message)
    })
}

/// Executes a request whose method the resource allows.
async fn serve(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
    resource: AuthResource<'_>,
) -> Result<HttpResponse, AuthHttpError> {
    match (resource, request.method().as_str()) {
        (AuthResource::Enable, "GET") => {
            let enabled = ctx.node.view().await?.machine.auth.path_auth_enabled();
            let enabled = serde_json::json!({ "enabled": enabled });
            Ok(json_response(ctx, request, StatusCode::OK, &enabled))
        }
        (AuthResource::Enable, "PUT") => propose(ctx, auth::Enable {}).await,
        (AuthResource::Enable, _) => propose(ctx, auth::Disable {}).await,
        (AuthResource::Users, _) => users::list(ctx, request).await,
        (AuthResource::User(name), "GET") => users::get(ctx, request, name).await,
        (AuthResource::User(name), "PUT") => users::put(ctx, request, payload, name).await,
        (AuthResource::User(name), _) => propose(ctx, auth::UserDelete { name: name.into() }).await,
        (AuthResource::Roles, _) => roles::list(ctx, request).await,
        (AuthResource::Role(name), "GET") => roles::get(ctx, request, name).await,
        (AuthResource::Role(name), "PUT") => roles::put(ctx, request, payload, name).await,
        (AuthResource::Role(name), _) => propose(ctx, auth::RoleDelete { name: name.into() }).await,
    }
}

/// Reads users or roles from this member's state as a large read, because the response repeats the patterns of a role for each
/// of its users. `write` appends the response. `least_bytes` returns a lower bound of its size in bytes, or the reason why
/// there is no response. Fails with 500 if no state is available or the state pins too much memory.
async fn read_auth(
    ctx: &Context,
    request: &HttpRequest,
    least_bytes: impl FnOnce(&Auth) -> Result<usize, PathAuthError> + Send + 'static,
    write: impl Fn(&mut dyn Sink, &Auth) + Send + 'static,
) -> Result<HttpResponse, AuthHttpError> {
    let job = ctx.large_read().await?;
    let account = ctx.account().clone();
    let render = move |view: &View| {
        let auth = &view.machine.auth;
        let least_bytes = least_bytes(auth)?;
        let write = |out: &mut dyn Sink| write(out, auth);
        Ok::<_, PathAuthError>(render(&account, least_bytes, write))
    };
    let (text, _permit) = job.run(render).await?;
    Ok(headers::build(&ctx.node, StatusCode::OK)
        .insert_header((CONTENT_TYPE, reply::JSON))
        .body(reply::framed_text(request, text?)))
}

/// Renders the output of `write`, which has at least `least_bytes` bytes. Fails if the charge is refused.
fn render(
    account: &Account,
    least_bytes: usize,
    write: impl Fn(&mut dyn Sink),
) -> Result<ChargedText, ResponseRefused> {
    // A sole charge of any size is granted, but a list can be larger than the memory. Therefore, hold another charge.
    let _other = account.hold(Resource::Answers, 1).ok_or(ResponseRefused)?;
    rendering::render_here(account, true, least_bytes, write)
}

/// Proposes a change to users, roles or the authentication switch. The response body is empty.
async fn propose<V>(ctx: &Context, verb: V) -> Result<HttpResponse, AuthHttpError>
where
    ByPath<V>: Operation<Error = PathAuthError>,
{
    ctx.node.propose(ByPath(verb)).await?;
    Ok(headers::build(&ctx.node, StatusCode::OK)
        .insert_header((CONTENT_TYPE, reply::JSON))
        .finish())
}

/// Reads a body and parses its first JSON value, on another thread if the body is large. As in etcd, bytes after the value are
/// ignored, and `null` is an empty object. Also returns the charge for the parsed value. Fails with 400 if the body is invalid
/// or too large.
async fn body<T: DeserializeOwned + Default + Send + 'static>(
    ctx: &Context,
    payload: &mut web::Payload,
) -> Result<(T, Option<Charge>), AuthHttpError> {
    let body = reply::read(payload, ctx.settings.max_message_bytes()).await;
    let body = body.map_err(|_| AuthHttpError::bad(INVALID_JSON))?;
    let charge = charge_strings(ctx.account(), &body)?;
    let large = body.len() > INLINE_BYTES;
    let parsed = blocking::run_if(ctx.account(), large, move || parse(&body)).await?;
    let parsed = parsed.ok_or_else(|| AuthHttpError::bad(INVALID_JSON))?;
    Ok((parsed, charge))
}

/// Charges the memory of the strings in a body, because the charge for the body covers only the few bytes of a short string.
/// Returns `None` if the strings need little memory. Fails with 503 if the charge is refused.
fn charge_strings(account: &Account, body: &[u8]) -> Result<Option<Charge>, AuthHttpError> {
    let quotes = body.iter().filter(|byte| **byte == b'"').count();
    let bytes = quotes / 2 * STRING_BYTES;
    if bytes <= SMALL_BYTES {
        return Ok(None);
    }
    let charge = account.hold(Resource::Requests, bytes);
    let refused = || {
        let text = NodeError::TooMany.to_string();
        AuthHttpError(StatusCode::SERVICE_UNAVAILABLE, text)
    };
    charge.map(Some).ok_or_else(refused)
}

/// Parses the first JSON value in a body. Returns the default for `null`, and `None` if the value is not an object of type `T`.
/// Does not build a tree of values, which can be many times as large as the body.
fn parse<T: DeserializeOwned + Default>(body: &[u8]) -> Option<T> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Option<T>>();
    let first = values.next()?.ok()?;
    Some(first.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use witan_api::v2::auth::UserChange;
    use witan_base::{account::Totals, metrics::Register};

    use super::*;

    #[test]
    fn a_body_is_an_object_and_trailing_bytes_are_ignored() {
        type Body = std::collections::BTreeMap<String, u8>;
        let of_one = || Body::from([("a".to_owned(), 2)]);
        let table = [
            (r#"{"a":1,"a":2} x"#, Some(of_one())),
            ("null", Some(Body::new())),
            (" {}", Some(Body::new())),
            ("[]", None),
            (r#"{"a":"b"}"#, None),
            ("{", None),
            ("", None),
        ];
        for (body, expect) in table {
            assert_eq!(parse::<Body>(body.as_bytes()), expect, "{body}");
        }
    }

    #[test]
    fn short_strings_are_charged() {
        let account = Totals::register(&Register::default(), 0).open();
        let charge = |strings: usize| {
            let list = vec![r#""""#; strings].join(",");
            charge_strings(&account, format!("[{list}]").as_bytes())
        };
        assert!(matches!(charge(10), Ok(None)));
        // The limit is an eighth of the smallest memory budget.
        let half = (256 << 20) / 8 / 2 / STRING_BYTES;
        let first = charge(half).expect("there is memory");
        assert!(first.is_some());
        let refused = charge(half).expect_err("too little memory is left");
        assert_eq!(refused.0, StatusCode::SERVICE_UNAVAILABLE);
        drop(first);
        assert!(charge(half).is_ok());
    }

    /// A parser that builds a tree of values would refuse this depth.
    #[test]
    fn unknown_fields_are_not_kept() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        let body = format!(r#"{{"x":{deep},"user":"a"}}"#);
        let parsed: Option<UserChange> = parse(body.as_bytes());
        assert_eq!(parsed.map(|change| change.user), Some("a".into()));
    }

    #[test]
    fn paths_name_resources() {
        let table = [
            ("/v2/auth/enable", Some(AuthResource::Enable)),
            ("/v2/auth/users", Some(AuthResource::Users)),
            ("/v2/auth/users/", Some(AuthResource::Users)),
            ("/v2/auth/users/bob", Some(AuthResource::User("bob"))),
            ("/v2/auth/users/bob/", Some(AuthResource::User("bob"))),
            ("/v2/auth/roles/rw", Some(AuthResource::Role("rw"))),
            ("/v2/auth/roles/a/b", None),
        ];
        for (path, expect) in table {
            assert_eq!(AuthResource::of(path), expect, "{path}");
        }
    }
}

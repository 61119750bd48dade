//! `/v2/auth/users`.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use bytes::Bytes;
use witan_api::v2::{
    auth::{OTHER_USER, ROLES_AND_GRANT, User, UserChange, UserList, UserShown},
    members::INTERNAL,
};
use witan_auth::HashError;
use witan_dialect::Context;
use witan_machine::{
    auth::{
        Auth, ROOT,
        path_permissions::{self, UserCreate, UserUpdate},
    },
    operation::ByPath,
};

use super::{AuthHttpError, body, roles};
use crate::headers::json_response;

/// Lists all users with their roles. Omits roles that do not exist.
pub(super) async fn list(
    ctx: &Context,
    request: &HttpRequest,
) -> Result<HttpResponse, AuthHttpError> {
    let view = ctx.node.view().await?;
    let auth = &view.machine.auth;
    let users: Vec<UserShown> = auth
        .users()
        .map(|user| {
            let names = Auth::path_roles(user);
            let roles = names.iter().filter_map(|name| roles::find(auth, name));
            UserShown { user: user.name.clone(), roles: roles.collect() }
        })
        .collect();
    let users = Some(users).filter(|users| !users.is_empty());
    Ok(json_response(
        ctx,
        request,
        StatusCode::OK,
        &UserList { users },
    ))
}

/// Returns a user with the patterns of its roles, or fails with 404 if the user or one of its roles does not exist.
pub(super) async fn get(
    ctx: &Context,
    request: &HttpRequest,
    name: &str,
) -> Result<HttpResponse, AuthHttpError> {
    let view = ctx.node.view().await?;
    let auth = &view.machine.auth;
    let user = auth.user(name);
    let user = user.ok_or_else(|| path_permissions::PathAuthError::UserMissing(name.to_owned()))?;
    let mut found = Vec::new();
    for name in Auth::path_roles(user) {
        let role = roles::find(auth, &name);
        found.push(role.ok_or(path_permissions::PathAuthError::RoleMissing(name))?);
    }
    let user = UserShown { user: user.name.clone(), roles: found };
    Ok(json_response(ctx, request, StatusCode::OK, &user))
}

/// Creates or changes a user. A body creates the user if it contains `roles`, or if the user is new and the body contains neither
/// `grant` nor `revoke`. As in etcd, only creation without roles returns 201; all other requests return 200.
pub(super) async fn put(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
    name: &str,
) -> Result<HttpResponse, AuthHttpError> {
    let asked: UserChange = body(ctx, payload).await?;
    if asked.user != name {
        return Err(AuthHttpError::bad(OTHER_USER));
    }
    let given = asked.roles.clone().unwrap_or_default();
    let (grant, revoke) = (
        asked.grant.clone().unwrap_or_default(),
        asked.revoke.clone().unwrap_or_default(),
    );
    let changes = !grant.is_empty() || !revoke.is_empty();
    if changes && !given.is_empty() {
        return Err(AuthHttpError::bad(ROLES_AND_GRANT));
    }
    let known = ctx.node.view().await?.machine.auth.user(name).is_some();
    let creates = !changes && (!given.is_empty() || !known);
    if creates {
        let status = match given.is_empty() {
            true => StatusCode::CREATED,
            false => StatusCode::OK,
        };
        let user = create(ctx, asked).await?;
        return Ok(json_response(ctx, request, status, &user));
    }
    if !known {
        return Err(path_permissions::PathAuthError::UserMissing(name.to_owned()).into());
    }
    let update = UserUpdate {
        name: name.to_owned(),
        password: match asked.password.filter(|password| !password.is_empty()) {
            Some(password) => hash(ctx, password).await?,
            None => Bytes::new(),
        },
        grant,
        revoke,
    };
    let done = ctx.node.propose(ByPath(update)).await?;
    let user = User { user: name.to_owned(), roles: Some(done.output) };
    Ok(json_response(ctx, request, StatusCode::OK, &user))
}

/// Creates a user with a hashed password, or fails with 400 if the password is empty. The user root always gets the role root.
async fn create(ctx: &Context, asked: UserChange) -> Result<User, AuthHttpError> {
    let name = asked.user;
    let Some(password) = asked.password.filter(|password| !password.is_empty()) else {
        return Err(AuthHttpError::bad(&format!(
            "auth: Cannot create user {name} with an empty password"
        )));
    };
    let mut roles = asked.roles;
    let has_root = roles.iter().flatten().any(|role| role == ROOT);
    if name == ROOT && !has_root {
        roles.get_or_insert_default().push(ROOT.into());
    }
    let user = UserCreate {
        name: name.clone(),
        password: hash(ctx, password).await?,
        roles: roles.clone().unwrap_or_default(),
    };
    ctx.node.propose(ByPath(user)).await?;
    Ok(User { user: name, roles })
}

/// Returns the bcrypt hash of a password. Fails with 400 if it is too long and with 503 while too many others wait.
async fn hash(ctx: &Context, password: String) -> Result<Bytes, AuthHttpError> {
    let hashing = &ctx.authenticator.hashing;
    let hashed = hashing.hash(ctx.account(), password).await;
    hashed.map_err(|error| {
        tracing::warn!(%error, "failed to hash a password");
        match error {
            HashError::TooLong => AuthHttpError::bad("auth: password length exceeds 72 bytes"),
            HashError::TooMany => AuthHttpError(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            HashError::Failed => AuthHttpError(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL.into()),
        }
    })
}

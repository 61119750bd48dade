//! `/v2/auth/roles`.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use witan_api::v2::auth::{
    OTHER_ROLE, PERMISSIONS_AND_GRANT, Patterns, Permissions, Role, RoleChange, RoleList,
};
use witan_dialect::Context;
use witan_machine::{
    auth::{
        Auth,
        path_permissions::{self, RoleCreate, RoleUpdate},
    },
    operation::ByPath,
};

use super::{AuthHttpError, body};
use crate::headers::json_response;

/// Lists all roles by name, including root. Roles without v2 patterns have empty lists.
pub(super) async fn list(
    ctx: &Context,
    request: &HttpRequest,
) -> Result<HttpResponse, AuthHttpError> {
    let view = ctx.node.view().await?;
    let auth = &view.machine.auth;
    let names = auth.path_role_names();
    let roles = names.iter().filter_map(|name| find(auth, name)).collect();
    Ok(json_response(
        ctx,
        request,
        StatusCode::OK,
        &RoleList { roles },
    ))
}

/// Returns one role, or fails with `RoleMissing` if v2 has no role with this name.
pub(super) async fn get(
    ctx: &Context,
    request: &HttpRequest,
    name: &str,
) -> Result<HttpResponse, AuthHttpError> {
    let view = ctx.node.view().await?;
    let role = find(&view.machine.auth, name);
    let role = role.ok_or_else(|| path_permissions::PathAuthError::RoleMissing(name.to_owned()))?;
    Ok(json_response(ctx, request, StatusCode::OK, &role))
}

/// Creates a role with the body's permissions (201), or changes a role by the body's `grant` and `revoke` (200).
pub(super) async fn put(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
    name: &str,
) -> Result<HttpResponse, AuthHttpError> {
    let asked: RoleChange = body(ctx, payload).await?;
    if asked.role != name {
        return Err(AuthHttpError::bad(OTHER_ROLE));
    }
    let (grant, revoke) = (
        asked.grant.unwrap_or_default(),
        asked.revoke.unwrap_or_default(),
    );
    let permissions = asked.permissions.unwrap_or_default();
    let role = asked.role;
    if grant.kv.is_empty() && revoke.kv.is_empty() {
        let create = RoleCreate {
            name: role.clone(),
            patterns: patterns(permissions.kv.clone()),
        };
        ctx.node.propose(ByPath(create)).await?;
        let role = Role { role, permissions };
        return Ok(json_response(ctx, request, StatusCode::CREATED, &role));
    }
    if !permissions.kv.is_empty() {
        return Err(AuthHttpError::bad(PERMISSIONS_AND_GRANT));
    }
    let update = RoleUpdate {
        name: role.clone(),
        grant: patterns(grant.kv),
        revoke: patterns(revoke.kv),
    };
    let now = ctx.node.propose(ByPath(update)).await?.output;
    Ok(json_response(
        ctx,
        request,
        StatusCode::OK,
        &api_role(role, now),
    ))
}

/// Returns a role with its patterns, or `None` if v2 has no role with this name.
pub(super) fn find(auth: &Auth, name: &str) -> Option<Role> {
    Some(api_role(name.to_owned(), auth.patterns(name)?))
}

fn api_role(role: String, patterns: path_permissions::PathPatterns) -> Role {
    let kv = Patterns { read: Some(patterns.read), write: Some(patterns.write) };
    Role { role, permissions: Permissions { kv } }
}

fn patterns(asked: Patterns) -> path_permissions::PathPatterns {
    let [read, write] = [asked.read, asked.write].map(Option::unwrap_or_default);
    path_permissions::PathPatterns { read, write }
}

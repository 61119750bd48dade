//! `/v2/auth/roles`.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use witan_api::v2::auth::{
    OTHER_ROLE, PERMISSIONS_AND_GRANT, Patterns, Permissions, Role, RoleChange,
};
use witan_dialect::Context;
use witan_gocompat::{json, text::Sink};
use witan_machine::{
    auth::{
        Auth,
        path_permissions::{PathAuthError, PathPatterns, RoleCreate, RoleUpdate},
    },
    operation::ByPath,
};

use super::{AuthHttpError, body, read_auth};
use crate::headers::json_response;

/// Lists all roles sorted by name, including root. Roles without v2 patterns have empty lists.
pub(super) async fn list(
    ctx: &Context,
    request: &HttpRequest,
) -> Result<HttpResponse, AuthHttpError> {
    read_auth(ctx, request, |_| Ok(0), write_list).await
}

/// Appends an object with the list of roles, sorted by name, and a newline.
fn write_list(out: &mut dyn Sink, auth: &Auth) {
    out.extend_from_slice(b"{\"roles\":[");
    push_roles(out, auth, &auth.path_role_names());
    out.extend_from_slice(b"]}\n");
}

/// Appends the roles with these names, separated by commas. Omits roles that do not exist.
pub(super) fn push_roles(out: &mut dyn Sink, auth: &Auth, names: &[String]) {
    let roles = names.iter().filter_map(|name| find(auth, name));
    for (at, role) in roles.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&json::encode(&role));
    }
}

/// Responds with one role, or fails with `RoleMissing` if v2 has no role with this name.
pub(super) async fn get(
    ctx: &Context,
    request: &HttpRequest,
    name: &str,
) -> Result<HttpResponse, AuthHttpError> {
    let names = [name.to_owned()];
    let missing = names.clone();
    let least_bytes = move |auth: &Auth| {
        let [name] = missing;
        let role = find(auth, &name).ok_or(PathAuthError::RoleMissing(name));
        role.map(|_| 0)
    };
    let write = move |out: &mut dyn Sink, auth: &Auth| {
        push_roles(out, auth, &names);
        out.push(b'\n');
    };
    read_auth(ctx, request, least_bytes, write).await
}

/// Creates a role with the body's permissions (201) or, if the body contains `grant` or `revoke`, changes a role (200). Fails
/// with 400 if the body names another role, or contains both permissions and changes.
pub(super) async fn put(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
    name: &str,
) -> Result<HttpResponse, AuthHttpError> {
    let (change, _charge): (RoleChange, _) = body(ctx, payload).await?;
    let RoleChange { role, permissions, grant, revoke } = change;
    if role != name {
        return Err(AuthHttpError::bad(OTHER_ROLE));
    }
    let (grant, revoke) = (grant.unwrap_or_default(), revoke.unwrap_or_default());
    let permissions = permissions.unwrap_or_default();
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
    let role = api_role(role, ctx.node.propose(ByPath(update)).await?.output);
    Ok(json_response(ctx, request, StatusCode::OK, &role))
}

/// Returns a role with its patterns, or `None` if v2 has no role with this name.
pub(super) fn find(auth: &Auth, name: &str) -> Option<Role> {
    Some(api_role(name.to_owned(), auth.patterns(name)?))
}

fn api_role(role: String, patterns: PathPatterns) -> Role {
    let kv = Patterns { read: Some(patterns.read), write: Some(patterns.write) };
    Role { role, permissions: Permissions { kv } }
}

fn patterns(lists: Patterns) -> PathPatterns {
    let [read, write] = [lists.read, lists.write].map(Option::unwrap_or_default);
    PathPatterns { read, write }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_encoded_like_their_elements() {
        let patterns =
            |path: &str| PathPatterns { read: vec![path.into(), "/<".into()], write: Vec::new() };
        let mut auth = Auth::default();
        let roles = vec![("b".into(), patterns("/b")), ("a".into(), patterns("/a"))];
        auth.import_path_auth(true, Vec::new(), roles);
        let names = ["a", "b", "root"];
        let roles: Vec<Role> = names.iter().filter_map(|name| find(&auth, name)).collect();
        let roles = String::from_utf8(json::encode(&roles)).unwrap();
        let mut list = Vec::new();
        write_list(&mut list, &auth);
        assert_eq!(
            String::from_utf8(list).unwrap(),
            format!("{{\"roles\":{roles}}}\n")
        );
    }
}

//! `/v2/auth/users`.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use bytes::Bytes;
use serde_json::Value;
use witan_api::v2::{
    auth::{OTHER_USER, ROLES_AND_GRANT, UserChange},
    members::INTERNAL,
};
use witan_auth::HashError;
use witan_dialect::Context;
use witan_gocompat::{json, text::Sink};
use witan_machine::{
    auth::{
        self, Auth, ROOT,
        path_permissions::{PathAuthError, UserCreate, UserUpdate},
    },
    operation::ByPath,
};

use super::{AuthHttpError, body, read_auth, roles};
use crate::headers::json_response;

/// Lists all users with their roles. Omits roles that do not exist.
pub(super) async fn list(
    ctx: &Context,
    request: &HttpRequest,
) -> Result<HttpResponse, AuthHttpError> {
    read_auth(ctx, request, |auth| Ok(least_bytes(auth)), write_list).await
}

/// Appends an object with the list of users, sorted by name, and a newline. The list is `null` if no user exists.
fn write_list(out: &mut dyn Sink, auth: &Auth) {
    let mut before: &[u8] = b"{\"users\":[";
    for user in auth.users() {
        out.extend_from_slice(before);
        before = b",";
        push_user(out, auth, user);
    }
    let end: &[u8] = match before {
        b"," => b"]}\n",
        _ => b"{\"users\":null}\n",
    };
    out.extend_from_slice(end);
}

/// Appends a user with its roles and their permissions. Omits roles that do not exist, and the field `roles` if no role
/// remains.
fn push_user(out: &mut dyn Sink, auth: &Auth, user: &auth::User) {
    let mut names = Auth::path_roles(user);
    names.retain(|name| auth.role(name).is_some() || name == ROOT);
    out.extend_from_slice(b"{\"user\":");
    out.extend_from_slice(&json::encode(&user.name));
    if !names.is_empty() {
        out.extend_from_slice(b",\"roles\":[");
        roles::push_roles(out, auth, &names);
        out.push(b']');
    }
    out.push(b'}');
}

/// Returns a lower bound for the size of the list of users in bytes: the total size of the roles of each user.
fn least_bytes(auth: &Auth) -> usize {
    let mut sizes = BTreeMap::new();
    for name in auth.path_role_names() {
        let bytes = roles::find(auth, &name).map_or(0, |role| json::encode(&role).len());
        sizes.insert(name, bytes);
    }
    let roles = auth.users().flat_map(Auth::path_roles);
    roles.filter_map(|name| sizes.get(&name)).sum()
}

/// Responds with a user and the patterns of its roles, or fails with 404 if the user or one of its roles does not exist.
pub(super) async fn get(
    ctx: &Context,
    request: &HttpRequest,
    name: &str,
) -> Result<HttpResponse, AuthHttpError> {
    let (name, wanted) = (name.to_owned(), name.to_owned());
    let check = move |auth: &Auth| {
        let user = auth.user(&wanted);
        let user = user.ok_or(PathAuthError::UserMissing(wanted))?;
        let mut names = Auth::path_roles(user).into_iter();
        let missing = names.find(|name| roles::find(auth, name).is_none());
        missing.map_or(Ok(0), |name| Err(PathAuthError::RoleMissing(name)))
    };
    let write = move |out: &mut dyn Sink, auth: &Auth| {
        if let Some(user) = auth.user(&name) {
            push_user(out, auth, user);
        }
        out.push(b'\n');
    };
    read_auth(ctx, request, check, write).await
}

/// Creates or changes a user. A body creates the user if it contains `roles`, or if the user is new and the body contains
/// neither `grant` nor `revoke`. As in etcd, only creation without roles returns 201; all other requests return 200. Fails with
/// 400 if the body names another user, or contains `roles` and also `grant` or `revoke`. Fails with 404 if the user to change
/// does not exist. Looks the user up in this member's state.
pub(super) async fn put(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
    name: &str,
) -> Result<HttpResponse, AuthHttpError> {
    let (change, _charge): (UserChange, _) = body(ctx, payload).await?;
    let UserChange { user, password, roles, grant, revoke } = change;
    if user != name {
        return Err(AuthHttpError::bad(OTHER_USER));
    }
    let password = password.filter(|password| !password.is_empty());
    let gives_roles = roles.as_ref().is_some_and(|roles| !roles.is_empty());
    let (grant, revoke) = (grant.unwrap_or_default(), revoke.unwrap_or_default());
    let changes = !grant.is_empty() || !revoke.is_empty();
    if changes && gives_roles {
        return Err(AuthHttpError::bad(ROLES_AND_GRANT));
    }
    let known = ctx.node.view().await?.machine.auth.user(name).is_some();
    if !changes && (gives_roles || !known) {
        let status = match gives_roles {
            true => StatusCode::OK,
            false => StatusCode::CREATED,
        };
        let user = create(ctx, user, password, roles).await?;
        return Ok(json_response(ctx, request, status, &user));
    }
    if !known {
        return Err(PathAuthError::UserMissing(user).into());
    }
    let update = UserUpdate {
        name: user.clone(),
        password: match password {
            Some(password) => hash(ctx, password).await?,
            None => Bytes::new(),
        },
        grant,
        revoke,
    };
    let done = ctx.node.propose(ByPath(update)).await?;
    let user = serde_json::json!({ "user": user, "roles": done.output });
    Ok(json_response(ctx, request, StatusCode::OK, &user))
}

/// Creates a user with a hashed password, or fails with 400 if `password` is `None`. The user root always gets the role root.
/// Returns the user as JSON. The roles of a user other than root are `null` if `roles` is `None`.
async fn create(
    ctx: &Context,
    name: String,
    password: Option<String>,
    mut roles: Option<Vec<String>>,
) -> Result<Value, AuthHttpError> {
    let Some(password) = password else {
        return Err(AuthHttpError::bad(&format!(
            "auth: Cannot create user {name} with an empty password"
        )));
    };
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
    Ok(serde_json::json!({ "user": name, "roles": roles }))
}

/// Returns the bcrypt hash of a password. Fails with 400 if the password is too long, with 503 if too many passwords are
/// waiting, and otherwise with 500 and a log line.
async fn hash(ctx: &Context, password: String) -> Result<Bytes, AuthHttpError> {
    let hashing = &ctx.authenticator.hashing;
    let hashed = hashing.hash(ctx.account(), password).await;
    hashed.map_err(|error| match error {
        HashError::TooLong => AuthHttpError::bad("auth: password length exceeds 72 bytes"),
        HashError::TooMany => AuthHttpError(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        HashError::Failed => {
            tracing::warn!(%error, "failed to hash a password");
            AuthHttpError(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL.into())
        }
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use serde::Serialize;
    use witan_api::v2::auth::Role;
    use witan_base::{
        account::{Resource, Totals},
        metrics::Register,
    };
    use witan_machine::auth::path_permissions::PathPatterns;

    use super::*;
    use crate::auth::render;

    /// A user in a list.
    #[derive(Serialize)]
    struct UserShown {
        user: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        roles: Vec<Role>,
    }

    /// Returns a state with the role `r`, which has this pattern, and with users of these names and roles.
    fn state(pattern: String, users: impl IntoIterator<Item = (String, Vec<String>)>) -> Auth {
        let patterns = PathPatterns { read: vec![pattern], write: Vec::new() };
        let users = users.into_iter().map(|(name, roles)| auth::User {
            name,
            roles,
            ..auth::User::default()
        });
        let mut auth = Auth::default();
        auth.import_path_auth(true, users.collect(), vec![("r".into(), patterns)]);
        auth
    }

    fn listed(auth: &Auth) -> String {
        let mut list = Vec::new();
        write_list(&mut list, auth);
        String::from_utf8(list).unwrap()
    }

    #[test]
    fn lists_are_encoded_like_their_elements() {
        let encoded = |users: Option<Vec<UserShown>>| {
            let users = String::from_utf8(json::encode(&users)).unwrap();
            format!("{{\"users\":{users}}}\n")
        };
        assert_eq!(listed(&Auth::default()), encoded(None));
        let names: [(&str, &[&str]); 3] = [("<a>", &["gone", "r"]), ("b", &[]), ("root", &[])];
        let users = names.map(|(name, roles)| {
            let roles = roles.iter().map(|role| (*role).to_owned());
            (name.to_owned(), roles.collect())
        });
        let auth = state("/*".into(), users);
        let shown = [("<a>", vec!["r"]), ("b", vec![]), ("root", vec!["root"])];
        let shown = shown.map(|(name, names)| UserShown {
            user: name.into(),
            roles: names
                .iter()
                .filter_map(|name| roles::find(&auth, name))
                .collect(),
        });
        assert_eq!(listed(&auth), encoded(Some(shown.into())));
    }

    #[test]
    fn a_list_that_repeats_long_patterns_is_refused_before_it_is_encoded() {
        let (pattern_bytes, users) = (64 << 10, 10_000);
        let users = (0..users).map(|at| (format!("user{at}"), vec!["r".to_owned()]));
        let auth = state("p".repeat(pattern_bytes), users);
        assert!(least_bytes(&auth) > Resource::Answers.limit());
        let account = Totals::register(&Register::default(), u64::MAX).open();
        let encodes = Cell::new(false);
        let write = |out: &mut dyn Sink| {
            encodes.set(true);
            write_list(out, &auth);
        };
        assert!(render(&account, least_bytes(&auth), write).is_err());
        assert!(!encodes.get());
        assert_eq!(account.charged(Resource::Answers), 0);
    }
}

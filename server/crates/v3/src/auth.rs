//! Auth calls. Passwords are hashed here, so that only hashes are replicated.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use witan_api::v3::{authpb, etcdserverpb as pb};
use witan_dialect::Context;
use witan_machine::auth::{
    Authenticate, Disable, Enable, Permission, ROOT, RoleAdd, RoleDelete, RoleGrant, RoleRevoke,
    UserAdd, UserDelete, UserGrant, UserPassword, UserRevoke,
};

use super::{RpcResult, authorize, header};
use crate::error::RpcError;

/// Defines an administrative call whose response contains only a header.
macro_rules! manage {
    ($name:ident($request:ident: $type:ident) -> $answer:ident = $operation:expr) => {
        pub(super) async fn $name(ctx: &Context, $request: pb::$type) -> RpcResult<pb::$answer> {
            let header = authorize::propose_auth(ctx, $operation).await?;
            Ok(pb::$answer { header })
        }
    };
}

manage!(auth_enable(_request: AuthEnableRequest) -> AuthEnableResponse = Enable {});
manage!(auth_disable(_request: AuthDisableRequest) -> AuthDisableResponse = Disable {});
manage!(user_delete(request: AuthUserDeleteRequest) -> AuthUserDeleteResponse =
    UserDelete { name: request.name });
manage!(user_grant_role(request: AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse =
    UserGrant { user: request.user, role: request.role });
manage!(user_revoke_role(request: AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse =
    UserRevoke { user: request.name, role: request.role });
manage!(role_add(request: AuthRoleAddRequest) -> AuthRoleAddResponse =
    RoleAdd { name: request.name });
manage!(role_delete(request: AuthRoleDeleteRequest) -> AuthRoleDeleteResponse =
    RoleDelete { name: request.role });
manage!(role_revoke_permission(request: AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse =
RoleRevoke {
    role: request.role,
    key: request.key,
    range_end: request.range_end,
});

/// Grants a permission to a role. Fails with `InvalidAuthMgmt` for an unknown permission type, because a later release may
/// define it. etcd stores such a permission, which grants nothing.
pub(super) async fn role_grant_permission(
    ctx: &Context,
    request: pb::AuthRoleGrantPermissionRequest,
) -> RpcResult<pb::AuthRoleGrantPermissionResponse> {
    let permission = request.perm.map(permission);
    let is_known = permission.as_ref().is_none_or(Permission::has_known_type);
    if !is_known {
        authorize::require_admin(ctx).await?;
        return Err(RpcError::InvalidAuthMgmt);
    }
    let grant = RoleGrant { role: request.name, permission };
    let header = authorize::propose_auth(ctx, grant).await?;
    Ok(pb::AuthRoleGrantPermissionResponse { header })
}

/// Adds a user with the hash of the request's password, or without a password if the options request that. As in etcd, ignores
/// the hash in the request.
pub(super) async fn user_add(
    ctx: &Context,
    request: pb::AuthUserAddRequest,
) -> RpcResult<pb::AuthUserAddResponse> {
    let no_password = request.options.is_some_and(|options| options.no_password);
    let password = if no_password {
        Bytes::new()
    } else {
        hash(ctx, request.password).await?
    };
    let user = UserAdd { name: request.name, password, no_password };
    let header = authorize::propose_auth(ctx, user).await?;
    Ok(pb::AuthUserAddResponse { header })
}

/// Sets a user's password hash: the hash of the request's password or, if the password is empty, the base64 hash in the
/// request. Fails with `NoPasswordUser` if the base64 is invalid. As in etcd, ignores an invalid hash for a user without a
/// password.
pub(super) async fn user_change_password(
    ctx: &Context,
    request: pb::AuthUserChangePasswordRequest,
) -> RpcResult<pb::AuthUserChangePasswordResponse> {
    let name = request.name;
    let password = if !request.password.is_empty() {
        hash(ctx, request.password).await?
    } else if let Ok(hashed) = STANDARD.decode(request.hashed_password) {
        hashed.into()
    } else {
        let view = ctx.node.read().await?;
        let user = view.machine.auth.user(&name);
        if !user.ok_or(RpcError::UserNotFound)?.no_password {
            return Err(RpcError::NoPasswordUser);
        }
        Bytes::new()
    };
    let header = authorize::propose_auth(ctx, UserPassword { name, password }).await?;
    Ok(pb::AuthUserChangePasswordResponse { header })
}

/// Returns the bcrypt hash of a password. Call this only after the caller has been authorized, because hashing takes tens of
/// milliseconds. Fails with `PasswordTooLong` if the password exceeds 72 bytes. Also fails if too many passwords are waiting.
async fn hash(ctx: &Context, password: String) -> RpcResult<Bytes> {
    let hashing = &ctx.authenticator.hashing;
    Ok(hashing.hash(ctx.account(), password).await?)
}

/// Checks a password against a linearizable state and issues a token. Starts over if users change in the meantime. Takes as
/// long for an unknown user as for a wrong password, so that clients cannot find out which users exist. Fails with
/// `AuthNotEnabled` while neither v2 nor v3 authentication is enabled. Fails with `AuthFailed` for wrong credentials, and with
/// `NoPasswordUser` for a user without a password.
pub(super) async fn authenticate(
    ctx: &Context,
    request: pb::AuthenticateRequest,
) -> RpcResult<pb::AuthenticateResponse> {
    loop {
        let (checked, hashed) = {
            let view = ctx.node.read().await?;
            let auth = &view.machine.auth;
            if !auth.enabled() && !auth.path_auth_enabled() {
                return Err(RpcError::AuthNotEnabled);
            }
            let user = auth.user(&request.name);
            if user.is_some_and(|user| user.no_password) {
                return Err(RpcError::NoPasswordUser);
            }
            (auth.revision(), user.map(|user| user.password.clone()))
        };
        let credentials = (request.name.as_str(), request.password.as_str());
        let authenticator = &ctx.authenticator;
        let matches = authenticator.check_password(ctx.account(), credentials, hashed.as_ref());
        if !matches.await? {
            return Err(RpcError::AuthFailed);
        }
        let prefix = ctx.authenticator.token_prefix()?;
        let user = request.name.clone();
        // The request authenticates itself, so it has no caller.
        let authenticate = Authenticate { user, prefix: prefix.clone() };
        let done = ctx.node.propose(authenticate).await?;
        if ctx.node.auth().revision == checked {
            let begun = (&*prefix, done.index);
            let token = ctx.authenticator.token(&request.name, checked, begun);
            return Ok(pb::AuthenticateResponse {
                header: header::at(&ctx.node, done.revision),
                token: token?,
            });
        }
    }
}

/// Reads a linearizable state and returns its auth revision and whether v3 authentication is enabled. As in etcd, does not
/// require authentication.
pub(super) async fn auth_status(
    ctx: &Context,
    _request: pb::AuthStatusRequest,
) -> RpcResult<pb::AuthStatusResponse> {
    let view = ctx.node.read().await?;
    let auth = &view.machine.auth;
    Ok(pb::AuthStatusResponse {
        header: header::at(&ctx.node, view.machine.kv.revision()),
        enabled: auth.enabled(),
        auth_revision: auth.revision(),
    })
}

/// Reads a linearizable state and returns a user's roles, or fails with `UserNotFound`. Users can read their own roles without
/// the root role.
pub(super) async fn user_get(
    ctx: &Context,
    request: pb::AuthUserGetRequest,
) -> RpcResult<pb::AuthUserGetResponse> {
    let view = ctx.node.read().await?;
    let auth = &view.machine.auth;
    let caller = authorize::admin_caller(ctx)?;
    if let Err(error) = auth.check_admin(caller.as_ref())
        && caller.is_none_or(|caller| caller.user != request.name)
    {
        return Err(error.into());
    }
    let user = auth.user(&request.name).ok_or(RpcError::UserNotFound)?;
    Ok(pb::AuthUserGetResponse {
        header: header::at(&ctx.node, view.machine.kv.revision()),
        roles: user.roles.clone(),
    })
}

/// Reads a linearizable state and returns the names of all users. While authentication is enabled, requires the root role.
pub(super) async fn user_list(
    ctx: &Context,
    _request: pb::AuthUserListRequest,
) -> RpcResult<pb::AuthUserListResponse> {
    let view = ctx.node.read().await?;
    authorize::check_admin_on(ctx, &view.machine)?;
    let users = view.machine.auth.users();
    Ok(pb::AuthUserListResponse {
        header: header::at(&ctx.node, view.machine.kv.revision()),
        users: users.map(|user| user.name.clone()).collect(),
    })
}

/// Reads a linearizable state and returns a role's permissions, or fails with `RoleNotFound`. The role root has a permission
/// for all keys. Users can read their own roles without the root role.
pub(super) async fn role_get(
    ctx: &Context,
    request: pb::AuthRoleGetRequest,
) -> RpcResult<pb::AuthRoleGetResponse> {
    let view = ctx.node.read().await?;
    let auth = &view.machine.auth;
    let caller = authorize::admin_caller(ctx)?;
    let own = || {
        let user = caller.as_ref().and_then(|caller| auth.user(&caller.user));
        user.is_some_and(|user| user.has(&request.role))
    };
    if let Err(error) = auth.check_admin(caller.as_ref())
        && !own()
    {
        return Err(error.into());
    }
    let role = auth.role(&request.role).ok_or(RpcError::RoleNotFound)?;
    let perm = if role.name == ROOT {
        vec![authpb::Permission {
            perm_type: authpb::permission::Type::Readwrite as i32,
            key: Bytes::new(),
            range_end: Bytes::from_static(b"\0"),
        }]
    } else {
        role.permissions.iter().map(message).collect()
    };
    Ok(pb::AuthRoleGetResponse {
        header: header::at(&ctx.node, view.machine.kv.revision()),
        perm,
    })
}

/// Reads a linearizable state and returns the names of all roles. While authentication is enabled, requires the root role.
pub(super) async fn role_list(
    ctx: &Context,
    _request: pb::AuthRoleListRequest,
) -> RpcResult<pb::AuthRoleListResponse> {
    let view = ctx.node.read().await?;
    authorize::check_admin_on(ctx, &view.machine)?;
    let roles = view.machine.auth.roles();
    Ok(pb::AuthRoleListResponse {
        header: header::at(&ctx.node, view.machine.kv.revision()),
        roles: roles.map(|role| role.name.clone()).collect(),
    })
}

/// Converts a permission to the state machine's type. Keeps an unknown permission type; see [`Permission::has_known_type`].
pub fn permission(message: authpb::Permission) -> Permission {
    Permission {
        kind: message.perm_type,
        key: message.key,
        range_end: message.range_end,
    }
}

fn message(permission: &Permission) -> authpb::Permission {
    authpb::Permission {
        perm_type: permission.kind,
        key: permission.key.clone(),
        range_end: permission.range_end.clone(),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use witan_machine::{StateMachine, auth::AuthOperation, command::Entry, kv::Kv};
    use witan_node::testing::NodeOfStates;

    use super::*;
    use crate::test_context::context;

    #[test]
    fn an_unknown_user_is_refused_before_an_invalid_hash() {
        actix_rt::System::new().block_on(async {
            let mut states = NodeOfStates::begin(&Kv::default());
            states.lag();
            let ctx = context(states.node.clone());
            let mut machine = StateMachine::default();
            let add = UserAdd { name: "user".to_owned(), ..UserAdd::default() };
            machine.apply(&Entry::unstamped(AuthOperation::UserAdd(add).into(), None));
            for (name, expected) in [
                ("nobody", RpcError::UserNotFound),
                ("user", RpcError::NoPasswordUser),
            ] {
                let request = pb::AuthUserChangePasswordRequest {
                    name: name.to_owned(),
                    hashed_password: "no base64".to_owned(),
                    ..pb::AuthUserChangePasswordRequest::default()
                };
                let mut change = Box::pin(user_change_password(&ctx, request));
                assert!(change.as_mut().now_or_never().is_none());
                states.answer_reads(machine.clone());
                assert_eq!(change.await.unwrap_err(), expected, "{name}");
            }
        });
    }
}

//! Authentication and authorization: users, roles with permissions on key ranges, and the flag that enables authentication.
//!
//! The rules and their order match etcd 3.7. A command's entry contains its [`Caller`], whose permissions are checked when the
//! command is applied. A permission change therefore affects all later log entries. `server/crates/auth` handles plaintext
//! passwords, hashing and tokens.
//!
//! Reading order: `request`, `payload` (operations) → `users`, `roles` (their implementation) → `range_set` (union of
//! permissions) → `check` (permission checks) → `path_permissions` (users and roles of v2) → `size` (quota accounting) →
//! `checkpoint`.

mod check;
mod checkpoint;
pub mod path_permissions;
mod payload;
mod range_set;
mod request;
mod roles;
mod size;
mod users;

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

pub use super::auth_error::AuthError;
pub use check::AccessCheck;
pub use checkpoint::hide_password;
pub use payload::{
    Authenticate, Disable, Enable, Permission, PermissionType, RoleAdd, RoleDelete, RoleGrant,
    RoleRevoke, UserAdd, UserDelete, UserGrant, UserPassword, UserRevoke,
};
pub use request::{AuthCommand, AuthOperation, Caller};

use super::secrets::debug_without_secrets;
use range_set::RangeSet;

/// Name of the root user and of the root role, which has all permissions.
pub const ROOT: &str = "root";

/// A user.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The user's name; not empty.
    pub name: String,
    /// bcrypt hash of the password. If the hash is empty, no password matches.
    pub password: Bytes,
    /// Names of granted roles, sorted.
    pub roles: Vec<String>,
    /// Whether the user authenticates by certificate only.
    pub no_password: bool,
}

impl User {
    /// Returns whether the user has this role.
    pub fn has(&self, role: &str) -> bool {
        self.roles.iter().any(|granted| granted == role)
    }
}

debug_without_secrets!(User: name, roles, no_password);

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// The role's name; not empty.
    pub name: String,
    /// Permissions ordered by first key, then in the order in which they were granted.
    pub permissions: Vec<Permission>,
}

/// The merged permissions of a user's roles, recomputed when one of the roles or the list of roles changes.
#[derive(Clone, Debug, Default)]
struct UnifiedPermissions {
    read: RangeSet,
    write: RangeSet,
}

/// The result of a successful command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthReply {
    /// The command was executed and has no further result.
    Done,
    /// The password was correct, and the user receives a token.
    Authenticated {
        /// The user's name.
        user: String,
        /// The token's prefix.
        prefix: Secret,
    },
    /// The user was deleted or its password was changed, so the user's tokens are revoked.
    TokensRevoked {
        /// The user's name.
        user: String,
    },
    /// v3 authentication is disabled, even if it already was, so all tokens are revoked.
    Disabled,
    /// The result of a v2 command.
    Paths(path_permissions::PathAuthOutcome),
}

/// A string that `Debug` does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// All users and roles.
#[derive(Clone, Debug)]
pub struct Auth {
    enabled: bool,
    revision: u64,
    users: OrdMap<String, Arc<User>>,
    roles: OrdMap<String, Arc<Role>>,
    grants: OrdMap<String, Arc<UnifiedPermissions>>,
    paths: path_permissions::PathAuth,
    /// Size of users and roles in bytes; see [`Auth::size_bytes`].
    bytes: u64,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            enabled: false,
            revision: 1,
            users: OrdMap::new(),
            roles: OrdMap::new(),
            grants: OrdMap::new(),
            paths: path_permissions::PathAuth::default(),
            bytes: 0,
        }
    }
}

impl Auth {
    /// Creates the state from imported users and roles, for example from a backup. `enabled` says whether v3 authentication is
    /// enabled. Revision 0 becomes 1.
    pub fn restored(
        enabled: bool,
        revision: u64,
        users: impl IntoIterator<Item = User>,
        roles: impl IntoIterator<Item = Role>,
    ) -> Self {
        let mut auth = Self { enabled, revision: revision.max(1), ..Self::default() };
        users.into_iter().for_each(|user| auth.insert_user(user));
        roles.into_iter().for_each(|role| auth.insert_role(role));
        auth.refresh_where(|_| true);
        auth
    }

    /// Returns whether v3 authentication is enabled.
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// Returns the auth revision, which starts at 1 and counts changes of users and roles. As in etcd, the revision also rises
    /// when v3 authentication is disabled, but not when v3 authentication is enabled. Changes to the flag of v2 authentication
    /// and to the path patterns of an existing role do not count.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the number of users.
    pub(crate) fn len(&self) -> usize {
        self.users.len()
    }

    /// Returns all users, ordered by name.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values().map(Arc::as_ref)
    }

    /// Returns all roles, ordered by name.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values().map(Arc::as_ref)
    }

    /// Returns a user, or `None` if the user does not exist.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name).map(Arc::as_ref)
    }

    /// Returns a role, or `None` if the role does not exist.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.get(name).map(Arc::as_ref)
    }

    /// Executes a committed command on users and roles (I2). Authentications and v2 commands do not require an administrator. A
    /// command without an operation does nothing.
    pub(crate) fn apply(
        &mut self,
        command: &AuthCommand,
        caller: Option<&Caller>,
    ) -> Result<AuthReply, AuthError> {
        // Every proposed command has an operation. Decoding refuses the operations of later releases.
        let Some(verb) = &command.operation else {
            return Ok(AuthReply::Done);
        };
        if !matches!(
            verb,
            AuthOperation::Authenticate(_) | AuthOperation::Paths(_)
        ) {
            if command.by_either {
                self.check_admin(caller)?;
            } else {
                self.check_admin_v3_only(verb, caller)?;
            }
        }
        let expelled = |user: &String| AuthReply::TokensRevoked { user: user.clone() };
        let done = match verb {
            AuthOperation::Authenticate(asked) => {
                self.authenticate(asked)?;
                return Ok(AuthReply::Authenticated {
                    user: asked.user.clone(),
                    prefix: Secret(asked.prefix.clone()),
                });
            }
            AuthOperation::Paths(command) => {
                return Ok(AuthReply::Paths(self.apply_path_auth(command)));
            }
            AuthOperation::Disable(_) => {
                self.disable();
                return Ok(AuthReply::Disabled);
            }
            AuthOperation::UserDelete(asked) => {
                return self.user_delete(asked).map(|()| expelled(&asked.name));
            }
            AuthOperation::UserPassword(asked) => {
                return self.user_password(asked).map(|()| expelled(&asked.name));
            }
            AuthOperation::Enable(_) => self.enable(),
            AuthOperation::UserAdd(asked) => self.user_add(asked),
            AuthOperation::UserGrant(asked) => self.user_grant(asked),
            AuthOperation::UserRevoke(asked) => self.user_revoke(asked),
            AuthOperation::RoleAdd(asked) => self.role_add(asked),
            AuthOperation::RoleDelete(asked) => self.role_delete(asked),
            AuthOperation::RoleGrant(asked) => self.role_grant(asked),
            AuthOperation::RoleRevoke(asked) => self.role_revoke(asked),
        };
        done.map(|()| AuthReply::Done)
    }

    /// Checks the caller of an entry without `by_either`, which an earlier release wrote. Requires an administrator only while
    /// v3 authentication is enabled. If only v2 authentication is enabled, fails unless `verb` enables or disables v3
    /// authentication.
    fn check_admin_v3_only(
        &self,
        verb: &AuthOperation,
        caller: Option<&Caller>,
    ) -> Result<(), AuthError> {
        let switches = matches!(verb, AuthOperation::Enable(_) | AuthOperation::Disable(_));
        match (self.enabled, self.paths.enabled) {
            (true, _) => self.check_admin(caller),
            (false, true) if !switches => Err(AuthError::PermissionDenied),
            (false, _) => Ok(()),
        }
    }

    /// Enables v3 authentication. Requires the root user with the root role. Does nothing if v3 authentication is already
    /// enabled. As in etcd, does not advance the auth revision.
    fn enable(&mut self) -> Result<(), AuthError> {
        if !self.enabled {
            let root = self.user(ROOT).ok_or(AuthError::RootUserMissing)?;
            if !root.has(ROOT) {
                return Err(AuthError::RootRoleMissing);
            }
            self.enabled = true;
        }
        Ok(())
    }

    /// Disables v3 authentication and advances the auth revision. Does nothing if v3 authentication is already disabled.
    fn disable(&mut self) {
        if self.enabled {
            self.enabled = false;
            self.advance_revision();
        }
    }

    /// Fails unless v2 or v3 authentication is enabled and the user exists and can have a password. The proposing member has
    /// already checked the password.
    fn authenticate(&self, asked: &Authenticate) -> Result<(), AuthError> {
        if !self.enabled && !self.paths.enabled {
            return Err(AuthError::NotEnabled);
        }
        match self.user(&asked.user) {
            Some(user) if !user.no_password => Ok(()),
            Some(_) | None => Err(AuthError::AuthFailed),
        }
    }

    fn advance_revision(&mut self) {
        self.revision += 1;
    }

    /// Recomputes the merged permissions of all users for which `of` returns true.
    fn refresh_where(&mut self, of: impl Fn(&User) -> bool) {
        let users: Vec<Arc<User>> = self.users.values().filter(|u| of(u)).cloned().collect();
        for user in users {
            self.refresh(&user);
        }
    }

    /// Recomputes a user's merged permissions from its roles. Ignores roles that do not exist and permissions of unknown types.
    fn refresh(&mut self, user: &User) {
        let permissions = |write: bool| {
            let roles = user.roles.iter().filter_map(|name| self.roles.get(name));
            let permissions = roles.flat_map(|role| &role.permissions);
            permissions
                .filter(move |permission| match permission.allows() {
                    Some(PermissionType::Read) => !write,
                    Some(PermissionType::Write) => write,
                    Some(PermissionType::ReadWrite) => true,
                    None => false,
                })
                .map(|permission| (&permission.key, &permission.range_end))
        };
        let grants = UnifiedPermissions {
            read: RangeSet::of(permissions(false)),
            write: RangeSet::of(permissions(true)),
        };
        self.insert_grants(user.name.clone(), grants);
    }
}

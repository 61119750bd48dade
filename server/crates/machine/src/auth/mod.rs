//! Authentication and authorization: users, roles with permissions on ranges of keys, and whether
//! they are enforced.
//!
//! Rules and their order are etcd 3.7's. A command carries its [`Caller`] and is checked when it is
//! applied, so a change of permissions is effective for everything behind it in the log. What does
//! *not* live here: passwords in clear, hashing, tokens (`server/crates/auth/src`). The hashes are part of
//! the state and are shown by no `Debug`.
//!
//! Reading order: `request`, `payload` (what can be asked) → `users`, `roles` (a verb each) → `range_set` (what
//! permissions cover together) → `check` (may this caller do that) → `path_permissions` (the same for v2) →
//! `size` (what counts against the quota) → `checkpoint`.

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

/// The user, and the role, with all permissions; neither can be deleted while auth is on.
pub const ROOT: &str = "root";

/// A user.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct User {
    /// Not empty.
    pub name: String,
    /// bcrypt hash of the password. Empty: every password is wrong.
    pub password: Bytes,
    /// Names of granted roles, in order.
    pub roles: Vec<String>,
    /// Whether the user authenticates by certificate only.
    pub no_password: bool,
}

impl User {
    /// Whether the role was granted.
    pub fn has(&self, role: &str) -> bool {
        self.roles.iter().any(|granted| granted == role)
    }
}

debug_without_secrets!(User: name, roles, no_password);

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Not empty.
    pub name: String,
    /// Ordered by first key; those of the same first key in the order of their grants.
    pub permissions: Vec<Permission>,
}

/// The permissions of all roles of a user, merged. Derived; recomputed when one of the roles
/// changes.
#[derive(Clone, Debug, Default)]
struct UnifiedPermissions {
    read: RangeSet,
    write: RangeSet,
}

/// The answer of a successful command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthReply {
    /// Done.
    Done,
    /// The password was correct: the user gets a token.
    Authenticated {
        /// Name of the user.
        user: String,
        /// Prefix of the token.
        prefix: Secret,
    },
    /// The user was deleted or has another password: its tokens are revoked.
    TokensRevoked {
        /// Name of the user.
        user: String,
    },
    /// Auth was disabled: all tokens are revoked.
    Disabled,
    /// Answer of a command of v2.
    Paths(path_permissions::PathAuthOutcome),
}

/// A text that `Debug` does not print.
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
    /// See [`Auth::size_bytes`].
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
    /// Builds the state from imported users and roles, for instance of a backup. A revision of 0 counts as that
    /// before the first change.
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

    /// Whether authentication of v3 is enabled.
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// The auth revision: counts changes, 1 before the first.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Number of users.
    pub(crate) fn len(&self) -> usize {
        self.users.len()
    }

    /// All users, by name.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values().map(Arc::as_ref)
    }

    /// All roles, by name.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values().map(Arc::as_ref)
    }

    /// One user.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name).map(Arc::as_ref)
    }

    /// One role.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.get(name).map(Arc::as_ref)
    }

    /// Executes one committed command on users and roles (I2). The caller must be an administrator, except
    /// for authentications and commands of v2.
    pub(crate) fn apply(
        &mut self,
        command: &AuthCommand,
        caller: Option<&Caller>,
    ) -> Result<AuthReply, AuthError> {
        // an older member may read an operation of a newer release here
        let Some(verb) = &command.operation else {
            return Ok(AuthReply::Done);
        };
        // these two have rules of their own
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

    /// Checks the caller of a log entry of a release without `by_either`: only v3's authentication requires
    /// an administrator, and while v2's alone is on, users and roles cannot be changed.
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

    /// Enables v3's authentication, which needs the user root with the role root. Does nothing if it is
    /// enabled already.
    fn enable(&mut self) -> Result<(), AuthError> {
        if !self.enabled {
            let root = self.user(ROOT).ok_or(AuthError::RootUserMissing)?;
            if !root.has(ROOT) {
                return Err(AuthError::RootRoleMissing);
            }
            // as in etcd, this change alone does not advance the revision
            self.enabled = true;
        }
        Ok(())
    }

    /// Disables v3's authentication and advances the auth revision. Does nothing if it is disabled already.
    fn disable(&mut self) {
        if self.enabled {
            self.enabled = false;
            self.advance_revision();
        }
    }

    /// Fails unless the user may have a token: it exists, has a password (which the proposing member has
    /// checked), and authentication of v3 or, for the tokens of administrators, of v2 is on.
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

    /// Recomputes the merged permissions of the users that match `of`.
    fn refresh_where(&mut self, of: impl Fn(&User) -> bool) {
        let users: Vec<Arc<User>> = self.users.values().filter(|u| of(u)).cloned().collect();
        for user in users {
            self.refresh(&user);
        }
    }

    /// Recomputes the merged permissions of a user from its roles; ignores roles that do not exist.
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

//! Users and roles of v2: path patterns of roles, the guest role for anonymous requests, and the flag that enables
//! authentication. v2 and v3 share users and role names.
//!
//! The rules and their order match etcd 3.4. As in etcd, the proposing member checks whether the caller may change users and
//! roles. `server/crates/v2/src/auth` handles JSON, status codes and plaintext passwords.
//!
//! Reading order: `request` (the operations) → this file (the state and access checks) → `change` → `import` (from etcd).

mod change;
mod import;
mod request;

use std::{collections::BTreeSet, sync::Arc};

use imbl::OrdMap;

pub use request::{
    PathAuthCommand, PathAuthOperation, PathPatterns, RoleCreate, RoleUpdate, UserCreate,
    UserUpdate,
};

use super::{Auth, ROOT, Role, User};

/// The role of anonymous requests.
pub const GUEST: &str = "guest";

/// The pattern that matches all paths.
const ALL: &str = "/*";

/// Number of nodes that the first write creates in etcd: the directories of users and roles, their parent, and the flag.
const ETCD_AUTH_NODES: u64 = 4;

/// State of v2 authentication in addition to the users and roles of v3.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PathAuth {
    pub(super) enabled: bool,
    /// Whether a user, a role or the flag was ever written. The first write creates [`ETCD_AUTH_NODES`] nodes in etcd.
    pub(super) written: bool,
    /// Patterns by role; a role without an entry has no patterns.
    pub(super) patterns: OrdMap<String, Arc<PathPatterns>>,
}

/// Result of applying a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathAuthOutcome {
    /// The number by which the v2 index advances.
    pub index_steps: u64,
    /// The user whose tokens are revoked; `None` if no tokens are revoked.
    pub tokens_revoked_of: Option<String>,
    /// The result of the command.
    pub answer: Result<PathAuthReply, PathAuthError>,
}

/// Result of a successful command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathAuthReply {
    /// The command was executed and has no further result.
    Done,
    /// The user's roles after the change.
    Roles(Vec<String>),
    /// The role's patterns after the change.
    Patterns(PathPatterns),
}

/// The reason why a command was refused. A refused command changes no user or role. The messages are etcd's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathAuthError {
    /// v2 authentication cannot be enabled without the root user.
    #[error("auth: No root user available, please create one")]
    NoRoot,
    /// v2 authentication is already enabled.
    #[error("auth: already enabled")]
    Enabled,
    /// v2 authentication is already disabled.
    #[error("auth: already disabled")]
    Disabled,
    /// A user with this name exists.
    #[error("auth: User {0} already exists.")]
    UserExists(String),
    /// The user to show or change does not exist.
    #[error("auth: User {0} does not exist.")]
    UserMissing(String),
    /// The user to delete does not exist.
    #[error("auth: User {0} does not exist")]
    UserToDeleteMissing(String),
    /// The root user cannot be deleted, and cannot lose the root role, while authentication is enabled.
    #[error("auth: Cannot delete root user while auth is enabled.")]
    RootProtected,
    /// The request does not change the user.
    #[error("auth: User not updated. Use grant/revoke/password to update the user.")]
    UserUnchanged,
    /// The user already has the role.
    #[error("auth: Granting duplicate role {role} for user {user}")]
    RoleAlreadyGranted {
        /// The role's name.
        role: String,
        /// The user's name.
        user: String,
    },
    /// The user does not have the role.
    #[error("auth: Revoking ungranted role {role} for user {user}")]
    RoleNotGranted {
        /// The role's name.
        role: String,
        /// The user's name.
        user: String,
    },
    /// The root role cannot be changed or deleted.
    #[error("auth: Cannot modify role {0}: is root role.")]
    RootRole(String),
    /// A role with this name exists.
    #[error("auth: Role {0} already exists.")]
    RoleExists(String),
    /// The role to show or change does not exist.
    #[error("auth: Role {0} does not exist.")]
    RoleMissing(String),
    /// The role to delete does not exist.
    #[error("auth: Role {0} doesn't exist.")]
    RoleToDeleteMissing(String),
    /// The request does not change the role.
    #[error("auth: Role not updated. Use grant/revoke to update the role.")]
    RoleUnchanged,
    /// The role already has this read pattern.
    #[error("auth: Granting duplicate read permission {0}")]
    ReadAlreadyGranted(String),
    /// The role already has this write pattern.
    #[error("auth: Granting duplicate write permission {0}")]
    WriteAlreadyGranted(String),
}

/// The kind of access to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathAccess {
    /// Whether the access is a write; otherwise it is a read.
    pub write: bool,
    /// Whether the access includes all paths below the path.
    pub recursive: bool,
}

impl PathPatterns {
    /// Returns the patterns that permit reads and writes of all paths.
    fn unrestricted() -> Self {
        Self { read: vec![ALL.into()], write: vec![ALL.into()] }
    }

    /// Returns whether a pattern for this kind of access matches the path. Recursive access needs a pattern that ends in `*`.
    fn allows(&self, path: &[u8], wish: PathAccess) -> bool {
        let patterns = if wish.write { &self.write } else { &self.read };
        patterns
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => path.starts_with(start.as_bytes()),
                None => !wish.recursive && path == pattern.as_bytes(),
            })
    }
}

impl Auth {
    /// Returns whether v2 authentication is enabled.
    pub fn path_auth_enabled(&self) -> bool {
        self.paths.enabled
    }

    /// Returns a user's v2 roles, sorted. The root user always has the root role.
    pub fn path_roles(user: &User) -> Vec<String> {
        let mut roles: BTreeSet<&str> = user.roles.iter().map(String::as_str).collect();
        if user.name == ROOT {
            roles.insert(ROOT);
        }
        roles.into_iter().map(str::to_owned).collect()
    }

    /// Returns a role's patterns, or `None` if the role does not exist. The root role always exists and is unrestricted.
    pub fn patterns(&self, role: &str) -> Option<PathPatterns> {
        if role == ROOT {
            return Some(PathPatterns::unrestricted());
        }
        self.roles.get(role)?;
        let patterns = self.paths.patterns.get(role);
        Some(
            patterns
                .map(|known| PathPatterns::clone(known))
                .unwrap_or_default(),
        )
    }

    /// Returns the sorted names of all roles, including the root role.
    pub fn path_role_names(&self) -> Vec<String> {
        let mut names: BTreeSet<&str> = self.roles.keys().map(String::as_str).collect();
        names.insert(ROOT);
        names.into_iter().map(str::to_owned).collect()
    }

    /// Returns whether a user is an administrator or has roles (for `None`, the guest role) that grant this access to a path.
    /// Ignores whether v2 authentication is enabled.
    pub fn allows_path(&self, user: Option<&User>, path: &[u8], wish: PathAccess) -> bool {
        let may = |role: &str| {
            let patterns = self.paths.patterns.get(role);
            self.roles.contains_key(role)
                && patterns.is_some_and(|patterns| patterns.allows(path, wish))
        };
        match user {
            Some(user) => is_path_root(user) || user.roles.iter().any(|role| may(role)),
            None => may(GUEST),
        }
    }
}

/// Returns whether the user is an administrator in v2: the root user or a user with the root role.
pub fn is_path_root(user: &User) -> bool {
    user.name == ROOT || user.has(ROOT)
}

impl Auth {
    /// Executes a committed v2 command on users and roles (I2). The proposing member has checked the caller. Even a refused
    /// command can advance the v2 index.
    pub(super) fn apply_path_auth(&mut self, command: &PathAuthCommand) -> PathAuthOutcome {
        let begun = self.paths.written;
        let mut done = PathAuthOutcome {
            index_steps: 0,
            tokens_revoked_of: None,
            answer: Ok(PathAuthReply::Done),
        };
        // Every proposed command has an operation. Decoding refuses the operations of later releases.
        let Some(verb) = &command.operation else {
            return done;
        };
        let is_done = |()| PathAuthReply::Done;
        done.answer = match verb {
            PathAuthOperation::Enable(_) => {
                self.enable_path_auth(&mut done.index_steps).map(is_done)
            }
            PathAuthOperation::Disable(_) => self.disable_path_auth().map(is_done),
            PathAuthOperation::UserCreate(asked) => self.path_user_create(asked).map(is_done),
            PathAuthOperation::UserUpdate(asked) => {
                self.path_user_update(asked).map(PathAuthReply::Roles)
            }
            PathAuthOperation::UserDelete(asked) => self.path_user_delete(asked).map(is_done),
            PathAuthOperation::RoleCreate(asked) => self.path_role_create(asked).map(is_done),
            PathAuthOperation::RoleUpdate(asked) => {
                self.path_role_update(asked).map(PathAuthReply::Patterns)
            }
            PathAuthOperation::RoleDelete(asked) => self.path_role_delete(asked).map(is_done),
        };
        if done.answer.is_ok() {
            done.index_steps += 1;
            done.tokens_revoked_of = match verb {
                PathAuthOperation::UserUpdate(asked) if !asked.password.is_empty() => {
                    Some(asked.name.clone())
                }
                PathAuthOperation::UserDelete(asked) => Some(asked.name.clone()),
                PathAuthOperation::Enable(_)
                | PathAuthOperation::Disable(_)
                | PathAuthOperation::UserCreate(_)
                | PathAuthOperation::UserUpdate(_)
                | PathAuthOperation::RoleCreate(_)
                | PathAuthOperation::RoleUpdate(_)
                | PathAuthOperation::RoleDelete(_) => None,
            };
        }
        if self.paths.written && !begun {
            done.index_steps += ETCD_AUTH_NODES;
        }
        done
    }

    /// Sets a role's patterns. If the role is missing, creates it and advances the auth revision.
    fn put_path_role(&mut self, name: &str, patterns: PathPatterns) {
        self.insert_patterns(name.to_owned(), patterns);
        if !self.roles.contains_key(name) {
            let role = Role { name: name.to_owned(), permissions: Vec::new() };
            self.put_role(role);
        }
    }
}

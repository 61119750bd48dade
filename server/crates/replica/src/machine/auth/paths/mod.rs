//! Users and roles of v2: roles with path patterns, the role guest for anonymous requests, and a
//! switch of its own. Users and the names of roles are shared with v3.
//!
//! Rules and their order are etcd 3.4's. The proposing member checks who may change users, as in
//! etcd. What does *not* live here: JSON, status codes, passwords in clear
//! (`server/src/api/v2/auth`).
//!
//! Reading order: `request` (what can be asked) → this file (state, who may what) → `change`.

mod change;
mod request;

use std::{collections::BTreeSet, sync::Arc};

use imbl::OrdMap;

pub use request::{Command, Patterns, RoleCreate, RoleUpdate, UserCreate, UserUpdate, Verb};

use super::{Auth, ROOT, Role, User};

/// The role of anonymous requests.
pub const GUEST: &str = "guest";

/// Matches every path.
const ALL: &str = "/*";

/// Nodes that etcd creates in its v2 store: the directories of users and roles, their parent, and
/// the switch.
const NODES_OF_ETCD: u64 = 4;

/// State of v2's authentication beside the users and roles of v3.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Paths {
    pub(super) enabled: bool,
    /// Whether anything was ever written; etcd creates four nodes in its v2 store then.
    pub(super) begun: bool,
    /// Patterns by role; a role without an entry has none.
    pub(super) patterns: OrdMap<String, Arc<Patterns>>,
}

/// Result of applying a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// By how much the index of the tree advances.
    pub steps: u64,
    /// The user whose tokens are revoked.
    pub expelled: Option<String>,
    /// The answer.
    pub answer: Result<Answer, Refusal>,
}

/// What a successful command answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Done,
    /// The user's roles after the change.
    Roles(Vec<String>),
    /// The role's patterns after the change.
    Patterns(Patterns),
}

/// Why a command was refused; nothing was changed. The texts are etcd's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Enabling needs the user root.
    #[error("auth: No root user available, please create one")]
    NoRoot,
    /// It is on.
    #[error("auth: already enabled")]
    Enabled,
    /// It is off.
    #[error("auth: already disabled")]
    Disabled,
    /// The name is taken.
    #[error("auth: User {0} already exists.")]
    UserExists(String),
    /// No such user to show or to change.
    #[error("auth: User {0} does not exist.")]
    UserMissing(String),
    /// No such user to delete.
    #[error("auth: User {0} does not exist")]
    UserGone(String),
    /// The user root cannot be deleted while auth is on.
    #[error("auth: Cannot delete root user while auth is enabled.")]
    RootStays,
    /// The request changes nothing.
    #[error("auth: User not updated. Use grant/revoke/password to update the user.")]
    UserSame,
    /// The user has the role already.
    #[error("auth: Granting duplicate role {role} for user {user}")]
    RoleHeld {
        /// Name of the role.
        role: String,
        /// Name of the user.
        user: String,
    },
    /// The user does not have the role.
    #[error("auth: Revoking ungranted role {role} for user {user}")]
    RoleNotHeld {
        /// Name of the role.
        role: String,
        /// Name of the user.
        user: String,
    },
    /// The role root cannot be changed or deleted.
    #[error("auth: Cannot modify role {0}: is root role.")]
    RootRole(String),
    /// The name is taken.
    #[error("auth: Role {0} already exists.")]
    RoleExists(String),
    /// No such role to show or to change.
    #[error("auth: Role {0} does not exist.")]
    RoleMissing(String),
    /// No such role to delete.
    #[error("auth: Role {0} doesn't exist.")]
    RoleGone(String),
    /// The request changes nothing.
    #[error("auth: Role not updated. Use grant/revoke to update the role.")]
    RoleSame,
    /// The role has this read pattern already.
    #[error("auth: Granting duplicate read permission {0}")]
    ReadHeld(String),
    /// The role has this write pattern already.
    #[error("auth: Granting duplicate write permission {0}")]
    WriteHeld(String),
}

/// The kind of access to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Write access; otherwise read access.
    pub write: bool,
    /// Including everything below the path.
    pub recursive: bool,
}

impl Patterns {
    fn all() -> Self {
        Self {
            read: vec![ALL.into()],
            write: vec![ALL.into()],
        }
    }

    fn cover(&self, path: &[u8], wish: Wish) -> bool {
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
    /// Whether authentication of v2 is enabled.
    pub fn paths_enabled(&self) -> bool {
        self.paths.enabled
    }

    /// The roles of a user in v2: the user root always has the role root.
    pub fn path_roles(user: &User) -> Vec<String> {
        let mut roles: BTreeSet<&str> = user.roles.iter().map(String::as_str).collect();
        if user.name == ROOT {
            roles.insert(ROOT);
        }
        roles.into_iter().map(str::to_owned).collect()
    }

    /// The patterns of a role; `None` if there is no such role. The role root always exists.
    pub fn patterns(&self, role: &str) -> Option<Patterns> {
        if role == ROOT {
            return Some(Patterns::all());
        }
        self.roles.get(role)?;
        let patterns = self.paths.patterns.get(role);
        Some(
            patterns
                .map(|known| Patterns::clone(known))
                .unwrap_or_default(),
        )
    }

    /// The names of all roles as v2 lists them, in order.
    pub fn path_role_names(&self) -> Vec<String> {
        let mut names: BTreeSet<&str> = self.roles.keys().map(String::as_str).collect();
        names.insert(ROOT);
        names.into_iter().map(str::to_owned).collect()
    }

    /// Whether a user (or an anonymous request, `None`) has this access to a path.
    pub fn allows_path(&self, user: Option<&User>, path: &[u8], wish: Wish) -> bool {
        let may = |role: &str| {
            let patterns = self.paths.patterns.get(role);
            self.roles.contains_key(role)
                && patterns.is_some_and(|patterns| patterns.cover(path, wish))
        };
        match user {
            Some(user) => is_path_root(user) || user.roles.iter().any(|role| may(role)),
            None => may(GUEST),
        }
    }
}

/// Whether the user has the role root in v2.
pub fn is_path_root(user: &User) -> bool {
    user.name == ROOT || user.has(ROOT)
}

impl Auth {
    /// Executes one committed command (I2).
    pub(super) fn apply_paths(&mut self, command: &Command) -> Done {
        let begun = self.paths.begun;
        let mut done = Done {
            steps: 0,
            expelled: None,
            answer: Ok(Answer::Done),
        };
        // an older member may read an operation of a newer release here
        let Some(verb) = &command.verb else {
            return done;
        };
        let is_done = |()| Answer::Done;
        done.answer = match verb {
            Verb::Enable(_) => self.paths_enable(&mut done.steps).map(is_done),
            Verb::Disable(_) => self.paths_disable().map(is_done),
            Verb::UserCreate(asked) => self.path_user_create(asked).map(is_done),
            Verb::UserUpdate(asked) => self.path_user_update(asked).map(Answer::Roles),
            Verb::UserDelete(asked) => self.path_user_delete(asked).map(is_done),
            Verb::RoleCreate(asked) => self.path_role_create(asked).map(is_done),
            Verb::RoleUpdate(asked) => self.path_role_update(asked).map(Answer::Patterns),
            Verb::RoleDelete(asked) => self.path_role_delete(asked).map(is_done),
        };
        if done.answer.is_ok() {
            done.steps += 1;
            done.expelled = match verb {
                Verb::UserUpdate(asked) if !asked.password.is_empty() => Some(asked.name.clone()),
                Verb::UserDelete(asked) => Some(asked.name.clone()),
                Verb::Enable(_)
                | Verb::Disable(_)
                | Verb::UserCreate(_)
                | Verb::UserUpdate(_)
                | Verb::RoleCreate(_)
                | Verb::RoleUpdate(_)
                | Verb::RoleDelete(_) => None,
            };
        }
        if self.paths.begun && !begun {
            done.steps += NODES_OF_ETCD;
        }
        done
    }

    fn put_path_role(&mut self, name: &str, patterns: Patterns) {
        self.insert_patterns(name.to_owned(), patterns);
        if !self.roles.contains_key(name) {
            let role = Role {
                name: name.to_owned(),
                permissions: Vec::new(),
            };
            self.put_role(role);
        }
    }
}

//! JSON of `/v2/auth`. The order of the fields is the order on the wire.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The switch.
pub const ENABLE: &str = "/v2/auth/enable";
/// Prefix of users.
pub const USERS: &str = "/v2/auth/users";
/// Prefix of roles.
pub const ROLES: &str = "/v2/auth/roles";

/// Why a request is refused with 401.
pub const INSUFFICIENT: &str = "Insufficient credentials";
/// A name with a slash in it (400).
pub const INVALID_PATH: &str = "Invalid path";
/// The body is none of ours (400).
pub const INVALID_JSON: &str = "Invalid JSON in request body.";
/// The body is another user's (400).
pub const OTHER_USER: &str = "User JSON name does not match the name in the URL";
/// The body is another role's (400).
pub const OTHER_ROLE: &str = "Role JSON name does not match the name in the URL";
/// A user is made or changed, not both (400).
pub const ROLES_AND_GRANT: &str = "User JSON contains both roles and grant/revoke";
/// A role is made or changed, not both (400).
pub const PERMISSIONS_AND_GRANT: &str = "Role JSON contains both permissions and grant/revoke";

/// Whether auth is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enabled {
    /// Whether it is.
    pub enabled: bool,
}

/// Patterns of paths; `null` where none were ever named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Patterns {
    /// Of reads.
    pub read: Option<Vec<String>>,
    /// Of writes.
    pub write: Option<Vec<String>>,
}

impl Patterns {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        let empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
        empty(&self.read) && empty(&self.write)
    }
}

/// What a role may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// Of keys.
    pub kv: Patterns,
}

/// A role as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// Name.
    pub role: String,
    /// What it may.
    pub permissions: Permissions,
}

/// A role as it is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleChange {
    /// Name.
    pub role: String,
    /// What a new one may.
    pub permissions: Option<Permissions>,
    /// What it is to have besides.
    pub grant: Option<Permissions>,
    /// What it loses.
    pub revoke: Option<Permissions>,
}

/// All roles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleList {
    /// By name.
    pub roles: Vec<Role>,
}

/// A user as a change of it is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// Name.
    pub user: String,
    /// Names of roles; `null` for a new user that was given none.
    pub roles: Option<Vec<String>>,
}

/// A user as it is sent.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserChange {
    /// Name.
    pub user: String,
    /// In clear; `null` or empty for none.
    pub password: Option<String>,
    /// Names of a new one's roles.
    pub roles: Option<Vec<String>>,
    /// Names of roles that it is to have besides.
    pub grant: Option<Vec<String>>,
    /// Names of roles that it loses.
    pub revoke: Option<Vec<String>>,
}

impl fmt::Debug for UserChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserChange")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A user as it is shown: with its roles in full.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserShown {
    /// Name.
    pub user: String,
    /// Left out where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
}

/// All users.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserList {
    /// By name; `null` where there are none.
    pub users: Option<Vec<UserShown>>,
}

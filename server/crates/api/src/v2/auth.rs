//! JSON of `/v2/auth`. The fields have the order on the wire.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Path that reads and switches authentication.
pub const ENABLE: &str = "/v2/auth/enable";
/// Prefix of the paths of users.
pub const USERS: &str = "/v2/auth/users";
/// Prefix of the paths of roles.
pub const ROLES: &str = "/v2/auth/roles";

/// The caller is not authenticated or lacks a permission (401).
pub const INSUFFICIENT: &str = "Insufficient credentials";
/// The name contains a slash (400).
pub const INVALID_PATH: &str = "Invalid path";
/// The body is not valid JSON of a known form (400).
pub const INVALID_JSON: &str = "Invalid JSON in request body.";
/// The body names another user than the path (400).
pub const OTHER_USER: &str = "User JSON name does not match the name in the URL";
/// The body names another role than the path (400).
pub const OTHER_ROLE: &str = "Role JSON name does not match the name in the URL";
/// The body has roles, which create a user, and a grant or revoke, which change one (400).
pub const ROLES_AND_GRANT: &str = "User JSON contains both roles and grant/revoke";
/// The body has permissions, which create a role, and a grant or revoke, which change one (400).
pub const PERMISSIONS_AND_GRANT: &str = "Role JSON contains both permissions and grant/revoke";

/// State of v2's authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enabled {
    /// Whether authentication is on.
    pub enabled: bool,
}

/// Patterns of paths; `null` if none were ever set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Patterns {
    /// Patterns of readable paths.
    pub read: Option<Vec<String>>,
    /// Patterns of writable paths.
    pub write: Option<Vec<String>>,
}

impl Patterns {
    /// Returns whether both lists are empty.
    pub fn is_empty(&self) -> bool {
        let empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
        empty(&self.read) && empty(&self.write)
    }
}

/// Permissions of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// Patterns of keys.
    pub kv: Patterns,
}

/// A role in a response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// Name.
    pub role: String,
    /// Permissions of the role.
    pub permissions: Permissions,
}

/// A role in a request, to create or change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleChange {
    /// Name.
    pub role: String,
    /// Permissions of a new role.
    pub permissions: Option<Permissions>,
    /// Permissions to add.
    pub grant: Option<Permissions>,
    /// Permissions to remove.
    pub revoke: Option<Permissions>,
}

/// All roles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleList {
    /// The roles, sorted by name.
    pub roles: Vec<Role>,
}

/// A user in the response to a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// Name.
    pub user: String,
    /// Names of roles; `null` for a new user without roles.
    pub roles: Option<Vec<String>>,
}

/// A user in a request, to create or change.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserChange {
    /// Name.
    pub user: String,
    /// Password in plain text; `null` or empty for none.
    pub password: Option<String>,
    /// Names of the roles of a new user.
    pub roles: Option<Vec<String>>,
    /// Names of roles to grant.
    pub grant: Option<Vec<String>>,
    /// Names of roles to revoke.
    pub revoke: Option<Vec<String>>,
}

impl fmt::Debug for UserChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserChange")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A user in a response, with its roles and their permissions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserShown {
    /// Name.
    pub user: String,
    /// Roles of the user; omitted if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
}

/// All users.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserList {
    /// The users, sorted by name; `null` if there are none.
    pub users: Option<Vec<UserShown>>,
}

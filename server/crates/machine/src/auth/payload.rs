//! The payloads of the operations on users and roles. They are stored in the log, so field numbers never change.

use bytes::Bytes;

use crate::secrets::debug_without_secrets;

/// Enables v3 authentication or, in a v2 command, v2 authentication.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Enable {}

/// Disables v3 authentication or, in a v2 command, v2 authentication.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Disable {}

/// Issues a token to a user whose password the proposing member has checked.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct Authenticate {
    /// The user's name.
    #[prost(string, tag = "1")]
    pub user: String,
    /// The token's prefix; empty for signed tokens.
    #[prost(string, tag = "2")]
    pub prefix: String,
}

debug_without_secrets!(Authenticate: user);

/// Adds a user.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct UserAdd {
    /// The user's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// bcrypt hash of the password.
    #[prost(bytes = "bytes", tag = "2")]
    pub password: Bytes,
    /// Whether the user has no password.
    #[prost(bool, tag = "3")]
    pub no_password: bool,
}

debug_without_secrets!(UserAdd: name, no_password);

/// Deletes a user.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UserDelete {
    /// The user's name.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// Changes a user's password.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct UserPassword {
    /// The user's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// bcrypt hash of the new password. If the hash is empty, no password matches.
    #[prost(bytes = "bytes", tag = "2")]
    pub password: Bytes,
}

debug_without_secrets!(UserPassword: name);

/// Grants a role to a user.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UserGrant {
    /// The user's name.
    #[prost(string, tag = "1")]
    pub user: String,
    /// The role's name.
    #[prost(string, tag = "2")]
    pub role: String,
}

/// Revokes a role from a user.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UserRevoke {
    /// The user's name.
    #[prost(string, tag = "1")]
    pub user: String,
    /// The role's name.
    #[prost(string, tag = "2")]
    pub role: String,
}

/// Adds a role without permissions.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RoleAdd {
    /// The role's name.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// Deletes a role. In v3, also revokes the role from all users.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RoleDelete {
    /// The role's name.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// Grants a permission to a role, or changes the type of an existing permission.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RoleGrant {
    /// The role's name.
    #[prost(string, tag = "1")]
    pub role: String,
    /// The permission; required.
    #[prost(message, optional, tag = "2")]
    pub permission: Option<Permission>,
}

/// Revokes the permission on a range from a role.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RoleRevoke {
    /// The role's name.
    #[prost(string, tag = "1")]
    pub role: String,
    /// First key of the range.
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
    /// End of the range.
    #[prost(bytes = "bytes", tag = "3")]
    pub range_end: Bytes,
}

/// A permission on a range of keys. `range_end` has the same meaning as in a range request.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Permission {
    /// The permission's type.
    #[prost(enumeration = "PermissionType", tag = "1")]
    pub kind: i32,
    /// First key of the range.
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
    /// End of the range.
    #[prost(bytes = "bytes", tag = "3")]
    pub range_end: Bytes,
}

/// etcd's `Permission.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[expect(missing_docs, reason = "etcd's names")]
pub enum PermissionType {
    Read = 0,
    Write = 1,
    ReadWrite = 2,
}

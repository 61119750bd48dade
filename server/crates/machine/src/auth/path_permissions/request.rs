//! The v2 operations on users and roles. They are stored in the log, so field numbers never change.

use bytes::Bytes;

use crate::{
    auth::payload::{Disable, Enable, RoleDelete, UserDelete},
    secrets::debug_without_secrets,
};

/// A command as stored in the log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PathAuthCommand {
    /// The operation.
    #[prost(oneof = "PathAuthOperation", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub operation: Option<PathAuthOperation>,
}

/// An operation on v2 users and roles.
#[derive(Clone, PartialEq, prost::Oneof)]
#[expect(missing_docs, reason = "each payload type has a description")]
pub enum PathAuthOperation {
    #[prost(message, tag = "1")]
    Enable(Enable),
    #[prost(message, tag = "2")]
    Disable(Disable),
    #[prost(message, tag = "3")]
    UserCreate(UserCreate),
    #[prost(message, tag = "4")]
    UserUpdate(UserUpdate),
    #[prost(message, tag = "5")]
    UserDelete(UserDelete),
    #[prost(message, tag = "6")]
    RoleCreate(RoleCreate),
    #[prost(message, tag = "7")]
    RoleUpdate(RoleUpdate),
    #[prost(message, tag = "8")]
    RoleDelete(RoleDelete),
}

/// Adds a user.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct UserCreate {
    /// The user's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// bcrypt hash of the password.
    #[prost(bytes = "bytes", tag = "2")]
    pub password: Bytes,
    /// Names of the user's roles, which need not exist.
    #[prost(string, repeated, tag = "3")]
    pub roles: Vec<String>,
}

debug_without_secrets!(UserCreate: name, roles);

/// Changes a user's password and roles atomically.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct UserUpdate {
    /// The user's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// bcrypt hash of the new password. If empty, the user keeps the old password.
    #[prost(bytes = "bytes", tag = "2")]
    pub password: Bytes,
    /// Roles to add.
    #[prost(string, repeated, tag = "3")]
    pub grant: Vec<String>,
    /// Roles to remove.
    #[prost(string, repeated, tag = "4")]
    pub revoke: Vec<String>,
}

debug_without_secrets!(UserUpdate: name, grant, revoke);

/// Path patterns. A pattern that ends in `*` matches every path with this prefix; any other pattern matches only the identical
/// path.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PathPatterns {
    /// Read patterns, sorted.
    #[prost(string, repeated, tag = "1")]
    pub read: Vec<String>,
    /// Write patterns, sorted.
    #[prost(string, repeated, tag = "2")]
    pub write: Vec<String>,
}

/// Adds a role.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RoleCreate {
    /// The role's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The role's patterns.
    #[prost(message, required, tag = "2")]
    pub patterns: PathPatterns,
}

/// Atomically adds and removes a role's patterns.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RoleUpdate {
    /// The role's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Patterns to add.
    #[prost(message, required, tag = "2")]
    pub grant: PathPatterns,
    /// Patterns to remove. Patterns that the role does not have are ignored.
    #[prost(message, required, tag = "3")]
    pub revoke: PathPatterns,
}

//! The payload of each verb on users and roles. It enters the log, so field numbers are for ever.

use std::fmt;

use bytes::Bytes;

/// Callers are asked who they are from now on.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Enable {}

/// Callers are not asked any more.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Disable {}

/// A user whose password was checked wants a token.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct Authenticate {
    /// Whose.
    #[prost(string, tag = "1")]
    pub user: String,
    /// What the token begins with; empty where tokens carry their own proof.
    #[prost(string, tag = "2")]
    pub prefix: String,
}

impl fmt::Debug for Authenticate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticate")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A new user.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct UserAdd {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What bcrypt made of its password.
    #[prost(bytes = "bytes", tag = "2")]
    pub password: Bytes,
    /// Whether it has none.
    #[prost(bool, tag = "3")]
    pub no_password: bool,
}

impl fmt::Debug for UserAdd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserAdd")
            .field("name", &self.name)
            .field("no_password", &self.no_password)
            .finish_non_exhaustive()
    }
}

/// A user goes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UserDelete {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// A user gets another password.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct UserPassword {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What bcrypt made of it. Empty: no password is the right one.
    #[prost(bytes = "bytes", tag = "2")]
    pub password: Bytes,
}

impl fmt::Debug for UserPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserPassword")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A user gets a role.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UserGrant {
    /// Whose.
    #[prost(string, tag = "1")]
    pub user: String,
    /// Which.
    #[prost(string, tag = "2")]
    pub role: String,
}

/// A user loses a role.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UserRevoke {
    /// Whose.
    #[prost(string, tag = "1")]
    pub user: String,
    /// Which.
    #[prost(string, tag = "2")]
    pub role: String,
}

/// A new role, without permissions.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RoleAdd {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// A role goes, from all users too.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RoleDelete {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// A role gets a permission, or another kind of one that it has.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RoleGrant {
    /// Which role.
    #[prost(string, tag = "1")]
    pub role: String,
    /// What it is to be allowed; without it the command is refused.
    #[prost(message, optional, tag = "2")]
    pub permission: Option<Permission>,
}

/// A role loses the permission on a range.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RoleRevoke {
    /// Which role.
    #[prost(string, tag = "1")]
    pub role: String,
    /// First key.
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
    /// End of the range.
    #[prost(bytes = "bytes", tag = "3")]
    pub range_end: Bytes,
}

/// What may be done to the keys of one range. The meaning of its end is as in a range request.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Permission {
    /// What.
    #[prost(enumeration = "Kind", tag = "1")]
    pub kind: i32,
    /// First key.
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
    /// End of the range.
    #[prost(bytes = "bytes", tag = "3")]
    pub range_end: Bytes,
}

/// As etcd's `Permission.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
#[expect(missing_docs, reason = "etcd's names")]
pub enum Kind {
    Read = 0,
    Write = 1,
    ReadWrite = 2,
}

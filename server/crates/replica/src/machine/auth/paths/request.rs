//! What v2 can ask about users and roles. It enters the log, so field numbers are for ever.

use std::fmt;

use bytes::Bytes;

use crate::machine::auth::payload::{Disable, Enable, RoleDelete, UserDelete};

/// A command as it stands in the log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Command {
    /// What is to be done.
    #[prost(oneof = "Verb", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub verb: Option<Verb>,
}

/// The verbs.
#[derive(Clone, PartialEq, prost::Oneof)]
#[expect(missing_docs, reason = "each payload says it")]
pub enum Verb {
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

/// A new user.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct UserCreate {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What bcrypt made of its password.
    #[prost(bytes = "bytes", tag = "2")]
    pub password: Bytes,
    /// Names of roles, which need not exist.
    #[prost(string, repeated, tag = "3")]
    pub roles: Vec<String>,
}

impl fmt::Debug for UserCreate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserCreate")
            .field("name", &self.name)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

/// A user gets another password or other roles: all of it or nothing.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct UserUpdate {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What bcrypt made of the new password; empty: the old one stays.
    #[prost(bytes = "bytes", tag = "2")]
    pub password: Bytes,
    /// Roles that it is to have besides.
    #[prost(string, repeated, tag = "3")]
    pub grant: Vec<String>,
    /// Roles that it loses.
    #[prost(string, repeated, tag = "4")]
    pub revoke: Vec<String>,
}

impl fmt::Debug for UserUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserUpdate")
            .field("name", &self.name)
            .field("grant", &self.grant)
            .field("revoke", &self.revoke)
            .finish_non_exhaustive()
    }
}

/// What paths may be read and written. A pattern that ends in `*` means all that begins with what
/// is before it; any other means itself.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Patterns {
    /// Of reads, in order.
    #[prost(string, repeated, tag = "1")]
    pub read: Vec<String>,
    /// Of writes, in order.
    #[prost(string, repeated, tag = "2")]
    pub write: Vec<String>,
}

/// A new role.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RoleCreate {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it may.
    #[prost(message, required, tag = "2")]
    pub patterns: Patterns,
}

/// A role gets and loses patterns: all of it or nothing.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RoleUpdate {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it is to have besides.
    #[prost(message, required, tag = "2")]
    pub grant: Patterns,
    /// What it loses; what it never had is passed over.
    #[prost(message, required, tag = "3")]
    pub revoke: Patterns,
}

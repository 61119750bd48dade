//! The operations on users and roles. They are stored in the log, so field numbers never change.

use super::{
    path_permissions,
    payload::{
        Authenticate, Disable, Enable, RoleAdd, RoleDelete, RoleGrant, RoleRevoke, UserAdd,
        UserDelete, UserGrant, UserPassword, UserRevoke,
    },
};

/// The authenticated user of a request, as the proposing member determined it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Caller {
    /// The user's name.
    #[prost(string, tag = "1")]
    pub user: String,
    /// Auth revision at which the user was authenticated.
    #[prost(uint64, tag = "2")]
    pub revision: u64,
}

/// A command as stored in the log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AuthCommand {
    /// The operation.
    #[prost(
        oneof = "AuthOperation",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13"
    )]
    pub operation: Option<AuthOperation>,
    /// Whether the command requires an administrator while v2 or v3 authentication is enabled. The field is `false` in entries
    /// of older releases, in which only v3 authentication required an administrator.
    #[prost(bool, tag = "14")]
    pub by_either: bool,
}

/// An operation on users and roles.
#[derive(Clone, PartialEq, prost::Oneof)]
#[expect(missing_docs, reason = "each payload type has a description")]
pub enum AuthOperation {
    #[prost(message, tag = "1")]
    Enable(Enable),
    #[prost(message, tag = "2")]
    Disable(Disable),
    #[prost(message, tag = "3")]
    Authenticate(Authenticate),
    #[prost(message, tag = "4")]
    UserAdd(UserAdd),
    #[prost(message, tag = "5")]
    UserDelete(UserDelete),
    #[prost(message, tag = "6")]
    UserPassword(UserPassword),
    #[prost(message, tag = "7")]
    UserGrant(UserGrant),
    #[prost(message, tag = "8")]
    UserRevoke(UserRevoke),
    #[prost(message, tag = "9")]
    RoleAdd(RoleAdd),
    #[prost(message, tag = "10")]
    RoleDelete(RoleDelete),
    #[prost(message, tag = "11")]
    RoleGrant(RoleGrant),
    #[prost(message, tag = "12")]
    RoleRevoke(RoleRevoke),
    #[prost(message, tag = "13")]
    Paths(path_permissions::PathAuthCommand),
}

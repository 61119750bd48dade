//! The errors of permission checks and of commands on users and roles.

/// The reason why a command was refused. A refused command changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Authentication cannot be enabled without the root user.
    #[error("root user does not exist")]
    RootUserMissing,
    /// Authentication cannot be enabled unless the root user has the root role.
    #[error("root user does not have root role")]
    RootRoleMissing,
    /// A user with this name exists.
    #[error("user already exists")]
    UserExists,
    /// The request has no authenticated caller, or the name of the user is empty.
    #[error("user name is empty")]
    UserEmpty,
    /// The user does not exist.
    #[error("user not found")]
    UserNotFound,
    /// A role with this name exists.
    #[error("role already exists")]
    RoleExists,
    /// The role does not exist.
    #[error("role not found")]
    RoleNotFound,
    /// The request contains a role without a name.
    #[error("role name is empty")]
    RoleEmpty,
    /// The user does not exist or has no password, or the password is wrong.
    #[error("authentication failed")]
    AuthFailed,
    /// The request contains no permission.
    #[error("permission not given")]
    PermissionNotGiven,
    /// The caller lacks a permission.
    #[error("permission denied")]
    PermissionDenied,
    /// The user does not have this role.
    #[error("role is not granted to the user")]
    RoleNotGranted,
    /// The role does not have this permission.
    #[error("permission is not granted to the role")]
    PermissionNotGranted,
    /// Authentication is disabled.
    #[error("authentication is not enabled")]
    NotEnabled,
    /// Users or roles have changed since the caller was authenticated.
    #[error("revision of auth store is old")]
    OldRevision,
    /// The change would delete the root user or role or revoke root's root role, or the range is invalid.
    #[error("invalid auth management")]
    InvalidManagement,
}

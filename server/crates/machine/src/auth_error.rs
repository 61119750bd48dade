//! Why a command on users and roles was refused, or a command on the key space for lack of permission. The checks are in
//! `auth`.

/// Why a command was refused; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Enabling needs the root user.
    #[error("root user does not exist")]
    RootUserMissing,
    /// Enabling needs the root user to have the root role.
    #[error("root user does not have root role")]
    RootRoleMissing,
    /// The name is taken.
    #[error("user already exists")]
    UserExists,
    /// A user without a name, or a request without a user.
    #[error("user name is empty")]
    UserEmpty,
    /// No such user.
    #[error("user not found")]
    UserNotFound,
    /// The name is taken.
    #[error("role already exists")]
    RoleExists,
    /// No such role.
    #[error("role not found")]
    RoleNotFound,
    /// A role without a name.
    #[error("role name is empty")]
    RoleEmpty,
    /// The user does not exist or the password is wrong.
    #[error("authentication failed")]
    AuthFailed,
    /// A grant without a permission.
    #[error("permission not given")]
    PermissionNotGiven,
    /// The caller may not do this.
    #[error("permission denied")]
    PermissionDenied,
    /// The user does not have this role.
    #[error("role is not granted to the user")]
    RoleNotGranted,
    /// The role does not have this permission.
    #[error("permission is not granted to the role")]
    PermissionNotGranted,
    /// Auth is off.
    #[error("authentication is not enabled")]
    NotEnabled,
    /// Users or roles have changed since the caller was authenticated.
    #[error("revision of auth store is old")]
    OldRevision,
    /// The change would lock everybody out, or the range is invalid.
    #[error("invalid auth management")]
    InvalidManagement,
    /// A counter of the state is exhausted.
    #[error("the counters of this cluster are used up")]
    CountersUsedUp,
}

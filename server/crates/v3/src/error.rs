//! The errors of the v3 dialect: gRPC codes, and etcd's messages, which clients compare. `error_map` maps internal errors.

use tonic::{Code, Status};

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $code:ident $text:literal;)*) => {
        /// An error of the v3 dialect.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RpcError {
            $($(#[$doc])* $name,)*
            /// Any other error, such as an error of a lock or an election. The code is `Unknown`.
            Plain(&'static str),
        }

        impl RpcError {
            /// All errors in the table below, that is, all except `Plain`.
            pub const ALL: &'static [RpcError] = &[$(RpcError::$name),*];

            /// Returns the gRPC code.
            pub const fn code(self) -> Code {
                match self {
                    $(RpcError::$name => Code::$code,)*
                    RpcError::Plain(_) => Code::Unknown,
                }
            }

            /// Returns the message that clients compare.
            pub const fn text(self) -> &'static str {
                match self {
                    $(RpcError::$name => $text,)*
                    RpcError::Plain(text) => text,
                }
            }
        }
    };
}

errors! {
    EmptyKey = InvalidArgument "etcdserver: key is not provided";
    /// The request sets `ignore_value` or `ignore_lease` for a missing key, or a transaction contains an empty operation.
    KeyNotFound = InvalidArgument "etcdserver: key not found";
    ValueProvided = InvalidArgument "etcdserver: value is provided";
    LeaseProvided = InvalidArgument "etcdserver: lease is provided";
    TooManyOps = InvalidArgument "etcdserver: too many operations in txn request";
    DuplicateKey = InvalidArgument "etcdserver: duplicate key given in txn request";
    InvalidSortOption = InvalidArgument "etcdserver: invalid sort option";
    Compacted = OutOfRange "etcdserver: mvcc: required revision has been compacted";
    FutureRevision = OutOfRange "etcdserver: mvcc: required revision is a future revision";
    Follows = FailedPrecondition "etcdserver: this cluster follows another one and accepts no writes before the cut-over";
    NoSpace = ResourceExhausted "etcdserver: mvcc: database space exceeded";
    LeaseNotFound = NotFound "etcdserver: requested lease not found";
    LeaseExists = FailedPrecondition "etcdserver: lease already exists";
    LeaseTtlTooLarge = OutOfRange "etcdserver: too large lease TTL";
    MemberExists = FailedPrecondition "etcdserver: member ID already exist";
    PeerUrlExists = FailedPrecondition "etcdserver: Peer URLs already exists";
    /// Too few members have started. As in etcd's server, the code is `Unknown`.
    MemberNotEnoughStarted = Unknown "etcdserver: re-configuration failed due to not enough started members";
    MemberBadUrls = InvalidArgument "etcdserver: given member URLs are invalid";
    MemberNotFound = NotFound "etcdserver: member not found";
    MemberNotLearner = FailedPrecondition "etcdserver: can only promote a learner member";
    LearnerNotReady = FailedPrecondition "etcdserver: can only promote a learner member which is in sync with leader";
    TooManyLearners = FailedPrecondition "etcdserver: too many learner members in cluster";
    /// The proposal exceeds `--max-request-bytes`.
    RequestTooLarge = InvalidArgument "etcdserver: request is too large";
    /// The response exceeds the memory for one read. etcd has no such limit.
    ResponseTooLarge = ResourceExhausted "etcdserver: response is too large, request less at once";
    /// The snapshot keeps too much superseded data in memory. etcd has no such error.
    SnapshotOutdated = ResourceExhausted "etcdserver: snapshot ended: too much has changed since it began, take another one";
    /// The client reads the snapshot too slowly. etcd has no such error.
    SnapshotTooSlow = ResourceExhausted "etcdserver: snapshot ended: the client reads less than 512 KiB/s";
    /// A value is only on disk. The caller repeats the read with disk access, so no client receives this error.
    NotResident = Internal "etcdserver: a value on disk was not read";
    TooManyRequests = ResourceExhausted "etcdserver: too many requests";
    NoLeader = Unavailable "etcdserver: no leader";
    NotLeader = FailedPrecondition "etcdserver: not leader";
    Stopped = Unavailable "etcdserver: server stopped";
    /// The member was removed. This text tells etcd's clients that they can resend a write to another member.
    Removed = Unavailable "there is no connection available";
    Timeout = Unavailable "etcdserver: request timed out";
    TimeoutLeaderFailed = Unavailable "etcdserver: request timed out, possibly due to previous leader failure";
    TimeoutConnectionLost = Unavailable "etcdserver: request timed out, possibly due to connection lost";
    /// The transfer did not finish within the election timeout. As in etcd's server, the code is `Unknown`.
    TimeoutLeaderTransfer = Unknown "etcdserver: request timed out, leader transfer took too long";
    /// The membership change could cause quorum loss.
    Unhealthy = Unavailable "etcdserver: unhealthy cluster";
    /// The data of the members differs.
    Corrupt = DataLoss "etcdserver: corrupt cluster";
    NotSupportedForLearner = FailedPrecondition "etcdserver: rpc not supported for learner";
    /// The target cannot become leader, because it is unknown or a learner.
    BadLeaderTransferee = FailedPrecondition "etcdserver: bad leader transferee";
    WrongDowngradeVersionFormat = InvalidArgument "etcdserver: wrong downgrade target version format";
    /// The target is not the previous release of Witan.
    InvalidDowngradeTarget = InvalidArgument "etcdserver: invalid downgrade target version";
    DowngradeInProgress = FailedPrecondition "etcdserver: cluster has a downgrade job in progress";
    /// The previous release does not support the cluster's feature level. etcd has no such error.
    FeatureLevelTooHigh = FailedPrecondition "etcdserver: the previous release does not support the feature level of the cluster; restore a backup that was made before the level rose";
    /// The leader has not decided the cluster's version yet.
    ClusterVersionUnavailable = FailedPrecondition "etcdserver: cluster version not found during downgrade";
    /// Some members do not support the request yet. etcd has no such error.
    ClusterVersionTooLow = FailedPrecondition "etcdserver: the cluster version is too low for this request";
    /// The action of a downgrade request is unknown. As in etcd's server, the code is `Unknown`.
    UnknownMethod = Unknown "etcdserver: unknown method";
    RootUserNotExist = FailedPrecondition "etcdserver: root user does not exist";
    RootRoleNotExist = FailedPrecondition "etcdserver: root user does not have root role";
    UserAlreadyExist = FailedPrecondition "etcdserver: user name already exists";
    /// The user name is empty, or the request has no user.
    UserEmpty = InvalidArgument "etcdserver: user name is empty";
    UserNotFound = FailedPrecondition "etcdserver: user name not found";
    RoleAlreadyExist = FailedPrecondition "etcdserver: role name already exists";
    RoleNotFound = FailedPrecondition "etcdserver: role name not found";
    RoleEmpty = InvalidArgument "etcdserver: role name is empty";
    AuthFailed = InvalidArgument "etcdserver: authentication failed, invalid user ID or password";
    PermissionNotGiven = InvalidArgument "etcdserver: permission not given";
    PermissionDenied = PermissionDenied "etcdserver: permission denied";
    RoleNotGranted = FailedPrecondition "etcdserver: role is not granted to the user";
    PermissionNotGranted = FailedPrecondition "etcdserver: permission is not granted to the role";
    AuthNotEnabled = FailedPrecondition "etcdserver: authentication is not enabled";
    InvalidAuthToken = Unauthenticated "etcdserver: invalid auth token";
    /// The change would remove root's access while authentication is enabled, or a permission has an invalid range.
    InvalidAuthMgmt = InvalidArgument "etcdserver: invalid auth management";
    /// Users or roles changed after the request was authenticated and before it was applied.
    AuthOldRevision = InvalidArgument "etcdserver: revision of auth store is old";
    /// The request has a password for a user without a password. The code and the text match etcd.
    NoPasswordUser = Unknown "auth: authentication failed, password was given for no password user";
    /// This member has no key to sign tokens. The code and the text match etcd.
    VerifyOnly = Unknown "auth: token signing attempted with verify-only key";
    /// The password is longer than bcrypt accepts. The code and the text match etcd.
    PasswordTooLong = Unknown "bcrypt: password length exceeds 72 bytes";
}

impl RpcError {
    /// Returns an error with the same text and the code `Unknown`, as in etcd's locks and elections.
    pub const fn plain(self) -> Self {
        Self::Plain(self.text())
    }
}

impl std::fmt::Display for RpcError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for RpcError {}

impl From<RpcError> for Status {
    fn from(error: RpcError) -> Self {
        Status::new(error.code(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_distinct_and_have_etcds_prefix() {
        let texts: std::collections::BTreeSet<String> =
            RpcError::ALL.iter().map(RpcError::to_string).collect();
        assert_eq!(texts.len(), RpcError::ALL.len());
        // These messages come from etcd's libraries and clients.
        let library_texts = [
            RpcError::Removed.to_string(),
            RpcError::NoPasswordUser.to_string(),
            RpcError::VerifyOnly.to_string(),
            RpcError::PasswordTooLong.to_string(),
        ];
        assert!(
            texts
                .iter()
                .all(|text| text.starts_with("etcdserver: ") != library_texts.contains(text))
        );
    }
}

//! All errors of the v3 dialect with their gRPC codes and texts. Clients compare the texts, so they are etcd's to the
//! letter. Not here: the mapping of internal errors (`error_map`).

use tonic::{Code, Status};

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $code:ident $text:literal;)*) => {
        /// An error of the v3 dialect.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RpcError {
            $($(#[$doc])* $name,)*
            /// An error of locks and elections, which have no codes of their own.
            Plain(&'static str),
        }

        impl RpcError {
            /// All errors of the table below.
            pub const ALL: &'static [RpcError] = &[$(RpcError::$name),*];

            /// The gRPC code.
            pub const fn code(self) -> Code {
                match self {
                    $(RpcError::$name => Code::$code,)*
                    RpcError::Plain(_) => Code::Unknown,
                }
            }

            /// The text that clients compare.
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
    /// A request without a key.
    EmptyKey = InvalidArgument "etcdserver: key is not provided";
    /// `ignore_value` or `ignore_lease` for a missing key, or an empty operation in a transaction.
    KeyNotFound = InvalidArgument "etcdserver: key not found";
    /// `ignore_value` together with a value.
    ValueProvided = InvalidArgument "etcdserver: value is provided";
    /// `ignore_lease` together with a lease.
    LeaseProvided = InvalidArgument "etcdserver: lease is provided";
    /// A list of a transaction is longer than allowed.
    TooManyOps = InvalidArgument "etcdserver: too many operations in txn request";
    /// A transaction would write one key twice.
    DuplicateKey = InvalidArgument "etcdserver: duplicate key given in txn request";
    /// A sort order or target that does not exist.
    InvalidSortOption = InvalidArgument "etcdserver: invalid sort option";
    /// The revision was compacted away.
    Compacted = OutOfRange "etcdserver: mvcc: required revision has been compacted";
    /// The revision is in the future.
    FutureRevision = OutOfRange "etcdserver: mvcc: required revision is a future revision";
    /// The cluster copies another one.
    Follows = FailedPrecondition "etcdserver: this cluster follows another one and takes no writes before the cut-over";
    /// The quota is used up.
    NoSpace = ResourceExhausted "etcdserver: mvcc: database space exceeded";
    /// No such lease.
    LeaseNotFound = NotFound "etcdserver: requested lease not found";
    /// The lease id is taken.
    LeaseExists = FailedPrecondition "etcdserver: lease already exists";
    /// The TTL is too large.
    LeaseTtlTooLarge = OutOfRange "etcdserver: too large lease TTL";
    /// The member id is taken.
    MemberExists = FailedPrecondition "etcdserver: member ID already exist";
    /// Another member has such a peer URL.
    PeerUrlExists = FailedPrecondition "etcdserver: Peer URLs already exists";
    /// Too few members have started. (etcd's server sends this code.)
    MemberNotEnoughStarted = Unknown "etcdserver: re-configuration failed due to not enough started members";
    /// Invalid peer URLs.
    MemberBadUrls = InvalidArgument "etcdserver: given member URLs are invalid";
    /// No such member, or it was removed.
    MemberNotFound = NotFound "etcdserver: member not found";
    /// Only learners are promoted.
    MemberNotLearner = FailedPrecondition "etcdserver: can only promote a learner member";
    /// The learner lags behind.
    LearnerNotReady = FailedPrecondition "etcdserver: can only promote a learner member which is in sync with leader";
    /// The number of learners has reached its limit.
    TooManyLearners = FailedPrecondition "etcdserver: too many learner members in cluster";
    /// The proposal exceeds `--max-request-bytes`.
    RequestTooLarge = InvalidArgument "etcdserver: request is too large";
    /// The answer would be too large. (etcd sends what its memory holds, and grpc-go's text beyond
    /// 2 GiB.)
    AnswerTooLarge = ResourceExhausted "etcdserver: answer is too large, ask for less at once";
    /// A counter of the state has reached its limit. (etcd keeps counting, and panics.)
    CountersUsedUp = ResourceExhausted "etcdserver: the counters of this cluster are used up";
    /// A snapshot pins more of an older state than the quota leaves. etcd has no such error.
    SnapshotOutdated = ResourceExhausted "etcdserver: snapshot ended: too much has changed since it began, take another one";
    /// The reader of a snapshot is too slow. etcd has no such error.
    SnapshotTooSlow = ResourceExhausted "etcdserver: snapshot ended: its reader takes less than 512 KiB/s";
    /// A queue is full.
    TooManyRequests = ResourceExhausted "etcdserver: too many requests";
    /// No leader is known.
    NoLeader = Unavailable "etcdserver: no leader";
    /// Only the leader can do this.
    NotLeader = FailedPrecondition "etcdserver: not leader";
    /// The process is stopping.
    Stopped = Unavailable "etcdserver: server stopped";
    /// The member was removed, and the request was not executed. These are the words by which etcd's clients
    /// know that they may send a write once more, to another member.
    Removed = Unavailable "there is no connection available";
    /// The request was not answered in time.
    Timeout = Unavailable "etcdserver: request timed out";
    /// No reply in time; the leader changed while the request waited.
    TimeoutLeaderFailed = Unavailable "etcdserver: request timed out, possibly due to previous leader failure";
    /// No reply in time; the leader could not be reached while the request waited.
    TimeoutConnectionLost = Unavailable "etcdserver: request timed out, possibly due to connection lost";
    /// The change of membership could cost the quorum.
    Unhealthy = Unavailable "etcdserver: unhealthy cluster";
    /// Members disagree about the data.
    Corrupt = DataLoss "etcdserver: corrupt cluster";
    /// Learners answer serializable reads and Status only.
    NotSupportedForLearner = FailedPrecondition "etcdserver: rpc not supported for learner";
    /// The target cannot become leader: it is unknown or a learner.
    BadLeaderTransferee = FailedPrecondition "etcdserver: bad leader transferee";
    /// An invalid version.
    WrongDowngradeVersionFormat = InvalidArgument "etcdserver: wrong downgrade target version format";
    /// The cluster can only go down to the minor version before its own.
    InvalidDowngradeTarget = InvalidArgument "etcdserver: invalid downgrade target version";
    /// Another downgrade is in progress.
    DowngradeInProgress = FailedPrecondition "etcdserver: cluster has a downgrade job in progress";
    /// The leader has not decided the cluster's version yet. (etcd's server sends this code.)
    ClusterVersionUnavailable = Unknown "etcdserver: cluster version not found during downgrade";
    /// Not all members know what the request needs. Not etcd's.
    ClusterVersionTooLow = FailedPrecondition "etcdserver: the version of the cluster is too low for this request";
    /// The action of a downgrade request does not exist. (etcd's server sends this code.)
    UnknownMethod = Unknown "etcdserver: unknown method";
    /// Auth needs a user root.
    RootUserNotExist = FailedPrecondition "etcdserver: root user does not exist";
    /// Auth needs the user root to have the role root.
    RootRoleNotExist = FailedPrecondition "etcdserver: root user does not have root role";
    /// The user's name is taken.
    UserAlreadyExist = FailedPrecondition "etcdserver: user name already exists";
    /// A user without a name, or a request without a user.
    UserEmpty = InvalidArgument "etcdserver: user name is empty";
    /// No such user.
    UserNotFound = FailedPrecondition "etcdserver: user name not found";
    /// The role's name is taken.
    RoleAlreadyExist = FailedPrecondition "etcdserver: role name already exists";
    /// No such role.
    RoleNotFound = FailedPrecondition "etcdserver: role name not found";
    /// A role without a name.
    RoleEmpty = InvalidArgument "etcdserver: role name is empty";
    /// The user does not exist or the password is wrong.
    AuthFailed = InvalidArgument "etcdserver: authentication failed, invalid user ID or password";
    /// A grant without a permission.
    PermissionNotGiven = InvalidArgument "etcdserver: permission not given";
    /// The caller lacks a permission.
    PermissionDenied = PermissionDenied "etcdserver: permission denied";
    /// The user does not have the role.
    RoleNotGranted = FailedPrecondition "etcdserver: role is not granted to the user";
    /// The role does not have the permission.
    PermissionNotGranted = FailedPrecondition "etcdserver: permission is not granted to the role";
    /// Auth is off.
    AuthNotEnabled = FailedPrecondition "etcdserver: authentication is not enabled";
    /// The token is invalid.
    InvalidAuthToken = Unauthenticated "etcdserver: invalid auth token";
    /// The change would take root's access while authentication is on, or the range of a permission
    /// is invalid.
    InvalidAuthMgmt = InvalidArgument "etcdserver: invalid auth management";
    /// Users or roles were changed after the caller was authenticated and before the request was
    /// applied.
    AuthOldRevision = InvalidArgument "etcdserver: revision of auth store is old";
    /// A password was given for a user that has none. (etcd's server sends this code and text.)
    NoPasswordUser = Unknown "auth: authentication failed, password was given for no password user";
    /// This member has no key to sign tokens. (etcd's server sends this code and text.)
    VerifyOnly = Unknown "auth: token signing attempted with verify-only key";
    /// The password is longer than bcrypt accepts. (etcd's server sends this code and text.)
    PasswordTooLong = Unknown "bcrypt: password length exceeds 72 bytes";
}

impl RpcError {
    /// An error with the same text whose code is `Unknown`, as from locks and elections.
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
    fn texts_are_distinct_and_etcds() {
        let texts: std::collections::BTreeSet<String> =
            RpcError::ALL.iter().map(RpcError::to_string).collect();
        assert_eq!(texts.len(), RpcError::ALL.len());
        // texts of etcd's libraries, and of its clients
        let of_others = [
            RpcError::Removed.to_string(),
            RpcError::NoPasswordUser.to_string(),
            RpcError::VerifyOnly.to_string(),
            RpcError::PasswordTooLong.to_string(),
        ];
        assert!(
            texts
                .iter()
                .all(|text| text.starts_with("etcdserver: ") != of_others.contains(text))
        );
    }

    #[test]
    fn a_status_carries_code_and_text() {
        let status = Status::from(RpcError::Compacted);
        assert_eq!(status.code(), Code::OutOfRange);
        assert_eq!(
            status.message(),
            "etcdserver: mvcc: required revision has been compacted"
        );
    }
}

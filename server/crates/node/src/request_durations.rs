//! Measures the durations of v3 requests and of applied commands by type, with etcd's type names.

use std::{sync::OnceLock, time::Duration};

use prometheus::{Histogram, HistogramVec, local::LocalHistogram};
use witan_base::metrics::{Striped, StripedVec};
use witan_machine::{
    Reply,
    auth::{AuthOperation, AuthReply},
    command::Command,
    kv::{KvOperation, KvReply, OpReply},
    lease::{LeaseOperation, LeaseReply},
};

/// Request types. A variant's name is the type's label in etcd's metric.
#[derive(Clone, Copy, Debug)]
#[expect(
    missing_docs,
    reason = "the names come from etcd's calls and log entries"
)]
pub enum RequestType {
    Range,
    ReadonlyTxn,
    Put,
    DeleteRange,
    Txn,
    Compaction,
    LeaseGrant,
    LeaseRevoke,
    LeaseCheckpoint,
    Alarm,
    Authenticate,
    AuthEnable,
    AuthDisable,
    AuthUserAdd,
    AuthUserDelete,
    AuthUserChangePassword,
    AuthUserGrantRole,
    AuthUserRevokeRole,
    AuthRoleAdd,
    AuthRoleDelete,
    AuthRoleGrantPermission,
    AuthRoleRevokePermission,
    ClusterVersionSet,
    ClusterMemberAttrSet,
    DowngradeInfoSet,
}

const TYPES: usize = RequestType::DowngradeInfoSet as usize + 1;

/// The series `etcd_server_request_duration_seconds`. A series with labels exists from its first value.
#[derive(Debug)]
pub(super) struct RequestDurations {
    all: StripedVec<HistogramVec>,
    /// Series by type and success, because looking a series up by its labels takes longer than observing a value.
    known: [[OnceLock<Striped<Histogram>>; 2]; TYPES],
}

impl RequestDurations {
    pub(super) fn new(all: StripedVec<HistogramVec>) -> Self {
        Self {
            all,
            known: std::array::from_fn(|_| [const { OnceLock::new() }; 2]),
        }
    }

    /// Records a request's duration. As in etcd, `success` is also true for a command that the state machine refused.
    pub(super) fn observe(&self, request: RequestType, success: bool, took: Duration) {
        let series = || {
            let success = if success { "true" } else { "false" };
            self.all
                .with_label_values(&[format!("{request:?}").as_str(), success])
        };
        let known = &self.known[request as usize][usize::from(success)];
        let known = known.get_or_init(series);
        known.here().observe(took.as_secs_f64());
    }
}

/// Returns the type of the request that proposes a command, or `None` if etcd lacks the command or does not measure it.
pub(super) fn request_type(command: &Command) -> Option<RequestType> {
    match command {
        Command::Kv(command) => command.operation.as_ref().and_then(of_kv),
        Command::Lease(command) => command.operation.as_ref().map(of_lease),
        Command::Auth(command) => command.operation.as_ref().and_then(of_auth),
        Command::Alarm(_) => Some(RequestType::Alarm),
        Command::Publish(_) => Some(RequestType::ClusterMemberAttrSet),
        Command::ClusterVersion(_) => Some(RequestType::ClusterVersionSet),
        Command::Downgrade(_) => Some(RequestType::DowngradeInfoSet),
        // etcd does not measure membership changes and had no v2 when it added this series.
        Command::Members(_) | Command::PeerUrls(_) | Command::Tree(_) | Command::Follow(_) => None,
    }
}

/// Returns the request type of a key space operation, or `None` for a sweep, which no client requests.
fn of_kv(operation: &KvOperation) -> Option<RequestType> {
    Some(match operation {
        KvOperation::Put(_) => RequestType::Put,
        KvOperation::Delete(_) => RequestType::DeleteRange,
        KvOperation::Txn(_) => RequestType::Txn,
        KvOperation::Compact(_) => RequestType::Compaction,
        KvOperation::Sweep(_) => return None,
    })
}

/// Returns the type of a lease operation. As in etcd, an expiration is measured as a revocation.
fn of_lease(operation: &LeaseOperation) -> RequestType {
    match operation {
        LeaseOperation::Grant(_) => RequestType::LeaseGrant,
        LeaseOperation::Revoke(_) | LeaseOperation::Expire(_) => RequestType::LeaseRevoke,
        LeaseOperation::Checkpoint(_) => RequestType::LeaseCheckpoint,
    }
}

/// Returns the request type of an auth operation, or `None` for a v2 operation, which etcd does not measure.
fn of_auth(operation: &AuthOperation) -> Option<RequestType> {
    Some(match operation {
        AuthOperation::Enable(_) => RequestType::AuthEnable,
        AuthOperation::Disable(_) => RequestType::AuthDisable,
        AuthOperation::Authenticate(_) => RequestType::Authenticate,
        AuthOperation::UserAdd(_) => RequestType::AuthUserAdd,
        AuthOperation::UserDelete(_) => RequestType::AuthUserDelete,
        AuthOperation::UserPassword(_) => RequestType::AuthUserChangePassword,
        AuthOperation::UserGrant(_) => RequestType::AuthUserGrantRole,
        AuthOperation::UserRevoke(_) => RequestType::AuthUserRevokeRole,
        AuthOperation::RoleAdd(_) => RequestType::AuthRoleAdd,
        AuthOperation::RoleDelete(_) => RequestType::AuthRoleDelete,
        AuthOperation::RoleGrant(_) => RequestType::AuthRoleGrantPermission,
        AuthOperation::RoleRevoke(_) => RequestType::AuthRoleRevokePermission,
        AuthOperation::Paths(_) => return None,
    })
}

/// Apply durations by command type since the last [`ApplyTally::flush`]. A turn applies its entries together, so each entry
/// gets an equal share of the duration.
pub(super) struct ApplyTally {
    all: HistogramVec,
    by_type: [Option<LocalHistogram>; TYPES],
}

impl ApplyTally {
    pub(super) fn new(all: HistogramVec) -> Self {
        Self { all, by_type: [const { None }; TYPES] }
    }

    /// Records the apply duration of an entry with this reply. Ignores a failed command, because its reply has no type, and
    /// commands that are not measured.
    pub(super) fn applied(&mut self, reply: &Reply, took: Duration) {
        let Some(op) = type_of_reply(reply) else {
            return;
        };
        let series = self.by_type[op as usize].get_or_insert_with(|| {
            let op = format!("{op:?}");
            self.all
                .with_label_values(&["v3", op.as_str(), "true"])
                .local()
        });
        series.observe(took.as_secs_f64());
    }

    /// Adds the durations since the last call to the series.
    pub(super) fn flush(&self) {
        self.by_type
            .iter()
            .flatten()
            .for_each(LocalHistogram::flush);
    }
}

/// Returns the type of the command with this reply, or `None` if the type is not measured.
fn type_of_reply(reply: &Reply) -> Option<RequestType> {
    Some(match reply {
        Reply::Kv(Ok(reply)) => match reply {
            KvReply::Op(OpReply::Put(_)) => RequestType::Put,
            KvReply::Op(OpReply::Delete(_)) => RequestType::DeleteRange,
            KvReply::Op(OpReply::Txn(_)) => RequestType::Txn,
            KvReply::Compact => RequestType::Compaction,
            KvReply::Op(OpReply::Range(_)) => return None,
        },
        Reply::Lease(Ok(reply)) => match reply {
            LeaseReply::Granted(_) => RequestType::LeaseGrant,
            LeaseReply::Revoked | LeaseReply::Expired { .. } => RequestType::LeaseRevoke,
            LeaseReply::Checkpointed => RequestType::LeaseCheckpoint,
        },
        Reply::Alarm(_) => RequestType::Alarm,
        Reply::Published => RequestType::ClusterMemberAttrSet,
        Reply::ClusterVersionSet => RequestType::ClusterVersionSet,
        Reply::DowngradeSet => RequestType::DowngradeInfoSet,
        Reply::Auth(Ok(AuthReply::Authenticated { .. })) => RequestType::Authenticate,
        // The other auth commands are rare, and their replies do not reveal the type.
        Reply::Auth(_) => return None,
        Reply::Kv(Err(_)) | Reply::Lease(Err(_)) => return None,
        // v2 has its own series, and etcd 3.6 does not measure membership changes.
        Reply::Tree(_) | Reply::MembershipChanged(_) | Reply::Nothing => return None,
        Reply::Followed(_) => return None,
    })
}

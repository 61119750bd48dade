//! Measures the durations of v3 requests by type, with etcd's type names.

use std::{sync::OnceLock, time::Duration};

use prometheus::{Histogram, HistogramVec};
use witan_base::metrics::{Striped, StripedVec};
use witan_machine::{
    auth::AuthOperation, command::Command, kv::KvOperation, lease::LeaseOperation,
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

pub(super) const TYPES: usize = RequestType::DowngradeInfoSet as usize + 1;

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

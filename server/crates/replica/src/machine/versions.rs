//! Since which version of the cluster each command of the log exists. No member proposes a command that is
//! newer than the cluster's version: a member of an earlier release would have to stop at it.
//!
//! Every new command, verb and action gets a row here. Who decides the cluster's version does not live here.

use super::{
    alarm::{AlarmAction, AlarmCommand},
    auth::{AuthOperation, path_permissions::PathAuthOperation},
    command::Command,
    kv::KvOperation,
    lease::LeaseOperation,
    member::MemberRegistry,
    tree::TreeOperation,
};

/// Major and minor of a version.
pub type Release = (u64, u64);

/// The first version of a cluster. All members know what came with it, also while the cluster has none.
pub const FIRST: Release = (3, 0);

const V3_6: Release = (3, 6);

/// Parses major and minor of `MAJOR.MINOR.PATCH`, with what etcd's parser of semantic versions lets follow;
/// `None` if it is no such version.
pub fn release(version: &str) -> Option<Release> {
    let core = version.split_once('+').map_or(version, |(core, _)| core);
    let core = core.split_once('-').map_or(core, |(core, _)| core);
    let mut parts = core.splitn(3, '.').map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse().ok()).flatten()
    });
    let (major, minor, _patch): (u64, u64, u64) = (parts.next()??, parts.next()??, parts.next()??);
    Some((major, minor))
}

impl MemberRegistry {
    /// Whether all members know a command, by the cluster version. Before that is decided, they know what
    /// [`FIRST`] has.
    pub(crate) fn all_know(&self, command: &Command) -> bool {
        match command.since() {
            Some(FIRST) => true,
            Some(since) => release(&self.cluster_version).is_some_and(|now| since <= now),
            None => false,
        }
    }
}

impl Command {
    /// Returns the cluster version since which the command exists; `None` if this release does not know its
    /// action.
    pub(crate) fn since(&self) -> Option<Release> {
        match self {
            Self::Kv(command) => Some(command.operation.as_ref().map_or(FIRST, of_kv)),
            Self::Lease(command) => Some(command.operation.as_ref().map_or(FIRST, of_lease)),
            Self::Tree(command) => Some(command.operation.as_ref().map_or(FIRST, of_tree)),
            Self::Auth(command) => Some(command.operation.as_ref().map_or(FIRST, of_auth)),
            Self::Alarm(command) => of_alarm(command),
            Self::Publish(_)
            | Self::ClusterVersion(_)
            | Self::PeerUrls(_)
            | Self::Members(_)
            | Self::Downgrade(_) => Some(FIRST),
        }
    }
}

/// Returns the cluster version since which an operation on the v3 key space exists.
fn of_kv(operation: &KvOperation) -> Release {
    match operation {
        KvOperation::Put(_)
        | KvOperation::Delete(_)
        | KvOperation::Txn(_)
        | KvOperation::Compact(_)
        | KvOperation::Sweep(_) => FIRST,
    }
}

/// Returns the cluster version since which an operation on leases exists.
fn of_lease(operation: &LeaseOperation) -> Release {
    match operation {
        LeaseOperation::Grant(_)
        | LeaseOperation::Revoke(_)
        | LeaseOperation::Expire(_)
        | LeaseOperation::Checkpoint(_) => FIRST,
    }
}

/// Returns the cluster version since which an operation on the v2 tree exists.
fn of_tree(operation: &TreeOperation) -> Release {
    match operation {
        TreeOperation::Set(_)
        | TreeOperation::Create(_)
        | TreeOperation::Update(_)
        | TreeOperation::CompareAndSwap(_)
        | TreeOperation::CompareAndDelete(_)
        | TreeOperation::Delete(_)
        | TreeOperation::Expire(_) => FIRST,
    }
}

/// Returns the cluster version since which an operation on users and roles exists.
fn of_auth(operation: &AuthOperation) -> Release {
    match operation {
        AuthOperation::Enable(_)
        | AuthOperation::Disable(_)
        | AuthOperation::Authenticate(_)
        | AuthOperation::UserAdd(_)
        | AuthOperation::UserDelete(_)
        | AuthOperation::UserPassword(_)
        | AuthOperation::UserGrant(_)
        | AuthOperation::UserRevoke(_)
        | AuthOperation::RoleAdd(_)
        | AuthOperation::RoleDelete(_)
        | AuthOperation::RoleGrant(_)
        | AuthOperation::RoleRevoke(_) => FIRST,
        AuthOperation::Paths(command) => command.operation.as_ref().map_or(FIRST, of_paths),
    }
}

/// Returns the cluster version since which an operation of v2 on users and roles exists.
fn of_paths(operation: &PathAuthOperation) -> Release {
    match operation {
        PathAuthOperation::Enable(_)
        | PathAuthOperation::Disable(_)
        | PathAuthOperation::UserCreate(_)
        | PathAuthOperation::UserUpdate(_)
        | PathAuthOperation::UserDelete(_)
        | PathAuthOperation::RoleCreate(_)
        | PathAuthOperation::RoleUpdate(_)
        | PathAuthOperation::RoleDelete(_) => FIRST,
    }
}

/// Returns the cluster version since which an alarm action exists; `None` if this release does not know it.
fn of_alarm(command: &AlarmCommand) -> Option<Release> {
    match AlarmAction::try_from(command.action).ok()? {
        AlarmAction::Activate | AlarmAction::Deactivate => Some(FIRST),
        AlarmAction::HashState => Some(V3_6),
    }
}

//! The cluster version in which each command was added, and the leader's decision about the cluster version. A member never
//! proposes a command that is newer than the cluster version, because a member of an earlier release would halt at it.
//!
//! Every new command, operation and action needs a row here.

use witan_tree::TreeOperation;

use super::{
    StateMachine,
    alarm::{AlarmAction, AlarmCommand},
    auth::{AuthOperation, path_permissions::PathAuthOperation},
    command::Command,
    kv::{KvCommand, KvOperation, Put},
    lease::LeaseOperation,
    member::MemberRegistry,
};

/// Major and minor number of a version.
pub type Release = (u64, u64);

/// The first cluster version. All members support its commands, even before the cluster has a version.
pub const FIRST: Release = (3, 0);

const V3_6: Release = (3, 6);

/// The last version whose commands this release supports completely.
pub const LATEST: Release = (3, 7);

/// The version from which on a put with `ignore_value` limits the length of its kept value.
const BOUNDED_PUTS: Release = V3_6;

/// The version from which on a cluster can follow another one.
const FOLLOW: Release = LATEST;

/// Parses major and minor number of `MAJOR.MINOR.PATCH` and its suffixes like etcd. Returns `None` for any other text.
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
    /// Returns whether all members support a command, according to the cluster version. Without one, they support [`FIRST`].
    pub fn all_members_support(&self, command: &Command) -> bool {
        match command.since() {
            Some(FIRST) => true,
            Some(since) => release(&self.cluster_version).is_some_and(|now| since <= now),
            None => false,
        }
    }
}

impl StateMachine {
    /// Returns the size in bytes of the values that a command keeps. Also sets their maximum lengths in the command, if all
    /// members support this limit.
    pub fn limit_kept_values(&self, command: &mut KvCommand) -> u64 {
        let bounded = release(&self.members.cluster_version).is_some_and(|now| now >= BOUNDED_PUTS);
        if bounded {
            return self.kv.limit_kept_values(command);
        }
        self.kv.limit_kept_values(&mut command.clone())
    }
}

impl Command {
    /// Returns the cluster version in which the command was added. Returns `None` if this release does not support its action.
    pub fn since(&self) -> Option<Release> {
        match self {
            Self::Kv(command) => Some(command.operation.as_ref().map_or(FIRST, of_kv)),
            Self::Lease(command) => Some(command.operation.as_ref().map_or(FIRST, of_lease)),
            Self::Tree(command) => Some(command.operation.as_ref().map_or(FIRST, of_tree)),
            Self::Auth(command) => Some(command.operation.as_ref().map_or(FIRST, of_auth)),
            Self::Alarm(command) => of_alarm(command),
            Self::Follow(_) => Some(FOLLOW),
            Self::Publish(_)
            | Self::ClusterVersion(_)
            | Self::PeerUrls(_)
            | Self::Members(_)
            | Self::Downgrade(_) => Some(FIRST),
        }
    }
}

/// Returns the cluster version in which an operation on the v3 key space was added.
fn of_kv(operation: &KvOperation) -> Release {
    match operation {
        operation if operation.has_put(&Put::is_bounded) => BOUNDED_PUTS,
        KvOperation::Put(_)
        | KvOperation::Delete(_)
        | KvOperation::Txn(_)
        | KvOperation::Compact(_)
        | KvOperation::Sweep(_) => FIRST,
    }
}

/// Like [`of_kv`], for an operation on leases.
fn of_lease(operation: &LeaseOperation) -> Release {
    match operation {
        LeaseOperation::Grant(_)
        | LeaseOperation::Revoke(_)
        | LeaseOperation::Expire(_)
        | LeaseOperation::Checkpoint(_) => FIRST,
    }
}

/// Like [`of_kv`], for an operation on the v2 tree.
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

/// Like [`of_kv`], for an operation on users and roles.
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

/// Like [`of_kv`], for a v2 operation on users and roles.
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

/// Returns the cluster version in which an alarm action was added. Returns `None` if this release does not support the action.
fn of_alarm(command: &AlarmCommand) -> Option<Release> {
    match AlarmAction::try_from(command.action).ok()? {
        AlarmAction::Activate | AlarmAction::Deactivate => Some(FIRST),
        AlarmAction::HashState => Some(V3_6),
    }
}

/// The leader's decision about the cluster version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Propose nothing.
    Keep,
    /// Propose this cluster version.
    Set(Release),
    /// End the downgrade, because all members run its target.
    EndDowngrade,
}

/// Decides about the cluster version. `running` has the members' versions, `None` for unknown ones. `waits` is whether members
/// of a new cluster may still start. `ends` is whether it is time to check that a downgrade is complete.
pub fn decide(
    known: &MemberRegistry,
    running: &[Option<Release>],
    waits: bool,
    ends: bool,
) -> Decision {
    let all: Option<Vec<Release>> = running.iter().copied().collect();
    let lowest = all.as_ref().and_then(|all| all.iter().min().copied());
    let Some(now) = release(&known.cluster_version) else {
        return match lowest {
            Some(lowest) => Decision::Set(lowest),
            None if waits => Decision::Keep,
            // etcd does the same while some members' versions are unknown.
            None => Decision::Set(FIRST),
        };
    };
    match release(&known.downgrade_target) {
        Some(target) if ends && all.is_some_and(|all| all.iter().all(|one| *one == target)) => {
            Decision::EndDowngrade
        }
        Some(target) if now == (target.0, target.1 + 1) => Decision::Set(target),
        Some(_) => Decision::Keep,
        None => match lowest {
            Some(lowest) if lowest > now => Decision::Set(lowest),
            Some(_) | None => Decision::Keep,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Option<Release> = Some((3, 6));
    const OLD: Option<Release> = Some((3, 5));
    const RISE: Decision = Decision::Set((3, 6));
    const FALL: Decision = Decision::Set((3, 5));
    const END: Decision = Decision::EndDowngrade;
    const KEEP: Decision = Decision::Keep;

    #[test]
    fn the_version_follows_the_releases_of_the_members() {
        for (version, target, running, (waits, ends), decision) in [
            // A new cluster has the lowest version of its members.
            ("", "", &[NEW, NEW][..], (true, true), RISE),
            ("", "", &[NEW, OLD, NEW], (false, true), FALL),
            ("", "", &[NEW, None], (true, true), KEEP),
            ("", "", &[NEW, None], (false, true), Decision::Set(FIRST)),
            // The cluster version rises when all members run a later version, and falls only in a downgrade.
            ("3.5.0", "", &[NEW, NEW], (false, true), RISE),
            ("3.5.0", "", &[NEW, OLD], (false, true), KEEP),
            ("3.5.0", "", &[NEW, None], (false, true), KEEP),
            ("3.6.0", "", &[OLD], (false, true), KEEP),
            // A downgrade first lowers the cluster version, and ends when all members run its target.
            ("3.6.0", "3.5.0", &[NEW, None], (false, true), FALL),
            ("3.5.0", "3.5.0", &[NEW, NEW], (false, true), KEEP),
            ("3.5.0", "3.5.0", &[NEW, OLD], (false, true), KEEP),
            ("3.5.0", "3.5.0", &[OLD, None], (false, true), KEEP),
            ("3.5.0", "3.5.0", &[OLD, OLD], (false, true), END),
            ("3.6.0", "3.5.0", &[OLD, OLD], (false, true), END),
            ("3.6.0", "3.5.0", &[OLD, OLD], (false, false), FALL),
            ("3.5.0", "3.5.0", &[OLD, OLD], (false, false), KEEP),
        ] {
            let known = MemberRegistry {
                cluster_version: version.into(),
                downgrade_target: target.into(),
                ..MemberRegistry::default()
            };
            let found = decide(&known, running, waits, ends);
            assert_eq!(found, decision, "{version:?} to {target:?}: {running:?}");
        }
    }
}

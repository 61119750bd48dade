//! The cluster version and the feature level in which each command was added, and the leader's decision about the cluster
//! version. A member never proposes a command that not all members support, because a member of an earlier release would halt
//! at this command.
//!
//! Every new command, operation, action, and enum value in a command needs a match arm here. The arm returns the feature level
//! of the release that adds it (`levels`). The cluster version is etcd's and does not rise with a release of Witan.

use witan_tree::TreeOperation;

use super::{
    StateMachine,
    alarm::{AlarmAction, AlarmCommand, AlarmType},
    auth::{AuthOperation, Permission, path_permissions::PathAuthOperation},
    command::Command,
    follow::FollowOperation,
    kv::{
        Compare, CompareResult, CompareTarget, KvCommand, KvOperation, Put, Range, SortOrder,
        SortTarget, Txn, TxnOpKind,
    },
    lease::LeaseOperation,
    levels::{self, Level},
    member::MemberRegistry,
};

/// Major and minor number of a version.
pub type Release = (u64, u64);

/// The first cluster version. All members support its commands, even before the cluster has a version.
pub const FIRST: Release = (3, 0);

/// The last version whose commands this release supports completely.
pub const LATEST: Release = (3, 7);

/// The first cluster version and the first feature level that include a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Since {
    version: Release,
    level: Level,
}

/// Commands that every cluster supports.
const ALWAYS: Since = Since { version: FIRST, level: levels::FIRST };

/// A put with `ignore_value` that limits the length of the value that it keeps.
const BOUNDED_PUTS: Since = Since { version: (3, 6), ..ALWAYS };

/// The comparison of the members' states.
const HASH_STATE: Since = Since { version: (3, 6), ..ALWAYS };

/// Following another cluster.
const FOLLOW: Since = Since { version: LATEST, ..ALWAYS };

/// Parses the major and minor numbers of `MAJOR.MINOR.PATCH`, with optional suffixes as in etcd. Returns `None` for any other
/// text.
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
    /// Returns whether all members support a command, according to the cluster's version ([`FIRST`] if unset) and level.
    /// Returns `false` for an unknown command.
    pub fn all_members_support(&self, command: &Command) -> bool {
        command.added().is_some_and(|since| self.has(since))
    }

    /// Returns `false` for a command that starts a downgrade to a release below the cluster's level, and `true` otherwise.
    pub fn permits_downgrade(&self, command: &Command) -> bool {
        let Command::Downgrade(downgrade) = command else {
            return true;
        };
        let target = levels::of_release(&downgrade.target);
        target.is_none_or(|level| self.level() <= level)
    }

    /// Returns whether the cluster has reached this version and level.
    fn has(&self, Since { version, level }: Since) -> bool {
        let has_version =
            || release(&self.cluster_version).is_some_and(|cluster| version <= cluster);
        level <= self.level() && (version == FIRST || has_version())
    }
}

impl StateMachine {
    /// Returns the size in bytes of the values that a command keeps. If all members support the limit, sets the maximum lengths
    /// in the command.
    pub fn limit_kept_values(&self, command: &mut KvCommand) -> u64 {
        if self.members.has(BOUNDED_PUTS) {
            return self.kv.limit_kept_values(command);
        }
        self.kv.limit_kept_values(&mut command.clone())
    }
}

impl Command {
    /// Returns the cluster version in which the command was added. Returns `None` for an unknown command ([`Self::is_known`]).
    pub fn since(&self) -> Option<Release> {
        self.added().map(|since| since.version)
    }

    /// Returns the feature level in which the command was added. Returns `None` if this release does not know the command.
    pub fn level(&self) -> Option<Level> {
        self.added().map(|since| since.level)
    }

    /// Returns whether this release knows every enum value and every record in the command. A later release may propose other
    /// values, which this release would apply with a different effect. The decoder keeps an unknown enum value but not an
    /// unknown field, so re-encoding does not reveal the value.
    pub fn is_known(&self) -> bool {
        self.added().is_some()
    }

    /// Returns the version and level in which the command was added, or `None` if this release does not know the command.
    fn added(&self) -> Option<Since> {
        match self {
            Self::Kv(command) => command.operation.as_ref().map_or(Some(ALWAYS), of_kv),
            Self::Lease(command) => Some(command.operation.as_ref().map_or(ALWAYS, of_lease)),
            Self::Tree(command) => Some(command.operation.as_ref().map_or(ALWAYS, of_tree)),
            Self::Auth(command) => command.operation.as_ref().map_or(Some(ALWAYS), of_auth),
            Self::Alarm(command) => of_alarm(command),
            Self::Follow(command) => command.operation.as_ref().map_or(Some(FOLLOW), of_follow),
            Self::Publish(_)
            | Self::ClusterVersion(_)
            | Self::PeerUrls(_)
            | Self::Members(_)
            | Self::Downgrade(_) => Some(ALWAYS),
        }
    }
}

/// Returns the version and level in which a v3 operation was added, or `None` if this release does not know the operation.
fn of_kv(operation: &KvOperation) -> Option<Since> {
    match operation {
        KvOperation::Txn(txn) if !knows_txn(txn) => None,
        operation if operation.has_put(&Put::is_bounded) => Some(BOUNDED_PUTS),
        KvOperation::Put(_)
        | KvOperation::Delete(_)
        | KvOperation::Txn(_)
        | KvOperation::Compact(_)
        | KvOperation::Sweep(_) => Some(ALWAYS),
    }
}

/// Returns whether this release knows every enum value in a transaction and its nested transactions.
fn knows_txn(txn: &Txn) -> bool {
    let knows_compare = |Compare { result, target, .. }: &Compare| {
        CompareResult::try_from(*result).is_ok() && CompareTarget::try_from(*target).is_ok()
    };
    let knows_operation = |operation: &TxnOpKind| match operation {
        TxnOpKind::Range(Range { sort_order, sort_target, .. }) => {
            SortOrder::try_from(*sort_order).is_ok() && SortTarget::try_from(*sort_target).is_ok()
        }
        // `Txn::operations` also yields the operations of nested transactions.
        TxnOpKind::Put(_) | TxnOpKind::Delete(_) | TxnOpKind::Txn(_) => true,
    };
    txn.comparisons().all(knows_compare) && txn.operations().all(knows_operation)
}

/// Returns the version and level in which a lease operation was added.
fn of_lease(operation: &LeaseOperation) -> Since {
    match operation {
        LeaseOperation::Grant(_)
        | LeaseOperation::Revoke(_)
        | LeaseOperation::Expire(_)
        | LeaseOperation::Checkpoint(_) => ALWAYS,
    }
}

/// Like [`of_lease`], but for an operation on the v2 tree.
fn of_tree(operation: &TreeOperation) -> Since {
    match operation {
        TreeOperation::Set(_)
        | TreeOperation::Create(_)
        | TreeOperation::Update(_)
        | TreeOperation::CompareAndSwap(_)
        | TreeOperation::CompareAndDelete(_)
        | TreeOperation::Delete(_)
        | TreeOperation::Expire(_) => ALWAYS,
    }
}

/// Like [`of_kv`], but for an operation on users and roles.
fn of_auth(operation: &AuthOperation) -> Option<Since> {
    match operation {
        AuthOperation::RoleGrant(grant) => {
            let permission = grant.permission.as_ref();
            let is_known = permission.is_none_or(Permission::has_known_type);
            is_known.then_some(ALWAYS)
        }
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
        | AuthOperation::RoleRevoke(_) => Some(ALWAYS),
        AuthOperation::Paths(command) => Some(command.operation.as_ref().map_or(ALWAYS, of_paths)),
    }
}

/// Like [`of_lease`], but for a v2 operation on users and roles.
fn of_paths(operation: &PathAuthOperation) -> Since {
    match operation {
        PathAuthOperation::Enable(_)
        | PathAuthOperation::Disable(_)
        | PathAuthOperation::UserCreate(_)
        | PathAuthOperation::UserUpdate(_)
        | PathAuthOperation::UserDelete(_)
        | PathAuthOperation::RoleCreate(_)
        | PathAuthOperation::RoleUpdate(_)
        | PathAuthOperation::RoleDelete(_) => ALWAYS,
    }
}

/// Like [`of_kv`], but for an alarm command.
fn of_alarm(command: &AlarmCommand) -> Option<Since> {
    AlarmType::try_from(command.kind).ok()?;
    Some(match AlarmAction::try_from(command.action).ok()? {
        AlarmAction::Activate | AlarmAction::Deactivate => ALWAYS,
        AlarmAction::HashState => HASH_STATE,
    })
}

/// Like [`of_kv`], but for an operation for following.
fn of_follow(operation: &FollowOperation) -> Option<Since> {
    match operation {
        FollowOperation::Users(users) => users.is_known().then_some(FOLLOW),
        FollowOperation::Revisions(_)
        | FollowOperation::Compact(_)
        | FollowOperation::Leases(_)
        | FollowOperation::CutOver(_)
        | FollowOperation::BeginCutOver(_)
        | FollowOperation::FenceAgain(_)
        | FollowOperation::SourceGone(_) => Some(FOLLOW),
    }
}

/// Returns the cluster version that the leader proposes: the lowest of `running` if it is above the current version, otherwise
/// `None`. The cluster version never falls. Without a current version, an unknown version (`None` in `running`) is treated as
/// [`FIRST`]. If `waits` is set, an unknown version results in `None` instead, because members of a new cluster may still
/// start.
pub fn next_cluster_version(
    known: &MemberRegistry,
    running: &[Option<Release>],
    waits: bool,
) -> Option<Release> {
    // `None` is less than any version.
    let lowest = running.iter().copied().min().flatten();
    match release(&known.cluster_version) {
        None if lowest.is_none() && waits => None,
        // etcd does the same while some members' versions are unknown.
        None => Some(lowest.unwrap_or(FIRST)),
        Some(now) => lowest.filter(|lowest| *lowest > now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::RoleGrant,
        follow::{FollowCommand, FollowUsers, UserRecord},
        kv::TxnOp,
    };

    const NEW: Option<Release> = Some((3, 6));
    const OLD: Option<Release> = Some((3, 5));

    fn txn(compare: Compare, operation: TxnOpKind) -> Txn {
        let failure = vec![TxnOp { kind: Some(operation) }];
        Txn { compare: vec![compare], failure, ..Txn::default() }
    }

    /// Returns commands whose enum values are `number`.
    fn commands(number: i32) -> Vec<(&'static str, Command)> {
        let (compare, range) = (Compare::default(), Range::default());
        let of_txn = |compare: Compare, range: Range| {
            Command::from(KvOperation::Txn(txn(compare, TxnOpKind::Range(range))))
        };
        let nested = txn(
            Compare { result: number, ..compare.clone() },
            TxnOpKind::Put(Put::default()),
        );
        let nested = txn(compare.clone(), TxnOpKind::Txn(nested));
        let permission = Permission { kind: number, ..Permission::default() };
        let grant = RoleGrant { permission: Some(permission), ..RoleGrant::default() };
        let alarm = AlarmCommand::default();
        vec![
            (
                "result",
                of_txn(Compare { result: number, ..compare.clone() }, range.clone()),
            ),
            (
                "target",
                of_txn(Compare { target: number, ..compare.clone() }, range.clone()),
            ),
            (
                "order",
                of_txn(
                    compare.clone(),
                    Range { sort_order: number, ..range.clone() },
                ),
            ),
            (
                "sort target",
                of_txn(compare, Range { sort_target: number, ..range }),
            ),
            ("nested result", KvOperation::Txn(nested).into()),
            ("permission", AuthOperation::RoleGrant(grant).into()),
            (
                "alarm action",
                Command::Alarm(AlarmCommand { action: number, ..alarm }),
            ),
            (
                "alarm type",
                Command::Alarm(AlarmCommand { kind: number, ..alarm }),
            ),
        ]
    }

    #[test]
    fn a_command_with_an_unknown_value_is_unknown() {
        let mut members = MemberRegistry { cluster_version: "3.7.0".into(), ..Default::default() };
        for (what, known) in commands(1) {
            assert!(
                known.is_known() && members.all_members_support(&known),
                "{what}"
            );
        }
        // No cluster version permits the command.
        members.cluster_version = "99.0.0".into();
        for number in [99, -1] {
            for (what, unknown) in commands(number) {
                assert!(!unknown.is_known(), "{what}: {number}");
                assert_eq!(unknown.since(), None, "{what}: {number}");
                assert!(!members.all_members_support(&unknown), "{what}: {number}");
            }
        }
    }

    #[test]
    fn a_command_needs_the_version_and_the_level_of_the_cluster() {
        let later = Since { version: (3, 6), level: 2 };
        for (version, raised_level, has) in [
            ("3.6.0", 2, true),
            ("3.7.0", 3, true),
            ("3.6.0", 0, false),
            ("3.5.0", 2, false),
            ("", 2, false),
        ] {
            let members = MemberRegistry {
                cluster_version: version.into(),
                raised_level,
                ..MemberRegistry::default()
            };
            assert_eq!(members.has(later), has, "{version:?} {raised_level}");
            assert!(members.has(ALWAYS), "{version:?} {raised_level}");
        }
    }

    #[test]
    fn records_of_users_with_unknown_fields_are_unknown() {
        let of_records = |records| {
            let users = FollowUsers { records };
            Command::Follow(FollowCommand { operation: Some(FollowOperation::Users(users)) })
        };
        let role = |value: &[u8]| UserRecord { key: b"ra".to_vec(), value: value.to_vec() };
        assert!(of_records(vec![role(&[])]).is_known());
        // The record has field 1000. A member that ignored the field would have different users than a member of the later
        // release.
        assert!(!of_records(vec![role(&[]), role(&[0xc0, 0x3e, 1])]).is_known());
        // All members refuse a damaged record in the same way.
        assert!(of_records(vec![role(&[0xff])]).is_known());
    }

    #[test]
    fn the_version_follows_the_releases_of_the_members() {
        for (version, running, waits, decided) in [
            // A new cluster has the lowest version of its members.
            ("", &[NEW, NEW][..], true, NEW),
            ("", &[NEW, OLD, NEW], false, OLD),
            ("", &[NEW, None], true, None),
            ("", &[NEW, None], false, Some(FIRST)),
            // The cluster version rises when all members run a later version and never falls.
            ("3.5.0", &[NEW, NEW], false, NEW),
            ("3.5.0", &[NEW, OLD], false, None),
            ("3.5.0", &[NEW, None], false, None),
            ("3.6.0", &[OLD], false, None),
        ] {
            let known =
                MemberRegistry { cluster_version: version.into(), ..MemberRegistry::default() };
            let found = next_cluster_version(&known, running, waits);
            assert_eq!(found, decided, "{version:?}: {running:?}");
        }
    }
}

//! What defines a run: the seed, the number of members and the known bug that is switched on.

use std::fmt;

use witan_replica::faults::InjectedBug;

use crate::rng::Rng;

/// Virtual time between two ticks of a member. A unit stands for 10 ms, a tick for 100 ms.
pub const UNITS_PER_TICK: u64 = 10;

/// One seed of so many has members whose commands take long, but for those of one key or two: if all did, they
/// could not keep up with clients.
const LONG_COMMANDS_SEEDS: u64 = 4;

/// One seed of so many has users and roles.
const USERS_SEEDS: u64 = 5;

/// One seed of so many has members of two releases.
const RELEASES_SEEDS: u64 = 7;

/// One seed of so many has members that take their leader for gone by mistake.
const MISTAKES_SEEDS: u64 = 4;

/// Two seeds of so many have questions about what a lease has left, and notes of it each second.
const LEASE_QUESTIONS_SEEDS: u64 = 5;

/// One seed of so many has members that replace their state by the leader's.
const REBUILDS_SEEDS: u64 = 8;

/// One seed of so many has disks that fail to sync.
const FAILED_SYNCS_SEEDS: u64 = 13;

/// One seed of so many has the request timeout of production.
const TIMEOUTS_SEEDS: u64 = 11;

/// Of a hundred seeds, so many have clusters that lose most of their members for good.
const DISASTERS_PERCENT: u64 = 12;

/// Ticks after which a client gives up, in production and in the other runs, where it hardly ever does.
const REQUEST_TICKS: [u64; 2] = [70, 1500];

/// One run, complete: the same value gives the same trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Decides everything that chance decides.
    pub seed: u64,
    /// Number of members, 1 to 7.
    pub members: usize,
    /// Known bug to run with.
    pub bug: Bug,
}

impl Scenario {
    /// The scenario of `seed`; without a wish the seed chooses among 1, 3 and 5 members.
    pub fn new(seed: u64, members: Option<usize>, bug: Bug) -> Self {
        let members = members.unwrap_or([3, 1, 5][(seed % 3) as usize]);
        Self { seed, members, bug }
    }

    /// Commands of more keys than this take long, if any do.
    pub(crate) fn long_command_keys(&self) -> Option<u64> {
        let some = self.seed.is_multiple_of(LONG_COMMANDS_SEEDS);
        some.then_some((self.seed / LONG_COMMANDS_SEEDS % 3).max(1))
    }

    /// Whether writes have callers with permissions.
    pub(crate) fn has_users(&self) -> bool {
        self.seed % USERS_SEEDS == 1
    }

    /// Whether members run two releases, and the leader decides the version of the cluster.
    pub(crate) fn has_releases(&self) -> bool {
        self.seed % RELEASES_SEEDS == 2
    }

    /// Whether it may have what follows: runs with two releases have enough of their own.
    fn is_of_one_release(&self) -> bool {
        !self.has_releases()
    }

    /// Whether members take their leader for gone by mistake.
    pub(crate) fn has_mistakes(&self) -> bool {
        self.is_of_one_release() && self.seed % MISTAKES_SEEDS == 2
    }

    /// Whether clients ask for what a lease has left, and leaders note it each second.
    pub(crate) fn has_lease_questions(&self) -> bool {
        self.is_of_one_release() && matches!(self.seed % LEASE_QUESTIONS_SEEDS, 2 | 3)
    }

    /// Whether members replace their state by the leader's.
    pub(crate) fn has_rebuilds(&self) -> bool {
        self.is_of_one_release() && self.seed % REBUILDS_SEEDS == 1
    }

    /// Whether disks fail to sync.
    pub(crate) fn has_failed_syncs(&self) -> bool {
        self.is_of_one_release() && self.seed % FAILED_SYNCS_SEEDS == 7
    }

    /// What chance decides about the loss of most members.
    pub(crate) fn fate(&self) -> Rng {
        Rng::new(self.seed, 6)
    }

    /// Whether the cluster loses most of its members for good.
    pub(crate) fn has_disaster(&self) -> bool {
        self.is_of_one_release() && self.fate().chance(DISASTERS_PERCENT)
    }

    /// Ticks after which a client gives up.
    pub(crate) fn request_ticks(&self) -> u64 {
        let [production, long] = REQUEST_TICKS;
        match self.is_of_one_release() && self.seed % TIMEOUTS_SEEDS == 3 {
            true => production,
            false => long,
        }
    }

    /// The command that runs exactly this again.
    pub fn reproduce(&self) -> String {
        let bug = match self.bug {
            Bug::None => String::new(),
            Bug::Core(_)
            | Bug::CheckpointNotAtomic
            | Bug::CutAboveDurable
            | Bug::SyncLies
            | Bug::SyncErrorIgnored => {
                format!(" --fault {}", self.bug)
            }
        };
        format!(
            "cargo run -p witan-sim -- --reproduce {} --members {}{bug}",
            self.seed, self.members
        )
    }
}

/// A known bug, to show that the simulator finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bug {
    /// The code as it is meant.
    #[default]
    None,
    /// One inside the core.
    Core(InjectedBug),
    /// The simulated disk writes a checkpoint's position ahead of the rest of its batch.
    CheckpointNotAtomic,
    /// The simulated shell reports a checkpoint as durable when it is only written.
    CutAboveDurable,
    /// The simulated disk forgets to sync.
    SyncLies,
    /// The simulated shell goes on after a sync that failed: the next one does not bring back what was lost.
    SyncErrorIgnored,
}

/// Every bug and the name by which `--fault` calls it.
pub const BUGS: [(&str, Bug); 34] = [
    (
        "ack-before-persist",
        Bug::Core(InjectedBug::AckBeforePersist),
    ),
    ("stale-read", Bug::Core(InjectedBug::StaleRead)),
    (
        "vote-not-persisted",
        Bug::Core(InjectedBug::VoteNotPersisted),
    ),
    ("lost-read-retry", Bug::Core(InjectedBug::LostReadRetry)),
    ("cut-too-high", Bug::Core(InjectedBug::CutTooHigh)),
    ("position-ahead", Bug::Core(InjectedBug::PositionAhead)),
    ("position-behind", Bug::Core(InjectedBug::PositionBehind)),
    ("renewal-lost", Bug::Core(InjectedBug::RenewalLost)),
    (
        "renewal-unrecorded",
        Bug::Core(InjectedBug::RenewalUnrecorded),
    ),
    (
        "old-leader-expires",
        Bug::Core(InjectedBug::OldLeaderExpires),
    ),
    ("proposed-twice", Bug::Core(InjectedBug::ProposedTwice)),
    ("taken-twice", Bug::Core(InjectedBug::TakenTwice)),
    ("removed-counts", Bug::Core(InjectedBug::RemovedCounts)),
    (
        "change-uncommitted",
        Bug::Core(InjectedBug::ChangeUncommitted),
    ),
    ("snapshot-members", Bug::Core(InjectedBug::SnapshotMembers)),
    ("snapshot-users", Bug::Core(InjectedBug::SnapshotUsers)),
    ("stale-caller", Bug::Core(InjectedBug::StaleCaller)),
    ("command-too-early", Bug::Core(InjectedBug::CommandTooEarly)),
    (
        "version-unapplied",
        Bug::Core(InjectedBug::VersionUnapplied),
    ),
    ("update-promotes", Bug::Core(InjectedBug::UpdatePromotes)),
    ("change-not-synced", Bug::Core(InjectedBug::ChangeNotSynced)),
    ("leader-leaves-one", Bug::Core(InjectedBug::LeaderLeavesOne)),
    ("leader-ignored", Bug::Core(InjectedBug::LeaderIgnored)),
    (
        "lease-state-behind",
        Bug::Core(InjectedBug::LeaseStateBehind),
    ),
    ("note-on-its-way", Bug::Core(InjectedBug::NoteOnItsWay)),
    (
        "rebuild-asked-once",
        Bug::Core(InjectedBug::RebuildAskedOnce),
    ),
    ("watch-compacted", Bug::Core(InjectedBug::WatchCompacted)),
    (
        "forced-without-tail",
        Bug::Core(InjectedBug::ForcedWithoutTail),
    ),
    (
        "forced-up-to-change",
        Bug::Core(InjectedBug::ForcedUpToChange),
    ),
    (
        "forced-with-removal",
        Bug::Core(InjectedBug::ForcedWithRemoval),
    ),
    ("checkpoint-not-atomic", Bug::CheckpointNotAtomic),
    ("cut-above-durable", Bug::CutAboveDurable),
    ("sync-lies", Bug::SyncLies),
    ("sync-error-ignored", Bug::SyncErrorIgnored),
];

impl Bug {
    /// The bug called `name`.
    pub fn named(name: &str) -> Option<Self> {
        BUGS.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, bug)| *bug)
    }

    /// What the core is told.
    pub(crate) fn in_core(self) -> Option<InjectedBug> {
        match self {
            Bug::Core(fault) => Some(fault),
            Bug::None
            | Bug::CheckpointNotAtomic
            | Bug::CutAboveDurable
            | Bug::SyncLies
            | Bug::SyncErrorIgnored => None,
        }
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = BUGS
            .iter()
            .find(|(_, bug)| bug == self)
            .map_or("none", |(name, _)| name);
        f.write_str(name)
    }
}

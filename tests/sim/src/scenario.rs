//! A run is defined by its seed and its number of members.

use crate::{rng::Rng, world::UNIT_NS};

/// Virtual time between two ticks of a member. A unit stands for 10 ms, a tick for 100 ms.
pub const UNITS_PER_TICK: u64 = 10;

/// One seed of so many has members whose commands take long, but for those of one key or two: if all did, they
/// could not keep up with clients.
const LONG_COMMANDS_SEEDS: u64 = 4;

/// One seed of so many has users and roles.
const USERS_SEEDS: u64 = 5;

/// One seed of so many has members of two releases.
const RELEASES_SEEDS: u64 = 7;

/// One seed of so many has members that believe by mistake that their leader has ended.
const MISTAKES_SEEDS: u64 = 4;

/// Two seeds of so many have questions about what a lease has left, and notes of it each second.
const LEASE_QUESTIONS_SEEDS: u64 = 5;

/// One seed of so many has members that replace their state by the leader's.
const REBUILDS_SEEDS: u64 = 8;

/// One in this many seeds copies disks.
const COPIES_SEEDS: u64 = 7;

/// In one of this many such seeds, nobody recognizes the copies.
const UNRECOGNIZED_COPIES_SEEDS: u64 = 4;

/// In one of this many seeds, the first states of members differ.
const ADOPTED_SEEDS: u64 = 10;

/// One seed of so many has disks that fail to sync.
const FAILED_SYNCS_SEEDS: u64 = 13;

/// One seed of so many has members that hold proposals for those in flight.
const HOLDING_SEEDS: u64 = 3;

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
}

impl Scenario {
    /// The scenario of `seed`; without a wish the seed chooses among 1, 3 and 5 members.
    pub fn new(seed: u64, members: Option<usize>) -> Self {
        let members = members.unwrap_or([3, 1, 5][(seed % 3) as usize]);
        Self { seed, members }
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

    /// Whether members believe by mistake that their leader has ended.
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

    /// Whether members start from copies of their disks. Operator mistakes and rebuilds happen in other runs.
    pub(crate) fn has_copies(&self) -> bool {
        let other = self.has_mistakes() || self.has_rebuilds() || self.has_disaster();
        self.is_of_one_release() && self.seed % COPIES_SEEDS == 5 && !other
    }

    /// Whether the disk or the state of a member undergoes anything but a crash.
    pub(crate) fn has_mishaps(&self) -> bool {
        self.has_mistakes() || self.has_rebuilds() || self.has_copies()
    }

    /// Whether older copies are unrecognizable, like snapshots of a block device.
    pub(crate) fn has_unrecognized_copies(&self) -> bool {
        self.has_copies() && self.seed / COPIES_SEEDS % UNRECOGNIZED_COPIES_SEEDS == 1
    }

    /// Whether the members were adopted from etcd, with states that differ.
    pub(crate) fn is_adopted(&self) -> bool {
        self.is_of_one_release() && self.seed % ADOPTED_SEEDS == 7
    }

    /// Whether disks fail to sync.
    pub(crate) fn has_failed_syncs(&self) -> bool {
        self.is_of_one_release() && self.seed % FAILED_SYNCS_SEEDS == 7
    }

    /// The randomness for the loss of most members.
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

    /// How long a sync is taken to last, by which members hold proposals: for some runs as long as they may be held.
    pub(crate) fn sync_cost_ns(&self) -> u64 {
        match self.seed % HOLDING_SEEDS {
            1 => UNIT_NS as u64,
            _ => 0,
        }
    }

    /// The command that runs exactly this again.
    pub fn reproduce(&self) -> String {
        format!(
            "cargo run -p witan-sim -- --reproduce {} --members {}",
            self.seed, self.members
        )
    }
}

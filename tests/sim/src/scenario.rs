//! The definition of a run by its seed and its number of members.

use crate::{rng::Rng, world::UNIT_NS};

/// Virtual time between two ticks of a member. A unit is 10 ms, a tick is 100 ms.
pub const UNITS_PER_TICK: u64 = 10;

/// One in this many seeds has long commands. The host executes all commands on more than one or two keys, and some of them take
/// a long time.
const LONG_COMMANDS_SEEDS: u64 = 4;

/// One in this many seeds has users and roles.
const USERS_SEEDS: u64 = 5;

/// One in this many seeds has members of two releases.
const RELEASES_SEEDS: u64 = 7;

/// One in this many seeds has members that wrongly believe that their leader's process has ended.
const MISTAKES_SEEDS: u64 = 4;

/// Two in this many seeds have clients that query the remaining time of leases, and leaders that checkpoint it every second.
const LEASE_QUESTIONS_SEEDS: u64 = 5;

/// One in this many seeds has members that replace their state with the leader's state.
const REBUILDS_SEEDS: u64 = 8;

/// One in this many seeds has copied disks.
const COPIES_SEEDS: u64 = 7;

/// One in this many such seeds has copies that are not recognized.
const UNRECOGNIZED_COPIES_SEEDS: u64 = 4;

/// The seeds with copies that are recognized are this far apart. The seeds between them have mistakes or rebuilds.
const RECOGNIZED_COPIES_STEP: u64 = COPIES_SEEDS * REBUILDS_SEEDS;

/// One in this many seeds has members with different initial states.
const ADOPTED_SEEDS: u64 = 10;

/// One in this many seeds has disks that fail to sync.
const FAILED_SYNCS_SEEDS: u64 = 13;

/// One in this many seeds has members that hold proposals while others are in flight.
const HOLDING_SEEDS: u64 = 3;

/// One in this many seeds has the request timeouts of production.
const TIMEOUTS_SEEDS: u64 = 11;

/// One in this many seeds has requests that read values while they are applied.
const VALUES_SEEDS: u64 = 11;

/// One in this many seeds has records of blocks that become damaged.
const DAMAGE_SEEDS: u64 = 13;

/// The chances, in percent, that members evict values.
const COLD_PERCENTS: [u64; 3] = [0, 50, 100];

/// Percentage of seeds in which the cluster permanently loses most of its members.
const DISASTERS_PERCENT: u64 = 12;

/// Number of ticks after which a client gives up: with the timeouts of production, and in all other runs.
const REQUEST_TICKS: [u64; 2] = [70, 1500];

/// A complete definition of a run. The same value produces the same trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Seed of all random decisions.
    pub seed: u64,
    /// Number of members, 1 to 7.
    pub members: usize,
}

impl Scenario {
    /// Creates the scenario of `seed`. Without `members`, the seed chooses among 1, 3 and 5 members.
    pub fn new(seed: u64, members: Option<usize>) -> Self {
        let members = members.unwrap_or([3, 1, 5][(seed % 3) as usize]);
        Self { seed, members }
    }

    /// Returns the number of keys above which the host executes a command, or `None` for the limit of production.
    pub(crate) fn long_command_keys(&self) -> Option<u64> {
        let some = self.seed.is_multiple_of(LONG_COMMANDS_SEEDS);
        some.then_some((self.seed / LONG_COMMANDS_SEEDS % 3).max(1))
    }

    /// Returns whether writes have callers with permissions.
    pub(crate) fn has_users(&self) -> bool {
        self.seed % USERS_SEEDS == 1
    }

    /// Returns whether clients send requests that read values while they are applied.
    pub(crate) fn has_values(&self) -> bool {
        self.seed % VALUES_SEEDS == 9 || self.has_damage()
    }

    /// Returns whether records of blocks become damaged.
    pub(crate) fn has_damage(&self) -> bool {
        self.seed % DAMAGE_SEEDS == 11
    }

    /// Returns the chance, in percent, that a member evicts the values that are on its disk before it uses its state. Members
    /// of a cluster have different chances, so that their results are compared.
    pub(crate) fn cold_percent(&self, place: usize) -> u64 {
        // The remainder of the seed itself chooses the number of members.
        COLD_PERCENTS[(self.seed / 3 + place as u64) as usize % COLD_PERCENTS.len()]
    }

    /// Returns whether a member counts the values that commands may read from disk. This does not depend on
    /// [`Self::cold_percent`], so that a run with other chances is the same.
    pub(crate) fn counts_values(&self, place: usize) -> bool {
        self.has_values() && (self.seed / 3 + place as u64).is_multiple_of(2)
    }

    /// Returns whether members run two releases and the leader decides the cluster version. Of the features below, such runs
    /// can have only held proposals.
    pub(crate) fn has_releases(&self) -> bool {
        self.seed % RELEASES_SEEDS == 2
    }

    /// Returns whether members wrongly believe that their leader's process has ended.
    pub(crate) fn has_mistakes(&self) -> bool {
        !self.has_releases() && self.seed % MISTAKES_SEEDS == 2
    }

    /// Returns whether clients query the remaining time of leases and leaders checkpoint it every second.
    pub(crate) fn has_lease_questions(&self) -> bool {
        !self.has_releases() && matches!(self.seed % LEASE_QUESTIONS_SEEDS, 2 | 3)
    }

    /// Returns whether members replace their state with the leader's state.
    pub(crate) fn has_rebuilds(&self) -> bool {
        !self.has_releases() && self.seed % REBUILDS_SEEDS == 1
    }

    /// Returns whether members start from copies of their disks. Mistakes, rebuilds and disasters happen in other runs.
    pub(crate) fn has_copies(&self) -> bool {
        let other = self.has_mistakes() || self.has_rebuilds() || self.has_disaster();
        !self.has_releases() && self.seed % COPIES_SEEDS == 5 && !other
    }

    /// Returns whether mishaps are scheduled in addition to faults: mistakes, rebuilds or copied disks.
    pub(crate) fn has_mishaps(&self) -> bool {
        self.has_mistakes() || self.has_rebuilds() || self.has_copies()
    }

    /// Returns whether older copies are unrecognizable, like snapshots of a block device.
    pub(crate) fn has_unrecognized_copies(&self) -> bool {
        self.has_copies() && self.seed / COPIES_SEEDS % UNRECOGNIZED_COPIES_SEEDS == 1
    }

    /// Returns whether members start from empty disks instead of copies.
    pub(crate) fn has_emptied_disks(&self) -> bool {
        self.has_copies() && self.seed / COPIES_SEEDS % UNRECOGNIZED_COPIES_SEEDS == 2
    }

    /// Returns whether all copies are up to date and the membership changes.
    pub(crate) fn has_moves_only(&self) -> bool {
        let is_recognized = !self.has_unrecognized_copies() && !self.has_emptied_disks();
        let number = self.seed / RECOGNIZED_COPIES_STEP;
        self.has_copies() && is_recognized && matches!(number % 7, 3..=5)
    }

    /// Returns whether the members were adopted from etcd with different states.
    pub(crate) fn is_adopted(&self) -> bool {
        !self.has_releases() && self.seed % ADOPTED_SEEDS == 7
    }

    pub(crate) fn has_failed_syncs(&self) -> bool {
        !self.has_releases() && self.seed % FAILED_SYNCS_SEEDS == 7
    }

    /// Returns the random generator for the loss of most members.
    pub(crate) fn fate(&self) -> Rng {
        Rng::new(self.seed, 6)
    }

    /// Returns whether the cluster permanently loses most of its members.
    pub(crate) fn has_disaster(&self) -> bool {
        !self.has_releases() && self.fate().chance(DISASTERS_PERCENT)
    }

    /// Returns the number of ticks after which a client gives up.
    pub(crate) fn request_ticks(&self) -> u64 {
        let [production, long] = REQUEST_TICKS;
        match !self.has_releases() && self.seed % TIMEOUTS_SEEDS == 3 {
            true => production,
            false => long,
        }
    }

    /// Returns the assumed duration of a sync in nanoseconds. It determines how long members hold proposals. In some runs it
    /// is the longest permitted duration.
    pub(crate) fn sync_cost_ns(&self) -> u64 {
        match self.seed % HOLDING_SEEDS {
            1 => UNIT_NS as u64,
            _ => 0,
        }
    }

    /// Returns the command that repeats this run.
    pub fn reproduce(&self) -> String {
        format!(
            "cargo run -p witan-sim -- --reproduce {} --members {}",
            self.seed, self.members
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_copies_has_seeds() {
        let kinds = [
            Scenario::has_unrecognized_copies,
            Scenario::has_emptied_disks,
            Scenario::has_moves_only,
            |scenario: &Scenario| scenario.has_copies() && !scenario.has_moves_only(),
        ];
        for kind in kinds {
            let mut scenarios = (0..2000).map(|seed| Scenario::new(seed, None));
            assert!(scenarios.any(|scenario| kind(&scenario)));
        }
    }
}

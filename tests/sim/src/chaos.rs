//! The parameters (`Climate`) and the faults of a run, all drawn from the seed. Each run emphasizes something different, for
//! example packet loss, power cuts or elections.

use std::collections::BTreeSet;

use witan_replica::replica::Role;

use crate::{
    member::Member,
    net::Net,
    rng::Rng,
    scenario::{Scenario, UNITS_PER_TICK},
    workload::Mix,
    world::{Event, Phase, World},
};

/// Percentage of runs that stress elections.
const STORM_PERCENT: u64 = 25;

/// Runs whose draw is at least `STORM_PERCENT` and below this number make members fall behind.
const LAG_END_PERCENT: u64 = 40;

/// Runs whose draw is at least `LAG_END_PERCENT` and below this number stress leases.
const LEASES_END_PERCENT: u64 = 55;

/// Runs whose draw is at least `LEASES_END_PERCENT` and below this number stress membership changes.
const CHANGES_END_PERCENT: u64 = 70;

/// Percentage of requests that read values while they are applied, in the seeds with such requests.
const VALUES_PERCENT: u64 = 20;

/// Longest pause of a process. It exceeds the TTL of most leases.
const PAUSE_TICKS_MAX: u64 = 150;

/// Longest time for which a disk stays full.
const FULL_TICKS_MAX: u64 = 30;

/// Largest error of a wall clock in seconds.
const JUMP_S_MAX: u64 = 20;

/// The parameters of a run. Times are in units unless the name ends in `ticks`.
#[derive(Clone, Debug)]
pub(crate) struct Climate {
    /// Length of the chaos phase.
    pub(crate) chaos_units: u64,
    /// Election timeout of all members.
    pub(crate) election_ticks: usize,
    /// Whether members use pre-votes.
    pub(crate) pre_vote: bool,
    /// Longest pause of a client between two requests.
    pub(crate) client_pause: u64,
    /// Longest pause between two faults.
    pub(crate) chaos_pause: u64,
    /// Longest time for which a member stays down.
    pub(crate) down: u64,
    /// Longest pause between two checkpoints of a member.
    pub(crate) checkpoint_pause: u64,
    /// Longest time that one step of a checkpoint takes.
    pub(crate) checkpoint_step: u64,
    /// Longest network delay.
    pub(crate) delay: u64,
    /// Highest percentage of lost packets.
    pub(crate) drop_percent: u64,
    /// Percentage of sends after which the member loses power immediately.
    pub(crate) sent_crash_percent: u64,
    /// Percentage of inputs that wait for further inputs before a turn.
    pub(crate) batch_percent: u64,
    /// Longest wait of such an input, as long as the delay of a slow disk.
    pub(crate) gather: u64,
    /// Number of bulk messages that a member processes per round.
    pub(crate) bulk_per_round: usize,
    /// Percentage of log syncs that are slow.
    pub(crate) stall_percent: u64,
    /// Longest time of a slow sync.
    pub(crate) stall: u64,
    /// Longest pause of a client between two requests in the serving phase.
    pub(crate) serving_pause: u64,
    /// Whether the membership stays unchanged.
    pub(crate) stable_membership: bool,
    /// Longest pause of the operator between two checks.
    pub(crate) operator_pause: u64,
    /// Number of entries that a leader keeps in memory for lagging members.
    pub(crate) log_entries: u64,
    /// Maximum number of pieces of a snapshot.
    pub(crate) snapshot_pieces: u64,
    /// Percentage of pieces that break their stream.
    pub(crate) break_percent: u64,
    /// Percentage of removals after which all other members lose power when the removed member exits.
    pub(crate) end_crash_percent: u64,
    /// Whether a member stays down until it needs a snapshot.
    pub(crate) lags: bool,
    pub(crate) mix: Mix,
}

impl Climate {
    /// Draws the parameters at random.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let climate = Self::mixed(rng);
        match rng.range(0, 99) {
            0..STORM_PERCENT => climate.of_elections(),
            STORM_PERCENT..LAG_END_PERCENT => climate.of_laggards(),
            LAG_END_PERCENT..LEASES_END_PERCENT => climate.of_leases(),
            LEASES_END_PERCENT..CHANGES_END_PERCENT => climate.of_changes(),
            _ => climate,
        }
    }

    /// Returns parameters with packets that are slower than the election timeout, and members that restart immediately after
    /// a crash. Votes of one term therefore cross, and a candidate may repeat its request to a voter that lost its vote in a
    /// crash.
    fn of_elections(self) -> Self {
        Self {
            election_ticks: 4,
            pre_vote: false,
            chaos_pause: 80,
            down: 3,
            delay: 5 * UNITS_PER_TICK,
            drop_percent: 0,
            sent_crash_percent: 15,
            batch_percent: 0,
            ..self
        }
    }

    /// Returns parameters with slow disks and with members that lag for a long time while the others cut their logs. Several
    /// leaders therefore send snapshots to one member at the same time.
    fn of_laggards(self) -> Self {
        Self {
            client_pause: 20,
            chaos_pause: 200,
            checkpoint_pause: 40,
            checkpoint_step: 2,
            delay: 4 * UNITS_PER_TICK,
            batch_percent: 60,
            gather: 3 * UNITS_PER_TICK,
            election_ticks: 10,
            sent_crash_percent: 0,
            log_entries: 10,
            stable_membership: true,
            lags: true,
            ..self
        }
    }

    /// Returns parameters with which clients renew leases across leader changes, even at leaders that have been replaced.
    fn of_leases(self) -> Self {
        Self {
            chaos_units: 600 * UNITS_PER_TICK,
            client_pause: 40,
            chaos_pause: 200,
            down: 3,
            election_ticks: 4,
            drop_percent: 0,
            sent_crash_percent: 0,
            stable_membership: true,
            operator_pause: 100,
            mix: Mix {
                leases_percent: 30,
                keep_alive_percent: 30,
                lease_s_min: 10,
                ..self.mix
            },
            ..self
        }
    }

    /// Returns parameters for small clusters whose members change all the time.
    fn of_changes(self) -> Self {
        Self {
            client_pause: 100,
            down: 60,
            delay: 10,
            sent_crash_percent: 0,
            stable_membership: false,
            operator_pause: 20,
            end_crash_percent: 50,
            ..self
        }
    }

    /// Draws parameters that stress no particular part.
    fn mixed(rng: &mut Rng) -> Self {
        let election_ticks = *rng.pick(&[4, 5, 10]);
        Self {
            chaos_units: rng.range(150, 400) * UNITS_PER_TICK,
            election_ticks,
            pre_vote: rng.chance(50),
            client_pause: *rng.pick(&[20, 60, 150]),
            chaos_pause: *rng.pick(&[20, 80, 300]),
            down: *rng.pick(&[3, 60, 300]),
            checkpoint_pause: *rng.pick(&[40, 200, 800]),
            checkpoint_step: *rng.pick(&[2, 20, 80]),
            delay: *rng.pick(&[2, 10, 40]),
            drop_percent: *rng.pick(&[0, 5, 30]),
            sent_crash_percent: *rng.pick(&[0, 0, 1]),
            batch_percent: *rng.pick(&[0, 30, 80]),
            gather: *rng.pick(&[2, 4, 30]),
            bulk_per_round: *rng.pick(&[2, 4, 1000]),
            stall_percent: *rng.pick(&[0, 0, 1, 5]),
            stall: *rng.pick(&[5, 40, 30 * UNITS_PER_TICK]),
            serving_pause: *rng.pick(&[3, 20, 150]),
            stable_membership: rng.chance(40),
            operator_pause: *rng.pick(&[40, 120, 400]),
            log_entries: *rng.pick(&[5, 20, 60]),
            snapshot_pieces: *rng.pick(&[1, 4, 12]),
            break_percent: *rng.pick(&[0, 10, 40]),
            end_crash_percent: *rng.pick(&[0, 10, 50]),
            lags: false,
            mix: Mix {
                leases_percent: 0,
                keep_alive_percent: *rng.pick(&[2, 8, 20]),
                lease_s_min: 1,
                values_percent: 0,
            },
        }
    }

    /// Returns the same parameters with requests that read values, if the seed has them.
    pub(crate) fn with_values(mut self, scenario: &Scenario) -> Self {
        if scenario.has_values() {
            self.mix.values_percent = VALUES_PERCENT;
        }
        self
    }
}

impl World {
    /// Injects one fault and schedules the next one. Does not inject a fault while a member is left behind.
    pub(crate) fn inject_fault(&mut self) {
        let pause = self.chance.range(1, self.climate.chaos_pause);
        self.after(pause, Event::InjectFault);
        if self.members.iter().any(|member| member.left_behind) {
            // The other members must keep running, so that this member falls behind.
            return;
        }
        match self.chance.range(0, 99) {
            0..=32 => self.arm_crash(),
            33..=36 => {
                for place in 0..self.members.len() {
                    self.crash(place);
                }
            }
            37..=39 => self.fill_disk(),
            40..=47 => self.pause(),
            48..=58 => self.partition(),
            59..=62 => self.jump_clock(),
            63..=79 => {
                self.trace.line(self.now, || String::from("all links open"));
                self.net.cut = BTreeSet::new();
            }
            _ => self.change_weather(),
        }
    }

    /// Takes down a member other than the leader, until the others have cut their logs above the end of its log. Ends all other
    /// faults. Does nothing with fewer than three members.
    pub(crate) fn take_down_long(&mut self) {
        let leads = |member: &Member| member.status.role == Role::Leader;
        let candidates: Vec<usize> = (0..self.members.len())
            .filter(|place| !leads(&self.members[*place]))
            .collect();
        if self.members.len() < 3 || candidates.is_empty() {
            return;
        }
        let place = *self.chance.pick(&candidates);
        self.members[place].left_behind = true;
        self.crash(place);
        self.net = Net::calm();
        for member in &mut self.members {
            member.verbs_left = None;
            member.paused_until = 0;
            member.full_until = 0;
        }
    }

    /// Returns whether a member stays down. It does so while another member is down, or has a log that still reaches back to
    /// the end of this member's log. Any of the others may become the leader. Once the member needs a snapshot or the faults
    /// stop, clears its `left_behind`.
    pub(crate) fn stays_down(&mut self, place: usize) -> bool {
        let last = self.disks[place].span().1;
        let needs_snapshot = self
            .present()
            .filter(|(id, _)| *id != place as u64 + 1)
            .all(|(_, member)| member.replica.is_some() && member.log_begins > last + 1);
        let member = &mut self.members[place];
        member.left_behind &= !needs_snapshot && self.phase == Phase::Chaos;
        member.left_behind
    }

    /// Crashes a random member, now or during one of its next host calls.
    fn arm_crash(&mut self) {
        let place = self.chance.below(self.members.len());
        if self.chance.chance(25) {
            self.crash(place);
        } else {
            let verbs = self.chance.range(0, 9);
            self.members[place].verbs_left = Some(verbs);
        }
    }

    /// Pauses a process, preferably the leader's, at most until the faults stop. The process then continues as if nothing had
    /// happened.
    fn pause(&mut self) {
        let leader = self
            .members
            .iter()
            .position(|m| m.status.role == Role::Leader);
        let place = match leader.filter(|_| self.chance.chance(60)) {
            Some(leader) => leader,
            None => self.chance.below(self.members.len()),
        };
        let length = self.chance.range(1, PAUSE_TICKS_MAX * UNITS_PER_TICK);
        let until = (self.now + length).min(self.climate.chaos_units);
        self.members[place].paused_until = until;
        self.trace.line(self.now, || {
            format!("m{} is stopped until {until}", place + 1)
        });
    }

    /// Makes the disk of a random member full for a random time.
    fn fill_disk(&mut self) {
        let place = self.chance.below(self.members.len());
        let until = self.now + self.chance.range(1, FULL_TICKS_MAX * UNITS_PER_TICK);
        self.counts.full_disks += 1;
        self.members[place].full_until = until;
        self.trace.line(self.now, || {
            format!("the disk of m{} is full until {until}", place + 1)
        });
    }

    /// Sets a random member's wall clock to a wrong time.
    fn jump_clock(&mut self) {
        let place = self.chance.below(self.members.len());
        let far = self.chance.range(0, 2 * JUMP_S_MAX) as i64 - JUMP_S_MAX as i64;
        self.counts.clock_jumps += 1;
        self.set_clock(place, far * 1_000_000_000);
        self.trace.line(self.now, || {
            format!("the clock of m{} is wrong by {far} s", place + 1)
        });
    }

    /// Returns whether a member that has just sent a message loses power immediately.
    pub(crate) fn crashes_after_send(&mut self) -> bool {
        let percent = self.climate.sent_crash_percent;
        self.phase == Phase::Chaos && percent > 0 && self.chance.chance(percent)
    }

    /// Cuts the links between a random group of members and the others, in one or both directions.
    fn partition(&mut self) {
        let count = self.members.len() as u64;
        if count == 1 {
            return;
        }
        let mut group = BTreeSet::from([self.chance.range(1, count)]);
        for id in 1..=count {
            if self.chance.chance(30) {
                group.insert(id);
            }
        }
        let one_way = self.chance.chance(30);
        self.trace.line(self.now, || {
            format!(
                "{group:?} cut off{}",
                if one_way { " (cannot be heard)" } else { "" }
            )
        });
        self.net.split(count, &group, one_way);
    }

    /// Draws new rates of loss and duplication and a new delay for the network.
    fn change_weather(&mut self) {
        self.net.drop_percent = self.chance.range(0, self.climate.drop_percent);
        self.net.duplicate_percent = self.chance.range(0, 10);
        self.net.delay_max = self.chance.range(1, self.climate.delay);
        let Net { drop_percent, duplicate_percent, delay_max, .. } = self.net;
        self.trace.line(self.now, || {
            format!(
                "network: {drop_percent}% lost, {duplicate_percent}% duplicated, \
                 delayed by up to {delay_max}"
            )
        });
    }
}

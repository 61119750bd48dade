//! The world: virtual time, the members with their disks, the network and the clients.
//!
//! Time advances from one event to the next in a single ordered queue.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use witan_machine::{kv::Kv, member::MemberRegistry, revision::Revision, view::View};
use witan_replica::{
    long_command::LongCommand,
    replica::{PeerEvent, Role, Status, genesis},
};

use crate::{
    adopted,
    chaos::Climate,
    checkpoints::CheckpointStep,
    counts::Counts,
    data_directory::{Directories, MakeDirectory},
    disaster::Disaster,
    disk::Disk,
    invariants::{self, Fact, Ident, Invariant, RECOVERY_ACCEPTED, Scene},
    member::{Existence, Member},
    net::{Net, Packet},
    operator::{Operator, member_entry},
    oracle::{End, Oracle},
    recordings::Twins,
    releases::RunningMember,
    residency::Residency,
    rng::Rng,
    scenario::{Scenario, UNITS_PER_TICK},
    trace::Trace,
    transfer::Transfer,
};

/// Number of ticks after the end of the faults within which all members must have a leader. Without pre-vote, lagging members
/// disturb each election with a probability of one half, and this may repeat.
pub const SETTLE_TICKS_MAX: u64 = 600;
/// Ticks between two checks of whether the members have settled.
const SETTLE_STEP_TICKS: u64 = 10;
/// Number of ticks, counted from the time when the members have settled, within which every earlier read must be answered.
pub const READ_TICKS: u64 = 30;
/// Number of ticks within which a request must be answered once the members have settled.
pub const ANSWER_TICKS: u64 = 30;
/// Number of ticks for which clients continue after the members have settled.
pub const SERVE_TICKS: u64 = 60;
/// The only invariant that still holds when acknowledged writes may be lost.
const MAY_FORK: &str = "no_silent_fork";
const CLIENTS: usize = 3;
/// Unix time in nanoseconds at the beginning of every run.
pub(crate) const EPOCH_NS: i64 = 1_700_000_000_000_000_000;
pub(crate) const UNIT_NS: i64 = 10_000_000;

/// The events that can happen next.
#[derive(Debug)]
pub(crate) enum Event {
    /// A member's clock ticks.
    Tick {
        place: usize,
        incarnation: u64,
    },
    /// A member's thread processes its pending inputs.
    Turn {
        place: usize,
        incarnation: u64,
    },
    /// The transport of a member reports the state of its streams to another member.
    Peer {
        place: usize,
        incarnation: u64,
        about: u64,
        event: PeerEvent,
    },
    /// A member has executed a long command.
    Executed {
        place: usize,
        incarnation: u64,
        command: Box<LongCommand>,
    },
    /// A long read of an earlier state of a member continues. The state has the hash `expected`.
    ReadOld {
        place: usize,
        incarnation: u64,
        kv: Box<Kv>,
        expected: u64,
    },
    Deliver(Box<Packet>),
    /// A piece of a snapshot that one member sends to another arrives, or its stream breaks.
    Piece {
        way: (u64, u64),
        number: u64,
    },
    /// Leaders request the releases and levels of the members.
    AskReleases,
    /// A leader decides the cluster's version and level from the answers.
    DecideVersion {
        place: usize,
        incarnation: u64,
        members: Arc<MemberRegistry>,
        running: Vec<RunningMember>,
    },
    /// The operator checks the members.
    Operate,
    /// A member goes down for a long time.
    LeaveBehind,
    /// Most members are lost.
    LoseMost,
    /// A client sends a request.
    Client,
    InjectFault,
    Mishap,
    /// The record of a block becomes damaged.
    Damage,
    /// A member that is down starts.
    Start {
        place: usize,
    },
    /// A checkpoint advances by one step.
    Checkpoint {
        place: usize,
        incarnation: u64,
        step: CheckpointStep,
    },
    /// The faults stop.
    Heal,
    /// The world checks whether the members have settled.
    Settle,
}

impl Event {
    /// Returns the member whose process must run for the event, or `None` if none must.
    fn place(&self) -> Option<usize> {
        match self {
            Self::Tick { place, .. }
            | Self::Turn { place, .. }
            | Self::Peer { place, .. }
            | Self::Executed { place, .. }
            | Self::ReadOld { place, .. }
            | Self::DecideVersion { place, .. }
            | Self::Checkpoint { place, .. } => Some(*place),
            Self::Deliver(packet) => Some((packet.to - 1) as usize),
            Self::Client
            | Self::InjectFault
            | Self::Mishap
            | Self::Damage
            | Self::Start { .. }
            | Self::Piece { .. }
            | Self::Operate
            | Self::AskReleases
            | Self::LeaveBehind
            | Self::LoseMost
            | Self::Heal
            | Self::Settle => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Chaos,
    Healing,
    Serving,
}

/// The history of the cluster: the last entry that any member has executed, and the configuration after it.
#[derive(Debug, Default)]
pub struct Truth {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) registry: MemberRegistry,
    /// The voters after the entry at each index that changed them.
    pub(crate) voters: BTreeMap<u64, Vec<u64>>,
    /// The entries, each with the revision after it.
    pub(crate) executed: BTreeMap<u64, (Ident, Revision)>,
}

impl Truth {
    /// Returns the voters that may have voted on the entry at `index`. The leader uses the configuration that it has executed,
    /// which lacks at most one change.
    pub(crate) fn voters_on(&self, index: u64) -> impl Iterator<Item = &Vec<u64>> {
        let before = self.voters.range(..index).rev();
        before.take(2).map(|(_, voters)| voters)
    }
}

/// A violated invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: &'static str,
    /// The invariant's message.
    pub what: String,
    /// Time of the violation.
    pub at: u64,
}

/// The result of a run.
#[derive(Debug)]
pub struct Verdict {
    /// The first violation; `None` if there is none.
    pub violation: Option<Violation>,
    /// The trace, if requested.
    pub trace: String,
    /// The counts of the run's events.
    pub counts: Counts,
    /// Whether a member was down long enough to need a snapshot.
    pub lags: bool,
}

/// The state of a run.
#[derive(Debug)]
pub struct World {
    pub(crate) now: u64,
    pub(crate) scenario: Scenario,
    pub(crate) climate: Climate,
    pub(crate) phase: Phase,
    /// Random generator for members, disks and packets.
    pub(crate) chance: Rng,
    /// Random generator for the requests of clients.
    pub(crate) client_rng: Rng,
    /// Random generator for the callers and for requests about users.
    pub(crate) callers: Rng,
    /// Random generator for the mishaps of some seeds.
    pub(crate) mishaps: Rng,
    pub(crate) residency: Residency,
    /// Random generator for the operator.
    pub(crate) hand: Rng,
    pub(crate) queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    pub(crate) members: Vec<Member>,
    pub(crate) disks: Vec<Disk>,
    pub(crate) directories: Directories,
    /// The directory in which each process of a member is recorded.
    pub(crate) recordings: Option<PathBuf>,
    /// The shared results of the members' twins, if the run has twins.
    pub(crate) twins: Option<Arc<Mutex<Twins>>>,
    pub(crate) net: Net,
    pub(crate) transfers: BTreeMap<(u64, u64), Transfer>,
    pub(crate) truth: Truth,
    /// The initial state of the cluster.
    pub(crate) genesis: View,
    /// Whether a member has started from an unrecognized older copy, so that acknowledged writes may be lost.
    pub(crate) may_have_forked: bool,
    pub(crate) operator: Operator,
    pub(crate) disaster: Disaster,
    /// Time at which the members settled.
    settled: Option<u64>,
    pub(crate) oracle: Oracle,
    judges: Vec<(&'static str, Box<dyn Invariant>)>,
    violation: Option<Violation>,
    pub(crate) trace: Trace,
    pub(crate) counts: Counts,
}

impl World {
    /// Creates the world of a scenario and schedules its first events.
    pub fn new(scenario: Scenario, traced: bool) -> Self {
        let mut chance = Rng::new(scenario.seed, 1);
        let climate = Climate::draw(&mut chance).with_values(&scenario);
        let count = scenario.members as u64;
        let delay_max = climate.delay;
        let people = (1..=count).map(|id| member_entry(id, 0)).collect();
        let genesis = genesis(0xC1, people);
        let disks =
            (0..count).map(|member| Disk::new(&adopted::first_state(&scenario, &genesis, member)));
        let disks = disks.collect();
        let members = (0..count)
            .map(|_| Member::new(Existence::Present, &mut chance))
            .collect();
        let position = &genesis.position;
        let truth = Truth {
            index: position.index,
            term: position.term,
            registry: genesis.machine.members.clone(),
            voters: BTreeMap::from([(position.index, position.voters.clone())]),
            executed: BTreeMap::new(),
        };
        let mut world = Self {
            now: 0,
            scenario,
            climate,
            phase: Phase::Chaos,
            chance,
            client_rng: Rng::new(scenario.seed, 2),
            hand: Rng::new(scenario.seed, 3),
            callers: Rng::new(scenario.seed, 4),
            mishaps: Rng::new(scenario.seed, 5),
            residency: Residency::new(&scenario),
            queue: BTreeMap::new(),
            sequence: 0,
            members,
            disks,
            directories: Directories::default(),
            recordings: None,
            twins: None,
            net: Net { delay_max, ..Net::calm() },
            transfers: BTreeMap::new(),
            truth,
            genesis,
            may_have_forked: false,
            operator: Operator::default(),
            disaster: Disaster::new(scenario.fate()),
            settled: None,
            oracle: Oracle::default(),
            judges: invariants::all(),
            violation: None,
            trace: Trace::new(traced),
            counts: Counts::default(),
        };
        world.begin();
        world
    }

    /// Creates the world of a scenario with the members' data in real directories.
    pub fn on_files(scenario: Scenario, traced: bool, mut make: Box<MakeDirectory>) -> Self {
        let mut world = Self::new(scenario, traced);
        for (disk, id) in world.disks.iter_mut().zip(1..) {
            let genesis = disk.stored_state().expect("a new disk is readable");
            let (directory, recovered) = make(id, &genesis);
            disk.keep_in(directory, recovered);
        }
        world.directories = Directories(Some(make));
        world
    }

    /// Schedules the first events.
    fn begin(&mut self) {
        self.trace
            .line(0, || format!("{:?} {:?}", self.scenario, self.climate));
        for place in 0..self.members.len() {
            let delay = self.chance.range(0, UNITS_PER_TICK);
            self.after(delay, Event::Start { place });
        }
        for _ in 0..CLIENTS {
            self.after(20, Event::Client);
        }
        self.after(30, Event::InjectFault);
        self.after(40, Event::Operate);
        if self.scenario.has_copies() {
            self.climate.stable_membership = !self.scenario.has_moves_only();
        }
        if self.scenario.has_mishaps() {
            self.after(30, Event::Mishap);
        }
        if self.scenario.has_damage() {
            self.after(40, Event::Damage);
        }
        if self.scenario.has_releases() {
            self.mix_releases();
            self.after(40, Event::AskReleases);
        }
        if self.climate.lags {
            self.after(self.climate.chaos_units / 3, Event::LeaveBehind);
        }
        self.arrange_disaster();
        self.after(self.climate.chaos_units, Event::Heal);
    }

    /// Runs to the end or to the first violation.
    pub fn run(mut self) -> Verdict {
        while self.violation.is_none()
            && let Some(((now, _), event)) = self.queue.pop_first()
            && now <= self.served() + ANSWER_TICKS * UNITS_PER_TICK
            && !(now > self.served() && self.quiet())
        {
            self.now = now;
            self.happen(event);
        }
        (0..self.members.len()).for_each(|place| self.go_cold(place));
        let views: Vec<(u64, View)> = self
            .present()
            .filter_map(|(id, member)| Some((id, member.replica.as_ref()?.view())))
            .collect();
        let unaware = self.unaware();
        let leader = self.leader().unwrap_or_default();
        self.judge(&Fact::Ended { views: &views, unaware: &unaware, leader });
        self.counts.cold_reads = self.disks.iter().map(Disk::cold_reads).sum();
        self.trace.line(self.now, || {
            format!("end: {:?} {:?}", self.violation, self.counts)
        });
        let Self {
            violation, mut trace, mut counts, oracle, climate, scenario, ..
        } = self;
        counts.asked = oracle.next_id();
        Verdict {
            violation,
            trace: trace.take(),
            counts,
            lags: climate.lags && scenario.members >= 3,
        }
    }

    /// Returns the time at which clients stop.
    pub(crate) fn served(&self) -> u64 {
        let latest = self.climate.chaos_units + SETTLE_TICKS_MAX * UNITS_PER_TICK;
        self.settled.unwrap_or(latest) + SERVE_TICKS * UNITS_PER_TICK
    }

    /// Returns the members of the cluster that have their disks.
    pub(crate) fn present(&self) -> impl Iterator<Item = (u64, &Member)> {
        let ids = self.truth.registry.by_id.keys();
        let members = ids.map(|id| (id.0, &self.members[(id.0 - 1) as usize]));
        members.filter(|(_, member)| member.existence == Existence::Present)
    }

    /// Returns the removed members that are still running, although enough members refuse them.
    fn unaware(&self) -> Vec<u64> {
        let ids = self.truth.registry.removed_ids.iter();
        let run_on = ids.filter(|id| {
            let member = &self.members[(id.0 - 1) as usize];
            let refuses = |other: &&u64| {
                let other = &self.members[(**other - 1) as usize];
                other.replica.is_some() && other.registry.removed_ids.contains(*id)
            };
            let voters = member.voters();
            // A member that knows of its removal may wait for the only remaining voter.
            let waits = member.registry.removed_ids.contains(*id) && voters.len() == 1;
            let known = member.registry.by_id.keys().map(|known| known.0);
            let others: Vec<u64> = match waits {
                true => voters,
                false => known.filter(|other| *other != id.0).collect(),
            };
            member.replica.is_some() && others.iter().filter(refuses).count() > others.len() / 2
        });
        run_on.map(|id| id.0).collect()
    }

    /// Returns whether every request with a deadline has ended, all members have the same applied index, and removed members
    /// have stopped.
    fn quiet(&self) -> bool {
        let mut indexes = self.present().map(|(_, member)| member.status.applied);
        let first = indexes.next();
        indexes.all(|index| Some(index) == first)
            && self
                .oracle
                .ops()
                .iter()
                .all(|op| op.end != End::Pending || op.deadline.is_none())
            && self.unaware().is_empty()
    }

    /// Schedules an event `delay` units from now.
    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), event);
    }

    /// Reports a fact to every invariant, unless its member belongs to the old cluster only. Once acknowledged writes may be
    /// lost, only `MAY_FORK` receives facts.
    pub(crate) fn judge(&mut self, fact: &Fact<'_>) {
        if fact.acts().is_some_and(|member| self.is_outside(member)) {
            return;
        }
        let scene = Scene {
            now: self.now,
            disks: &self.disks,
            oracle: &self.oracle,
            truth: &self.truth,
            forces: self.disaster.survivor.is_some(),
        };
        for (invariant, judge) in &mut self.judges {
            if self.violation.is_some() {
                return;
            }
            if self.may_have_forked && *invariant != MAY_FORK {
                continue;
            }
            if let Err(what) = judge.observe(fact, &scene) {
                self.violation = Some(Violation { invariant, what, at: self.now });
            }
        }
    }

    /// Ends the run with a violation that the world itself has detected, unless acknowledged writes may be lost.
    pub(crate) fn violate(&mut self, invariant: &'static str, what: String) {
        if self.violation.is_none() && !self.may_have_forked {
            self.violation = Some(Violation { invariant, what, at: self.now });
        }
    }

    /// Reports that a member does not start from the disk that a crash left, or stops without a reason.
    pub(crate) fn not_started(&mut self, member: u64, error: &impl fmt::Display) {
        let what = format!("m{member} does not start after a crash: {error}");
        self.violate(RECOVERY_ACCEPTED, what);
    }

    /// Handles an event, or delays it while the member's process is paused.
    fn happen(&mut self, event: Event) {
        if let Some(place) = event.place()
            && let Some(wait) = self.members[place].paused_until.checked_sub(self.now)
            && wait > 0
        {
            return self.after(wait, event);
        }
        match event {
            Event::Tick { place, incarnation } => self.tick(place, incarnation),
            Event::Turn { place, incarnation } => {
                if self.runs(place, incarnation) {
                    self.run_loop(place);
                }
            }
            Event::Peer { place, incarnation, about, event } => {
                if self.runs(place, incarnation) {
                    self.peer_event(place, about, event);
                }
            }
            Event::Executed { place, incarnation, command } => {
                if self.runs(place, incarnation) {
                    self.go_cold(place);
                    self.executed(place, *command);
                }
            }
            Event::ReadOld { place, incarnation, kv, expected } => {
                if self.runs(place, incarnation) {
                    self.read_cold(place, &kv, expected);
                }
            }
            Event::Deliver(packet) => self.deliver(*packet),
            Event::Piece { way, number } => self.piece(way, number),
            Event::Operate => self.operate(),
            Event::AskReleases => self.ask_releases(),
            Event::DecideVersion { place, incarnation, members, running } => {
                if self.runs(place, incarnation) {
                    self.decide_version(place, &members, &running);
                }
            }
            Event::LeaveBehind => self.take_down_long(),
            Event::LoseMost => self.lose_most(),
            Event::Client => self.ask_something(),
            Event::InjectFault => {
                if self.phase == Phase::Chaos {
                    self.inject_fault();
                }
            }
            Event::Mishap => self.mishap(),
            Event::Damage => self.damage(),
            Event::Start { place } => self.start(place),
            Event::Checkpoint { place, incarnation, step } => {
                if self.runs(place, incarnation) {
                    self.checkpoint(place, step);
                }
            }
            Event::Heal => self.heal(),
            Event::Settle => self.settle(),
        }
    }

    /// Stops all faults and starts all members.
    fn heal(&mut self) {
        self.trace
            .line(self.now, || String::from("the faults stop"));
        self.phase = Phase::Healing;
        self.net = Net::calm();
        for place in 0..self.members.len() {
            let member = &mut self.members[place];
            member.verbs_left = None;
            member.paused_until = 0;
            member.full_until = 0;
            self.start(place);
        }
        self.after(SETTLE_STEP_TICKS * UNITS_PER_TICK, Event::Settle);
    }

    /// Begins the serving phase once all members know one leader, or after `SETTLE_TICKS_MAX`. Until then, checks again later.
    fn settle(&mut self) {
        let statuses: Vec<Status> = self.present().map(|(_, member)| member.status).collect();
        let leader = statuses.iter().find(|status| status.role == Role::Leader);
        let known = |leader: &Status| statuses.iter().all(|s| s.leader == leader.id);
        let latest = self.climate.chaos_units + SETTLE_TICKS_MAX * UNITS_PER_TICK;
        if !leader.is_some_and(known) && self.now < latest {
            return self.after(SETTLE_STEP_TICKS * UNITS_PER_TICK, Event::Settle);
        }
        self.trace
            .line(self.now, || String::from("clients continue"));
        self.phase = Phase::Serving;
        self.settled = Some(self.now);
        for place in 0..self.members.len() {
            self.open_streams(place);
        }
        self.judge(&Fact::Settled { statuses: &statuses });
        self.promise_reads(self.now + READ_TICKS * UNITS_PER_TICK);
    }
}

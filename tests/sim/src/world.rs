//! The world: virtual time, the members with their disks, the network between them and the clients.
//!
//! Time advances from event to event of one ordered queue; nothing else happens anywhere.

use std::collections::BTreeMap;

use witan_replica::{
    host::{LeaseQuestion, Ticket},
    long_command::LongCommand,
    machine::{command::Stamp, member::Member as Person, view::View},
    replica::{PeerEvent, Replica, Status, genesis},
};

use crate::{
    chaos::Climate,
    disk::Disk,
    invariants::{self, Fact, Invariant, Scene},
    member::{CheckpointStep, Member},
    net::{Net, Packet},
    oracle::{Ask, End, Oracle},
    rng::Rng,
    scenario::{Scenario, UNITS_PER_TICK},
    trace::Trace,
    workload,
};

/// Ticks after the faults have stopped by which there must be a leader whom all know.
pub const SETTLE_TICKS: u64 = 80;
/// Ticks after the faults have stopped by which every read asked before then must be answered.
pub const READ_TICKS: u64 = 100;
/// Ticks in which a request must be answered once the members have settled.
pub const ANSWER_TICKS: u64 = 30;
/// Ticks for which clients go on after the members have settled.
pub const SERVE_TICKS: u64 = 60;
/// Number of clients.
const CLIENTS: usize = 3;
/// Unix time at which every run begins.
pub(crate) const EPOCH_NS: i64 = 1_700_000_000_000_000_000;
/// A unit in nanoseconds.
pub(crate) const UNIT_NS: i64 = 10_000_000;
/// Largest difference of a member's wall clock from the world's, in milliseconds.
pub(crate) const SKEW_MS_MAX: u64 = 1500;

/// What can happen next.
#[derive(Debug)]
pub(crate) enum Event {
    /// A member's clock ticks.
    Tick { place: usize, incarnation: u64 },
    /// A member that let inputs gather has its turn.
    Turn { place: usize, incarnation: u64 },
    /// The transport of a member reports what became of its streams to another one.
    Peer {
        place: usize,
        incarnation: u64,
        about: u64,
        event: PeerEvent,
    },
    /// A member has executed a command that takes long.
    Executed {
        place: usize,
        incarnation: u64,
        command: Box<LongCommand>,
    },
    /// A packet arrives.
    Deliver(Box<Packet>),
    /// A client asks something.
    Client,
    /// A fault strikes.
    Strike,
    /// A member that is down starts.
    Start { place: usize },
    /// A checkpoint goes one step on.
    Checkpoint {
        place: usize,
        incarnation: u64,
        step: CheckpointStep,
    },
    /// The faults stop.
    Heal,
    /// The members must have settled.
    Settle,
}

impl Event {
    /// The member whose process must run for it.
    fn place(&self) -> Option<usize> {
        match self {
            Self::Tick { place, .. }
            | Self::Turn { place, .. }
            | Self::Peer { place, .. }
            | Self::Executed { place, .. }
            | Self::Checkpoint { place, .. } => Some(*place),
            Self::Deliver(packet) => Some((packet.to - 1) as usize),
            Self::Client | Self::Strike | Self::Start { .. } | Self::Heal | Self::Settle => None,
        }
    }
}

/// Where the run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Chaos,
    Healing,
    Serving,
}

/// How much a run did, so that a sweep can show what it covered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say what is counted")]
pub struct Counts {
    pub acknowledged: u64,
    pub reads: u64,
    pub refused: u64,
    pub crashes: u64,
    pub installs: u64,
    pub renewed: u64,
    pub expired: u64,
    pub checkpoints: u64,
    pub dropped: u64,
    pub terms: u64,
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: &'static str,
    /// What it saw.
    pub what: String,
    /// When.
    pub at: u64,
}

/// What a run came to.
#[derive(Debug)]
pub struct Verdict {
    /// The first broken rule, if any.
    pub violation: Option<Violation>,
    /// The trace, if it was asked for.
    pub trace: String,
    /// What the run did.
    pub counts: Counts,
}

/// Everything there is.
#[derive(Debug)]
pub struct World {
    pub(crate) now: u64,
    pub(crate) scenario: Scenario,
    pub(crate) climate: Climate,
    pub(crate) phase: Phase,
    /// Chance in what happens to members, disks and packets.
    pub(crate) chance: Rng,
    /// Chance in what clients ask.
    whim: Rng,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    pub(crate) members: Vec<Member>,
    pub(crate) disks: Vec<Disk>,
    pub(crate) net: Net,
    pub(crate) oracle: Oracle,
    judges: Vec<Box<dyn Invariant>>,
    violation: Option<Violation>,
    pub(crate) trace: Trace,
    pub(crate) counts: Counts,
}

impl World {
    /// The world of a scenario, before anything happens.
    pub fn new(scenario: Scenario, traced: bool) -> Self {
        let mut chance = Rng::new(scenario.seed, 1);
        let climate = Climate::draw(&mut chance);
        let count = scenario.members as u64;
        let delay_max = climate.delay;
        let people = (1..=count)
            .map(|id| Person {
                id,
                name: format!("m{id}"),
                peer_urls: vec![format!("http://m{id}:2380")],
                ..Person::default()
            })
            .collect();
        let genesis = genesis(0xC1, people);
        let disks = (0..count)
            .map(|_| Disk::new(&genesis, scenario.bug))
            .collect();
        let members = (0..count)
            .map(|_| Member::new(&genesis, &mut chance))
            .collect();
        let mut world = Self {
            now: 0,
            scenario,
            climate,
            phase: Phase::Chaos,
            chance,
            whim: Rng::new(scenario.seed, 2),
            queue: BTreeMap::new(),
            sequence: 0,
            members,
            disks,
            net: Net {
                delay_max,
                ..Net::calm()
            },
            oracle: Oracle::default(),
            judges: invariants::all(),
            violation: None,
            trace: Trace::new(traced),
            counts: Counts::default(),
        };
        world.begin();
        world
    }

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
        self.after(30, Event::Strike);
        self.after(self.climate.chaos_units, Event::Heal);
    }

    /// Runs to the end, or to the first broken rule.
    pub fn run(mut self) -> Verdict {
        let heal = self.climate.chaos_units;
        let served = heal + (SETTLE_TICKS + SERVE_TICKS) * UNITS_PER_TICK;
        let end = served + ANSWER_TICKS * UNITS_PER_TICK;
        while self.violation.is_none()
            && let Some(((now, _), event)) = self.queue.pop_first()
            && now <= end
            && !(now > served && self.quiet())
        {
            self.now = now;
            self.happen(event);
        }
        let views: Vec<View> = self
            .members
            .iter()
            .filter_map(|m| m.replica.as_ref())
            .map(Replica::view)
            .collect();
        self.judge(&Fact::Ended { views: &views });
        self.trace.line(self.now, || {
            format!("end: {:?} {:?}", self.violation, self.counts)
        });
        let Self {
            violation,
            mut trace,
            counts,
            ..
        } = self;
        Verdict {
            violation,
            trace: trace.take(),
            counts,
        }
    }

    /// Whether everything asked is answered and all members stand at the same entry.
    fn quiet(&self) -> bool {
        let mut indexes = self.members.iter().map(|member| member.status.applied);
        let first = indexes.next();
        indexes.all(|index| Some(index) == first)
            && self
                .oracle
                .ops()
                .iter()
                .all(|op| op.end != End::Pending || op.deadline.is_none())
    }

    /// Arranges an event `delay` units from now.
    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), event);
    }

    /// Shows a fact to every invariant.
    pub(crate) fn judge(&mut self, fact: &Fact<'_>) {
        let scene = Scene {
            now: self.now,
            disks: &self.disks,
            oracle: &self.oracle,
        };
        for invariant in &mut self.judges {
            if self.violation.is_some() {
                return;
            }
            if let Err(what) = invariant.observe(fact, &scene) {
                self.violation = Some(Violation {
                    invariant: invariant.name(),
                    what,
                    at: self.now,
                });
            }
        }
    }

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
                    self.begin_loop(place);
                    self.turn(place);
                }
            }
            Event::Peer {
                place,
                incarnation,
                about,
                event,
            } => {
                if self.runs(place, incarnation) {
                    self.peer_event(place, about, event);
                }
            }
            Event::Executed {
                place,
                incarnation,
                command,
            } => {
                if self.runs(place, incarnation) {
                    self.executed(place, *command);
                }
            }
            Event::Deliver(packet) => self.deliver(*packet),
            Event::Client => self.ask_something(),
            Event::Strike => {
                if self.phase == Phase::Chaos {
                    self.strike();
                }
            }
            Event::Start { place } => self.start(place),
            Event::Checkpoint {
                place,
                incarnation,
                step,
            } => {
                if self.runs(place, incarnation) {
                    self.checkpoint(place, step);
                }
            }
            Event::Heal => self.heal(),
            Event::Settle => self.settle(),
        }
    }

    fn ask_something(&mut self) {
        let pause = self.whim.range(2, self.climate.client_pause);
        self.after(pause, Event::Client);
        let place = self.whim.below(self.members.len());
        if self.members[place].paused_until > self.now {
            return;
        }
        let (id, now_ns) = (self.oracle.next_id(), self.now_ns(place));
        let floor = self.oracle.floor();
        if let Some(lease) = workload::keep_alive(&mut self.whim, floor) {
            return self.keep_alive(place, lease);
        }
        let ask = workload::draw(&mut self.whim, id, place as u64 + 1, now_ns, floor);
        match self.phase {
            Phase::Chaos => self.ask(place, ask, None),
            Phase::Healing => {}
            Phase::Serving => {
                let last = self.climate.chaos_units + (SETTLE_TICKS + SERVE_TICKS) * UNITS_PER_TICK;
                if self.now < last {
                    self.ask(place, ask, Some(self.now + ANSWER_TICKS * UNITS_PER_TICK));
                }
            }
        }
    }

    /// A client keeps a lease alive at any member.
    fn keep_alive(&mut self, place: usize, lease: i64) {
        let now = self.now;
        self.begin_loop(place);
        let member = &mut self.members[place];
        let Some(replica) = &mut member.replica else {
            return;
        };
        member.tickets += 1;
        let ticket = Ticket(member.tickets);
        if replica
            .ask_about_lease(ticket, lease, LeaseQuestion::Renew)
            .is_ok()
        {
            member.renewals.insert(ticket, (lease, now));
        }
        self.wake(place);
    }

    /// A client asks a member; `deadline` is when it may count on the answer.
    pub(crate) fn ask(&mut self, place: usize, ask: Ask, deadline: Option<u64>) {
        let (id, now_ns) = (place as u64 + 1, self.now_ns(place));
        self.begin_loop(place);
        let member = &mut self.members[place];
        let Some(replica) = &mut member.replica else {
            return;
        };
        member.tickets += 1;
        let ticket = Ticket(member.tickets);
        let taken = match &ask {
            Ask::Read(_) => replica.read(ticket),
            Ask::Write(command) => {
                let stamp = Stamp {
                    now_ns,
                    ..Stamp::default()
                };
                replica.propose(ticket, stamp, command.clone())
            }
        };
        let end = taken.map_or_else(End::Refused, |()| End::Pending);
        self.trace.line(self.now, || {
            let op = self.oracle.next_id();
            let ask = format!("{ask:?}");
            format!(
                "op{op} on m{id} {end:?}: {}",
                ask.get(..240).unwrap_or(&ask)
            )
        });
        if end == End::Pending {
            let op = self.oracle.next_id();
            self.members[place].waiting.insert(ticket, op);
        } else {
            self.counts.refused += 1;
        }
        let op = self.oracle.invoke(id, self.now, ask, end);
        if let Some(deadline) = deadline {
            self.oracle.promise(op, deadline);
        }
        self.wake(place);
    }

    fn heal(&mut self) {
        self.trace
            .line(self.now, || String::from("the faults stop"));
        self.phase = Phase::Healing;
        self.net = Net::calm();
        let deadline = self.now + READ_TICKS * UNITS_PER_TICK;
        for place in 0..self.members.len() {
            self.members[place].verbs_left = None;
            self.members[place].paused_until = 0;
            self.start(place);
            let key = bytes::Bytes::from_static(b"k0");
            self.ask(place, Ask::Read(workload::Read { key }), Some(deadline));
        }
        self.oracle.promise_reads(deadline);
        self.after(SETTLE_TICKS * UNITS_PER_TICK, Event::Settle);
    }

    fn settle(&mut self) {
        self.trace.line(self.now, || String::from("clients go on"));
        self.phase = Phase::Serving;
        let statuses: Vec<Status> = self.members.iter().map(|member| member.status).collect();
        self.judge(&Fact::Settled {
            statuses: &statuses,
        });
    }
}

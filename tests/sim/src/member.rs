//! The process of one member in the world: how it starts, ticks, has its turns, writes checkpoints
//! and loses power.

use std::collections::BTreeMap;

use witan_replica::{
    host::Ticket,
    long_command::LongCommand,
    machine::view::View,
    replica::{Config, PeerEvent, Replica, Status},
};

use crate::{
    host::Turn,
    invariants::{Fact, fingerprint},
    net::Packet,
    oracle::Ask,
    rng::Rng,
    scenario::{Bug, UNITS_PER_TICK},
    workload,
    world::{EPOCH_NS, Event, Phase, SKEW_MS_MAX, UNIT_NS, World},
};

/// Ticks after which a client gives up.
const REQUEST_TICKS: u64 = 600;

/// One seed of so many has members whose commands take long, all of them or those of some keys.
const LONG_COMMANDS_SEEDS: u64 = 4;

/// The process of one member, with what dies with it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) replica: Option<Replica>,
    incarnation: u64,
    pub(crate) tickets: u64,
    /// Which operation each ticket stands for.
    pub(crate) waiting: BTreeMap<Ticket, u64>,
    /// Keep-alives that wait for an answer: the lease, and when it was asked for.
    pub(crate) renewals: BTreeMap<Ticket, (i64, u64)>,
    /// Leases whose note of the remaining time must be cleared before they can be kept alive.
    pub(crate) noted: Vec<i64>,
    /// Until when the process is stopped, as by SIGSTOP.
    pub(crate) paused_until: u64,
    /// The view of which a checkpoint was last written.
    pub(crate) base: View,
    /// The view of which one is being written.
    pub(crate) checkpoint: Option<View>,
    /// Host verbs until it loses power.
    pub(crate) verbs_left: Option<u64>,
    turn_due: bool,
    tick_units: u64,
    skew_ns: i64,
    pub(crate) status: Status,
}

/// The steps of a checkpoint; a crash may come between any two.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CheckpointStep {
    /// A frozen view is taken.
    Take,
    /// What changed is written in one batch.
    Write,
    /// The batch is durable.
    Sync,
    /// The core is told, and the log cut where it says.
    Report,
}

impl Member {
    pub(crate) fn new(genesis: &View, chance: &mut Rng) -> Self {
        Self {
            replica: None,
            incarnation: 0,
            tickets: 0,
            waiting: BTreeMap::new(),
            renewals: BTreeMap::new(),
            noted: Vec::new(),
            paused_until: 0,
            base: genesis.clone(),
            checkpoint: None,
            verbs_left: None,
            turn_due: false,
            tick_units: chance.range(UNITS_PER_TICK - 1, UNITS_PER_TICK + 1),
            skew_ns: chance.range(0, SKEW_MS_MAX) as i64 * 1_000_000,
            status: Status::default(),
        }
    }
}

impl World {
    pub(crate) fn runs(&self, place: usize, incarnation: u64) -> bool {
        let member = &self.members[place];
        member.replica.is_some() && member.incarnation == incarnation
    }

    pub(crate) fn now_ns(&self, place: usize) -> i64 {
        EPOCH_NS + self.now as i64 * UNIT_NS + self.members[place].skew_ns
    }

    /// A clock that only goes forward, from a zero of the member's own.
    pub(crate) fn steady_ns(&self, place: usize) -> u64 {
        (self.now as i64 * UNIT_NS + self.members[place].skew_ns) as u64
    }

    pub(crate) fn tick(&mut self, place: usize, incarnation: u64) {
        if !self.runs(place, incarnation) {
            return;
        }
        self.begin_loop(place);
        let now_ns = self.now_ns(place);
        let member = &mut self.members[place];
        let delay = member.tick_units;
        if let Some(replica) = &mut member.replica {
            replica.tick(now_ns);
        }
        self.after(delay, Event::Tick { place, incarnation });
        self.wake(place);
    }

    /// The thread looks at its clock once, then takes all inputs that there are, then has its turn.
    pub(crate) fn begin_loop(&mut self, place: usize) {
        let steady_ns = self.steady_ns(place);
        let member = &mut self.members[place];
        if let Some(replica) = member.replica.as_mut().filter(|_| !member.turn_due) {
            replica.advance_clock(steady_ns);
        }
    }

    pub(crate) fn deliver(&mut self, packet: Packet) {
        let place = (packet.to - 1) as usize;
        let transfer = packet
            .snapshot
            .is_some()
            .then_some((packet.from, packet.to));
        if self.members[place].replica.is_none() {
            if let Some((from, to)) = transfer {
                self.report(from, to, PeerEvent::SnapshotFailed);
            }
            return;
        }
        self.begin_loop(place);
        let text = |p: &Packet| format!("m{} <- m{} {}", p.to, p.from, p.text());
        self.trace.line(self.now, || text(&packet));
        match packet.open() {
            Ok(envelope) => {
                if let Some(replica) = &mut self.members[place].replica {
                    replica.receive(envelope);
                }
            }
            Err(error) => {
                let error = format!("snapshot on the wire: {error}");
                self.judge(&Fact::NotStarted {
                    member: place as u64 + 1,
                    error,
                });
            }
        }
        self.wake(place);
        if let Some((from, to)) = transfer {
            self.report(from, to, PeerEvent::SnapshotDelivered);
        }
    }

    /// The transport of `to` learns what became of its streams to `about`.
    pub(crate) fn report(&mut self, to: u64, about: u64, event: PeerEvent) {
        let place = (to - 1) as usize;
        let incarnation = self.members[place].incarnation;
        let delay = self.chance.range(1, 3);
        self.after(
            delay,
            Event::Peer {
                place,
                incarnation,
                about,
                event,
            },
        );
    }

    pub(crate) fn peer_event(&mut self, place: usize, about: u64, event: PeerEvent) {
        self.trace.line(self.now, || {
            format!("m{} on m{about}: {event:?}", place + 1)
        });
        self.begin_loop(place);
        if let Some(replica) = &mut self.members[place].replica {
            replica.peer_event(about, event);
        }
        self.wake(place);
    }

    /// A command that takes long is executed some time later.
    pub(crate) fn execute_later(&mut self, place: usize, delay: u64, command: Box<LongCommand>) {
        let incarnation = self.members[place].incarnation;
        let event = Event::Executed {
            place,
            incarnation,
            command,
        };
        self.after(delay, event);
    }

    pub(crate) fn executed(&mut self, place: usize, command: LongCommand) {
        self.begin_loop(place);
        if let Some(replica) = &mut self.members[place].replica {
            replica.executed(Box::new(command.execute()));
        }
        self.wake(place);
    }

    /// A member has inputs: it takes its turn now, or lets more of them gather first.
    pub(crate) fn wake(&mut self, place: usize) {
        if self.members[place].turn_due {
            return;
        }
        if self.phase == Phase::Chaos && self.chance.chance(self.climate.batch_percent) {
            let member = &mut self.members[place];
            member.turn_due = true;
            let incarnation = member.incarnation;
            let delay = self.chance.range(1, self.climate.gather);
            self.after(delay, Event::Turn { place, incarnation });
        } else {
            self.turn(place);
        }
    }

    pub(crate) fn turn(&mut self, place: usize) {
        let Some(mut replica) = self.members[place].replica.take() else {
            return;
        };
        self.members[place].turn_due = false;
        let mut turn = Turn::new(self, place);
        let halted = replica.turn(&mut turn).err();
        if turn.crashed() {
            drop(replica);
            self.power_lost(place);
            return;
        }
        if let Some(halt) = halted {
            return self.judge(&Fact::NotStarted {
                member: place as u64 + 1,
                error: halt.to_string(),
            });
        }
        let status = replica.status();
        let member = &mut self.members[place];
        member.replica = Some(replica);
        let before = std::mem::replace(&mut member.status, status);
        if (before.role, before.term, before.leader) != (status.role, status.term, status.leader) {
            self.counts.terms = self.counts.terms.max(status.term);
            self.trace.line(self.now, || {
                let Status {
                    term, leader, role, ..
                } = status;
                format!(
                    "m{} is {role:?} of term {term}, leader m{leader}",
                    place + 1
                )
            });
        }
        let wake_at_ns = self.members[place]
            .replica
            .as_ref()
            .and_then(Replica::wake_at_ns);
        self.judge(&Fact::Turned {
            member: place as u64 + 1,
            status,
        });
        if let Some(at_ns) = wake_at_ns {
            let wait_ns = at_ns.saturating_sub(self.steady_ns(place));
            let incarnation = self.members[place].incarnation;
            let delay = wait_ns.div_ceil(UNIT_NS as u64).max(1);
            self.after(delay, Event::Turn { place, incarnation });
        }
        for lease in std::mem::take(&mut self.members[place].noted) {
            self.ask(place, Ask::Write(workload::forget_note(lease)), None);
        }
    }

    /// A member that runs loses power between two turns.
    pub(crate) fn crash(&mut self, place: usize) {
        if self.members[place].replica.take().is_some() {
            self.trace
                .line(self.now, || format!("m{} loses power", place + 1));
            self.power_lost(place);
        }
    }

    fn power_lost(&mut self, place: usize) {
        self.counts.crashes += 1;
        let member = &mut self.members[place];
        member.verbs_left = None;
        member.waiting = BTreeMap::new();
        member.renewals = BTreeMap::new();
        member.noted = Vec::new();
        member.paused_until = 0;
        member.checkpoint = None;
        self.oracle.crashed(place as u64 + 1);
        self.disks[place].crash(&mut self.chance);
        // a process that ends closes its streams, and those that it cannot reach see nothing of it
        let gone = place as u64 + 1;
        for other in 0..self.members.len() {
            let to = other as u64 + 1;
            let seen = to != gone && !self.net.cut.contains(&(gone, to)) && self.chance.chance(80);
            if seen && self.members[other].replica.is_some() {
                self.report(to, gone, PeerEvent::ProcessGone);
            }
        }
        let down = if self.chance.chance(40) {
            3
        } else {
            self.climate.down
        };
        let delay = self.chance.range(1, down);
        self.after(delay, Event::Start { place });
    }

    pub(crate) fn start(&mut self, place: usize) {
        if self.members[place].replica.is_some() {
            return;
        }
        let id = place as u64 + 1;
        let started = self.disks[place].recover().and_then(|recovered| {
            let view = recovered.checkpoint.clone().unwrap_or_default();
            let config = Config {
                id,
                election_ticks: self.climate.election_ticks,
                heartbeat_ticks: self.climate.heartbeat_ticks,
                election_ns: self.climate.election_ticks as u64 * UNITS_PER_TICK * UNIT_NS as u64,
                seed: self.chance.draw(),
                pre_vote: self.climate.pre_vote,
                compaction: None,
                request_ticks: REQUEST_TICKS,
            };
            let mut replica = Replica::new(config, recovered)?;
            if self.scenario.seed.is_multiple_of(LONG_COMMANDS_SEEDS) {
                replica.set_long_command_keys(self.scenario.seed / LONG_COMMANDS_SEEDS % 3);
            }
            if let Some(fault) = self.scenario.bug.in_core() {
                replica.plant(fault);
            }
            Ok((replica, view))
        });
        let (replica, view) = match started {
            Ok(started) => started,
            Err(error) => {
                return self.judge(&Fact::NotStarted {
                    member: id,
                    error: error.to_string(),
                });
            }
        };
        self.trace.line(self.now, || {
            let span = self.disks[place].span();
            format!(
                "m{id} starts: checkpoint at {}, log {span:?}",
                view.position.index
            )
        });
        let fingerprint = fingerprint(&view);
        self.judge(&Fact::Restored {
            member: id,
            starts: true,
            view: &view,
            fingerprint,
        });
        let member = &mut self.members[place];
        member.incarnation += 1;
        member.tickets = 0;
        member.turn_due = false;
        member.base = view;
        member.replica = Some(replica);
        let incarnation = member.incarnation;
        self.after(0, Event::Turn { place, incarnation });
        let first = self.chance.range(1, UNITS_PER_TICK);
        self.after(first, Event::Tick { place, incarnation });
        self.next_checkpoint(place);
    }

    fn next_checkpoint(&mut self, place: usize) {
        let incarnation = self.members[place].incarnation;
        let delay = self.chance.range(1, self.climate.checkpoint_pause);
        let step = CheckpointStep::Take;
        self.after(
            delay,
            Event::Checkpoint {
                place,
                incarnation,
                step,
            },
        );
    }

    pub(crate) fn checkpoint(&mut self, place: usize, step: CheckpointStep) {
        let next = match step {
            CheckpointStep::Take => self.take_checkpoint(place).then_some(CheckpointStep::Write),
            CheckpointStep::Write => self.write_checkpoint(place).then_some(CheckpointStep::Sync),
            CheckpointStep::Sync => {
                let on = self.members[place].checkpoint.is_some();
                if on {
                    self.disks[place].sync_checkpoint();
                }
                on.then_some(CheckpointStep::Report)
            }
            CheckpointStep::Report => {
                self.report_checkpoint(place);
                None
            }
        };
        let incarnation = self.members[place].incarnation;
        match next {
            Some(step) => {
                let delay = self.chance.range(1, self.climate.checkpoint_step);
                self.after(
                    delay,
                    Event::Checkpoint {
                        place,
                        incarnation,
                        step,
                    },
                );
            }
            None => self.next_checkpoint(place),
        }
    }

    fn take_checkpoint(&mut self, place: usize) -> bool {
        let member = &mut self.members[place];
        let Some(view) = member.replica.as_ref().map(Replica::view) else {
            return false;
        };
        let moved = view.position.index > member.base.position.index;
        member.checkpoint = moved.then_some(view);
        moved
    }

    fn write_checkpoint(&mut self, place: usize) -> bool {
        let member = &mut self.members[place];
        let Some(view) = &member.checkpoint else {
            return false;
        };
        self.disks[place].write_checkpoint(&member.base, view);
        member.base = view.clone();
        let index = view.position.index;
        self.trace.line(self.now, || {
            format!("m{} writes a checkpoint at {index}", place + 1)
        });
        if self.scenario.bug == Bug::CutAboveDurable {
            self.disks[place].cut(index + 1);
        }
        true
    }

    fn report_checkpoint(&mut self, place: usize) {
        let member = &mut self.members[place];
        let Some(view) = member.checkpoint.take() else {
            return;
        };
        let Some(replica) = &mut member.replica else {
            return;
        };
        let index = view.position.index;
        let cut = replica.durable(index);
        self.counts.checkpoints += 1;
        self.trace.line(self.now, || {
            format!(
                "m{} has a durable checkpoint at {index}, cuts at {cut:?}",
                place + 1
            )
        });
        if let Some(cut) = cut {
            self.disks[place].cut(cut);
        }
    }
}

//! The process of one member in the world: its start, ticks, turns, end and power loss.

use std::collections::{BTreeMap, BTreeSet};

use witan_machine::{
    lease::LeaseId,
    levels::{Level, LevelHold},
    member::{MemberId, MemberRegistry},
    versions::Release,
    view::View,
};
use witan_recorder::RecordedReplica;
use witan_replica::{
    host::Ticket,
    input::Input,
    long_command::LongCommand,
    replica::{Config, Halt, PeerEvent, Status, Tuning},
};

use crate::{
    disk::Disk,
    host::Turn,
    inbox::Inbox,
    invariants::{Fact, LEVEL_KNOWN, STORAGE_FAITHFUL, fingerprint},
    net::Packet,
    oracle::{Ask, End},
    releases::{NEW, NEXT_LEVEL},
    rng::Rng,
    scenario::UNITS_PER_TICK,
    workload,
    world::{EPOCH_NS, Event, Phase, UNIT_NS, World},
};

/// Maximum initial difference between a member's clocks and the world's, in milliseconds.
const SKEW_MS_MAX: u64 = 1500;

/// Maximum deviation of the rate of a member's monotonic clock from the world's.
pub(crate) const DRIFT_PER_MILLE_MAX: u64 = 10;

/// Percentage of a removed member's messages that arrive through a stream that is still open.
const OPEN_STREAM_PERCENT: u64 = 30;

/// Percentage of ticks at which a member reopens its streams.
const STREAMS_PERCENT: u64 = 5;

/// The same percentage for a removed member, whose streams the others close.
const STREAMS_CLOSED_PERCENT: u64 = 30;

/// Number of units between two checks of whether a lagging member needs a snapshot.
const DOWN_UNITS: u64 = 50;

/// Longest time in units until an added member is started.
const JOIN_UNITS: u64 = 60;

/// The life cycle of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existence {
    /// The addition of the member was requested.
    Awaited,
    /// The member has a disk and runs except during faults.
    Present,
    /// The member was removed or has lost its disk and never returns.
    Gone,
}

/// A member with its process and the state of that process.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) existence: Existence,
    /// The release and the feature level that the process has now, or after its next start.
    pub(crate) release: Release,
    pub(crate) level: Level,
    /// The hold after which the process, as the leader, raises the level.
    pub(crate) level_hold: LevelHold,
    /// Boxed, because each turn moves it out and back, which would otherwise copy some KiB twice.
    pub(crate) replica: Option<Box<RecordedReplica>>,
    pub(crate) incarnation: u64,
    pub(crate) tickets: u64,
    pub(crate) inbox: Inbox,
    /// The operation of each ticket.
    pub(crate) waiting: BTreeMap<Ticket, u64>,
    /// Pending requests about leases: the lease and the time of the request.
    pub(crate) lease_questions: BTreeMap<Ticket, (LeaseId, u64)>,
    /// Leases whose remaining TTL must be cleared before a renewal, with the time of the request.
    pub(crate) noted: Vec<(LeaseId, u64)>,
    /// Operations that clear a remaining TTL, with the keep-alive to retry after them.
    pub(crate) remaining_ttl_clears: BTreeMap<u64, (LeaseId, u64)>,
    /// Whether the member must replace its state with the leader's state.
    pub(crate) rebuilds: bool,
    /// Time until which the process is stopped, for example by SIGSTOP, or waits for its disk.
    pub(crate) paused_until: u64,
    /// Whether the member stays down until it needs a snapshot.
    pub(crate) left_behind: bool,
    /// Time until which the disk is full.
    pub(crate) full_until: u64,
    /// The view of the last written checkpoint.
    pub(crate) base: View,
    /// The view of the checkpoint that is being written.
    pub(crate) checkpoint: Option<View>,
    /// Number of host calls until the member loses power.
    pub(crate) verbs_left: Option<u64>,
    pub(crate) turn_due: bool,
    /// The members that the transport knows.
    pub(crate) registry: MemberRegistry,
    /// Members that have opened streams to this member before it has applied their addition.
    pub(crate) remotes: BTreeSet<u64>,
    /// First index of the log in memory.
    pub(crate) log_begins: u64,
    clock: Clock,
    pub(crate) status: Status,
}

#[derive(Debug)]
struct Clock {
    tick_units: u64,
    /// Offset of the wall clock.
    wall_ns: i64,
    /// The value of the monotonic clock at the start of the run.
    monotonic_ns: i64,
    drift_per_mille: i64,
}

impl Clock {
    fn new(chance: &mut Rng) -> Self {
        let skew = |chance: &mut Rng| chance.range(0, SKEW_MS_MAX) as i64 * 1_000_000;
        let drift = chance.range(0, 2 * DRIFT_PER_MILLE_MAX) as i64;
        Self {
            tick_units: chance.range(UNITS_PER_TICK - 1, UNITS_PER_TICK + 1),
            wall_ns: skew(chance),
            monotonic_ns: skew(chance),
            drift_per_mille: drift - DRIFT_PER_MILLE_MAX as i64,
        }
    }
}

impl Member {
    pub(crate) fn new(existence: Existence, chance: &mut Rng) -> Self {
        Self {
            existence,
            release: NEW,
            level: NEXT_LEVEL,
            level_hold: LevelHold::default(),
            replica: None,
            incarnation: 0,
            tickets: 0,
            inbox: Inbox::default(),
            waiting: BTreeMap::new(),
            lease_questions: BTreeMap::new(),
            noted: Vec::new(),
            remaining_ttl_clears: BTreeMap::new(),
            rebuilds: false,
            paused_until: 0,
            left_behind: false,
            full_until: 0,
            base: View::default(),
            checkpoint: None,
            verbs_left: None,
            turn_due: false,
            registry: MemberRegistry::default(),
            remotes: BTreeSet::new(),
            log_begins: 0,
            clock: Clock::new(chance),
            status: Status::default(),
        }
    }

    /// Updates the members that the transport knows. Drops the remotes that the registry now lists as members or as removed.
    pub(crate) fn follow(&mut self, registry: &MemberRegistry) {
        self.registry.clone_from(registry);
        let is_remote = |id: &u64| {
            let id = MemberId(*id);
            !registry.by_id.contains_key(&id) && !registry.removed_ids.contains(&id)
        };
        self.remotes.retain(is_remote);
    }

    /// Forgets all client requests, because the connections have ended.
    pub(crate) fn forget_clients(&mut self) {
        self.inbox.forget_requests();
        self.waiting = BTreeMap::new();
        self.lease_questions = BTreeMap::new();
        self.noted = Vec::new();
        self.remaining_ttl_clears = BTreeMap::new();
    }

    /// Returns whether the member has streams to another member.
    pub(crate) fn reaches(&self, id: u64) -> bool {
        self.registry.by_id.contains_key(&MemberId(id)) || self.remotes.contains(&id)
    }

    pub(crate) fn voters(&self) -> Vec<u64> {
        let members = self.registry.by_id.values();
        members.filter(|m| !m.learner).map(|m| m.id).collect()
    }
}

impl World {
    pub(crate) fn runs(&self, place: usize, incarnation: u64) -> bool {
        let member = &self.members[place];
        member.replica.is_some() && member.incarnation == incarnation
    }

    pub(crate) fn now_ns(&self, place: usize) -> i64 {
        EPOCH_NS + self.now as i64 * UNIT_NS + self.members[place].clock.wall_ns
    }

    /// Returns the member's monotonic time in nanoseconds, which starts at an arbitrary value.
    pub(crate) fn monotonic_ns(&self, place: usize) -> u64 {
        let clock = &self.members[place].clock;
        let elapsed = self.now as i64 * UNIT_NS;
        (clock.monotonic_ns + elapsed + elapsed / 1000 * clock.drift_per_mille) as u64
    }

    pub(crate) fn set_clock(&mut self, place: usize, wall_ns: i64) {
        self.members[place].clock.wall_ns = wall_ns;
    }

    /// Ticks a process: ends late requests, and sometimes reopens its streams.
    pub(crate) fn tick(&mut self, place: usize, incarnation: u64) {
        if !self.runs(place, incarnation) {
            return;
        }
        let member = &mut self.members[place];
        member.inbox.tick();
        let delay = member.clock.tick_units;
        self.after(delay, Event::Tick { place, incarnation });
        let removed = self
            .truth
            .registry
            .removed_ids
            .contains(&MemberId(place as u64 + 1));
        self.time_out(place);
        let percent = match removed {
            true => STREAMS_CLOSED_PERCENT,
            false => STREAMS_PERCENT,
        };
        if self.chance.chance(percent) {
            self.open_streams(place);
        }
        self.wake(place);
    }

    /// Ends the client requests that have waited too long.
    fn time_out(&mut self, place: usize) {
        let patience = self.scenario.request_ticks() * UNITS_PER_TICK;
        let member = &mut self.members[place];
        let is_late = |since: u64| since + patience < self.now;
        member
            .lease_questions
            .retain(|_, (_, asked)| !is_late(*asked));
        let oracle = &mut self.oracle;
        member.waiting.retain(|_, op| {
            let late = oracle.op(*op).is_some_and(|op| is_late(op.invoked));
            if late {
                oracle.unanswered(*op, End::Crashed);
            }
            !late
        });
    }

    /// Delivers a packet to a running process. A packet of a removed member arrives only at random. If it does not, the sender
    /// learns of its removal.
    pub(crate) fn deliver(&mut self, packet: Packet) {
        let place = (packet.to - 1) as usize;
        if self.members[place].replica.is_none()
            || self.refuses_unknown_sender(packet.from, packet.to)
        {
            return;
        }
        // These members were already removed when the processes of the forced cluster started.
        let never_open = self.is_outside(packet.from) && !self.is_outside(packet.to);
        let receiver = &mut self.members[place];
        if receiver
            .registry
            .removed_ids
            .contains(&MemberId(packet.from))
        {
            if never_open || !self.chance.chance(OPEN_STREAM_PERCENT) {
                return self.report(packet.from, packet.to, PeerEvent::RemovedHere);
            }
        } else if !receiver.registry.by_id.contains_key(&MemberId(packet.from)) {
            receiver.remotes.insert(packet.from);
        }
        self.members[place].inbox.receive(packet);
        self.wake(place);
    }

    /// Reopens the streams of a process. The process then resends lost messages. A removed member also learns of its removal,
    /// even if it has nothing to send.
    pub(crate) fn open_streams(&mut self, place: usize) {
        let id = place as u64 + 1;
        if self.members[place].replica.is_none() {
            return;
        }
        let known: Vec<u64> = self.members[place]
            .registry
            .by_id
            .keys()
            .map(|id| id.0)
            .collect();
        for other in known.into_iter().filter(|other| *other != id) {
            let member = &self.members[(other - 1) as usize];
            let cut = self.net.cut.contains(&(id, other)) || self.net.cut.contains(&(other, id));
            if member.replica.is_none() || cut {
                continue;
            }
            if member.registry.removed_ids.contains(&MemberId(id)) {
                self.report(id, other, PeerEvent::RemovedHere);
            } else {
                self.peer_event(place, other, PeerEvent::StreamOpened);
            }
        }
    }

    /// Makes the transport of member `to` report an event of member `about`, after a short delay.
    pub(crate) fn report(&mut self, to: u64, about: u64, event: PeerEvent) {
        let delay = self.chance.range(1, 3);
        self.schedule_peer_event((to - 1) as usize, about, event, delay);
    }

    pub(crate) fn peer_event(&mut self, place: usize, about: u64, event: PeerEvent) {
        self.members[place].inbox.event(about, event);
        self.wake(place);
    }

    pub(crate) fn executed(&mut self, place: usize, command: LongCommand) {
        if let Some(replica) = &mut self.members[place].replica {
            replica.take(Input::Executed(Box::new(command.execute())));
        }
        self.wake(place);
    }

    /// Runs one turn of a process and handles its crash or halt.
    pub(crate) fn turn(&mut self, place: usize) {
        let Some(mut replica) = self.members[place].replica.take() else {
            return;
        };
        let voters_before = self.members[place].voters();
        let mut turn = Turn::new(self, place);
        let halted = replica.turn(&mut turn).err();
        if turn.crashed() {
            drop(replica);
            self.power_lost(place);
            return;
        }
        let (monotonic_ns, sync_ns) = (self.monotonic_ns(place), self.scenario.sync_cost_ns());
        replica.take(Input::Turned { monotonic_ns, sync_ns });
        let status = replica.status();
        if halted != Some(Halt::Removed) {
            let voters = [voters_before, self.members[place].voters()];
            self.judge(&Fact::Turned { member: place as u64 + 1, status, voters: &voters });
        }
        if let Some(halt) = halted {
            return self.halted(place, halt);
        }
        self.settle_copy(place, replica.is_copied());
        let wake_at_ns = replica.wake_at_ns();
        let begins = replica.log_begins();
        let member = &mut self.members[place];
        if begins > member.log_begins && member.log_begins > 0 {
            self.counts.trims += 1;
        }
        member.log_begins = begins;
        member.replica = Some(replica);
        self.show_status(place, status);
        if let Some(at_ns) = wake_at_ns {
            let wait_ns = at_ns.saturating_sub(self.monotonic_ns(place));
            let incarnation = self.members[place].incarnation;
            let delay = wait_ns.div_ceil(UNIT_NS as u64).max(1);
            self.after(delay, Event::Turn { place, incarnation });
        }
        for (lease, asked) in std::mem::take(&mut self.members[place].noted) {
            let op = self.oracle.next_id();
            self.members[place]
                .remaining_ttl_clears
                .insert(op, (lease, asked));
            self.ask(
                place,
                Ask::Write(workload::clear_remaining_ttl(lease)),
                None,
            );
        }
    }

    /// Records the status of a member and traces changes of role, term and leader.
    fn show_status(&mut self, place: usize, status: Status) {
        let before = std::mem::replace(&mut self.members[place].status, status);
        if (before.role, before.term, before.leader) != (status.role, status.term, status.leader) {
            self.counts.terms = self.counts.terms.max(status.term);
            self.trace.line(self.now, || {
                let Status { term, leader: MemberId(leader), role, .. } = status;
                format!(
                    "m{} is {role:?} of term {term}, leader m{leader}",
                    place + 1
                )
            });
        }
    }

    /// Stops a member for a reason that the core gives. Reports a violation unless the cluster has removed the member or its
    /// disk is a copy.
    fn halted(&mut self, place: usize, halt: Halt) {
        let id = place as u64 + 1;
        self.trace.line(self.now, || format!("m{id} ends: {halt}"));
        if let Halt::LaterLevel { level, own } = halt {
            let what = format!("m{id} of level {own} is in a cluster of level {level}");
            return self.violate(LEVEL_KNOWN, what);
        }
        if self.ends_by_copy(place, halt) {
            return;
        }
        let removed =
            self.truth.registry.removed_ids.contains(&MemberId(id)) || self.is_outside(id);
        if halt != Halt::Removed || !removed {
            return self.not_started(id, &halt);
        }
        self.counts.ended += 1;
        self.members[place].existence = Existence::Gone;
        self.disks[place].abandon();
        self.end_process(place);
        let percent = self.climate.end_crash_percent;
        if self.phase == Phase::Chaos && self.chance.chance(percent) {
            for other in 0..self.members.len() {
                self.crash(other);
            }
        }
    }

    /// Cuts the power of a member between two turns, if it runs.
    pub(crate) fn crash(&mut self, place: usize) {
        if self.members[place].replica.take().is_some() {
            self.trace
                .line(self.now, || format!("m{} loses power", place + 1));
            self.power_lost(place);
        }
    }

    /// Handles the power loss of a member and schedules its next start.
    pub(crate) fn power_lost(&mut self, place: usize) {
        self.counts.crashes += 1;
        let left = self.disks[place].crash(&mut self.chance);
        self.judge_files(place, left);
        self.end_process(place);
        let down = if self.chance.chance(40) {
            3
        } else {
            self.climate.down
        };
        let delay = self.chance.range(1, down);
        self.after(delay, Event::Start { place });
    }

    /// Reports a violation if real storage has not kept the durable state.
    pub(crate) fn judge_files(&mut self, place: usize, left: Result<(), String>) {
        if let Err(what) = left {
            self.violate(STORAGE_FAITHFUL, format!("m{}: {what}", place + 1));
        }
    }

    /// Ends a process, which loses everything in memory.
    pub(crate) fn end_process(&mut self, place: usize) {
        let gone = place as u64 + 1;
        let member = &mut self.members[place];
        member.replica = None;
        member.verbs_left = None;
        member.forget_clients();
        member.inbox = Inbox::default();
        member.remotes = BTreeSet::new();
        member.rebuilds = false;
        member.paused_until = 0;
        member.checkpoint = None;
        self.receiver_gone(place);
        self.oracle.crashed(gone);
        // A process that ends closes its streams. Members that it cannot reach do not notice this.
        for other in 0..self.members.len() {
            let to = other as u64 + 1;
            let member = &self.members[other];
            let linked = member.replica.is_some() && member.reaches(gone);
            let seen = linked && !self.net.cut.contains(&(gone, to)) && self.chance.chance(80);
            if seen {
                self.report(to, gone, PeerEvent::ProcessGone);
            }
        }
    }

    /// Gives an awaited member a new disk with the current members, and schedules its start.
    pub(crate) fn join(&mut self, place: usize) {
        let member = &mut self.members[place];
        if member.existence != Existence::Awaited {
            return;
        }
        member.existence = Existence::Present;
        let mut state = View::default();
        state.machine.members = self.truth.registry.clone();
        self.disks[place] = Disk::new(&state);
        if let Some(make) = &mut self.directories.0 {
            let (directory, recovered) = make(place as u64 + 1, &state);
            self.disks[place].keep_in(directory, recovered);
        }
        let longest = if self.phase == Phase::Chaos {
            JOIN_UNITS
        } else {
            1
        };
        let delay = self.chance.range(1, longest);
        self.after(delay, Event::Start { place });
    }

    /// Starts a member from its disk, unless it runs, is gone or must stay down. Tries again later if it must stay down.
    pub(crate) fn start(&mut self, place: usize) {
        let member = &self.members[place];
        if member.replica.is_some() || member.existence != Existence::Present {
            return;
        }
        if self.stays_down(place) {
            return self.after(DOWN_UNITS, Event::Start { place });
        }
        let id = place as u64 + 1;
        let started = self.recover(place).and_then(|recovered| {
            let Some((recovered, members)) = recovered else {
                return Ok(None);
            };
            let view = recovered.checkpoint.clone().unwrap_or_default();
            let hard_state = recovered.hard_state.clone();
            let sink = self.recorder(id);
            let replica = RecordedReplica::new(self.settings(id), recovered, sink)?;
            Ok(Some((replica, view, hard_state, members)))
        });
        let (replica, view, hard_state, members) = match started {
            Ok(Some(started)) => started,
            Ok(None) => return,
            Err(error) => return self.not_started(id, &error),
        };
        self.trace.line(self.now, || {
            let span = self.disks[place].span();
            format!(
                "m{id} starts: checkpoint at {}, log {span:?}",
                view.position.index
            )
        });
        // A power cut during a write may have left the hard state on the disk.
        self.judge(&Fact::Written { member: id, records: &[], hard_state: hard_state.as_ref() });
        // A joining member has no state yet.
        if view.position.index > 0 {
            let fingerprint = fingerprint(&view);
            self.judge(&Fact::Restored { member: id, starts: true, view: &view, fingerprint });
        }
        let member = &mut self.members[place];
        member.incarnation += 1;
        member.tickets = 0;
        member.level_hold.reset();
        member.turn_due = false;
        member.follow(&members);
        member.base = view;
        member.log_begins = 0;
        member.status = replica.status();
        member.replica = Some(Box::new(replica));
        let incarnation = member.incarnation;
        self.after(0, Event::Turn { place, incarnation });
        let first = self.chance.range(1, UNITS_PER_TICK);
        self.after(first, Event::Tick { place, incarnation });
        self.next_checkpoint(place);
        self.report_process_start(place);
    }

    fn settings(&mut self, id: u64) -> Config {
        Config {
            id,
            election_ticks: self.climate.election_ticks,
            heartbeat_ticks: 1,
            election_ns: self.climate.election_ticks as u64 * UNITS_PER_TICK * UNIT_NS as u64,
            seed: self.chance.draw(),
            pre_vote: self.climate.pre_vote,
            compaction: None,
            request_ticks: self.scenario.request_ticks(),
            copied: self.disks[(id - 1) as usize].is_copied(),
            level: self.members[(id - 1) as usize].level,
            tuning: self.tuning(),
        }
    }

    /// Returns limits that a short run reaches.
    fn tuning(&self) -> Tuning {
        let (usual, keys) = (Tuning::default(), self.scenario.long_command_keys());
        Tuning {
            long_command_keys: keys.unwrap_or(usual.long_command_keys),
            catch_up_entries: self.climate.log_entries,
            lease_checkpoint_s: self.scenario.has_lease_questions().then_some(1),
            ..usual
        }
    }
}

//! The pending inputs of a member's thread. A round of its loop takes the inputs in the order of the real thread, then runs the
//! turn. The order is: the clock, control messages, bulk messages, the transport's reports, a received snapshot, durable
//! checkpoints, client requests, ticks.

use std::collections::VecDeque;

use witan_machine::{
    command::{Command, UnstampedEntry},
    kv::ValueSource,
    lease::LeaseId,
    member::MemberId,
};
use witan_recorder::RecordedReplica;
use witan_replica::{
    host::{Connection, Lane, LeaseQuestion, Ticket},
    input::Input,
    replica::{PeerEvent, ProposalRejected, Replica, Status},
};

use crate::{
    invariants::Fact,
    net::Packet,
    oracle::{Ask, End},
    scenario::UNITS_PER_TICK,
    users,
    world::{Event, Phase, World},
};

/// Number of missed ticks that the thread makes up for after a stall, as in production.
const TICKS_MADE_UP: u32 = 2;

/// Number of client connections per member.
const CLIENTS: u64 = 5;

/// The inputs for the next round.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    control: Vec<Packet>,
    bulk: VecDeque<Packet>,
    events: Vec<(u64, PeerEvent)>,
    /// A complete snapshot with the number of its transfer.
    pub(crate) snapshot: Option<(u64, Packet)>,
    durable: u64,
    requests: VecDeque<Request>,
    ticks: u32,
}

/// A request of a client to the process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    /// An operation of the oracle.
    Operation(u64),
    /// A request about a lease, with the time at which its client sent it.
    Lease {
        lease: LeaseId,
        question: LeaseQuestion,
        asked: u64,
    },
    /// Replaces the state with the leader's.
    Rebuild,
    Transfer(Option<u64>),
}

impl Inbox {
    pub(crate) fn receive(&mut self, packet: Packet) {
        match packet.lane {
            Lane::Control => self.control.push(packet),
            Lane::Bulk => self.bulk.push_back(packet),
        }
    }

    /// Queues a report about member `about`, in place of an equal one.
    pub(crate) fn event(&mut self, about: u64, event: PeerEvent) {
        self.events.retain(|queued| *queued != (about, event));
        self.events.push((about, event));
    }

    pub(crate) fn durable(&mut self, index: u64) {
        self.durable = self.durable.max(index);
    }

    pub(crate) fn ask(&mut self, request: Request) {
        self.requests.push_back(request);
    }

    /// Forgets the requests of clients whose connections have ended.
    pub(crate) fn forget_requests(&mut self) {
        self.requests.clear();
    }

    pub(crate) fn tick(&mut self) {
        self.ticks += 1;
    }
}

impl World {
    /// Runs a round of a member's thread for its inputs now, or schedules it for when the process resumes or more inputs have
    /// arrived. Does nothing if a round is already scheduled.
    pub(crate) fn wake(&mut self, place: usize) {
        let member = &mut self.members[place];
        if member.turn_due || member.replica.is_none() {
            return;
        }
        let incarnation = member.incarnation;
        let stopped = member.paused_until.saturating_sub(self.now);
        let gathers = self.phase == Phase::Chaos && self.chance.chance(self.climate.batch_percent);
        let delay = match stopped {
            0 if gathers => self.chance.range(1, self.climate.gather),
            stopped => stopped,
        };
        if delay == 0 {
            return self.run_loop(place);
        }
        self.members[place].turn_due = true;
        self.after(delay, Event::Turn { place, incarnation });
    }

    /// Runs one round of the thread, unless the process is down.
    pub(crate) fn run_loop(&mut self, place: usize) {
        let monotonic_ns = self.monotonic_ns(place);
        let Some(mut replica) = self.members[place].replica.take() else {
            return;
        };
        self.members[place].turn_due = false;
        replica.take(Input::Clock { monotonic_ns });
        let mut inbox = std::mem::take(&mut self.members[place].inbox);
        for packet in inbox.control.drain(..) {
            self.hand_in(place, &mut replica, packet);
        }
        for _ in 0..self.climate.bulk_per_round {
            let Some(packet) = inbox.bulk.pop_front() else {
                break;
            };
            self.hand_in(place, &mut replica, packet);
        }
        for (about, event) in inbox.events.drain(..) {
            let id = place + 1;
            self.trace
                .line(self.now, || format!("m{id} on m{about}: {event:?}"));
            let member = MemberId(about);
            replica.take(Input::Peer { member, event });
        }
        let mut taken = None;
        if let Some((number, packet)) = inbox.snapshot.take() {
            taken = Some((packet.from, number));
            self.hand_in(place, &mut replica, packet);
        }
        let index = inbox.durable;
        replica.take(Input::Durable { index });
        for request in inbox.requests.drain(..) {
            self.take_request(place, &mut replica, request);
        }
        self.run_ticks(place, &mut replica, std::mem::take(&mut inbox.ticks));
        let more = !inbox.bulk.is_empty();
        let member = &mut self.members[place];
        member.inbox = inbox;
        member.replica = Some(replica);
        let incarnation = member.incarnation;
        self.turn(place);
        if let Some((from, number)) = taken {
            self.snapshot_taken((from, place as u64 + 1), number, incarnation);
        }
        if more && self.runs(place, incarnation) && !self.members[place].turn_due {
            self.members[place].turn_due = true;
            self.after(1, Event::Turn { place, incarnation });
        }
    }

    /// Passes a packet to the core, unless its stream is refused. Records whether a leader has sent it.
    fn hand_in(&mut self, place: usize, replica: &mut RecordedReplica, packet: Packet) {
        let text = |p: &Packet| format!("m{} <- m{} {}", p.to, p.from, p.text());
        self.trace.line(self.now, || text(&packet));
        let sender = (packet.from - 1) as usize;
        if let Some(sending) = self.members[sender].replica.take() {
            let refused = self.refuses_stream((sender, &sending), (place, replica));
            self.members[sender].replica = Some(sending);
            if refused {
                return;
            }
        }
        let (from, led_term) = (packet.from, Replica::led_term(&packet.message));
        match packet.open() {
            Ok(envelope) => {
                replica.take(Input::Message(envelope));
                // A copy does not follow a leader before that leader is confirmed.
                if let Some(term) = led_term.filter(|_| !replica.is_copied()) {
                    self.record_leader(place, (from, term), replica.status());
                }
            }
            Err(error) => {
                let error = format!("cannot decode a received snapshot: {error}");
                self.not_started(place as u64 + 1, &error);
            }
        }
    }

    /// Records that a member has received a leader's message, unless the member knows that the sender was removed.
    fn record_leader(&mut self, place: usize, (leader, term): (u64, u64), status: Status) {
        let removed = &self.members[place].registry.removed_ids;
        if !removed.contains(&MemberId(leader)) {
            let timeout = self.climate.election_ticks as u64 * UNITS_PER_TICK;
            let member = place as u64 + 1;
            self.judge(&Fact::Heard { member, leader, term, timeout, status });
        }
    }

    /// Passes `due` ticks to the core, at most `TICKS_MADE_UP` in addition to one.
    fn run_ticks(&self, place: usize, replica: &mut RecordedReplica, due: u32) {
        if due == 0 {
            return;
        }
        let full = self.members[place].full_until > self.now;
        let bytes = if full { 0 } else { u64::MAX };
        replica.take(Input::LogRoom { bytes });
        if self.scenario.counts_values(place) {
            let source = ValueSource::Disk;
            replica.take(Input::Values { source });
        }
        let now_ns = self.now_ns(place);
        for _ in 0..due.min(TICKS_MADE_UP + 1) {
            replica.take(Input::Tick { now_ns });
        }
    }

    /// Passes a client's request to the core, unless the shell refuses it.
    fn take_request(&mut self, place: usize, replica: &mut RecordedReplica, request: Request) {
        let (now_ns, full) = (
            self.now_ns(place),
            self.members[place].full_until > self.now,
        );
        let member = &mut self.members[place];
        member.tickets += 1;
        let ticket = Ticket(member.tickets);
        match request {
            Request::Operation(id) => {
                let Some(ask) = self.oracle.op(id).map(|op| op.ask.clone()) else {
                    return;
                };
                let input = match ask {
                    Ask::Read(_) => Input::Read { ticket },
                    Ask::Write(command) if full && grows(&command) => {
                        return self.refused(id, End::NoSpace);
                    }
                    Ask::Write(command) if !self.has_command(place, &command) => {
                        let refusal = ProposalRejected::ClusterVersion;
                        return self.refused(id, End::Refused(refusal));
                    }
                    Ask::Write(command) => {
                        let caller = match self.scenario.has_users() {
                            true => users::caller(&mut self.callers, &replica.view()),
                            false => None,
                        };
                        let connection = Connection(id % CLIENTS);
                        let entry = UnstampedEntry::new(command, caller);
                        Input::Propose { ticket, connection, now_ns, entry }
                    }
                };
                self.members[place].waiting.insert(ticket, id);
                replica.take(input);
            }
            Request::Lease { lease, question, asked } => {
                let questions = &mut self.members[place].lease_questions;
                questions.insert(ticket, (lease, asked));
                replica.take(Input::Lease { ticket, lease, question });
            }
            Request::Rebuild => {
                replica.take(Input::Rebuild);
                self.judge(&Fact::Rebuilds { member: place as u64 + 1 });
            }
            Request::Transfer(to) => {
                let to = to.map(MemberId);
                replica.take(Input::Transfer { ticket, to });
            }
        }
    }

    /// Ends a request that was not accepted.
    pub(crate) fn refused(&mut self, op: u64, end: End) {
        self.trace.line(self.now, || format!("op{op}: {end:?}"));
        // The leader does not accept the promotion yet.
        let early = matches!(end, End::Refused(ProposalRejected::LearnerNotReady));
        self.counts.refused += u64::from(!early);
        self.oracle.unanswered(op, end);
    }
}

/// Returns whether a member with a full disk refuses a command, according to the rule of the shell.
fn grows(command: &Command) -> bool {
    match command {
        Command::Kv(_) | Command::Tree(_) | Command::Lease(_) => true,
        Command::Publish(_)
        | Command::ClusterVersion(_)
        | Command::Downgrade(_)
        | Command::PeerUrls(_)
        | Command::Members(_)
        | Command::Alarm(_)
        | Command::Auth(_)
        | Command::Follow(_) => false,
    }
}

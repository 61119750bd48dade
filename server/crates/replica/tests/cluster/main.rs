//! Several replicas in one process, whose messages arrive immediately unless a link is cut. Tests requests between members,
//! elections and membership.

mod catch_up;
mod copied;
mod deferred_commits;
mod disk_room;
mod failover;
mod held;
mod leases;
mod lies;
mod lineage;
mod long_commands;
mod membership;
mod rebuild;
mod versions;
mod writes;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use witan_machine::{
    command::{Command, UnstampedEntry},
    kv,
    lease::LeaseId,
    levels,
    member::{Member, MemberId},
    view::View,
};
use witan_replica::{
    host::{
        Answer, Applied, Connection, Envelope, Host, LeaseAnswer, LeaseQuestion, LogBatch,
        ProposalRejected, Recovered, Ticket, Unanswered,
    },
    input::Input,
    long_command::{ExecutedCommand, LongCommand},
    replica::{
        Config, Halt, MessageFault, PeerEvent, Replica, Role, TransferRefused, Tuning, genesis,
    },
};

const TICK_NS: u64 = 100_000_000;
const ELECTION_TICKS: u64 = 10;

/// The host of a member, which records the calls.
#[derive(Default)]
struct World {
    sent: Vec<Envelope>,
    answers: BTreeMap<u64, Applied>,
    applied: Vec<Applied>,
    /// The compacted revision of each state before a compaction that watchers have received.
    before_compactions: Vec<i64>,
    leases: BTreeMap<u64, LeaseAnswer>,
    unanswered: Vec<(Ticket, Unanswered)>,
    transfers: Vec<Result<MemberId, TransferRefused>>,
    decisions: Vec<bool>,
    faults: Vec<MessageFault>,
    read: Vec<Ticket>,
    installs: u64,
    /// Whether the host defers long commands. `waiting` is the deferred command.
    executes_later: bool,
    waiting: Option<Box<LongCommand>>,
}

impl Host for World {
    fn install(&mut self, _: &View) {
        self.installs += 1;
    }
    fn persist(&mut self, _: &LogBatch) {}
    fn send(&mut self, envelopes: Vec<Envelope>) {
        self.sent.extend(envelopes);
    }
    /// Records the entries and, by ticket, the results of this member's requests. Panics if a ticket gets a second result.
    fn applied(&mut self, applied: Vec<Applied>, view: &View) {
        let before = view.machine.kv.compacted_states().iter();
        self.before_compactions
            .extend(before.map(|kv| kv.compacted().0));
        for one in &applied {
            if let Some(ticket) = one.ticket {
                assert!(self.answers.insert(ticket.0, one.clone()).is_none());
            }
        }
        self.applied.extend(applied);
    }
    /// Executes a command, or keeps it in `waiting` if the host defers commands.
    fn execute(&mut self, command: Box<LongCommand>) -> Option<Box<ExecutedCommand>> {
        if self.executes_later {
            assert!(
                self.waiting.replace(command).is_none(),
                "one long command runs at a time"
            );
            return None;
        }
        Some(Box::new(command.execute()))
    }
    fn readable(&mut self, tickets: &[Ticket], _: &View) {
        self.read.extend(tickets);
    }
    /// Records each answer in the field for its kind.
    fn answered(&mut self, answers: Vec<(Ticket, Answer)>) {
        for (ticket, answer) in answers {
            match answer {
                Answer::Lease(answer) => drop(self.leases.insert(ticket.0, answer)),
                Answer::Unanswered(reason) => self.unanswered.push((ticket, reason)),
                Answer::Transfer(taken) => self.transfers.push(taken),
                Answer::Decided(proposed) => self.decisions.push(proposed),
            }
        }
    }
    fn cut_log(&mut self, _: u64) {}
    fn message_dropped(&mut self, _: MemberId, fault: MessageFault) {
        self.faults.push(fault);
    }
}

#[derive(Default)]
struct Cluster {
    members: BTreeMap<u64, (Replica, World)>,
    ended: BTreeMap<u64, Halt>,
    /// The cut links as `(from, to)`.
    cut: BTreeSet<(u64, u64)>,
    /// Stopped members, with the messages that wait for them.
    stopped: BTreeMap<u64, VecDeque<Envelope>>,
    snapshots_sent: u64,
    /// Number of messages with entries that were sent to each member.
    appends_sent: BTreeMap<u64, u64>,
    /// Whether snapshots are held back in `held_snapshots`.
    holds_snapshots: bool,
    held_snapshots: Vec<Envelope>,
    now_ns: u64,
    tickets: u64,
}

fn person(id: u64) -> Member {
    Member {
        id,
        peer_urls: vec![format!("http://m{id}:2380")],
        ..Member::default()
    }
}

/// Returns the initial state of a cluster whose members support all commands.
fn first_state(ids: &[u64]) -> View {
    let mut state = genesis(1, ids.iter().map(|id| person(*id)).collect());
    state.machine.members.cluster_version = "3.6.0".into();
    state
}

fn replica(id: u64, state: View, tuning: Tuning) -> Replica {
    started(Config { tuning, ..config(id) }, state)
}

/// Returns the configuration of a member. The seed is the member's id.
fn config(id: u64) -> Config {
    Config {
        id,
        election_ticks: ELECTION_TICKS as usize,
        heartbeat_ticks: 1,
        election_ns: ELECTION_TICKS * TICK_NS,
        seed: id,
        pre_vote: true,
        compaction: None,
        request_ticks: 70,
        copied: false,
        level: levels::OWN,
        tuning: Tuning::default(),
    }
}

fn started(config: Config, state: View) -> Replica {
    let recovered = Recovered { checkpoint: Some(state), ..Recovered::default() };
    Replica::new(config, recovered).expect("a new member starts")
}

impl Cluster {
    fn new(ids: &[u64]) -> Self {
        Self::begun_with(first_state(ids), ids, Tuning::default())
    }

    /// Creates a cluster whose members start with `state` and runs it until there is a leader.
    fn begun_with(state: View, ids: &[u64], tuning: Tuning) -> Self {
        let mut cluster = Self::default();
        for id in ids {
            let member = (replica(*id, state.clone(), tuning), World::default());
            cluster.members.insert(*id, member);
        }
        cluster.until(|cluster| cluster.leader().is_some());
        cluster
    }

    /// Starts a member that has no state yet.
    fn join(&mut self, id: u64) {
        let member = (
            replica(id, View::default(), Tuning::default()),
            World::default(),
        );
        self.members.insert(id, member);
    }

    /// Returns a running member that leads, or `None`. Ignores stopped members.
    fn leader(&self) -> Option<u64> {
        let alive = self.members.iter();
        let mut running = alive.filter(|(id, _)| !self.stopped.contains_key(*id));
        let leads = |replica: &Replica| replica.status().role == Role::Leader;
        running
            .find(|(_, (replica, _))| leads(replica))
            .map(|(id, _)| *id)
    }

    /// Returns the running member with the lowest id that does not lead.
    fn follower(&self) -> u64 {
        let leader = self.leader();
        let mut ids = self.members.keys().copied();
        ids.find(|id| Some(*id) != leader && !self.stopped.contains_key(id))
            .expect("there is a follower")
    }

    fn replica(&mut self, id: u64) -> &mut Replica {
        &mut self.members.get_mut(&id).expect("running").0
    }

    fn world(&self, id: u64) -> &World {
        &self.members[&id].1
    }

    /// Runs a turn of a member and returns the messages that it sends. The messages are not delivered.
    fn turn(&mut self, id: u64) -> Vec<Envelope> {
        let (replica, world) = self.members.get_mut(&id).expect("running");
        replica.turn(world).expect("no halt");
        std::mem::take(&mut world.sent)
    }

    fn event(&mut self, at: u64, about: u64, event: PeerEvent) {
        self.replica(at)
            .take(Input::Peer { member: MemberId(about), event });
    }

    fn hand_over(&mut self, from: u64, to: u64) {
        let to = MemberId(to);
        assert_eq!(self.transfer(from, Some(to)), Ok(to));
    }

    /// Requests a leadership transfer at member `from`, settles the cluster and returns the answer.
    fn transfer(&mut self, from: u64, to: Option<MemberId>) -> Result<MemberId, TransferRefused> {
        let ticket = self.ticket();
        self.replica(from).take(Input::Transfer { ticket, to });
        self.settle();
        let world = &mut self.members.get_mut(&from).expect("running").1;
        world
            .transfers
            .pop()
            .expect("the transfer is answered at once")
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Runs turns and delivers messages until no member sends messages. Moves members that halt to `ended`.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut envelopes = Vec::new();
            let ids: Vec<u64> = self.members.keys().copied().collect();
            for id in ids.into_iter().filter(|id| !self.stopped.contains_key(id)) {
                let (replica, world) = self.members.get_mut(&id).expect("running");
                if let Err(halt) = replica.turn(world) {
                    envelopes.append(&mut world.sent);
                    self.members.remove(&id);
                    self.ended.insert(id, halt);
                    continue;
                }
                envelopes.append(&mut world.sent);
            }
            if envelopes.is_empty() {
                return;
            }
            for envelope in envelopes {
                self.deliver(envelope);
            }
        }
        panic!("the members do not stop sending messages");
    }

    /// Delivers a message and counts appends and snapshots. Drops the message if its link is cut, queues it for a stopped
    /// member, and holds back a snapshot if `holds_snapshots` is set. Reports a delivered snapshot to its sender.
    fn deliver(&mut self, envelope: Envelope) {
        let (from, to) = (envelope.from.0, envelope.to.0);
        let text = Replica::describe(&envelope.message);
        if text.starts_with("MsgAppend ") && !text.contains("entries=0") {
            *self.appends_sent.entry(to).or_default() += 1;
        }
        if envelope.snapshot.is_some() {
            if self.holds_snapshots {
                return self.held_snapshots.push(envelope);
            }
            self.snapshots_sent += 1;
        }
        if let Some(queue) = self.stopped.get_mut(&to) {
            return queue.push_back(envelope);
        }
        if self.cut.contains(&(from, to)) {
            return;
        }
        let is_snapshot = envelope.snapshot.is_some();
        if let Some((replica, _)) = self.members.get_mut(&to) {
            replica.take(Input::Message(envelope));
        }
        if is_snapshot && let Some((sender, _)) = self.members.get_mut(&from) {
            sender.take(Input::Peer { member: MemberId(to), event: PeerEvent::SnapshotDelivered });
        }
    }

    /// Advances the monotonic clock of all running members and settles the cluster.
    fn pass(&mut self, time_ns: u64) {
        self.now_ns += time_ns;
        let now_ns = self.now_ns;
        for (id, (replica, _)) in &mut self.members {
            if !self.stopped.contains_key(id) {
                replica.take(Input::Clock { monotonic_ns: now_ns });
            }
        }
        self.settle();
    }

    /// Passes the time of a tick, then ticks all running members and settles the cluster.
    fn tick(&mut self) {
        self.pass(TICK_NS);
        let now_ns = self.now_ns.cast_signed();
        for (id, (replica, _)) in &mut self.members {
            if !self.stopped.contains_key(id) {
                replica.take(Input::Tick { now_ns });
            }
        }
        self.settle();
    }

    fn ticks(&mut self, count: u64) {
        (0..count).for_each(|_| self.tick());
    }

    /// Ticks until `done` returns true. Panics after 200 ticks.
    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..200 {
            if done(self) {
                return;
            }
            self.tick();
        }
        panic!("the condition was not met in time");
    }

    /// Ends a member's process. The members in `told` get the transport's report that the process ended.
    fn kill(&mut self, id: u64, told: &[u64]) {
        self.members.remove(&id);
        for other in told {
            self.event(*other, id, PeerEvent::ProcessGone);
        }
        self.settle();
    }

    fn stream_opens(&mut self, by: u64, to: u64) {
        self.event(by, to, PeerEvent::StreamOpened);
        self.settle();
    }

    /// Cuts all links from and to a member.
    fn cut_off(&mut self, id: u64) {
        for other in self.members.keys().copied().filter(|other| *other != id) {
            self.cut.extend([(id, other), (other, id)]);
        }
    }

    fn stop(&mut self, id: u64) {
        self.stopped.insert(id, VecDeque::new());
    }

    /// Resumes a stopped member: its thread reads the clock, takes the messages that have arrived, and ticks.
    fn go_on(&mut self, id: u64) {
        let (now_ns, queue) = (self.now_ns, self.stopped.remove(&id).unwrap_or_default());
        let replica = self.replica(id);
        replica.take(Input::Clock { monotonic_ns: now_ns });
        for envelope in queue {
            replica.take(Input::Message(envelope));
        }
        replica.take(Input::Tick { now_ns: now_ns.cast_signed() });
        self.settle();
    }

    fn propose(&mut self, at: u64, command: impl Into<Command>) -> u64 {
        let ticket = self.ticket();
        self.propose_as(at, ticket, command.into());
        ticket.0
    }

    /// Proposes a command at a member under a given ticket, without a turn.
    fn propose_as(&mut self, at: u64, ticket: Ticket, command: Command) {
        self.replica(at).take(Input::Propose {
            ticket,
            connection: Connection::default(),
            now_ns: 0,
            entry: UnstampedEntry::new(command, None),
        });
    }

    fn read(&mut self, at: u64) -> Ticket {
        let ticket = self.ticket();
        self.replica(at).take(Input::Read { ticket });
        ticket
    }

    fn ask_lease(&mut self, at: u64, lease: LeaseId, question: LeaseQuestion) -> u64 {
        let ticket = self.ticket();
        let input = Input::Lease { ticket, lease, question };
        self.replica(at).take(input);
        ticket.0
    }

    /// Returns the applied entry of a request to a member, or `None` if it is not applied there.
    fn answer(&self, at: u64, ticket: u64) -> Option<&Applied> {
        self.world(at).answers.get(&ticket)
    }

    /// Returns the number of puts of this key that a member has applied.
    fn count(&mut self, at: u64, key: &str) -> i64 {
        let range = kv::Range {
            key: Bytes::copy_from_slice(key.as_bytes()),
            ..kv::Range::default()
        };
        let view = self.replica(at).view();
        let answer = view
            .machine
            .kv
            .range(&range, witan_machine::kv::ValueSource::Disk)
            .expect("the key can be read");
        answer.kvs.first().map_or(0, |pair| pair.version)
    }
}

fn put(key: &str) -> kv::KvOperation {
    kv::KvOperation::Put(kv::Put {
        key: Bytes::copy_from_slice(key.as_bytes()),
        ..kv::Put::default()
    })
}

//! The seam: a replica whose inputs and effects are noted, if a recording is asked for. Without one each call costs a branch.

use std::ops::Deref;

use prost::Message as _;
use witan_machine::{
    command::{Command, Entry},
    lease::LeaseId,
    member::{MemberId, MemberRegistry},
    record::CorruptRecord,
};
use witan_replica::{
    host::{Connection, Envelope, Host, LeaseQuestion, ProposalRejected, Recovered, Ticket},
    long_command::ExecutedCommand,
    replica::{
        Config, FrozenReplica, Halt, MessageFault, PeerEvent, Replica, Status, TransferRefused,
    },
};

use crate::{
    effects::{self, RawEffect},
    format::{PeerReport, Simulated, Turned},
    replay,
};

/// The reports of the transport, by their numbers in a recording.
pub(crate) const EVENTS: [PeerEvent; 7] = [
    PeerEvent::Unreachable,
    PeerEvent::ProcessGone,
    PeerEvent::ProcessBack,
    PeerEvent::StreamOpened,
    PeerEvent::SnapshotDelivered,
    PeerEvent::SnapshotFailed,
    PeerEvent::RemovedHere,
];

/// Where a recording goes. Nothing here may block.
pub trait Sink: Send {
    /// Takes with what the replica began.
    fn start(&mut self, config: Config, recovered: Recovered);
    /// Takes a turn. Returns whether the replica is to be frozen as it is after that turn.
    fn turn(&mut self, turn: RawTurn) -> bool;
    /// Takes the replica as it is after a turn. It may come later than it was asked for, or never.
    fn frozen(&mut self, after: u64, replica: Box<FrozenReplica>);
    /// Writes all that was taken: the process ends.
    fn close(&mut self);
}

/// A turn as the replica's thread notes it.
#[derive(Debug)]
pub struct RawTurn {
    pub(crate) number: u64,
    pub(crate) inputs: Vec<RawInput>,
    pub(crate) effects: Vec<RawEffect>,
}

impl RawTurn {
    /// Bytes that it keeps in memory.
    pub(crate) fn bytes(&self) -> usize {
        let inputs = self.inputs.iter().map(RawInput::bytes);
        let effects = self.effects.iter().map(RawEffect::bytes);
        size_of::<Self>() + inputs.sum::<usize>() + effects.sum::<usize>()
    }
}

/// An input as the replica's thread notes it: what is large is shared, not copied.
#[derive(Debug)]
pub(crate) enum RawInput {
    Tick(i64),
    AdvanceClock(u64),
    Receive(Box<Envelope>),
    PeerEvent(PeerReport),
    Durable(u64),
    Executed(u64),
    LogRoom(u64),
    Turned(Turned),
    Rebuild,
    Transfer(u64),
    Propose(Ticket, Connection, i64, Box<Entry>),
    Decide(Box<MemberRegistry>, i64, Box<Entry>),
    Read(Ticket),
    AskAboutLease(Ticket, LeaseId, LeaseQuestion),
    DropHeld,
    Simulated(Simulated),
}

impl RawInput {
    fn bytes(&self) -> usize {
        let more = match self {
            Self::Receive(envelope) => size_of::<Envelope>() + envelope.message.len(),
            Self::Propose(.., entry) | Self::Decide(.., entry) => {
                size_of::<Entry>() + entry.encoded_len()
            }
            Self::Tick(_)
            | Self::AdvanceClock(_)
            | Self::PeerEvent(_)
            | Self::Durable(_)
            | Self::Executed(_)
            | Self::LogRoom(_)
            | Self::Turned(_)
            | Self::Rebuild
            | Self::Transfer(_)
            | Self::Read(_)
            | Self::AskAboutLease(..)
            | Self::DropHeld
            | Self::Simulated(_) => 0,
        };
        size_of::<Self>() + more
    }
}

struct Recording {
    sink: Box<dyn Sink>,
    turns: u64,
    inputs: Vec<RawInput>,
    /// The status after the last turn.
    status: Option<Status>,
}

/// A [`Replica`], recorded or not. Reads go to the replica, inputs through the methods here.
pub struct RecordedReplica {
    replica: Replica,
    recording: Option<Box<Recording>>,
}

impl std::fmt::Debug for RecordedReplica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.replica.fmt(f)
    }
}

impl Deref for RecordedReplica {
    type Target = Replica;

    fn deref(&self) -> &Replica {
        &self.replica
    }
}

#[expect(
    missing_docs,
    reason = "the methods of `Replica`, which say what they do"
)]
impl RecordedReplica {
    /// Starts a replica from recovered state, recorded if there is a sink.
    pub fn new(
        config: Config,
        recovered: Recovered,
        sink: Option<Box<dyn Sink>>,
    ) -> Result<Self, CorruptRecord> {
        let recording = sink.map(|mut sink| {
            sink.start(config.clone(), recovered.clone());
            Box::new(Recording { sink, turns: 0, inputs: Vec::new(), status: None })
        });
        Ok(Self { replica: Replica::new(config, recovered)?, recording })
    }

    fn note(&mut self, input: impl FnOnce() -> RawInput) {
        if let Some(recording) = &mut self.recording {
            recording.inputs.push(input());
        }
    }

    pub fn tick(&mut self, now_ns: i64) {
        self.note(|| RawInput::Tick(now_ns));
        self.replica.tick(now_ns);
    }

    pub fn advance_clock(&mut self, monotonic_ns: u64) {
        self.note(|| RawInput::AdvanceClock(monotonic_ns));
        self.replica.advance_clock(monotonic_ns);
    }

    pub fn receive(&mut self, envelope: Envelope) -> Option<MessageFault> {
        self.note(|| RawInput::Receive(Box::new(envelope.clone())));
        self.replica.receive(envelope)
    }

    pub fn peer_event(&mut self, member: MemberId, event: PeerEvent) {
        self.note(|| {
            let place = EVENTS.iter().position(|it| *it == event);
            let event = place.expect("EVENTS has all of them") as u32;
            RawInput::PeerEvent(PeerReport { member: member.0, event })
        });
        self.replica.peer_event(member, event);
    }

    pub fn durable(&mut self, index: u64) -> Option<u64> {
        self.note(|| RawInput::Durable(index));
        self.replica.durable(index)
    }

    pub fn executed(&mut self, command: Box<ExecutedCommand>) {
        self.note(|| RawInput::Executed(command.index()));
        self.replica.executed(command);
    }

    pub fn set_log_room(&mut self, bytes: u64) {
        self.note(|| RawInput::LogRoom(bytes));
        self.replica.set_log_room(bytes);
    }

    pub fn turned(&mut self, monotonic_ns: u64, sync_ns: u64) {
        self.note(|| RawInput::Turned(Turned { monotonic_ns, sync_ns }));
        self.replica.turned(monotonic_ns, sync_ns);
    }

    pub fn rebuild(&mut self) {
        self.note(|| RawInput::Rebuild);
        self.replica.rebuild();
    }

    pub fn transfer_leadership(
        &mut self,
        to: Option<MemberId>,
    ) -> Result<MemberId, TransferRefused> {
        self.note(|| RawInput::Transfer(to.map_or(0, |MemberId(id)| id)));
        self.replica.transfer_leadership(to)
    }

    pub fn propose(
        &mut self,
        ticket: Ticket,
        connection: Connection,
        now_ns: i64,
        entry: Box<Entry>,
    ) -> Result<(), ProposalRejected> {
        self.note(|| RawInput::Propose(ticket, connection, now_ns, entry.clone()));
        self.replica.propose(ticket, connection, now_ns, entry)
    }

    pub fn propose_decision(
        &mut self,
        members: &MemberRegistry,
        now_ns: i64,
        command: Command,
    ) -> bool {
        self.note(|| {
            let entry = Entry::unstamped(command.clone(), None);
            RawInput::Decide(Box::new(members.clone()), now_ns, entry)
        });
        self.replica.propose_decision(members, now_ns, command)
    }

    pub fn read(&mut self, ticket: Ticket) -> Result<(), ProposalRejected> {
        self.note(|| RawInput::Read(ticket));
        self.replica.read(ticket)
    }

    pub fn ask_about_lease(
        &mut self,
        ticket: Ticket,
        lease: LeaseId,
        question: LeaseQuestion,
    ) -> Result<(), ProposalRejected> {
        self.note(|| RawInput::AskAboutLease(ticket, lease, question));
        self.replica.ask_about_lease(ticket, lease, question)
    }

    pub fn drop_held(&mut self) -> Vec<Ticket> {
        self.note(|| RawInput::DropHeld);
        self.replica.drop_held()
    }

    pub fn set_long_command_keys(&mut self, keys: u64) {
        self.simulate(Simulated { long_command_keys: Some(keys), ..Simulated::default() });
    }

    pub fn keep_entries(&mut self, entries: u64) {
        self.simulate(Simulated { keep_entries: Some(entries), ..Simulated::default() });
    }

    pub fn checkpoint_leases_each(&mut self, seconds: i64) {
        self.simulate(Simulated { lease_seconds: Some(seconds), ..Simulated::default() });
    }

    fn simulate(&mut self, settings: Simulated) {
        self.note(|| RawInput::Simulated(settings));
        replay::simulate(&mut self.replica, settings);
    }

    /// As [`Replica::turn`]; the turn is recorded when it has ended.
    pub fn turn(&mut self, host: &mut dyn Host) -> Result<(), Halt> {
        let Some(recording) = &mut self.recording else {
            return self.replica.turn(host);
        };
        let (effects, halted) = effects::turn(&mut self.replica, host, &mut recording.status);
        recording.turns += 1;
        let inputs = std::mem::take(&mut recording.inputs);
        let number = recording.turns;
        let freezes = recording.sink.turn(RawTurn { number, inputs, effects });
        if halted.is_err() {
            recording.sink.close();
        } else if freezes && let Some(frozen) = self.replica.freeze() {
            recording.sink.frozen(number, Box::new(frozen));
        }
        halted
    }
}

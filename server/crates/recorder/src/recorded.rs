//! The seam: a replica whose inputs and effects are noted, if a recording is asked for. Without one each call costs a branch.

use std::ops::Deref;

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
    effects,
    format::{InputKind, LeaseAsked, PeerReport, Turned},
    hide::Hider,
    noted::NotedTurn,
};

/// Where a recording goes. Nothing here may block.
pub trait Sink: Send {
    /// Takes the settings and the state with which the replica begins. Returns the `Hider` for the values in its turns.
    fn start(&mut self, config: Config, recovered: Recovered) -> Hider;
    /// Takes a turn. Returns whether the replica is to be frozen as it is after that turn.
    fn turn(&mut self, turn: &mut NotedTurn) -> bool;
    /// Takes the replica as it is after turn `after`. It answers a `true` of [`Self::turn`], possibly some turns later, or
    /// never if the replica cannot be frozen.
    fn frozen(&mut self, after: u64, replica: Box<FrozenReplica>);
    /// Writes all that was taken: the process ends.
    fn close(&mut self);
}

struct Recording {
    sink: Box<dyn Sink>,
    /// The turn that is to come, or under way.
    turn: NotedTurn,
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
            let hider = sink.start(config.clone(), recovered.clone());
            let mut turn = NotedTurn::new(hider);
            turn.next();
            Box::new(Recording { sink, turn, status: None })
        });
        Ok(Self { replica: Replica::new(config, recovered)?, recording })
    }

    fn note(&mut self, input: impl FnOnce() -> InputKind) {
        self.note_with(|turn| turn.input(input()));
    }

    fn note_with(&mut self, note: impl FnOnce(&mut NotedTurn)) {
        if let Some(recording) = &mut self.recording {
            note(&mut recording.turn);
        }
    }

    pub fn tick(&mut self, now_ns: i64) {
        self.note(|| InputKind::Tick(now_ns));
        self.replica.tick(now_ns);
    }

    pub fn advance_clock(&mut self, monotonic_ns: u64) {
        self.note(|| InputKind::AdvanceClock(monotonic_ns));
        self.replica.advance_clock(monotonic_ns);
    }

    pub fn receive(&mut self, envelope: Envelope) -> Option<MessageFault> {
        self.note_with(|turn| turn.receive(&envelope));
        self.replica.receive(envelope)
    }

    pub fn peer_event(&mut self, member: MemberId, event: PeerEvent) {
        self.note(|| InputKind::PeerEvent(PeerReport { member: member.0, event: event as i32 }));
        self.replica.peer_event(member, event);
    }

    pub fn durable(&mut self, index: u64) -> Option<u64> {
        self.note(|| InputKind::Durable(index));
        self.replica.durable(index)
    }

    pub fn executed(&mut self, command: Box<ExecutedCommand>) {
        self.note(|| InputKind::Executed(command.index()));
        self.replica.executed(command);
    }

    pub fn set_log_room(&mut self, bytes: u64) {
        self.note(|| InputKind::LogRoom(bytes));
        self.replica.set_log_room(bytes);
    }

    pub fn turned(&mut self, monotonic_ns: u64, sync_ns: u64) {
        self.note(|| InputKind::Turned(Turned { monotonic_ns, sync_ns }));
        self.replica.turned(monotonic_ns, sync_ns);
    }

    pub fn rebuild(&mut self) {
        self.note(|| InputKind::Rebuild(true));
        self.replica.rebuild();
    }

    pub fn transfer_leadership(
        &mut self,
        to: Option<MemberId>,
    ) -> Result<MemberId, TransferRefused> {
        self.note(|| InputKind::Transfer(to.map_or(0, |MemberId(id)| id)));
        self.replica.transfer_leadership(to)
    }

    pub fn propose(
        &mut self,
        ticket: Ticket,
        connection: Connection,
        now_ns: i64,
        mut entry: Box<Entry>,
    ) -> Result<(), ProposalRejected> {
        self.note_with(|turn| turn.propose(ticket, connection, now_ns, &mut entry));
        self.replica.propose(ticket, connection, now_ns, entry)
    }

    pub fn propose_decision(
        &mut self,
        members: &MemberRegistry,
        now_ns: i64,
        command: Command,
    ) -> bool {
        self.note_with(|turn| {
            let mut entry = Entry::unstamped(command.clone(), None);
            turn.decide(members, now_ns, &mut entry);
        });
        self.replica.propose_decision(members, now_ns, command)
    }

    pub fn read(&mut self, ticket: Ticket) -> Result<(), ProposalRejected> {
        self.note(|| InputKind::Read(ticket.0));
        self.replica.read(ticket)
    }

    pub fn ask_about_lease(
        &mut self,
        ticket: Ticket,
        lease: LeaseId,
        question: LeaseQuestion,
    ) -> Result<(), ProposalRejected> {
        self.note(|| {
            InputKind::AskAboutLease(LeaseAsked {
                ticket: ticket.0,
                lease: lease.0,
                renews: question == LeaseQuestion::Renew,
            })
        });
        self.replica.ask_about_lease(ticket, lease, question)
    }

    pub fn drop_held(&mut self) -> Vec<Ticket> {
        self.note(|| InputKind::DropHeld(true));
        self.replica.drop_held()
    }

    /// As [`Replica::turn`]; the turn is recorded when it has ended.
    pub fn turn(&mut self, host: &mut dyn Host) -> Result<(), Halt> {
        let Some(recording) = &mut self.recording else {
            return self.replica.turn(host);
        };
        let Recording { sink, turn, status } = &mut **recording;
        let note = &mut |effect| turn.effect(effect);
        let halted = effects::turn(&mut self.replica, host, status, note);
        let freezes = sink.turn(turn);
        let number = turn.number;
        turn.next();
        if halted.is_err() {
            sink.close();
        } else if freezes && let Some(frozen) = self.replica.freeze() {
            sink.frozen(number, Box::new(frozen));
        }
        halted
    }
}

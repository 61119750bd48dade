//! The effects of a turn, as they are noted on the replica's thread and as a person reads it.

use bytes::Bytes;
use witan_machine::{Reply, StateMachine, member::MemberId, view::View};
use witan_replica::{
    host::{Applied, Envelope, Host, LeaseAnswer, LogBatch, Ticket, Unanswered},
    long_command::{ExecutedCommand, LongCommand},
    replica::{Halt, Replica, Status},
};

use crate::format::Effect;

/// One effect: cheap to note, made readable on another thread.
#[derive(Debug)]
pub(crate) enum RawEffect {
    Install {
        index: u64,
        term: u64,
    },
    /// Index, term and length of each entry.
    Persist {
        entries: Vec<(u64, u64, usize)>,
        hard_state: Option<Bytes>,
        syncs: bool,
    },
    Send {
        to: MemberId,
        message: Bytes,
        snapshot: Option<(u64, u64)>,
    },
    /// Whether another thread executes it.
    Execute {
        index: u64,
        elsewhere: bool,
    },
    Apply {
        index: u64,
        ticket: Option<Ticket>,
        reply: &'static str,
        revision: i64,
        hashed: bool,
    },
    Readable {
        ticket: Ticket,
        index: u64,
    },
    Unanswered(Ticket, Unanswered),
    LeaseAnswered(Ticket, LeaseAnswer),
    Status(Status),
    Halt(Halt),
}

impl RawEffect {
    /// Bytes that it keeps in memory.
    pub(crate) fn bytes(&self) -> usize {
        let more = match self {
            Self::Persist { entries, .. } => entries.len() * size_of::<(u64, u64, usize)>(),
            Self::Send { message, .. } => message.len(),
            Self::Install { .. }
            | Self::Execute { .. }
            | Self::Apply { .. }
            | Self::Readable { .. }
            | Self::Unanswered(..)
            | Self::LeaseAnswered(..)
            | Self::Status(_)
            | Self::Halt(_) => 0,
        };
        size_of::<Self>() + more
    }

    pub(crate) fn show(&self) -> Effect {
        let mut outcome = String::new();
        let text = match self {
            Self::Install { index, term } => format!("install snapshot {index}/{term}"),
            Self::Persist { entries, hard_state, syncs } => persist(entries, hard_state, *syncs),
            Self::Send { to, message, snapshot } => {
                let state = snapshot.map(|(index, term)| format!(" with state {index}/{term}"));
                let (text, state) = (Replica::describe(message), state.unwrap_or_default());
                format!("send to {to}: {text}, {} bytes{state}", message.len())
            }
            Self::Execute { index, elsewhere } => {
                let place = if *elsewhere { "elsewhere" } else { "here" };
                format!("execute {index} {place}")
            }
            Self::Apply { index, ticket, reply, revision, hashed } => {
                let hashed = if *hashed { ", to be hashed" } else { "" };
                outcome = format!("{reply}, revision {revision}{hashed}");
                match ticket {
                    Some(Ticket(ticket)) => format!("apply {index} for request {ticket}"),
                    None => format!("apply {index}"),
                }
            }
            Self::Readable { ticket, index } => {
                format!("read for request {} at {index}", ticket.0)
            }
            Self::Unanswered(ticket, why) => format!("no reply for request {}: {why:?}", ticket.0),
            Self::LeaseAnswered(ticket, answer) => {
                format!("answer for request {}: {answer:?}", ticket.0)
            }
            Self::Status(status) => show_status(status),
            Self::Halt(halt) => format!("end: {halt}"),
        };
        Effect { text, outcome }
    }
}

fn show_status(status: &Status) -> String {
    let Status { leader, term, committed, applied, role, .. } = status;
    let leader = match *leader {
        MemberId::NONE => "none".into(),
        leader => leader.to_string(),
    };
    format!(
        "now {role:?} of term {term}, leader {leader}, committed {committed}, applied {applied}"
    )
}

fn persist(entries: &[(u64, u64, usize)], hard_state: &Option<Bytes>, syncs: bool) -> String {
    let mut text = String::from("persist");
    if let (Some((first, ..)), Some((last, term, _))) = (entries.first(), entries.last()) {
        let bytes: usize = entries.iter().map(|(.., bytes)| bytes).sum();
        text += &format!(" entries {first}..={last} of term {term}, {bytes} bytes,");
    }
    if let Some(state) = hard_state {
        text += &format!(" hard state {},", Replica::describe_hard_state(state));
    }
    text + if syncs { " synced" } else { " not synced" }
}

/// The kind of a reply; its texts may hold values.
fn reply(reply: &Reply) -> &'static str {
    let or = |fine: bool, good, bad| if fine { good } else { bad };
    match reply {
        Reply::Kv(kv) => or(kv.is_ok(), "v3 keys: done", "v3 keys: refused"),
        Reply::Lease(lease) => or(lease.is_ok(), "lease: done", "lease: refused"),
        Reply::Tree(tree) => or(tree.is_ok(), "v2 keys: done", "v2 keys: refused"),
        Reply::Published => "attributes of a member recorded",
        Reply::ClusterVersionSet => "cluster version recorded",
        Reply::MembershipChanged(it) => or(it.is_ok(), "members: changed", "members: refused"),
        Reply::DowngradeSet => "downgrade target recorded",
        Reply::Alarm(it) => or(it.is_some(), "alarm changed", "alarm unchanged"),
        Reply::Auth(auth) => or(auth.is_ok(), "users: done", "users: refused"),
        Reply::Followed(it) => or(it.is_ok(), "following: done", "following: refused"),
        Reply::Nothing => "nothing",
    }
}

/// Runs a turn; returns its effects, and as the last ones the status, if it is the `first` turn or the status has changed,
/// and why the member must end.
pub(crate) fn turn(
    replica: &mut Replica,
    host: &mut dyn Host,
    first: bool,
) -> (Vec<RawEffect>, Result<(), Halt>) {
    let before = replica.status();
    let mut noting = NotingHost { host, effects: Vec::new() };
    let halted = replica.turn(&mut noting);
    let mut effects = noting.effects;
    let status = replica.status();
    if first || status != before {
        effects.push(RawEffect::Status(status));
    }
    effects.extend(halted.err().map(RawEffect::Halt));
    (effects, halted)
}

/// Notes the effects of a turn on their way to the host.
struct NotingHost<'a> {
    host: &'a mut dyn Host,
    effects: Vec<RawEffect>,
}

impl Host for NotingHost<'_> {
    fn install(&mut self, snapshot: &View) {
        let (index, term) = (snapshot.position.index, snapshot.position.term);
        self.effects.push(RawEffect::Install { index, term });
        self.host.install(snapshot);
    }

    fn persist(&mut self, batch: &LogBatch) {
        let entries = batch.records.iter();
        self.effects.push(RawEffect::Persist {
            entries: entries
                .map(|it| (it.index, it.term, it.payload.len()))
                .collect(),
            hard_state: batch.hard_state.clone(),
            syncs: batch.must_sync,
        });
        self.host.persist(batch);
    }

    fn send(&mut self, envelopes: Vec<Envelope>) {
        let noted = envelopes.iter().map(|envelope| RawEffect::Send {
            to: envelope.to,
            message: envelope.message.clone(),
            snapshot: envelope
                .snapshot
                .as_ref()
                .map(|view| (view.position.index, view.position.term)),
        });
        self.effects.extend(noted);
        self.host.send(envelopes);
    }

    fn execute(&mut self, command: Box<LongCommand>) -> Option<Box<ExecutedCommand>> {
        let (index, at) = (command.index(), self.effects.len());
        let executed = self.host.execute(command);
        let elsewhere = executed.is_none();
        self.effects
            .insert(at, RawEffect::Execute { index, elsewhere });
        executed
    }

    fn discard(&mut self, machine: StateMachine) {
        self.host.discard(machine);
    }

    fn applied(&mut self, applied: Vec<Applied>, view: &View) {
        self.effects
            .extend(applied.iter().map(|it| RawEffect::Apply {
                index: it.index,
                ticket: it.ticket,
                reply: reply(&it.outcome.reply),
                revision: it.outcome.revision,
                hashed: it.hashed.is_some(),
            }));
        self.host.applied(applied, view);
    }

    fn readable(&mut self, tickets: &[Ticket], view: &View) {
        let index = view.position.index;
        let noted = tickets.iter();
        self.effects
            .extend(noted.map(|ticket| RawEffect::Readable { ticket: *ticket, index }));
        self.host.readable(tickets, view);
    }

    fn unanswered(&mut self, requests: &[(Ticket, Unanswered)]) {
        let noted = requests.iter();
        self.effects
            .extend(noted.map(|(ticket, why)| RawEffect::Unanswered(*ticket, *why)));
        self.host.unanswered(requests);
    }

    fn lease_answered(&mut self, ticket: Ticket, answer: LeaseAnswer) {
        self.effects.push(RawEffect::LeaseAnswered(ticket, answer));
        self.host.lease_answered(ticket, answer);
    }
}

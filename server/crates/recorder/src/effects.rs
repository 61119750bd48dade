//! The effects of a turn, as they are noted on the replica's thread and as a file holds them.

use std::fmt::Debug;

use bytes::Bytes;
use witan_machine::{Reply, StateMachine, member::MemberId, view::View};
use witan_replica::{
    host::{Applied, Envelope, Host, LeaseAnswer, LogBatch, Ticket, Unanswered},
    long_command::{ExecutedCommand, LongCommand},
    message_head::MessageHead,
    replica::{Halt, Replica, Role, Status},
};

use crate::format::{
    AnswerGiven, AppliedEntry, Effect, EffectKind, Now, Outcome, Persisted, Place, ReadReleased,
    Sent,
};

/// One effect: cheap to note, made smaller on another thread.
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
        reply: u32,
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

    /// The effect as a file holds it.
    pub(crate) fn readable(self) -> Effect {
        let place = |(index, term)| Place { index, term };
        let kind = match self {
            Self::Install { index, term } => EffectKind::Install(Place { index, term }),
            Self::Persist { entries, hard_state, syncs } => EffectKind::Persist(Persisted {
                first: entries.first().map_or(0, |(index, ..)| *index),
                entries: entries.len() as u64,
                term: entries.last().map_or(0, |(_, term, _)| *term),
                bytes: entries.iter().map(|(.., bytes)| *bytes as u64).sum(),
                hard_state,
                synced: syncs,
            }),
            Self::Send { to: MemberId(to), message, snapshot } => {
                let head = MessageHead::of(&message);
                let other = match &head {
                    Some(_) => String::new(),
                    None => Replica::describe(&message),
                };
                let (bytes, state) = (message.len() as u64, snapshot.map(place));
                EffectKind::Send(Sent { to, bytes, head, other, state })
            }
            Self::Execute { index, elsewhere: false } => EffectKind::ExecuteHere(index),
            Self::Execute { index, elsewhere: true } => EffectKind::ExecuteElsewhere(index),
            Self::Apply { index, ticket, reply, revision, hashed } => {
                let outcome = Some(Outcome { reply, revision, hashed });
                let ticket = ticket.map(|Ticket(ticket)| ticket);
                EffectKind::Apply(AppliedEntry { index, ticket, outcome })
            }
            Self::Readable { ticket: Ticket(ticket), index } => {
                EffectKind::Readable(ReadReleased { ticket, index })
            }
            Self::Unanswered(ticket, why) => answer(ticket, true, &why),
            Self::LeaseAnswered(ticket, lease) => answer(ticket, false, &lease),
            Self::Status(status) => EffectKind::Now(Now {
                role: number_of(status.role),
                term: status.term,
                leader: status.leader.0,
                committed: status.committed,
                applied: status.applied,
            }),
            Self::Halt(halt) => EffectKind::End(halt.to_string()),
        };
        Effect { kind: Some(kind) }
    }
}

fn answer(Ticket(ticket): Ticket, unanswered: bool, what: &dyn Debug) -> EffectKind {
    let text = format!("{what:?}");
    EffectKind::Answer(AnswerGiven { ticket, unanswered, text })
}

/// Roles by their numbers in a recording.
pub(crate) const ROLES: [Role; 4] = [
    Role::Follower,
    Role::PreCandidate,
    Role::Candidate,
    Role::Leader,
];

fn number_of(role: Role) -> u32 {
    let place = ROLES.iter().position(|it| *it == role);
    place.expect("ROLES has all of them") as u32
}

/// Kinds of replies by their numbers in a recording.
pub(crate) const REPLIES: [&str; 19] = [
    "nothing",
    "v3 keys: done",
    "v3 keys: refused",
    "lease: done",
    "lease: refused",
    "v2 keys: done",
    "v2 keys: refused",
    "attributes of a member recorded",
    "cluster version recorded",
    "members: changed",
    "members: refused",
    "downgrade target recorded",
    "alarm changed",
    "alarm unchanged",
    "users: done",
    "users: refused",
    "following: done",
    "following: refused",
    "a reply of a later release",
];

/// The number of a reply's kind; its texts may hold values.
fn reply(reply: &Reply) -> u32 {
    let or = |fine: bool, good| if fine { good } else { good + 1 };
    match reply {
        Reply::Nothing => 0,
        Reply::Kv(kv) => or(kv.is_ok(), 1),
        Reply::Lease(lease) => or(lease.is_ok(), 3),
        Reply::Tree(tree) => or(tree.is_ok(), 5),
        Reply::Published => 7,
        Reply::ClusterVersionSet => 8,
        Reply::MembershipChanged(it) => or(it.is_ok(), 9),
        Reply::DowngradeSet => 11,
        Reply::Alarm(it) => or(it.is_some(), 12),
        Reply::Auth(auth) => or(auth.is_ok(), 14),
        Reply::Followed(it) => or(it.is_ok(), 16),
    }
}

/// Runs a turn; returns its effects, and as the last ones the status, if role, term or leader are others than after the turn
/// `before`, and why the member must end. That entries are committed and applied other effects say.
pub(crate) fn turn(
    replica: &mut Replica,
    host: &mut dyn Host,
    before: &mut Option<Status>,
) -> (Vec<RawEffect>, Result<(), Halt>) {
    let mut noting = NotingHost { host, effects: Vec::new() };
    let halted = replica.turn(&mut noting);
    let mut effects = noting.effects;
    let status = replica.status();
    let led = |status: &Status| (status.role, status.term, status.leader);
    if before.replace(status).as_ref().map(led) != Some(led(&status)) {
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

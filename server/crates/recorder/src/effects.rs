//! Records the effects of a turn as they occur.

use witan_machine::{Reply, StateMachine, member::MemberId, view::View};
use witan_replica::{
    host::{Answer, Applied, Envelope, Host, LogBatch, Ticket},
    long_command::{ExecutedCommand, LongCommand},
    message_head::MessageHead,
    replica::{Halt, MessageFault, Replica, Status},
};

use crate::format::{
    AnswerText, AppliedEntry, EffectKind, Now, Outcome, Persisted, Place, ReleasedRead, Sent,
};

/// The kinds of replies. A recording contains a kind's index in this array.
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
    "a reply from a later release",
];

/// Returns the index of a reply's kind in `REPLIES`, which distinguishes success from refusal. The text of a reply is not
/// recorded, because it may contain users' values.
fn reply_kind(reply: &Reply) -> u32 {
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

/// Runs a turn and passes its effects to `record`. Stores the new status in `before`, and passes the status on if `before` was
/// `None` or if the role, term or leader has changed. Also passes on the reason if the member must stop.
pub(crate) fn turn(
    replica: &mut Replica,
    host: &mut dyn Host,
    before: &mut Option<Status>,
    record: &mut dyn FnMut(EffectKind),
) -> Result<(), Halt> {
    let halted = replica.turn(&mut RecordingHost { host, record });
    let status = replica.status();
    let led = |status: &Status| (status.role, status.term, status.leader);
    if before.replace(status).as_ref().map(led) != Some(led(&status)) {
        record(EffectKind::Now(Now {
            role: status.role as i32,
            term: status.term,
            leader: status.leader.0,
            committed: status.committed,
            applied: status.applied,
        }));
    }
    if let Err(halt) = &halted {
        record(EffectKind::End(halt.to_string()));
    }
    halted
}

/// A host that records a turn's effects and passes them on to another host.
struct RecordingHost<'a> {
    host: &'a mut dyn Host,
    record: &'a mut dyn FnMut(EffectKind),
}

impl Host for RecordingHost<'_> {
    fn install(&mut self, snapshot: &View) {
        let (index, term) = (snapshot.position.index, snapshot.position.term);
        (self.record)(EffectKind::Install(Place { index, term }));
        self.host.install(snapshot);
    }

    fn persist(&mut self, batch: &LogBatch) {
        let LogBatch { records, hard_state, must_sync } = batch;
        (self.record)(EffectKind::Persist(Persisted {
            first: records.first().map_or(0, |record| record.index),
            entries: records.len() as u64,
            term: records.last().map_or(0, |record| record.term),
            bytes: records
                .iter()
                .map(|record| record.payload.len() as u64)
                .sum(),
            hard_state: hard_state.clone(),
            synced: *must_sync,
        }));
        self.host.persist(batch);
    }

    fn cut_log(&mut self, below: u64) {
        (self.record)(EffectKind::CutLog(below));
        self.host.cut_log(below);
    }

    fn message_dropped(&mut self, from: MemberId, fault: MessageFault) {
        (self.record)(EffectKind::Dropped(format!("from {from}: {fault}")));
        self.host.message_dropped(from, fault);
    }

    fn send(&mut self, envelopes: Vec<Envelope>) {
        for envelope in &envelopes {
            (self.record)(EffectKind::Send(record_sent(envelope)));
        }
        self.host.send(envelopes);
    }

    /// Passes the command on, and then records whether the replica's thread or another thread executes it.
    fn execute(&mut self, command: Box<LongCommand>) -> Option<Box<ExecutedCommand>> {
        let index = command.index();
        let executed = self.host.execute(command);
        (self.record)(match executed {
            Some(_) => EffectKind::ExecuteHere(index),
            None => EffectKind::ExecuteElsewhere(index),
        });
        executed
    }

    fn discard(&mut self, machine: StateMachine) {
        // This call only frees memory, so it is not an effect.
        self.host.discard(machine);
    }

    fn applied(&mut self, applied: Vec<Applied>, view: &View) {
        for it in &applied {
            let outcome = Some(Outcome {
                reply: reply_kind(&it.outcome.reply),
                revision: it.outcome.revision.0,
                hashed: it.hashed.is_some(),
            });
            let ticket = it.ticket.map(|Ticket(ticket)| ticket);
            (self.record)(EffectKind::Apply(AppliedEntry {
                index: it.index,
                ticket,
                outcome,
            }));
        }
        self.host.applied(applied, view);
    }

    fn readable(&mut self, tickets: &[Ticket], view: &View) {
        let index = view.position.index;
        for &Ticket(ticket) in tickets {
            (self.record)(EffectKind::Readable(ReleasedRead { ticket, index }));
        }
        self.host.readable(tickets, view);
    }

    fn answered(&mut self, answers: Vec<(Ticket, Answer)>) {
        for (Ticket(ticket), answer) in &answers {
            let text = format!("{answer:?}");
            (self.record)(EffectKind::Answer(AnswerText { ticket: *ticket, text }));
        }
        self.host.answered(answers);
    }
}

/// Describes a sent message: its head, and the position of its snapshot if it has one. A message without a valid head gets a
/// description instead.
fn record_sent(envelope: &Envelope) -> Sent {
    let Envelope { to: MemberId(to), message, snapshot, .. } = envelope;
    let head = MessageHead::of(message);
    let other = match &head {
        Some(_) => String::new(),
        None => Replica::describe(message),
    };
    let state = snapshot.as_ref().map(|view| {
        let (index, term) = (view.position.index, view.position.term);
        Place { index, term }
    });
    Sent { to: *to, bytes: message.len() as u64, head, other, state }
}

//! Converts a replica's inputs to the format of a recording and back, and describes inputs in words.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use witan_machine::{
    command::{Command, Entry},
    kv::ValueSource,
    lease::LeaseId,
    member::{MemberId, MemberRegistry},
    view::View,
};
use witan_replica::{
    host::{Connection, Envelope, Lane, LeaseQuestion, Ticket},
    input::Input,
    replica::{PeerEvent, Replica},
    wire,
};

use crate::{
    format::{
        Decision, InputKind, LeaseRequest, PeerReport, Proposal, Received, TransferRequest, Turned,
    },
    redact::Redaction,
    state,
};

/// Converts an input to its recorded form and redacts its commands.
pub(crate) fn record(input: &Input, redaction: Redaction) -> InputKind {
    match input {
        Input::Tick { now_ns } => InputKind::Tick(*now_ns),
        Input::Clock { monotonic_ns } => InputKind::Clock(*monotonic_ns),
        Input::Message(envelope) => InputKind::Message(record_message(envelope, redaction)),
        Input::Peer { member, event } => {
            InputKind::Peer(PeerReport { member: member.0, event: *event as i32 })
        }
        Input::Durable { index } => InputKind::Durable(*index),
        Input::Executed(command) => InputKind::Executed(command.index()),
        Input::LogRoom { bytes } => InputKind::LogRoom(*bytes),
        Input::Memory { exhausted } => InputKind::MemoryExhausted(*exhausted),
        Input::Values { source } => InputKind::ValuesOnDisk(*source == ValueSource::Disk),
        Input::Turned { monotonic_ns, sync_ns } => {
            InputKind::Turned(Turned { monotonic_ns: *monotonic_ns, sync_ns: *sync_ns })
        }
        Input::Rebuild => InputKind::Rebuild(true),
        Input::Transfer { ticket, to } => InputKind::Transfer(TransferRequest {
            ticket: ticket.0,
            to: to.unwrap_or(MemberId::NONE).0,
        }),
        Input::Propose { ticket, connection, now_ns, entry } => InputKind::Propose(Proposal {
            ticket: ticket.0,
            connection: connection.0,
            now_ns: *now_ns,
            entry: redaction.encode(entry.entry()),
        }),
        Input::Decide { ticket, members, now_ns, command } => InputKind::Decide(Decision {
            ticket: ticket.0,
            members: Some(record_members(members)),
            now_ns: *now_ns,
            entry: redaction.encode(&Entry::unstamped(Command::clone(command), None)),
        }),
        Input::Read { ticket } => InputKind::Read(ticket.0),
        Input::Lease { ticket, lease, question } => InputKind::Lease(LeaseRequest {
            ticket: ticket.0,
            lease: lease.0,
            renews: *question == LeaseQuestion::Renew,
        }),
    }
}

/// Returns the size in bytes of a message or of a client's command; 0 for any other input, which is usually small.
pub(crate) fn bytes(input: &Input) -> usize {
    if let Input::Message(envelope) = input {
        envelope.message.len()
    } else if let Input::Propose { entry, .. } = input {
        entry.command_bytes()
    } else {
        0
    }
}

/// Converts a message to its recorded form. Redacts the commands of its entries and keeps only a part of a snapshot's state. A
/// message that cannot be decoded becomes empty.
fn record_message(envelope: &Envelope, redaction: Redaction) -> Received {
    let Envelope { from, to, message, snapshot, .. } = envelope;
    let redacted = wire::map_commands(message, &mut |data| redaction.redact_encoded(&data));
    Received {
        from: from.0,
        to: to.0,
        message: redacted.unwrap_or_default(),
        snapshot: snapshot.as_deref().map(state::store),
    }
}

/// Converts members to a recorded state that contains only these members.
fn record_members(members: &MemberRegistry) -> crate::format::State {
    let mut view = View::default();
    view.machine.members = members.clone();
    state::store(&view)
}

/// Converts a recorded input back to an input. Fails for an input that cannot be executed, such as the result of a long
/// command.
pub(crate) fn restore(kind: &InputKind) -> Result<Input, String> {
    Ok(match kind {
        InputKind::Tick(now_ns) => Input::Tick { now_ns: *now_ns },
        InputKind::Clock(monotonic_ns) => Input::Clock { monotonic_ns: *monotonic_ns },
        InputKind::Message(received) => Input::Message(restore_message(received)?),
        InputKind::Peer(report) => {
            let event = PeerEvent::try_from(report.event);
            let event = event.map_err(|_| "a transport report from a later release")?;
            Input::Peer { member: MemberId(report.member), event }
        }
        InputKind::Durable(index) => Input::Durable { index: *index },
        InputKind::LogRoom(bytes) => Input::LogRoom { bytes: *bytes },
        InputKind::MemoryExhausted(exhausted) => Input::Memory { exhausted: *exhausted },
        InputKind::ValuesOnDisk(true) => Input::Values { source: ValueSource::Disk },
        InputKind::ValuesOnDisk(false) => Input::Values { source: ValueSource::Memory },
        InputKind::Turned(Turned { monotonic_ns, sync_ns }) => {
            Input::Turned { monotonic_ns: *monotonic_ns, sync_ns: *sync_ns }
        }
        InputKind::Rebuild(_) => Input::Rebuild,
        InputKind::Transfer(request) => Input::Transfer {
            ticket: Ticket(request.ticket),
            to: Some(MemberId(request.to)).filter(|to| *to != MemberId::NONE),
        },
        InputKind::Propose(proposal) => Input::Propose {
            ticket: Ticket(proposal.ticket),
            connection: Connection(proposal.connection),
            now_ns: proposal.now_ns,
            entry: restore_entry(&proposal.entry)?.into(),
        },
        InputKind::Decide(decision) => {
            let members = decision.members.as_ref();
            let members = state::restore(members.ok_or("a decision without members")?);
            let members = members.map_err(|error| error.to_string())?.machine.members;
            let command = restore_entry(&decision.entry)?.command;
            Input::Decide {
                ticket: Ticket(decision.ticket),
                members: Arc::new(members),
                now_ns: decision.now_ns,
                command: Box::new(command.ok_or("a decision without a command")?),
            }
        }
        InputKind::Read(ticket) => Input::Read { ticket: Ticket(*ticket) },
        InputKind::Lease(request) => Input::Lease {
            ticket: Ticket(request.ticket),
            lease: LeaseId(request.lease),
            question: match request.renews {
                true => LeaseQuestion::Renew,
                false => LeaseQuestion::Remaining,
            },
        },
        InputKind::Executed(index) => return Err(format!("the result of command {index}")),
        InputKind::Omitted(bytes) => {
            return Err(format!(
                "the inputs of a turn had {bytes} bytes and were not kept"
            ));
        }
    })
}

/// Decodes a recorded command. Fails with a message for the verdict.
fn restore_entry(encoded: &Bytes) -> Result<Box<Entry>, String> {
    let entry = Entry::decode(encoded.clone());
    entry
        .map(Box::new)
        .map_err(|error| format!("a command cannot be decoded: {error}"))
}

/// Converts a recorded message to an envelope. The message gets the control lane, because a recording omits the lane.
fn restore_message(received: &Received) -> Result<Envelope, String> {
    let snapshot = received.snapshot.as_ref().map(state::restore).transpose();
    let snapshot = snapshot.map_err(|error| error.to_string())?;
    Ok(Envelope {
        to: MemberId(received.to),
        from: MemberId(received.from),
        lane: Lane::Control,
        message: received.message.clone(),
        snapshot: snapshot.map(Box::new),
    })
}

/// Describes an input in words, without its values.
pub(crate) fn show(input: &InputKind) -> String {
    match input {
        InputKind::Tick(_) => "tick".into(),
        InputKind::Clock(at_ns) => {
            format!("clock {}.{:03} ms", at_ns / 1_000_000, at_ns / 1000 % 1000)
        }
        InputKind::Message(received) => {
            let (from, text) = (
                MemberId(received.from),
                Replica::describe(&received.message),
            );
            let state = received.snapshot.as_ref().map_or("", |_| " with a state");
            format!("from {from}: {text}{state}")
        }
        InputKind::Peer(report) => {
            let event = PeerEvent::try_from(report.event).ok();
            format!("about {}: {event:?}", MemberId(report.member))
        }
        InputKind::Durable(index) => format!("checkpoint durable at {index}"),
        InputKind::Executed(index) => format!("executed {index}"),
        InputKind::LogRoom(bytes) => format!("room for {bytes} bytes of log"),
        InputKind::MemoryExhausted(true) => "the memory is used up".into(),
        InputKind::MemoryExhausted(false) => "memory is free again".into(),
        InputKind::ValuesOnDisk(true) => "some values may be only on disk".into(),
        InputKind::ValuesOnDisk(false) => "all values are in memory".into(),
        InputKind::Turned(turned) => format!("last sync took {} us", turned.sync_ns / 1000),
        InputKind::Rebuild(_) => "replace the state with the leader's".into(),
        InputKind::Transfer(TransferRequest { ticket, to }) => match MemberId(*to) {
            MemberId::NONE => format!("request {ticket}: transfer leadership"),
            to => format!("request {ticket}: transfer leadership to {to}"),
        },
        InputKind::Propose(proposal) => {
            let Proposal { ticket, entry, .. } = proposal;
            format!("request {ticket}: write, {} bytes", entry.len())
        }
        InputKind::Decide(decision) => {
            let Decision { ticket, entry, .. } = decision;
            format!("request {ticket}: decision, {} bytes", entry.len())
        }
        InputKind::Read(ticket) => format!("request {ticket}: read"),
        InputKind::Lease(LeaseRequest { ticket, lease, renews }) => {
            let question = match renews {
                true => "renew",
                false => "remaining time of",
            };
            format!("request {ticket}: {question} lease {lease:x}")
        }
        InputKind::Omitted(bytes) => format!("inputs of {bytes} bytes that were not kept"),
    }
}

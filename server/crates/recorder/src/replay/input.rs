//! The inputs of a recording: handed to a core, and as a person reads them.

use prost::Message as _;
use witan_machine::{command::Entry, lease::LeaseId, member::MemberId};
use witan_replica::{
    host::{Connection, Envelope, Lane, LeaseQuestion, Ticket},
    replica::{PeerEvent, Replica},
    wire,
};

use super::player::Player;
use crate::{
    bounds,
    format::{InputKind, Received},
    state,
};

/// Hands an input to the core; `Err` says why that is not possible.
pub(super) fn hand_in(player: &mut Player, input: &InputKind) -> Result<(), String> {
    if let InputKind::Receive(received) = input {
        return receive(player, received);
    }
    let filler = &mut player.filler;
    let mut entry = |encoded: &bytes::Bytes| {
        let many = |_| "a command has more fields than a replay decodes".to_owned();
        bounds::check_command(encoded).map_err(many)?;
        let mut entry = Entry::decode(encoded.clone())
            .map_err(|error| format!("a command does not decode: {error}"))?;
        filler.fill(&mut entry);
        Ok::<_, String>(Box::new(entry))
    };
    let replica = &mut player.replica;
    match input {
        InputKind::Tick(now_ns) => replica.tick(*now_ns),
        InputKind::AdvanceClock(at_ns) => replica.advance_clock(*at_ns),
        InputKind::PeerEvent(report) => {
            let event = PeerEvent::try_from(report.event);
            let event = event.map_err(|_| "a report of the transport of a later release")?;
            replica.peer_event(MemberId(report.member), event);
        }
        InputKind::Durable(index) => {
            let _ = replica.durable(*index);
        }
        InputKind::Executed(index) => match player.host.executed.take() {
            Some(executed) if executed.index() == *index => replica.executed(executed),
            // a snapshot has replaced its state meanwhile
            Some(_) | None => {}
        },
        InputKind::LogRoom(bytes) => replica.set_log_room(*bytes),
        InputKind::Turned(turned) => replica.turned(turned.monotonic_ns, turned.sync_ns),
        InputKind::Rebuild(_) => replica.rebuild(),
        InputKind::Transfer(to) => {
            let _ = replica.transfer_leadership((*to != 0).then_some(MemberId(*to)));
        }
        InputKind::Propose(proposal) => {
            let connection = u128::from(proposal.connection_high) << 64;
            let connection = Connection(connection | u128::from(proposal.connection_low));
            let (ticket, entry) = (Ticket(proposal.ticket), entry(&proposal.entry)?);
            let _ = replica.propose(ticket, connection, proposal.now_ns, entry);
        }
        InputKind::Decide(decision) => {
            let members = decision
                .members
                .as_ref()
                .ok_or("a decision without members")?;
            let members = state::restore(members).map_err(|error| error.to_string())?;
            if let Some(command) = entry(&decision.entry)?.command {
                replica.propose_decision(&members.machine.members, decision.now_ns, command);
            }
        }
        InputKind::Read(ticket) => {
            let _ = replica.read(Ticket(*ticket));
        }
        InputKind::AskAboutLease(asked) => {
            let question = match asked.renews {
                true => LeaseQuestion::Renew,
                false => LeaseQuestion::Remaining,
            };
            let _ = replica.ask_about_lease(Ticket(asked.ticket), LeaseId(asked.lease), question);
        }
        InputKind::DropHeld(_) => drop(replica.drop_held()),
        InputKind::Omitted(bytes) => {
            return Err(format!(
                "the inputs of a turn had {bytes} bytes and were not kept"
            ));
        }
        InputKind::Receive(_) => {}
    }
    Ok(())
}

fn receive(player: &mut Player, received: &Received) -> Result<(), String> {
    let mut snapshot = None;
    if let Some(state) = &received.snapshot {
        player.whole &= state.whole;
        let view = state::restore(state).map_err(|error| error.to_string())?;
        snapshot = Some(Box::new(view));
    }
    let filler = &mut player.filler;
    let filled = wire::map_commands(&received.message, &mut |data| filler.fill_encoded(&data));
    player.replica.receive(Envelope {
        to: MemberId(received.to),
        from: MemberId(received.from),
        lane: Lane::Control,
        message: filled.unwrap_or_default(),
        snapshot,
    });
    Ok(())
}

/// An input in a line.
pub(super) fn show(input: &InputKind) -> String {
    match input {
        InputKind::Tick(_) => "tick".into(),
        InputKind::AdvanceClock(at_ns) => {
            format!("clock {}.{:03} ms", at_ns / 1_000_000, at_ns / 1000 % 1000)
        }
        InputKind::Receive(received) => {
            let (from, text) = (
                MemberId(received.from),
                Replica::describe(&received.message),
            );
            let state = received.snapshot.as_ref().map_or("", |_| " with a state");
            format!("from {from}: {text}{state}")
        }
        InputKind::PeerEvent(report) => {
            format!(
                "about {}: {:?}",
                MemberId(report.member),
                PeerEvent::try_from(report.event).ok()
            )
        }
        InputKind::Durable(index) => format!("checkpoint durable at {index}"),
        InputKind::Executed(index) => format!("executed {index}"),
        InputKind::LogRoom(bytes) => format!("room for {bytes} bytes of log"),
        InputKind::Turned(turned) => format!("last sync took {} us", turned.sync_ns / 1000),
        InputKind::Rebuild(_) => "replace the state by the leader's".into(),
        InputKind::Transfer(0) => "hand leadership over".into(),
        InputKind::Transfer(to) => format!("hand leadership to {}", MemberId(*to)),
        InputKind::Propose(proposal) => {
            format!(
                "request {}: write, {} bytes",
                proposal.ticket,
                proposal.entry.len()
            )
        }
        InputKind::Decide(decision) => format!("decision, {} bytes", decision.entry.len()),
        InputKind::Read(ticket) => format!("request {ticket}: read"),
        InputKind::AskAboutLease(asked) => {
            let question = if asked.renews {
                "renew"
            } else {
                "remaining time of"
            };
            format!(
                "request {}: {question} lease {:x}",
                asked.ticket, asked.lease
            )
        }
        InputKind::DropHeld(_) => "drop held requests".into(),
        InputKind::Omitted(bytes) => format!("inputs of {bytes} bytes that were not kept"),
    }
}

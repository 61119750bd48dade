//! A recording as the bytes of a file.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
};

use bytes::Bytes;
use prost::Message as _;
use witan_machine::{
    command::Entry,
    member::{MemberId, MemberRegistry},
    view::View,
};
use witan_replica::{
    host::{Envelope, LeaseQuestion, Recovered},
    replica::{AutoCompaction, Config},
    wire,
};

use crate::{
    format::{
        self, DecisionTaken, Effect, Gap, Head, Input, InputKind, LeaseAsked, LogEntry, MAGIC,
        Part, Proposal, Received, Settings, Start, Turn,
    },
    hide::Hider,
    recorded::{RawInput, RawTurn, Sink},
    state,
};

/// Makes frames of what the replica's thread has noted.
#[derive(Debug)]
pub(crate) struct Encoder {
    pub(crate) head: Head,
    hider: Hider,
}

impl Encoder {
    pub(crate) fn new(head: Head) -> Self {
        Self { hider: Hider::new(head.values), head }
    }

    /// Begins a file.
    pub(crate) fn head(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(MAGIC);
        format::put(into, Part::Head(self.head.clone()));
    }

    /// Appends with what a replica began. One that is too large is left out, and the recording is only shown.
    pub(crate) fn start(&self, config: &Config, recovered: &Recovered, into: &mut Vec<u8>) {
        let log = recovered.records.iter().map(|record| LogEntry {
            index: record.index,
            term: record.term,
            payload: wire::map_record(&record.payload, &mut |data| self.hider.hide_encoded(&data)),
        });
        let start = Start {
            settings: Some(settings(config)),
            state: recovered.checkpoint.as_ref().map(state::store),
            hard_state: recovered.hard_state.clone(),
            log: log.collect(),
        };
        format::put(into, Part::Start(start));
    }

    pub(crate) fn gap(from: u64, to: u64, into: &mut Vec<u8>) {
        format::put(into, Part::Gap(Gap { from, to }));
    }

    pub(crate) fn turn(&self, turn: RawTurn, at_ns: i64, into: &mut Vec<u8>) {
        let RawTurn { number, inputs, effects } = turn;
        let effects: Vec<Effect> = effects.iter().map(|effect| effect.show()).collect();
        let inputs: Vec<Input> = inputs
            .into_iter()
            .map(|input| Input { kind: Some(self.input(input)) })
            .collect();
        let turn = Turn { number, at_ns, inputs, effects };
        let bytes = turn.encoded_len() as u64;
        if !format::put(into, Part::Turn(turn)) {
            let inputs = vec![Input { kind: Some(InputKind::Omitted(bytes)) }];
            format::put(
                into,
                Part::Turn(Turn { number, at_ns, inputs, effects: Vec::new() }),
            );
        }
    }

    fn entry(&self, mut entry: Entry) -> Bytes {
        self.hider.hide(&mut entry);
        entry.encode_to_vec().into()
    }

    fn input(&self, input: RawInput) -> InputKind {
        match input {
            RawInput::Tick(now_ns) => InputKind::Tick(now_ns),
            RawInput::AdvanceClock(at_ns) => InputKind::AdvanceClock(at_ns),
            RawInput::Receive(envelope) => InputKind::Receive(self.received(*envelope)),
            RawInput::PeerEvent(report) => InputKind::PeerEvent(report),
            RawInput::Durable(index) => InputKind::Durable(index),
            RawInput::Executed(index) => InputKind::Executed(index),
            RawInput::LogRoom(bytes) => InputKind::LogRoom(bytes),
            RawInput::Turned(turned) => InputKind::Turned(turned),
            RawInput::Rebuild => InputKind::Rebuild(true),
            RawInput::Transfer(to) => InputKind::Transfer(to),
            RawInput::Propose(ticket, connection, now_ns, entry) => InputKind::Propose(Proposal {
                ticket: ticket.0,
                connection_high: (connection.0 >> 64) as u64,
                connection_low: connection.0 as u64,
                now_ns,
                entry: self.entry(*entry),
            }),
            RawInput::Decide(members, now_ns, entry) => InputKind::Decide(DecisionTaken {
                members: Some(state::store(&view_of(*members))),
                now_ns,
                entry: self.entry(*entry),
            }),
            RawInput::Read(ticket) => InputKind::Read(ticket.0),
            RawInput::AskAboutLease(ticket, lease, question) => {
                InputKind::AskAboutLease(LeaseAsked {
                    ticket: ticket.0,
                    lease: lease.0,
                    renews: question == LeaseQuestion::Renew,
                })
            }
            RawInput::DropHeld => InputKind::DropHeld(true),
            RawInput::Simulated(settings) => InputKind::Simulated(settings),
        }
    }

    fn received(&self, envelope: Envelope) -> Received {
        let Envelope {
            from: MemberId(from), to: MemberId(to), message, snapshot, ..
        } = envelope;
        let hidden = wire::map_commands(&message, &mut |data| self.hider.hide_encoded(&data));
        Received {
            from,
            to,
            message: hidden.unwrap_or_default(),
            snapshot: snapshot.as_deref().map(state::store),
        }
    }
}

/// A state that holds these members and nothing else.
fn view_of(members: MemberRegistry) -> View {
    let mut view = View::default();
    view.machine.members = members;
    view
}

fn settings(config: &Config) -> Settings {
    let (mut revisions, mut periodic) = (Vec::new(), Vec::new());
    match config.compaction {
        Some(AutoCompaction::Revisions { keep, check_interval_ticks }) => {
            revisions = vec![keep, check_interval_ticks.cast_signed()];
        }
        Some(AutoCompaction::Periodic { period, hour }) => periodic = vec![period, hour],
        None => {}
    }
    Settings {
        election_ticks: config.election_ticks as u64,
        heartbeat_ticks: config.heartbeat_ticks as u64,
        election_ns: config.election_ns,
        seed: config.seed,
        pre_vote: config.pre_vote,
        request_ticks: config.request_ticks,
        compact_revisions: revisions,
        compact_periodic: periodic,
    }
}

/// A recording in one file without a bound, written by the thread that records: for the simulator.
#[derive(Debug)]
pub struct RecordingFile {
    file: File,
    encoder: Encoder,
    bytes: Vec<u8>,
}

impl RecordingFile {
    /// Creates the file of a member. `began_ns` tells its processes apart.
    pub fn create(path: &Path, member: u64, began_ns: i64) -> io::Result<Self> {
        let head = Head { began_ns, member, version: String::new(), values: false };
        Ok(Self {
            file: File::create(path)?,
            encoder: Encoder::new(head),
            bytes: Vec::new(),
        })
    }

    fn write(&mut self) {
        let written = self.file.write_all(&self.bytes);
        written.expect("a recording of the simulator can be written");
        self.bytes.clear();
    }
}

impl Sink for RecordingFile {
    fn start(&mut self, config: Config, recovered: Recovered) {
        self.encoder.head(&mut self.bytes);
        self.encoder.start(&config, &recovered, &mut self.bytes);
        self.write();
    }

    fn turn(&mut self, turn: RawTurn) {
        self.encoder.turn(turn, 0, &mut self.bytes);
        self.write();
    }

    fn close(&mut self) {}
}

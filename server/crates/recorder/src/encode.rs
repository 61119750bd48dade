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
    host::{Connection, Envelope, LeaseQuestion, Recovered},
    replica::{AutoCompaction, Config, FrozenReplica},
    wire,
};

use crate::{
    effects::RawEffect,
    format::{
        DecisionTaken, Effect, FRAME_BYTES_MAX, Frozen, Gap, Head, Input, InputKind, LeaseAsked,
        LogEntry, MAGIC, Part, Proposal, Received, Settings, Start, Turn,
    },
    frame,
    hide::Hider,
    recorded::{RawInput, RawTurn, Sink},
    replay::encode_frozen,
    state,
};

/// Makes frames of what the replica's thread has noted.
#[derive(Debug)]
pub(crate) struct Encoder {
    pub(crate) head: Head,
    hider: Hider,
    settings: Option<Settings>,
}

impl Encoder {
    pub(crate) fn new(head: Head) -> Self {
        Self { hider: Hider::new(head.values), head, settings: None }
    }

    /// Begins a file.
    pub(crate) fn head(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(MAGIC);
        self.put(into, Part::Head(self.head.clone()));
    }

    fn put(&self, into: &mut Vec<u8>, part: Part) -> bool {
        frame::put(into, part, FRAME_BYTES_MAX)
    }

    /// Appends with what a replica began. One that is too large is left out, and the recording is only shown.
    pub(crate) fn start(&mut self, config: &Config, recovered: &Recovered, into: &mut Vec<u8>) {
        self.settings = Some(settings(config));
        let log = recovered.records.iter().map(|record| LogEntry {
            index: record.index,
            term: record.term,
            payload: wire::map_record(&record.payload, &mut |data| self.hider.hide_encoded(&data)),
        });
        let start = Start {
            settings: self.settings.clone(),
            state: recovered.checkpoint.as_ref().map(state::store),
            hard_state: recovered.hard_state.clone(),
            log: log.collect(),
        };
        self.put(into, Part::Start(start));
    }

    /// Appends a replica as it is after a turn, if that takes at most `bytes_max`: else the turns behind it are shown, or
    /// executed from an earlier place on.
    pub(crate) fn frozen(
        &self,
        after: u64,
        replica: FrozenReplica,
        bytes_max: usize,
        into: &mut Vec<u8>,
    ) {
        let FrozenReplica { view, mut state } = replica;
        state.map_commands(&mut |data| self.hider.hide_encoded(&data));
        state.map_connections(&mut |connection| self.hider.hide_connection(connection));
        let frozen = Frozen {
            settings: self.settings.clone(),
            state: Some(state::store(&view)),
            replica: encode_frozen(&state).into(),
            after,
        };
        frame::put(into, Part::Frozen(frozen), bytes_max);
    }

    pub(crate) fn gap(&self, from: u64, to: u64, into: &mut Vec<u8>) {
        self.put(into, Part::Gap(Gap { from, to }));
    }

    pub(crate) fn turn(&self, turn: RawTurn, at_ns: i64, into: &mut Vec<u8>) {
        let turn = self.readable(turn, at_ns);
        let number = turn.number;
        if let Err(bytes) = frame::put_turn(into, &turn) {
            let inputs = vec![Input { kind: Some(InputKind::Omitted(bytes as u64)) }];
            let turn = Turn { number, at_ns, inputs, effects: Vec::new() };
            self.put(into, Part::Turn(turn));
        }
    }

    /// A turn as a file holds it.
    pub(crate) fn readable(&self, turn: RawTurn, at_ns: i64) -> Turn {
        let RawTurn { number, inputs, effects } = turn;
        let effects: Vec<Effect> = effects.into_iter().map(RawEffect::readable).collect();
        let inputs: Vec<Input> = inputs
            .into_iter()
            .map(|input| Input { kind: Some(self.input(input)) })
            .collect();
        Turn { number, at_ns, inputs, effects }
    }

    fn entry(&self, mut entry: Entry) -> Bytes {
        self.hider.hide(&mut entry);
        let mut encoded = vec![0; entry.encoded_len()];
        entry.encode_raw(&mut &mut encoded[..]);
        encoded.into()
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
            RawInput::Propose(ticket, connection, now_ns, entry) => {
                let Connection(connection) = self.hider.hide_connection(connection);
                InputKind::Propose(Proposal {
                    ticket: ticket.0,
                    connection_high: (connection >> 64) as u64,
                    connection_low: connection as u64,
                    now_ns,
                    entry: self.entry(*entry),
                })
            }
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

    fn turn(&mut self, turn: RawTurn) -> bool {
        self.encoder.turn(turn, 0, &mut self.bytes);
        self.write();
        false
    }

    fn frozen(&mut self, _after: u64, _replica: Box<FrozenReplica>) {}

    fn close(&mut self) {}
}

//! A recording as the bytes of a file.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
};

use witan_replica::{
    host::Recovered,
    replica::{AutoCompaction, Config, FrozenReplica},
    wire,
};

use crate::{
    format::{
        FRAME_BYTES_MAX, Frozen, Gap, Head, Input, InputKind, LogEntry, MAGIC, Part, Settings,
        Start, Turn,
    },
    frame::{self, Oversized},
    hide::Hider,
    noted::NotedTurn,
    recorded::Sink,
    replay::encode_frozen,
    state,
};

/// Makes the frames of a recording.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    pub(crate) head: Head,
    pub(crate) hider: Hider,
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

    pub(crate) fn turn(&self, turn: &NotedTurn, at_ns: i64, into: &mut Vec<u8>) {
        if let Err(Oversized(bytes)) = turn.put(at_ns, into) {
            let inputs = vec![Input { kind: Some(InputKind::Omitted(bytes as u64)) }];
            let turn = Turn { number: turn.number, at_ns, inputs, effects: Vec::new() };
            self.put(into, Part::Turn(turn));
        }
    }
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
    fn start(&mut self, config: Config, recovered: Recovered) -> Hider {
        self.encoder.head(&mut self.bytes);
        self.encoder.start(&config, &recovered, &mut self.bytes);
        self.write();
        self.encoder.hider.clone()
    }

    fn turn(&mut self, turn: &mut NotedTurn) -> bool {
        self.encoder.turn(turn, 0, &mut self.bytes);
        self.write();
        false
    }

    fn frozen(&mut self, _after: u64, _replica: Box<FrozenReplica>) {}

    fn close(&mut self) {}
}

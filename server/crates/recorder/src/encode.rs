//! A recording as the bytes of a file.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use witan_machine::record::CorruptRecord;
use witan_replica::{
    host::Recovered,
    replica::{Config, FrozenReplica},
    wire,
};

use crate::{
    format::{
        FRAME_BYTES_MAX, Frozen, Gap, Head, Input, InputKind, LogEntry, MAGIC, Part, Start, Turn,
    },
    frame,
    hide::Hider,
    noted::NotedTurn,
    state,
};

/// Makes the frames of a recording.
#[derive(Clone, Debug)]
pub struct Encoder {
    head: Head,
    hider: Hider,
    /// The settings of the replica, once they are known.
    config: Bytes,
}

impl Encoder {
    /// Begins a recording.
    pub fn new(head: Head) -> Self {
        Self {
            hider: Hider::new(head.values_in_clear),
            head,
            config: Bytes::new(),
        }
    }

    /// Returns the hider of values in turns.
    pub fn hider(&self) -> Hider {
        self.hider.clone()
    }

    /// Begins a file.
    pub fn head(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(MAGIC);
        self.put(into, Part::Head(self.head.clone()));
    }

    fn put(&self, into: &mut Vec<u8>, part: Part) -> bool {
        frame::put(into, part, FRAME_BYTES_MAX)
    }

    /// Appends the settings and the state with which a replica begins. A start that is too large is left out, and the recording is only shown.
    pub fn start(&mut self, config: &Config, recovered: &Recovered, into: &mut Vec<u8>) {
        self.config = to_json(config).into();
        let log = recovered.records.iter().map(|record| LogEntry {
            index: record.index,
            term: record.term,
            payload: wire::map_record(&record.payload, &mut |data| self.hider.hide_encoded(&data)),
        });
        let start = Start {
            config: self.config.clone(),
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
            config: self.config.clone(),
            state: Some(state::store(&view)),
            replica: to_json(&state).into(),
            after,
        };
        frame::put(into, Part::Frozen(frozen), bytes_max);
    }

    pub(crate) fn gap(&self, from: u64, to: u64, into: &mut Vec<u8>) {
        self.put(into, Part::Gap(Gap { from, to }));
    }

    /// Appends a turn. Of one that is too large only its length is kept.
    pub fn turn(&self, turn: &NotedTurn, at_ns: i64, into: &mut Vec<u8>) {
        if !turn.put(at_ns, into) {
            let omitted = InputKind::Omitted(turn.bytes() as u64);
            let inputs = vec![Input { kind: Some(omitted) }];
            let turn = Turn { number: turn.number, at_ns, inputs, effects: Vec::new() };
            self.put(into, Part::Turn(turn));
        }
    }
}

/// A part of a recording that follows the core's own structs, and so the release.
pub(crate) fn to_json(part: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(part).expect("it has no maps that JSON lacks")
}

/// Reads what [`to_json`] has made.
pub(crate) fn from_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, CorruptRecord> {
    serde_json::from_slice(json).map_err(|error| {
        CorruptRecord::new(format!(
            "its settings or its frozen replica are of another release: {error}"
        ))
    })
}

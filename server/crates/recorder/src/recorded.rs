//! Records a replica's inputs and effects if a recording is enabled. Otherwise, each call costs only a branch.

use std::ops::Deref;

use witan_machine::record::CorruptRecord;
use witan_replica::{
    host::{Host, Recovered},
    input::Input,
    replica::{Config, Halt, Replica, Status},
};

use crate::{
    effects,
    format::{self, Effect, FRAME_BYTES_MAX, Turn},
    input,
    redact::Redaction,
};

/// The destination of a recording. No method may block. When a sink is dropped, it writes everything that was recorded.
pub trait Sink: Send {
    /// Returns whether values are recorded without redaction.
    fn values_in_clear(&self) -> bool;
    /// Records the settings and the state with which the replica starts.
    fn start(&mut self, config: Config, recovered: Recovered);
    /// Records a turn.
    fn turn(&mut self, turn: Turn);
}

struct Recording {
    sink: Box<dyn Sink>,
    redaction: Redaction,
    turn: Turn,
    /// Size in bytes of the commands and messages in the current turn.
    bytes: usize,
    status: Option<Status>,
}

impl Recording {
    /// Adds an input to the current turn. If the turn is now too large for a frame, adds neither this input nor later inputs.
    fn record_input(&mut self, input: &Input) {
        self.bytes += input::bytes(input);
        if self.bytes <= FRAME_BYTES_MAX {
            let kind = Some(input::record(input, self.redaction));
            self.turn.inputs.push(format::Input { kind });
        }
    }

    /// Passes the turn to the sink, or only its size if the turn is too large, and starts the next turn.
    fn end_turn(&mut self) {
        let next = Turn { number: self.turn.number + 1, ..Turn::default() };
        let mut turn = std::mem::replace(&mut self.turn, next);
        let bytes = std::mem::take(&mut self.bytes);
        if bytes > FRAME_BYTES_MAX {
            turn = Turn::omitted(turn.number, turn.at_ns, bytes as u64);
        }
        self.sink.turn(turn);
    }
}

/// A [`Replica`] that may be recorded. Its `Debug` output shows only the replica.
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

impl RecordedReplica {
    /// Creates a replica from the recovered state and, if there is a sink, starts to record it. Fails for a corrupt record,
    /// before anything is recorded.
    pub fn new(
        config: Config,
        recovered: Recovered,
        sink: Option<Box<dyn Sink>>,
    ) -> Result<Self, CorruptRecord> {
        let start = sink.map(|sink| (sink, config.clone(), recovered.clone()));
        // Create the replica first, because records that this release does not support must not reach a file.
        let replica = Replica::new(config, recovered)?;
        let recording = start.map(|(mut sink, config, recovered)| {
            sink.start(config, recovered);
            let redaction = Redaction { values_in_clear: sink.values_in_clear() };
            let turn = Turn { number: 1, ..Turn::default() };
            Box::new(Recording { sink, redaction, turn, bytes: 0, status: None })
        });
        Ok(Self { replica, recording })
    }

    /// Takes an input like [`Replica::take`] and records it.
    pub fn take(&mut self, input: Input) {
        if let Some(recording) = &mut self.recording {
            recording.record_input(&input);
        }
        self.replica.take(input);
    }

    /// Runs a turn like [`Replica::turn`] and records it. Ends the recording if the replica halts, so that the sink writes
    /// everything.
    pub fn turn(&mut self, host: &mut dyn Host) -> Result<(), Halt> {
        let Some(recording) = &mut self.recording else {
            return self.replica.turn(host);
        };
        let Recording { turn, status, .. } = &mut **recording;
        let record = &mut |kind| turn.effects.push(Effect { kind: Some(kind) });
        let halted = effects::turn(&mut self.replica, host, status, record);
        recording.end_turn();
        if halted.is_err() {
            // The process ends, so the sink must write everything now.
            self.recording = None;
        }
        halted
    }
}

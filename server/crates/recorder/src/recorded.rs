//! The seam: a replica whose inputs and effects are noted, if a recording is asked for. Without one each call costs a branch.

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

/// Where a recording goes. Nothing here may block.
pub trait Sink: Send {
    /// Whether values are recorded as they are.
    fn values_in_clear(&self) -> bool;
    /// Takes the settings and the state with which the replica begins.
    fn start(&mut self, config: Config, recovered: Recovered);
    /// Takes a turn.
    fn turn(&mut self, turn: Turn);
    /// Writes all that was taken: the process ends.
    fn close(&mut self);
}

struct Recording {
    sink: Box<dyn Sink>,
    redaction: Redaction,
    /// The turn that is under way.
    turn: Turn,
    /// Bytes of the commands and messages in it.
    bytes: usize,
    /// The status after the last turn.
    status: Option<Status>,
}

impl Recording {
    /// Notes an input, unless the turn is too large for a frame.
    fn note(&mut self, input: &Input) {
        self.bytes += input::bytes(input);
        if self.bytes <= FRAME_BYTES_MAX {
            let kind = Some(input::note(input, self.redaction));
            self.turn.inputs.push(format::Input { kind });
        }
    }

    /// Hands the turn to the sink, and begins the next one. Of a turn that is too large only its length is kept.
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

/// A [`Replica`], recorded or not.
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
    /// Starts a replica from recovered state, recorded if there is a sink.
    pub fn new(
        config: Config,
        recovered: Recovered,
        sink: Option<Box<dyn Sink>>,
    ) -> Result<Self, CorruptRecord> {
        let start = sink.map(|sink| (sink, config.clone(), recovered.clone()));
        // records that this release does not know must not reach a file
        let replica = Replica::new(config, recovered)?;
        let recording = start.map(|(mut sink, config, recovered)| {
            sink.start(config, recovered);
            let redaction = Redaction { values_in_clear: sink.values_in_clear() };
            let turn = Turn { number: 1, ..Turn::default() };
            Box::new(Recording { sink, redaction, turn, bytes: 0, status: None })
        });
        Ok(Self { replica, recording })
    }

    /// As [`Replica::take`]; the input is noted.
    pub fn take(&mut self, input: Input) {
        if let Some(recording) = &mut self.recording {
            recording.note(&input);
        }
        self.replica.take(input);
    }

    /// As [`Replica::turn`]; the turn is recorded when it has ended.
    pub fn turn(&mut self, host: &mut dyn Host) -> Result<(), Halt> {
        let Some(recording) = &mut self.recording else {
            return self.replica.turn(host);
        };
        let Recording { turn, status, .. } = &mut **recording;
        let note = &mut |kind| turn.effects.push(Effect { kind: Some(kind) });
        let halted = effects::turn(&mut self.replica, host, status, note);
        recording.end_turn();
        if halted.is_err() {
            recording.sink.close();
        }
        halted
    }
}

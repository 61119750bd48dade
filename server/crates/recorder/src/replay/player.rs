//! A core that is given the inputs of a recording, and a world for it.

use std::{
    any::Any,
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use witan_machine::{StateMachine, record::CorruptRecord, view::View};
use witan_replica::{
    host::{
        Applied, Envelope, Host, LeaseAnswer, LogBatch, LogRecord, Recovered, Ticket, Unanswered,
    },
    long_command::{ExecutedCommand, LongCommand},
    replica::{Config, FrozenReplica, FrozenState, Replica, Status},
    wire,
};

use super::{Verdict, input};
use crate::{
    effects,
    encode::{from_json, to_json},
    format::{Effect, EffectKind, Frozen, Start, Turn},
    hide::Filler,
    state,
};

/// See the module's description.
pub struct Player {
    pub(super) replica: Replica,
    pub(super) filler: Filler,
    pub(super) host: ReplayHost,
    /// Whether the state holds all keys.
    pub(super) whole: bool,
    /// The status after the last turn; `None` before the first one of the process.
    status: Option<Status>,
}

impl Player {
    fn of(replica: Replica, filler: Filler, whole: bool) -> Self {
        Self {
            replica,
            filler,
            host: ReplayHost::default(),
            whole,
            status: None,
        }
    }

    fn thawed(
        config: Config,
        frozen: FrozenReplica,
        filler: Filler,
        whole: bool,
    ) -> Result<Self, CorruptRecord> {
        let replica = Replica::thaw(config, frozen)?;
        let status = Some(replica.status());
        Ok(Self { status, ..Self::of(replica, filler, whole) })
    }

    /// Creates a player whose replica has the log and state with which the recorded process started. `Err` has the
    /// reason why the replica cannot be created from them.
    pub(crate) fn start(start: &Start, mut filler: Filler) -> Result<Self, String> {
        let begun = caught(|| {
            let state = start.state.as_ref();
            let state = state.ok_or_else(|| CorruptRecord::new("the start is not whole"))?;
            let records = start.log.iter().map(|entry| LogRecord {
                index: entry.index,
                term: entry.term,
                payload: wire::map_record(&entry.payload, &mut |data| filler.fill_encoded(&data)),
            });
            let recovered = Recovered {
                records: records.collect(),
                checkpoint: Some(state::restore(state)?),
                hard_state: start.hard_state.clone(),
            };
            let replica = Replica::new(from_json(&start.config)?, recovered)?;
            Ok::<_, CorruptRecord>(Self::of(replica, filler, state.whole))
        });
        begun.flatten()
    }

    /// A core that goes on as the one that was frozen. `Err` says why that is not possible.
    pub(crate) fn thaw(frozen: &Frozen, mut filler: Filler) -> Result<Self, String> {
        let begun = caught(|| {
            let state = frozen.state.as_ref();
            let state =
                state.ok_or_else(|| CorruptRecord::new("the frozen replica is not whole"))?;
            let mut replica: FrozenState = from_json(&frozen.replica)?;
            replica.map_commands(&mut |data| filler.fill_encoded(&data));
            let view = state::restore(state)?;
            let replica = FrozenReplica { view, state: replica };
            Self::thawed(from_json(&frozen.config)?, replica, filler, state.whole)
        });
        begun.flatten()
    }

    /// A core that goes on as one that was frozen in this process, whose state holds all keys. All else takes the way through
    /// a file.
    pub fn twin(config: Config, frozen: FrozenReplica) -> Result<Self, CorruptRecord> {
        let FrozenReplica { view, state } = frozen;
        let state = from_json(&to_json(&state))?;
        Self::thawed(
            config,
            FrozenReplica { view, state },
            Filler::new(true),
            true,
        )
    }

    /// Whether the state holds all keys.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Executes a turn. Returns how it differs, if it does; `Err` if it cannot be executed.
    pub fn turn(&mut self, turn: &Turn) -> Result<Option<Verdict>, String> {
        let got = caught(|| self.execute(turn)).flatten()?;
        if self.filler.is_exhausted() {
            return Err(
                "the values of this recording have more bytes than a replay makes up (1 GiB)"
                    .into(),
            );
        }
        let expected = in_order(turn.effects.clone());
        let same = |(a, b): (&Effect, &Effect)| match self.whole {
            true => a == b,
            false => a.without_outcome() == b.without_outcome(),
        };
        let equal = got.len() == expected.len() && got.iter().zip(&expected).all(same);
        let whole = self.whole;
        Ok((!equal).then(|| Verdict::Differs { turn: turn.number, expected, got, whole }))
    }

    fn execute(&mut self, turn: &Turn) -> Result<Vec<Effect>, String> {
        for input in &turn.inputs {
            let kind = input.kind.as_ref().ok_or("an input of a later release")?;
            input::hand_in(self, kind)?;
        }
        let elsewhere = turn.effects.iter().filter_map(|effect| {
            let Some(EffectKind::ExecuteElsewhere(index)) = effect.kind else {
                return None;
            };
            Some(index)
        });
        self.host.elsewhere = elsewhere.collect();
        let mut effects = Vec::new();
        let note = &mut |kind| effects.push(Effect { kind: Some(kind) });
        // why the member must end is among them
        let _ = effects::turn(&mut self.replica, &mut self.host, &mut self.status, note);
        Ok(in_order(effects))
    }
}

/// Messages in a row by their receivers: raft lists members in the order of a hash map, which knows how many members there
/// were.
fn in_order(mut effects: Vec<Effect>) -> Vec<Effect> {
    let receiver = |effect: &Effect| {
        let Some(EffectKind::Send(sent)) = &effect.kind else {
            return None;
        };
        Some(sent.to)
    };
    let messages = |a: &Effect, b: &Effect| receiver(a).is_some() && receiver(b).is_some();
    for messages in effects.chunk_by_mut(messages) {
        messages.sort_by_key(receiver);
    }
    effects
}

/// Runs a core, which panics at what contradicts raft: a file may say anything.
fn caught<T, E: ToString>(run: impl FnOnce() -> Result<T, E>) -> Result<Result<T, String>, String> {
    let done = catch_unwind(AssertUnwindSafe(run));
    done.map(|done| done.map_err(|error| error.to_string()))
        .map_err(|panic| format!("the core panics: {}", panic_text(&*panic)))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}

/// A world that takes all effects and does nothing.
#[derive(Debug, Default)]
pub(super) struct ReplayHost {
    /// Commands that another thread executed.
    elsewhere: BTreeSet<u64>,
    /// The result of the last of them, until it is handed in.
    pub(super) executed: Option<Box<ExecutedCommand>>,
}

impl Host for ReplayHost {
    fn install(&mut self, _snapshot: &View) {}

    fn persist(&mut self, _batch: &LogBatch) {}

    fn send(&mut self, _envelopes: Vec<Envelope>) {}

    fn execute(&mut self, command: Box<LongCommand>) -> Option<Box<ExecutedCommand>> {
        let elsewhere = self.elsewhere.contains(&command.index());
        let executed = Box::new(command.execute());
        if !elsewhere {
            return Some(executed);
        }
        self.executed = Some(executed);
        None
    }

    fn discard(&mut self, _machine: StateMachine) {}

    fn applied(&mut self, _applied: Vec<Applied>, _view: &View) {}

    fn readable(&mut self, _tickets: &[Ticket], _view: &View) {}

    fn unanswered(&mut self, _requests: &[(Ticket, Unanswered)]) {}

    fn lease_answered(&mut self, _ticket: Ticket, _answer: LeaseAnswer) {}
}

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
    replica::{AutoCompaction, Config, FrozenReplica, FrozenState, Replica, Status},
    wire,
};

use super::{Verdict, input};
use crate::{
    effects,
    format::{Effect, EffectKind, Frozen, Settings, Start, Turn},
    hide::Filler,
    state,
};

/// See the module's description.
pub(crate) struct Player {
    pub(super) replica: Replica,
    pub(super) filler: Filler,
    pub(super) host: ReplayHost,
    /// Whether the state holds all keys.
    pub(super) whole: bool,
    /// The status after the last turn; `None` before the first one of the process.
    status: Option<Status>,
}

impl Player {
    /// A core that begins as a process did. `Err` says why that is not possible.
    pub(crate) fn start(member: u64, start: &Start, mut filler: Filler) -> Result<Self, String> {
        let begun = caught(|| {
            let (Some(settings), Some(state)) = (&start.settings, &start.state) else {
                return Err(CorruptRecord::new("the start is not whole"));
            };
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
            Ok((
                Replica::new(config(member, settings), recovered)?,
                state.whole,
            ))
        });
        let (replica, whole) = begun.flatten()?;
        Ok(Self {
            replica,
            filler,
            host: ReplayHost::default(),
            whole,
            status: None,
        })
    }

    /// A core that goes on as the one that was frozen. `Err` says why that is not possible.
    pub(crate) fn thaw(member: u64, frozen: Frozen, mut filler: Filler) -> Result<Self, String> {
        let begun = caught(|| {
            let (Some(settings), Some(state)) = (&frozen.settings, &frozen.state) else {
                return Err(CorruptRecord::new("the frozen replica is not whole"));
            };
            let mut replica = decode_frozen(&frozen.replica)?;
            replica.map_commands(&mut |data| filler.fill_encoded(&data));
            let frozen = FrozenReplica { view: state::restore(state)?, state: replica };
            Ok((
                Replica::thaw(config(member, settings), frozen)?,
                state.whole,
            ))
        });
        let (replica, whole) = begun.flatten()?;
        let status = Some(replica.status());
        Ok(Self { replica, filler, host: ReplayHost::default(), whole, status })
    }

    /// A core with a state that holds all keys.
    pub(crate) fn twin(config: Config, frozen: FrozenReplica) -> Result<Self, CorruptRecord> {
        let (filler, host) = (Filler::new(true), ReplayHost::default());
        let replica = Replica::thaw(config, frozen)?;
        let status = Some(replica.status());
        Ok(Self { replica, filler, host, whole: true, status })
    }

    /// Whether the state holds all keys.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Executes a turn. Returns how it differs, if it does; `Err` if it cannot be executed.
    pub(crate) fn turn(&mut self, turn: &Turn) -> Result<Option<Verdict>, String> {
        let got = caught(|| self.execute(turn)).flatten()?;
        if self.filler.is_exhausted() {
            return Err("it has more bytes of values than a replay makes up".into());
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
        .map_err(|panic| format!("the core panics: {}", words(&*panic)))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a word")
}

/// The frozen state of a replica as a recording holds it.
pub(crate) fn decode_frozen(json: &[u8]) -> Result<FrozenState, CorruptRecord> {
    serde_json::from_slice(json).map_err(|error| {
        CorruptRecord::new(format!("a frozen replica of another release: {error}"))
    })
}

/// See [`decode_frozen`].
pub(crate) fn encode_frozen(state: &FrozenState) -> Vec<u8> {
    serde_json::to_vec(state).expect("it has no maps that JSON lacks")
}

fn config(member: u64, settings: &Settings) -> Config {
    let compaction = match (
        &settings.compact_revisions[..],
        &settings.compact_periodic[..],
    ) {
        (&[keep, interval], _) => {
            let check_interval_ticks = interval.cast_unsigned();
            Some(AutoCompaction::Revisions { keep, check_interval_ticks })
        }
        (_, &[period, hour]) => Some(AutoCompaction::Periodic { period, hour }),
        (_, _) => None,
    };
    Config {
        id: member,
        election_ticks: usize::try_from(settings.election_ticks).unwrap_or(usize::MAX),
        heartbeat_ticks: usize::try_from(settings.heartbeat_ticks).unwrap_or(usize::MAX),
        election_ns: settings.election_ns,
        seed: settings.seed,
        pre_vote: settings.pre_vote,
        compaction,
        request_ticks: settings.request_ticks,
    }
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

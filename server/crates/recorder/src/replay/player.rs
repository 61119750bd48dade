//! Executes the inputs of a recording with a replica. Its host executes long commands and ignores all other effects.

use std::{
    any::Any,
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use witan_machine::{member::MemberId, record::CorruptRecord, view::View};
use witan_replica::{
    host::{Answer, Applied, Envelope, Host, LogBatch, LogRecord, Recovered, Ticket},
    input::Input,
    long_command::{ExecutedCommand, LongCommand},
    replica::{Config, MessageFault, Replica, Status},
};

use super::Verdict;
use crate::{
    effects, encode,
    format::{Effect, EffectKind, InputKind, Received, Start, Turn},
    input,
    redact::Redaction,
    state,
};

/// Executes recorded turns.
pub struct Player {
    replica: Replica,
    host: ReplayHost,
    /// Whether the state contains all keys and values.
    whole: bool,
    /// The status after the last turn, or `None` before the first turn.
    status: Option<Status>,
}

impl Player {
    /// Creates a player whose replica starts with the log and the state of the recorded process. `values_in_clear` says whether
    /// the recording contains values. Without values, or if the state lacks keys, outcomes are not compared. Fails if the start
    /// is incomplete or damaged, or if the core panics.
    pub(crate) fn start(start: &Start, values_in_clear: bool) -> Result<Self, String> {
        let begun = catch_panic(|| {
            let (Some(settings), Some(state)) = (&start.settings, &start.state) else {
                return Err(CorruptRecord::new("the start is incomplete"));
            };
            let records = start.log.iter().map(|entry| LogRecord {
                index: entry.index,
                term: entry.term,
                payload: entry.payload.clone(),
            });
            let recovered = Recovered {
                records: records.collect(),
                checkpoint: Some(state::restore(state)?),
                hard_state: start.hard_state.clone(),
            };
            let config = encode::restore_settings(settings);
            Self::new(config, recovered, state.whole && values_in_clear)
        });
        begun.flatten()
    }

    /// Creates a player with the entire state, to run in parallel with a recorded replica in the same process. Redacts the log
    /// like the inputs, because a replica halts if an entry of its log differs from the leader's entry.
    pub fn twin(config: Config, mut recovered: Recovered) -> Result<Self, CorruptRecord> {
        let redaction = Redaction { values_in_clear: true };
        for record in &mut recovered.records {
            record.payload = encode::redact_payload(&record.payload, redaction);
        }
        Self::new(config, recovered, true)
    }

    /// Creates a player. `whole` says whether the recovered state has all keys and values, so that outcomes are compared.
    fn new(config: Config, recovered: Recovered, whole: bool) -> Result<Self, CorruptRecord> {
        Ok(Self {
            replica: Replica::new(config, recovered)?,
            host: ReplayHost::default(),
            whole,
            status: None,
        })
    }

    /// Returns whether the state contains all keys and values.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Executes a turn. Returns a verdict if its effects differ from the recorded effects, otherwise `None`. Fails if the turn
    /// cannot be executed or the core panics.
    pub fn turn(&mut self, turn: &Turn) -> Result<Option<Verdict>, String> {
        let got = catch_panic(|| self.execute(turn)).flatten()?;
        let expected = sort_messages(turn.effects.clone());
        let same = |(a, b): (&Effect, &Effect)| match self.whole {
            true => a == b,
            false => a.without_outcome() == b.without_outcome(),
        };
        let equal = got.len() == expected.len() && got.iter().zip(&expected).all(same);
        let whole = self.whole;
        Ok((!equal).then(|| Verdict::Differs { turn: turn.number, expected, got, whole }))
    }

    /// Executes a turn's inputs and returns the effects, with messages sorted. Clears `whole` if a received state lacks keys.
    /// Fails for an input that cannot be executed.
    fn execute(&mut self, turn: &Turn) -> Result<Vec<Effect>, String> {
        for input in &turn.inputs {
            let kind = input.kind.as_ref().ok_or("an input from a later release")?;
            if let InputKind::Executed(index) = kind {
                // There is no result if a snapshot has replaced the state.
                let executed = self.host.executed.take();
                if let Some(executed) = executed.filter(|it| it.index() == *index) {
                    self.replica.take(Input::Executed(executed));
                }
                continue;
            }
            if let InputKind::Message(Received { snapshot: Some(state), .. }) = kind {
                self.whole &= state.whole;
            }
            self.replica.take(input::restore(kind)?);
        }
        let elsewhere = turn.effects.iter().filter_map(|effect| {
            let Some(EffectKind::ExecuteElsewhere(index)) = effect.kind else {
                return None;
            };
            Some(index)
        });
        self.host.elsewhere = elsewhere.collect();
        let mut effects = Vec::new();
        let record = &mut |kind| effects.push(Effect { kind: Some(kind) });
        // The effects include the reason why the member must stop.
        let _ = effects::turn(&mut self.replica, &mut self.host, &mut self.status, record);
        Ok(sort_messages(effects))
    }
}

/// Sorts consecutive messages by receiver. Raft's order of members is the order of a hash map, so it depends on the map's
/// history.
fn sort_messages(mut effects: Vec<Effect>) -> Vec<Effect> {
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

/// Runs a step. The inner error is the message of the step's error. The outer error is the message of a panic, which inputs
/// that contradict raft's invariants can cause.
fn catch_panic<T, E: ToString>(
    run: impl FnOnce() -> Result<T, E>,
) -> Result<Result<T, String>, String> {
    let done = catch_unwind(AssertUnwindSafe(run));
    done.map(|done| done.map_err(|error| error.to_string()))
        .map_err(|panic| format!("the core panics: {}", panic_text(&*panic)))
}

/// Returns the message of a panic, or a fixed text if it has none.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}

#[derive(Debug, Default)]
struct ReplayHost {
    /// Indexes of the commands that another thread has executed.
    elsewhere: BTreeSet<u64>,
    /// The result of the last of these commands, until it is passed to the replica.
    executed: Option<Box<ExecutedCommand>>,
}

impl Host for ReplayHost {
    fn install(&mut self, _snapshot: &View) {}
    fn persist(&mut self, _batch: &LogBatch) {}
    fn send(&mut self, _envelopes: Vec<Envelope>) {}
    /// Executes a command. Keeps the result for later and returns `None` if another thread has executed the recorded command.
    fn execute(&mut self, command: Box<LongCommand>) -> Option<Box<ExecutedCommand>> {
        let elsewhere = self.elsewhere.contains(&command.index());
        let executed = Box::new(command.execute());
        if !elsewhere {
            return Some(executed);
        }
        self.executed = Some(executed);
        None
    }

    fn applied(&mut self, _applied: Vec<Applied>, _view: &View) {}
    fn readable(&mut self, _tickets: &[Ticket], _view: &View) {}
    fn answered(&mut self, _answers: Vec<(Ticket, Answer)>) {}
    fn cut_log(&mut self, _below: u64) {}
    fn message_dropped(&mut self, _from: MemberId, _fault: MessageFault) {}
}

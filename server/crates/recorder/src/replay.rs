//! Executes a recording with the core of this program, and compares what each turn brings about.
//!
//! The core can only begin where the recorded process did. Behind a gap, and in a ring that has lost the start, turns are
//! shown as they were recorded.

mod input;

pub(crate) use input::simulate;

use std::collections::BTreeSet;

use witan_machine::{StateMachine, record::CorruptRecord, view::View};
use witan_replica::{
    host::{
        Applied, Envelope, Host, LeaseAnswer, LogBatch, LogRecord, Recovered, Ticket, Unanswered,
    },
    long_command::{ExecutedCommand, LongCommand},
    replica::{AutoCompaction, Config, Replica},
    wire,
};

use crate::{
    effects,
    format::{Effect, FrameFault, Gap, Settings, Start, Turn},
    hide::Filler,
    read::{Recording, Step},
    state,
};

/// A turn on its way to a person.
#[derive(Debug)]
pub struct ShownTurn<'a> {
    /// Counted from 1 on since the start of the process.
    pub number: u64,
    /// When it ended: Unix time in nanoseconds.
    pub at_ns: i64,
    /// The inputs.
    pub inputs: Vec<String>,
    /// The effects of the recorded core.
    pub effects: &'a [Effect],
    /// Whether this program's core brought about the same; `None` if it was not executed.
    pub equal: Option<bool>,
}

/// The result of a replay.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All turns were executed and had the recorded effects.
    Reproduced,
    /// A turn had other effects; those after it were not executed.
    Differs {
        /// Its number.
        turn: u64,
        /// As recorded.
        expected: Vec<Effect>,
        /// As this program's core has them.
        got: Vec<Effect>,
        /// Whether the start held all keys: if not, they may be why.
        whole: bool,
    },
    /// The rest, or all, could only be shown.
    Shown {
        /// Why.
        why: String,
    },
}

/// The end of a replay.
#[derive(Debug)]
pub struct Replayed {
    /// Turns that were read.
    pub read: u64,
    /// Turns that were executed, with equal effects.
    pub equal: u64,
    /// The result.
    pub verdict: Verdict,
    /// Files that could not be read to their ends.
    pub faults: Vec<String>,
    /// That the last file ends within a frame: the process was killed, or wrote when it was copied.
    pub cut: Option<String>,
}

/// Executes a recording, and calls `show` with each turn.
pub fn replay(recording: &Recording, show: &mut dyn FnMut(&ShownTurn<'_>)) -> Replayed {
    let mut run = Run::default();
    for step in recording.steps() {
        match step {
            Step::Start(start) => run.start(recording, &start),
            Step::Gap(Gap { from, to }) => run.shown(format!(
                "turns {from} to {to} were left out, because the recorder was behind"
            )),
            Step::Fault { file, at, fault, last } => {
                let text = fault_text(&file, at, fault);
                match last && fault == FrameFault::Cut {
                    true => run.cut = Some(text),
                    false => run.faults.push(text),
                }
            }
            Step::Turn(turn) => run.turn(&turn, show),
        }
    }
    if run.read == 0 {
        run.shown("it holds no turn".into());
    }
    Replayed {
        read: run.read,
        equal: run.equal,
        verdict: run.verdict.unwrap_or(Verdict::Reproduced),
        faults: run.faults,
        cut: run.cut,
    }
}

/// A replay under way.
#[derive(Default)]
struct Run {
    /// The core, as long as it can go on.
    player: Option<Player>,
    /// The number of the last turn.
    last: u64,
    read: u64,
    equal: u64,
    verdict: Option<Verdict>,
    faults: Vec<String>,
    cut: Option<String>,
}

impl Run {
    /// Ends the core; the first reason is the verdict.
    fn end(&mut self, verdict: Verdict) {
        self.player = None;
        self.verdict.get_or_insert(verdict);
    }

    fn shown(&mut self, why: String) {
        self.end(Verdict::Shown { why });
    }

    fn start(&mut self, recording: &Recording, start: &Start) {
        let filler = Filler { values: recording.head.values };
        match Player::new(recording.head.member, start, filler) {
            Ok(player) if self.last == 0 => self.player = Some(player),
            Ok(_) => {}
            Err(error) => self.shown(error.to_string()),
        }
    }

    fn turn(&mut self, turn: &Turn, show: &mut dyn FnMut(&ShownTurn<'_>)) {
        match self.last {
            last if turn.number == last + 1 => {}
            0 => self.shown(format!(
                "the recording begins at turn {}: the start of the process is not in it",
                turn.number
            )),
            last => self.shown(format!(
                "turns {} to {} are missing",
                last + 1,
                turn.number.saturating_sub(1)
            )),
        }
        (self.last, self.read) = (turn.number, self.read + 1);
        let result = self.player.as_mut().map(|player| player.turn(turn));
        let inputs = turn.inputs.iter().flat_map(|it| &it.kind).map(input::show);
        show(&ShownTurn {
            number: turn.number,
            at_ns: turn.at_ns,
            inputs: inputs.collect(),
            effects: &turn.effects,
            equal: result.as_ref().map(|result| matches!(result, Ok(None))),
        });
        match result {
            Some(Ok(None)) => self.equal += 1,
            Some(Ok(Some(differs))) => self.end(differs),
            Some(Err(why)) => self.shown(why),
            None => self.shown("the recording does not hold the start of the process".into()),
        }
    }
}

fn fault_text(file: &std::path::Path, at: usize, fault: FrameFault) -> String {
    format!(
        "{} {fault} {at} bytes behind its head; what is before was used",
        file.display()
    )
}

/// A core that is given the inputs of a recording.
struct Player {
    replica: Replica,
    filler: Filler,
    host: ReplayHost,
    /// Whether the state holds all keys.
    whole: bool,
    turns: u64,
}

impl Player {
    fn new(member: u64, start: &Start, filler: Filler) -> Result<Self, CorruptRecord> {
        let lacks = || CorruptRecord::new("the start is not whole");
        let settings = start.settings.as_ref().ok_or_else(lacks)?;
        let state = start.state.as_ref().ok_or_else(lacks)?;
        let records = start.log.iter().map(|entry| LogRecord {
            index: entry.index,
            term: entry.term,
            payload: wire::map_record(&entry.payload, &mut |data| filler.fill_encoded(&data)),
        });
        let recovered = Recovered {
            checkpoint: Some(state::restore(state)?),
            hard_state: start.hard_state.clone(),
            records: records.collect(),
        };
        let replica = Replica::new(config(member, settings), recovered)?;
        let host = ReplayHost::default();
        Ok(Self { replica, filler, host, whole: state.whole, turns: 0 })
    }

    /// Executes a turn. Returns how it differs, if it does; `Err` if it cannot be executed.
    fn turn(&mut self, turn: &Turn) -> Result<Option<Verdict>, String> {
        for input in &turn.inputs {
            let kind = input.kind.as_ref().ok_or("an input of a later release")?;
            input::hand_in(self, kind)?;
        }
        let elsewhere = turn.effects.iter().filter_map(|effect| {
            let index = effect
                .text
                .strip_prefix("execute ")?
                .strip_suffix(" elsewhere")?;
            index.parse().ok()
        });
        self.host.elsewhere = elsewhere.collect();
        let (noted, _) = effects::turn(&mut self.replica, &mut self.host, self.turns == 0);
        self.turns += 1;
        let got: Vec<Effect> = noted.iter().map(effects::RawEffect::show).collect();
        let same = |(a, b): (&Effect, &Effect)| {
            a.text == b.text && (!self.whole || a.outcome == b.outcome)
        };
        let equal = got.len() == turn.effects.len() && got.iter().zip(&turn.effects).all(same);
        Ok((!equal).then(|| Verdict::Differs {
            turn: turn.number,
            expected: turn.effects.clone(),
            got,
            whole: self.whole,
        }))
    }
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
struct ReplayHost {
    /// Commands that another thread executed.
    elsewhere: BTreeSet<u64>,
    /// The result of the last of them, until it is handed in.
    executed: Option<Box<ExecutedCommand>>,
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

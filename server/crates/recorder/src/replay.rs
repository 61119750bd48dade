//! Executes recordings with the core of this program, and compares what each turn brings about.
//!
//! The core begins where the recorded process did. Turns behind a gap, and those of a ring that has lost its start, are shown
//! as they were recorded.

mod player;

pub use player::Player;

use std::path::{Path, PathBuf};

use crate::{
    format::{Effect, Gap, Head, Part, Start, Turn},
    frame::FrameFault,
    input,
    read::{self, ReadError},
};

/// A turn on its way to a person.
#[derive(Debug)]
pub struct ShownTurn<'a> {
    /// The process.
    pub head: &'a Head,
    /// Counted from 1 on since the process started.
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
    /// A turn had other effects.
    Differs {
        /// Its number.
        turn: u64,
        /// As recorded.
        expected: Vec<Effect>,
        /// As this program's core has them.
        got: Vec<Effect>,
        /// Whether the recording holds all keys and values: if not, they may be why.
        whole: bool,
    },
    /// Some, or all, could only be shown.
    Shown {
        /// Why the first of them.
        why: String,
    },
}

/// The end of the replay of what a process has recorded.
#[derive(Debug)]
pub struct Replayed {
    /// The process.
    pub head: Head,
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

/// Executes the recordings of a file or folder, and calls `show` with each turn. Returns what came of each process.
pub fn replay(
    path: &Path,
    show: &mut dyn FnMut(&ShownTurn<'_>),
) -> Result<Vec<Replayed>, ReadError> {
    let mut done = Vec::new();
    let mut run: Option<Run> = None;
    for step in read::open(path)? {
        match (step, &mut run) {
            (Ok(Part::Head(head)), Some(run)) if run.result.head == head => run.goes_on(),
            (Ok(Part::Head(head)), _) => done.extend(run.replace(Run::new(head)).map(Run::finish)),
            // the head of the first file was looked at before
            (_, None) => {}
            (Ok(Part::Start(start)), Some(run)) => run.start(&start),
            (Ok(Part::Gap(Gap { from, to })), Some(run)) => {
                run.last = to;
                run.shown(format!(
                    "turns {from} to {to} were left out, because the recorder was behind"
                ));
            }
            (Err((file, fault)), Some(run)) => run.fault(file, fault),
            (Ok(Part::Turn(turn)), Some(run)) => run.turn(&turn, show),
        }
    }
    done.extend(run.map(Run::finish));
    Ok(done)
}

/// The replay of what a process has recorded, under way.
struct Run {
    /// The core, as long as it can go on.
    player: Option<Player>,
    /// The number of the last turn.
    last: u64,
    /// So far.
    result: Replayed,
}

impl Run {
    fn new(head: Head) -> Self {
        let result = Replayed {
            head,
            read: 0,
            equal: 0,
            verdict: Verdict::Reproduced,
            faults: Vec::new(),
            cut: None,
        };
        Self { player: None, last: 0, result }
    }

    /// Ends the core; the first reason is the verdict.
    fn end(&mut self, verdict: Verdict) {
        self.player = None;
        if self.result.verdict == Verdict::Reproduced {
            self.result.verdict = verdict;
        }
    }

    fn shown(&mut self, why: String) {
        self.end(Verdict::Shown { why });
    }

    /// Another file of the same process begins: what the one before lacks is not its end.
    fn goes_on(&mut self) {
        self.result.faults.extend(self.result.cut.take());
    }

    fn fault(&mut self, file: PathBuf, fault: FrameFault) {
        let text = format!("{} {fault}; what is before was used", file.display());
        match fault {
            FrameFault::Cut => self.result.cut = Some(text),
            FrameFault::Damaged | FrameFault::Io(_) => self.result.faults.push(text),
        }
    }

    fn start(&mut self, start: &Start) {
        match Player::start(start, self.result.head.values_in_clear) {
            Ok(player) if self.last == 0 => self.player = Some(player),
            Ok(_) => {}
            Err(why) => self.shown(why),
        }
    }

    fn turn(&mut self, turn: &Turn, show: &mut dyn FnMut(&ShownTurn<'_>)) {
        match self.last {
            last if turn.number == last.saturating_add(1) => {}
            0 => self.shown(format!(
                "the recording begins at turn {}: the start of the process is not in it",
                turn.number
            )),
            last => self.shown(format!(
                "turns {} to {} are missing",
                last.saturating_add(1),
                turn.number.saturating_sub(1)
            )),
        }
        self.last = turn.number;
        self.result.read += 1;
        let result = self.player.as_mut().map(|player| player.turn(turn));
        let inputs = turn.inputs.iter().flat_map(|it| &it.kind).map(input::show);
        show(&ShownTurn {
            head: &self.result.head,
            number: turn.number,
            at_ns: turn.at_ns,
            inputs: inputs.collect(),
            effects: &turn.effects,
            equal: result.as_ref().map(|result| matches!(result, Ok(None))),
        });
        match result {
            Some(Ok(None)) => self.result.equal += 1,
            Some(Ok(Some(differs))) => self.end(differs),
            Some(Err(why)) => self.shown(why),
            None => self.shown("the recording does not hold the start of the process".into()),
        }
    }

    fn finish(mut self) -> Replayed {
        if self.result.read == 0 {
            self.shown("it holds no turn".into());
        }
        self.result
    }
}

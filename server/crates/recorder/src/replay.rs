//! Executes recordings with this program's replica and compares the effects of each turn. The replica starts with the recorded
//! state. Turns after a gap, and turns of a ring that has lost its start, are only shown as recorded.

mod player;

pub use player::Player;

use std::path::{Path, PathBuf};

use witan_machine::levels::Level;

use crate::{
    format::{Effect, Gap, Head, Part, Start, Turn},
    frame::FrameFault,
    input,
    read::{self, ReadError},
};

/// A turn to be shown.
#[derive(Debug)]
pub struct ShownTurn<'a> {
    /// The process that recorded the turn.
    pub head: &'a Head,
    /// The turn number, counted from 1 since the process started.
    pub number: u64,
    /// End of the turn as Unix time in nanoseconds.
    pub at_ns: i64,
    /// The inputs.
    pub inputs: Vec<String>,
    /// The recorded effects.
    pub effects: &'a [Effect],
    /// Whether this program's replica had the same effects, or `None` if the turn was not executed.
    pub equal: Option<bool>,
}

/// The result of a replay.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All turns were executed and had the recorded effects.
    Reproduced,
    /// A turn had different effects.
    Differs {
        /// The turn number.
        turn: u64,
        /// The recorded effects.
        expected: Vec<Effect>,
        /// The effects of this program's replica.
        got: Vec<Effect>,
        /// Whether the recording contains all keys and values. If not, the missing keys or values may explain the difference.
        whole: bool,
    },
    /// Some turns, or all of them, could only be shown.
    Shown {
        /// The reason why the first of these turns could only be shown.
        why: String,
    },
}

/// The result of replaying the recording of one process.
#[derive(Debug)]
pub struct Replayed {
    /// The process that wrote the recording.
    pub head: Head,
    /// Number of turns that were read.
    pub read: u64,
    /// Number of turns that were executed with equal effects.
    pub equal: u64,
    /// The result of the replay.
    pub verdict: Verdict,
    /// A message for each file that could not be read to the end.
    pub faults: Vec<String>,
    /// A message if the last file ends within a frame: the process was killed, or was writing while the file was copied;
    /// otherwise `None`.
    pub cut: Option<String>,
}

/// Executes the recordings in a file or directory and calls `show` with each turn. Recordings above this program's feature
/// level `level` are only shown. Returns one result per process. Fails if there are no files, or if a file cannot be read or is
/// not a recording.
pub fn replay(
    path: &Path,
    level: Level,
    show: &mut dyn FnMut(&ShownTurn<'_>),
) -> Result<Vec<Replayed>, ReadError> {
    let mut done = Vec::new();
    let mut run: Option<Run> = None;
    for step in read::open(path)? {
        match (step, &mut run) {
            (Ok(Part::Head(head)), Some(run)) if run.result.head == head => {
                // The process wrote another file, so a cut in the previous file is damage.
                run.result.faults.extend(run.result.cut.take());
            }
            (Ok(Part::Head(head)), _) => {
                done.extend(run.replace(Run::new(head, level)).map(Run::finish))
            }
            // `read::open` has already checked the head of the first file.
            (_, None) => {}
            (Ok(Part::Start(start)), Some(run)) => run.start(&start),
            (Ok(Part::Gap(Gap { from, to })), Some(run)) => {
                run.last = to;
                run.only_show(format!(
                    "turns {from} to {to} were left out: the recorder was behind, or the disk was almost full"
                ));
            }
            (Err((file, fault)), Some(run)) => run.fault(file, fault),
            (Ok(Part::Turn(turn)), Some(run)) => run.turn(&turn, show),
        }
    }
    done.extend(run.map(Run::finish));
    Ok(done)
}

/// The replay of one process's recordings.
struct Run {
    /// Executes turns. `None` while turns can only be shown.
    player: Option<Player>,
    /// The number of the last turn that was read or omitted; 0 before the first turn.
    last: u64,
    level: Level,
    result: Replayed,
}

impl Run {
    fn new(head: Head, level: Level) -> Self {
        let result = Replayed {
            head,
            read: 0,
            equal: 0,
            verdict: Verdict::Reproduced,
            faults: Vec::new(),
            cut: None,
        };
        Self { player: None, last: 0, level, result }
    }

    /// Stops executing turns. Keeps an earlier verdict other than `Reproduced`.
    fn end(&mut self, verdict: Verdict) {
        self.player = None;
        if self.result.verdict == Verdict::Reproduced {
            self.result.verdict = verdict;
        }
    }

    /// Stops executing turns because of `why`. Later turns are only shown.
    fn only_show(&mut self, why: String) {
        self.end(Verdict::Shown { why });
    }

    /// Records a defect of a file. A cut at the end of the last file is not damage.
    fn fault(&mut self, file: PathBuf, fault: FrameFault) {
        let text = format!(
            "{} {fault}; only the part before this point was used",
            file.display()
        );
        match fault {
            FrameFault::Cut => self.result.cut = Some(text),
            FrameFault::Damaged | FrameFault::Later | FrameFault::Io(_) => {
                self.result.faults.push(text);
            }
        }
    }

    /// Creates the player, unless turns precede the recorded start. If the start cannot be executed, the turns are only shown.
    fn start(&mut self, start: &Start) {
        if let Some(why) = self.later_level(start) {
            self.only_show(why);
            return;
        }
        match Player::start(start, self.result.head.values_in_clear) {
            Ok(player) if self.last == 0 => self.player = Some(player),
            Ok(_) => {}
            Err(why) => self.only_show(why),
        }
    }

    /// Returns the reason not to execute a recording of a release with a later feature level, or `None` if the level is not
    /// later.
    fn later_level(&self, start: &Start) -> Option<String> {
        let level = start.settings.as_ref()?.level;
        let (version, own) = (&self.result.head.version, self.level);
        (level > own).then(|| {
            format!(
                "the recording is of feature level {level}, and this release has {own}: replay it with witan {version} \
                 or later"
            )
        })
    }

    /// Executes a turn, if there is still a player, and passes the turn to `show`. If turns before this turn are missing, or its
    /// number is not above the last one, executes neither this turn nor later turns. Stops executing turns after the first
    /// difference.
    fn turn(&mut self, turn: &Turn, show: &mut dyn FnMut(&ShownTurn<'_>)) {
        match self.last {
            last if turn.number == last.saturating_add(1) => {}
            0 => self.only_show(format!(
                "the recording begins at turn {} and does not contain the start of the process",
                turn.number
            )),
            last if turn.number <= last => self.only_show(format!(
                "turn {} follows turn {last}: the recording is not in order",
                turn.number
            )),
            last => self.only_show(format!(
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
            Some(Err(why)) => self.only_show(why),
            None => {
                self.only_show("the recording does not contain the start of the process".into())
            }
        }
    }

    /// Returns the result. The verdict on a recording without turns is [`Verdict::Shown`].
    fn finish(mut self) -> Replayed {
        if self.result.read == 0 {
            self.only_show("the recording contains no turn".into());
        }
        self.result
    }
}

//! Recordings of the members' processes and their replay.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use witan_recorder::{Replayed, Sink, Verdict, replay};

use crate::{
    releases::NEXT_LEVEL,
    scenario::Scenario,
    sinks::{RecordingFile, Twin},
    sweep,
    world::{self, World},
};

/// Runs a scenario and records each process of each member in a file in `folder`, which must exist.
pub fn record(scenario: Scenario, folder: &Path) -> world::Verdict {
    sweep::judge(scenario, || {
        let mut world = World::new(scenario, true);
        world.recordings = Some(folder.to_path_buf());
        world
    })
}

/// The results of the members' twins in a run.
#[derive(Debug, Default)]
pub struct Twins {
    /// Number of turns with the same effects as on the members.
    pub turns: u64,
    /// The differences of the other turns.
    pub differs: Vec<String>,
}

/// Runs a scenario with a twin of each process: a second core with the same start and the same inputs. A violation is reported
/// as a difference.
pub fn run_with_twins(scenario: Scenario) -> Twins {
    let twins = Arc::new(Mutex::new(Twins::default()));
    let verdict = sweep::judge(scenario, || {
        let mut world = World::new(scenario, false);
        world.twins = Some(twins.clone());
        world
    });
    let mut twins = twins
        .lock()
        .expect("no thread panics while it holds the lock");
    let violation = verdict.violation;
    twins
        .differs
        .extend(violation.map(|it| sweep::failure(&scenario, &it)));
    std::mem::take(&mut *twins)
}

/// Replays the recordings in a directory with the current core, in the order of their file names.
pub fn replay_all(folder: &Path) -> std::io::Result<Vec<(PathBuf, Replayed)>> {
    let files: Result<Vec<PathBuf>, _> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect();
    let mut files = files?;
    files.sort();
    let mut replayed = Vec::new();
    for file in files {
        let done = replay(&file, NEXT_LEVEL, &mut |_| {}).map_err(std::io::Error::other)?;
        replayed.extend(done.into_iter().map(|it| (file.clone(), it)));
    }
    Ok(replayed)
}

/// Formats the result of a replay in a few lines.
pub fn tell(file: &Path, replayed: &Replayed) -> String {
    let (name, equal) = (file.display(), replayed.equal);
    match &replayed.verdict {
        Verdict::Reproduced => format!("{name}: reproduced {equal} turns\n"),
        Verdict::Shown { why } => format!("{name}: {equal} turns, then {why}\n"),
        Verdict::Differs { turn, expected, got, whole } => {
            let keys = if *whole {
                "all keys known"
            } else {
                "some keys are older than the recording"
            };
            let mut text = format!("{name}: differs at turn {turn}, {keys}\n");
            for (effects, whose) in [(expected, "recorded"), (got, "replayed")] {
                for effect in effects {
                    text += &format!("  {whose}: {} {}\n", effect.text(), effect.outcome());
                }
            }
            text
        }
    }
}

impl World {
    /// Returns the sink for a member's next process, or `None` if the process is not recorded.
    pub(crate) fn recorder(&self, id: u64) -> Option<Box<dyn Sink>> {
        if let Some(twins) = &self.twins {
            let twins = twins.clone();
            return Some(Box::new(Twin::new(Box::new(move |differs| {
                let mut twins = twins
                    .lock()
                    .expect("no thread panics while it holds the lock");
                match differs {
                    Some(differs) => twins.differs.push(differs),
                    None => twins.turns += 1,
                }
            }))));
        }
        let process = self.members[(id - 1) as usize].incarnation + 1;
        let path = self
            .recordings
            .as_ref()?
            .join(format!("m{id}-{process}.rec"));
        let file = RecordingFile::create(&path, id, process as i64);
        Some(Box::new(
            file.expect("the folder of recordings is writable"),
        ))
    }
}

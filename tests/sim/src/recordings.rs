//! Recordings of the members' processes, and their replay.

use std::path::{Path, PathBuf};

use witan_recorder::{RecordingFile, Replayed, Sink, Verdict, read, replay};

use crate::{
    scenario::Scenario,
    sweep,
    world::{self, World},
};

/// Runs a scenario and records each process of each member in a file of a folder, which exists.
pub fn record(scenario: Scenario, folder: &Path) -> world::Verdict {
    sweep::judge(scenario, || {
        let mut world = World::new(scenario, true);
        world.recordings = Some(folder.to_path_buf());
        world
    })
}

/// Executes the recordings of a folder with the core of this program, file by file in the order of their names.
pub fn replay_all(folder: &Path) -> std::io::Result<Vec<(PathBuf, Replayed)>> {
    let files: Result<Vec<PathBuf>, _> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect();
    let mut files = files?;
    files.sort();
    let mut replayed = Vec::new();
    for file in files {
        let recordings = read(&file).map_err(std::io::Error::other)?;
        for recording in recordings {
            replayed.push((file.clone(), replay(&recording, &mut |_| {})));
        }
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
                "keys from before its start"
            };
            let mut text = format!("{name}: differs at turn {turn}, {keys}\n");
            for (effects, whose) in [(expected, "recorded"), (got, "replayed")] {
                for effect in effects {
                    text += &format!("  {whose}: {} {}\n", effect.text, effect.outcome);
                }
            }
            text
        }
    }
}

impl World {
    /// Where the next process of a member is recorded, if it is.
    pub(crate) fn recorder(&self, id: u64) -> Option<Box<dyn Sink>> {
        let process = self.members[(id - 1) as usize].incarnation + 1;
        let path = self
            .recordings
            .as_ref()?
            .join(format!("m{id}-{process}.rec"));
        let file = RecordingFile::create(&path, id, process as i64);
        Some(Box::new(
            file.expect("the folder of the recordings takes files"),
        ))
    }
}

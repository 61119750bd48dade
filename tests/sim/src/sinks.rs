//! Sinks of recordings: a file, and a twin. A twin is a second core with the same initial state and inputs, which must have the
//! same effects.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
};

use witan_replica::{host::Recovered, replica::Config};

use witan_recorder::{
    Player, Sink,
    format::{Head, Turn},
};

/// A recording in one file of unlimited size, written at each turn.
#[derive(Debug)]
pub(crate) struct RecordingFile {
    file: File,
    head: Head,
    bytes: Vec<u8>,
}

impl RecordingFile {
    /// Creates the file of a member. `began_ns` distinguishes its processes.
    pub(crate) fn create(path: &Path, member: u64, began_ns: i64) -> io::Result<Self> {
        let head = Head {
            began_ns,
            member,
            version: String::new(),
            values_in_clear: true,
        };
        Ok(Self { file: File::create(path)?, head, bytes: Vec::new() })
    }

    fn write(&mut self) {
        let written = self.file.write_all(&self.bytes);
        written.expect("a recording of the simulator can be written");
        self.bytes.clear();
    }
}

impl Sink for RecordingFile {
    fn values_in_clear(&self) -> bool {
        true
    }

    fn start(&mut self, config: Config, recovered: Recovered) {
        self.head.begin(&mut self.bytes);
        self.head.start(&config, &recovered, &mut self.bytes);
        self.write();
    }

    fn turn(&mut self, turn: Turn) {
        turn.append(&mut self.bytes);
        self.write();
    }
}

/// A second core that executes the same inputs as a member.
pub(crate) struct Twin {
    player: Option<Player>,
    /// Called for each turn with the difference; `None` if there is none.
    report: Box<dyn FnMut(Option<String>) + Send>,
}

impl std::fmt::Debug for Twin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Twin").finish_non_exhaustive()
    }
}

impl Twin {
    /// Creates a sink that calls `report` for each turn, with the difference if there is one.
    pub(crate) fn new(report: Box<dyn FnMut(Option<String>) + Send>) -> Self {
        Self { player: None, report }
    }
}

impl Sink for Twin {
    fn values_in_clear(&self) -> bool {
        true
    }

    fn start(&mut self, config: Config, recovered: Recovered) {
        match Player::twin(config, recovered) {
            Ok(player) => self.player = Some(player),
            Err(error) => (self.report)(Some(error.to_string())),
        }
    }

    fn turn(&mut self, turn: Turn) {
        let Some(player) = &mut self.player else {
            return;
        };
        let differs = match player.turn(&turn) {
            // A recording lacks the keys of a received state, so nothing can be compared.
            _ if !player.is_whole() => return self.player = None,
            Ok(None) => return (self.report)(None),
            Ok(Some(differs)) => format!("{differs:?}"),
            Err(why) => format!("turn {}: {why}", turn.number),
        };
        self.player = None;
        (self.report)(Some(differs));
    }
}

//! Sinks of recordings: a file, and a second core beside the recorded one, which is made of its frozen state again and again,
//! gets the same inputs and must have the same effects. Whatever a frozen replica lacks shows there.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
};

use witan_replica::{
    host::Recovered,
    replica::{Config, FrozenReplica},
};

use witan_recorder::{
    Encoder, Hider, NotedTurn, Player, Sink,
    format::{Head, Turn},
};

/// A recording in one file without a bound, written with each turn.
#[derive(Debug)]
pub(crate) struct RecordingFile {
    file: File,
    encoder: Encoder,
    bytes: Vec<u8>,
}

impl RecordingFile {
    /// Creates the file of a member. `began_ns` tells its processes apart.
    pub(crate) fn create(path: &Path, member: u64, began_ns: i64) -> io::Result<Self> {
        let head = Head {
            began_ns,
            member,
            version: String::new(),
            values_in_clear: false,
        };
        Ok(Self {
            file: File::create(path)?,
            encoder: Encoder::new(head),
            bytes: Vec::new(),
        })
    }

    fn write(&mut self) {
        let written = self.file.write_all(&self.bytes);
        written.expect("a recording of the simulator can be written");
        self.bytes.clear();
    }
}

impl Sink for RecordingFile {
    fn start(&mut self, config: Config, recovered: Recovered) -> Hider {
        self.encoder.head(&mut self.bytes);
        self.encoder.start(&config, &recovered, &mut self.bytes);
        self.write();
        self.encoder.hider()
    }

    fn turn(&mut self, turn: &mut NotedTurn) -> bool {
        self.encoder.turn(turn, 0, &mut self.bytes);
        self.write();
        false
    }

    fn frozen(&mut self, _after: u64, _replica: Box<FrozenReplica>) {}

    fn close(&mut self) {}
}

/// A twin is replaced after so many turns: longer than what is in flight stays there, and so often that a run has many.
const TURNS: u64 = 60;

/// A second core: see the module's description.
pub(crate) struct Twin {
    config: Option<Config>,
    player: Option<Player>,
    /// Turns of the present twin.
    turns: u64,
    /// Called with how a turn differs, and with `None` when a twin was made.
    report: Box<dyn FnMut(Option<String>) + Send>,
}

impl std::fmt::Debug for Twin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Twin").finish_non_exhaustive()
    }
}

impl Twin {
    /// A sink that calls `report` with each turn of which a twin makes something else, and with `None` for each twin.
    pub(crate) fn new(report: Box<dyn FnMut(Option<String>) + Send>) -> Self {
        Self { config: None, player: None, turns: 0, report }
    }

    fn play(&mut self, turn: &Turn) {
        let Some(player) = &mut self.player else {
            return;
        };
        self.turns += 1;
        let played = player.turn(turn);
        // a recording holds no keys of a state that is received, and nothing is compared without them
        let differs = match played {
            _ if !player.is_whole() => return self.player = None,
            Ok(None) => return,
            Ok(Some(differs)) => format!("{differs:?}"),
            Err(why) => format!("turn {}: {why}", turn.number),
        };
        self.player = None;
        (self.report)(Some(differs));
    }
}

impl Sink for Twin {
    fn start(&mut self, config: Config, _recovered: Recovered) -> Hider {
        self.config = Some(config);
        Hider::new(true)
    }

    fn turn(&mut self, turn: &mut NotedTurn) -> bool {
        if self.player.is_some() {
            match turn.read() {
                Some(turn) => self.play(&turn),
                None => (self.report)(Some("a turn is not read".into())),
            }
        }
        self.player.is_none() || self.turns >= TURNS
    }

    fn frozen(&mut self, _after: u64, replica: Box<FrozenReplica>) {
        let Some(config) = self.config.clone() else {
            return;
        };
        self.turns = 0;
        match Player::twin(config, *replica) {
            Ok(player) => {
                self.player = Some(player);
                (self.report)(None);
            }
            Err(error) => (self.report)(Some(format!("it does not thaw: {error}"))),
        }
    }

    fn close(&mut self) {}
}

//! A second core beside a recorded one: made of its frozen state again and again, it gets the same inputs and must have the
//! same effects. For the simulator: whatever a frozen replica lacks shows there.

use witan_replica::{
    host::Recovered,
    replica::{Config, FrozenReplica},
};

use crate::{
    encode::Encoder,
    format::{Head, Part, Turn},
    frame::{self, Next},
    hide::Hider,
    noted::NotedTurn,
    recorded::Sink,
    replay::{Player, decode_frozen, encode_frozen},
};

/// A twin is replaced after so many turns: longer than what is in flight stays there, and so often that a run has many.
const TURNS: u64 = 60;

/// See the module's description.
pub struct Twin {
    encoder: Encoder,
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
    pub fn new(member: u64, report: Box<dyn FnMut(Option<String>) + Send>) -> Self {
        let head = Head { member, values: true, ..Head::default() };
        let encoder = Encoder::new(head);
        Self { encoder, config: None, player: None, turns: 0, report }
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
        self.encoder.hider.clone()
    }

    fn turn(&mut self, turn: &mut NotedTurn) -> bool {
        if self.player.is_some() {
            let mut bytes = Vec::new();
            self.encoder.turn(turn, 0, &mut bytes);
            match frame::take(&mut &bytes[..]) {
                Ok(Next::Part(Part::Turn(turn))) => self.play(&turn),
                other => (self.report)(Some(format!("a turn is read as {other:?}"))),
            }
        }
        self.player.is_none() || self.turns >= TURNS
    }

    fn frozen(&mut self, _after: u64, replica: Box<FrozenReplica>) {
        let FrozenReplica { view, state } = *replica;
        let Some(config) = self.config.clone() else {
            return;
        };
        let twin = decode_frozen(&encode_frozen(&state))
            .and_then(|state| Player::twin(config, FrozenReplica { view, state }));
        self.turns = 0;
        match twin {
            Ok(player) => {
                self.player = Some(player);
                (self.report)(None);
            }
            Err(error) => (self.report)(Some(format!("it does not thaw: {error}"))),
        }
    }

    fn close(&mut self) {}
}

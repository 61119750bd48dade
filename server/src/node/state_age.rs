//! How old the state that a serializable read sees may be (`--stale-read-age`): the time since this member began
//! the last linearizable read that was confirmed. Whatever was acknowledged before that is in the state.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::Node;

/// Between two linearizable reads.
const INTERVAL: Duration = Duration::from_millis(250);

/// What is known of the age of the state.
#[derive(Clone, Copy, Debug, Default)]
enum Known {
    /// Nothing is measured.
    #[default]
    Off,
    /// No read was confirmed yet.
    Unknown,
    /// The start of the last read that was confirmed.
    Confirmed(Instant),
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct StateAges(Mutex<Known>);

impl StateAges {
    fn set(&self, known: Known) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

/// The age of a state that is read after this was taken; shown as milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct StateAge(Option<Instant>);

impl fmt::Display for StateAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(confirmed) => write!(f, "{}", confirmed.elapsed().as_millis()),
            None => f.write_str("unknown"),
        }
    }
}

impl Node {
    /// Confirms the age of the state by a linearizable read every `INTERVAL`, until the process stops.
    pub async fn measure_state_age(self) {
        let ages = &self.shared.state_ages;
        ages.set(Known::Unknown);
        loop {
            let asked = Instant::now();
            // one that fails leaves the state as old as it was
            if self.read_index().await.is_ok() {
                ages.set(Known::Confirmed(asked));
            }
            tokio::select! {
                () = self.stopping() => return,
                () = sleep(INTERVAL) => {}
            }
        }
    }

    /// Returns the age of the state, which must be taken before the state is read; `None` if ages are not
    /// measured.
    pub fn state_age(&self) -> Option<StateAge> {
        let ages = self.shared.state_ages.0.lock();
        match *ages.unwrap_or_else(PoisonError::into_inner) {
            Known::Off => None,
            Known::Unknown => Some(StateAge(None)),
            Known::Confirmed(asked) => Some(StateAge(Some(asked))),
        }
    }
}

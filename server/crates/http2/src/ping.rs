//! Counts a client's pings as grpc-go does. Detects a client that pings too often while it receives neither headers nor data.

use std::time::{Duration, Instant};

/// Debug data of a GOAWAY frame that makes gRPC libraries ping less often.
pub(crate) const TOO_MANY: &[u8] = b"too_many_pings";

/// Contents of the server's pings, which identify their acknowledgments.
pub(crate) const KEEP_ALIVE: [u8; 8] = *b"alive...";
pub(crate) const SHUTTING_DOWN: [u8; 8] = *b"stopping";

/// Maximum number of pings that arrive too early; the next early ping ends the connection.
const STRIKES_MAX: u32 = 2;

/// Minimum interval between pings of a client without calls.
const IDLE: Duration = Duration::from_secs(2 * 60 * 60);

/// Counts the pings of one client.
#[derive(Debug)]
pub(crate) struct Pings {
    min: Duration,
    last: Option<Instant>,
    strikes: u32,
}

impl Pings {
    pub(crate) fn new(min: Duration) -> Self {
        Self { min, last: None, strikes: 0 }
    }

    /// Counts a ping. `answered` says whether headers or data were sent since the previous ping, which resets the count, and
    /// `calls` whether a call is in progress. Returns `false` if the connection must end.
    pub(crate) fn received(&mut self, now: Instant, answered: bool, calls: bool) -> bool {
        let last = self.last.replace(now);
        if answered {
            self.strikes = 0;
            return true;
        }
        let wait = if calls { self.min } else { IDLE };
        if last.is_some_and(|last| now < last + wait) {
            self.strikes += 1;
        }
        !self.too_many()
    }

    /// Returns whether the client has pinged too often, so that the connection must end.
    pub(crate) fn too_many(&self) -> bool {
        self.strikes > STRIKES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_count_unless_something_was_sent() {
        let min = Duration::from_secs(5);
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        // During a call, these intervals are long enough.
        let mut pings = Pings::new(min);
        assert!((0..10).all(|n| pings.received(at(n * 5), false, true)));
        // The third early ping ends the connection.
        let mut pings = Pings::new(min);
        let stays: Vec<bool> = (0..4).map(|n| pings.received(at(n), false, true)).collect();
        assert_eq!(stays, [true, true, true, false]);
        // Without a call, the same pings are too frequent.
        let mut pings = Pings::new(min);
        let stays: Vec<bool> = (0..4)
            .map(|n| pings.received(at(n * 60), false, false))
            .collect();
        assert_eq!(stays, [true, true, true, false]);
        // Sending a frame between pings resets the count.
        let mut pings = Pings::new(min);
        assert!((0..20).all(|n| pings.received(at(n), n % 3 == 0, true)));
    }
}

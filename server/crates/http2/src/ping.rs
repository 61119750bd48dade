//! Counts a client's pings as grpc-go does. A client is disconnected if it pings more often than the server allows while the
//! server sends it nothing.

use std::time::{Duration, Instant};

/// Debug data in the GOAWAY frame. It tells gRPC libraries to ping less often.
pub(crate) const TOO_MANY: &[u8] = b"too_many_pings";

/// Content of the server's pings, which identifies their acknowledgments.
pub(crate) const KEEP_ALIVE: [u8; 8] = *b"alive...";
pub(crate) const SHUTTING_DOWN: [u8; 8] = *b"stopping";

/// Pings that arrive too early; the next early ping ends the connection.
const STRIKES_MAX: u32 = 2;

/// Minimum interval between the pings of a client without a call.
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

    /// Counts a ping. `answered` tells whether headers or data were sent since the previous ping, and `calls` whether a call
    /// is in progress. Returns `false` if the connection must end.
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

    /// Returns whether the client has pinged too often, so that its connection must end.
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
        // long enough intervals with a call
        let mut pings = Pings::new(min);
        assert!((0..10).all(|n| pings.received(at(n * 5), false, true)));
        // the third early ping ends the connection
        let mut pings = Pings::new(min);
        let stays: Vec<bool> = (0..4).map(|n| pings.received(at(n), false, true)).collect();
        assert_eq!(stays, [true, true, true, false]);
        // the same pings without a call
        let mut pings = Pings::new(min);
        let stays: Vec<bool> = (0..4)
            .map(|n| pings.received(at(n * 60), false, false))
            .collect();
        assert_eq!(stays, [true, true, true, false]);
        // sending a frame between pings resets the count
        let mut pings = Pings::new(min);
        assert!((0..20).all(|n| pings.received(at(n), n % 3 == 0, true)));
    }
}

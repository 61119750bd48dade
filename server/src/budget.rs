//! Bytes that clients may make this process hold, process-wide, and what is refused beyond.
//!
//! Counts are bounded where things are counted (connections, streams, waits, tickets); but a few of
//! them can be large, so what is large is also bounded by its bytes. Overload then shows as early
//! refusals and not as memory.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use prometheus::IntCounter;

use crate::metrics::Metrics;

/// Answers that clients have not taken yet.
pub const ANSWERS_BYTES_MAX: usize = 512 << 20;

/// Request bodies that are being read.
pub const REQUESTS_BYTES_MAX: usize = 256 << 20;

/// Commands between a dialect and the state machine.
pub const PROPOSALS_BYTES_MAX: usize = 64 << 20;

/// gRPC calls in progress, beyond the first few of each connection.
pub const CALLS_MAX: usize = 65_536;

/// What is not larger is not counted by its bytes, so that small requests pass while large ones are
/// refused: the bounds on numbers bound them too.
pub const SMALL_BYTES: usize = 4 << 10;

/// A number of bytes that many take from and give back to. Clones share.
///
/// A client (a connection) may hold as much as is still free: one alone gets at most half, two get a
/// third each, and some room is always left for clients that hold little.
#[derive(Clone, Debug)]
pub struct Budget {
    pool: Arc<Pool>,
    /// What this client has taken; nothing for a budget that knows no clients.
    share: Option<Arc<AtomicUsize>>,
}

#[derive(Debug)]
struct Pool {
    max: usize,
    taken: AtomicUsize,
    refused: IntCounter,
}

/// Bytes taken out of a budget; dropping it gives them back.
#[derive(Debug)]
pub struct Permit {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// Refusals are counted in `refused`.
    pub fn new(max: usize, refused: IntCounter) -> Self {
        let pool = Pool {
            max,
            taken: AtomicUsize::new(0),
            refused,
        };
        Self {
            pool: Arc::new(pool),
            share: None,
        }
    }

    /// The same budget for one more client.
    pub fn of_client(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            share: Some(Arc::default()),
        }
    }

    /// Takes bytes if so many are left. Whatever is alone passes: other limits say how large one
    /// thing may be.
    pub fn take(&self, bytes: usize) -> Option<Permit> {
        self.hold(bytes).then(|| Permit {
            budget: self.clone(),
            bytes,
        })
    }

    /// The same for a caller that gives them back by [`Budget::release`].
    pub fn hold(&self, bytes: usize) -> bool {
        let before = self.pool.taken.fetch_add(bytes, Relaxed);
        let own = match &self.share {
            Some(share) => share.fetch_add(bytes, Relaxed),
            None => 0,
        };
        let free = self.pool.max.saturating_sub(before);
        let granted = before == 0 || own.saturating_add(bytes) <= free;
        if !granted {
            self.release(bytes);
            self.pool.refused.inc();
        }
        granted
    }

    /// Gives bytes back that [`Budget::hold`] has granted.
    pub fn release(&self, bytes: usize) {
        self.pool.taken.fetch_sub(bytes, Relaxed);
        if let Some(share) = &self.share {
            share.fetch_sub(bytes, Relaxed);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

/// What the client port's connections share.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// See [`ANSWERS_BYTES_MAX`].
    pub answers: Budget,
    /// See [`REQUESTS_BYTES_MAX`].
    pub requests: Budget,
    /// See [`CALLS_MAX`]: one for each.
    pub calls: Budget,
}

impl Traffic {
    /// With nothing taken.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            answers: Budget::new(ANSWERS_BYTES_MAX, metrics.refused("answers")),
            requests: Budget::new(REQUESTS_BYTES_MAX, metrics.refused("requests")),
            calls: Budget::new(CALLS_MAX, metrics.refused("calls")),
        }
    }

    /// The same for one more client.
    pub fn of_client(&self) -> Self {
        Self {
            answers: self.answers.of_client(),
            requests: self.requests.of_client(),
            calls: self.calls.of_client(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_and_one_thing_alone_always_passes() {
        let refused = IntCounter::new("refused", "Refusals.").unwrap();
        let budget = Budget::new(10, refused.clone());
        let vast = budget.take(100).expect("it is alone");
        assert!(budget.take(1).is_none());
        drop(vast);
        let (a, b) = (budget.take(4), budget.take(6));
        assert!(a.is_some() && b.is_some() && budget.take(1).is_none());
        drop(a);
        assert!(budget.take(5).is_none() && budget.take(4).is_some());
        assert_eq!(refused.get(), 3);
        drop(b);
        assert!(budget.take(11).is_some(), "all was given back");
    }

    #[test]
    fn a_client_may_hold_what_is_still_free() {
        let refused = IntCounter::new("refused", "Refusals.").unwrap();
        let budget = Budget::new(120, refused);
        let clients: Vec<Budget> = (0..3).map(|_| budget.of_client()).collect();
        let mut permits = Vec::new();
        let mut fill = |client: &Budget| {
            let before = permits.len();
            permits.extend(std::iter::from_fn(|| client.take(1)));
            permits.len() - before
        };
        // half, half of the rest, and so on: nobody takes the last
        let held: Vec<usize> = clients.iter().map(&mut fill).collect();
        assert_eq!(held, [60, 30, 15]);
        assert!(budget.of_client().take(10).is_some());
        assert!(clients[0].take(1).is_none());
        drop(permits);
        // clones of a client share, and one thing alone passes
        let vast = clients[1].clone().take(1000).expect("it is alone");
        assert!(clients[1].take(1).is_none());
        drop(vast);
        assert!(clients[1].take(120).is_some());
    }
}

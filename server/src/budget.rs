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
#[derive(Clone, Debug)]
pub struct Budget(Arc<Purse>);

#[derive(Debug)]
struct Purse {
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
        Self(Arc::new(Purse {
            max,
            taken: AtomicUsize::new(0),
            refused,
        }))
    }

    /// Takes bytes if so many are left. Whatever is alone passes: other limits say how large one
    /// thing may be.
    pub fn take(&self, bytes: usize) -> Option<Permit> {
        let before = self.0.taken.fetch_add(bytes, Relaxed);
        let permit = Permit {
            budget: self.clone(),
            bytes,
        };
        if before != 0 && before.saturating_add(bytes) > self.0.max {
            self.0.refused.inc();
            return None;
        }
        Some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.0.taken.fetch_sub(self.bytes, Relaxed);
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
}

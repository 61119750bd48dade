//! Decides when the server ends a stream: when the process stops, or when a client that requires a leader has none.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use witan_dialect::Context;
use witan_machine::member::MemberId;
use witan_node::Node;

use crate::error::RpcError;

/// Number of consecutive checks without a leader that end a stream. As in etcd, there is one check per election timeout.
const LEADERLESS_CHECKS: u32 = 3;

pub(super) struct StreamEnd {
    node: Node,
    stopping: Pin<Box<dyn Future<Output = ()> + Send>>,
    leader: Option<LeaderMonitor>,
}

impl StreamEnd {
    /// Creates the end condition of a stream. With `needs_leader`, `LEADERLESS_CHECKS` checks without a leader also end it.
    pub(super) fn new(ctx: &Context, needs_leader: bool) -> Self {
        let node = ctx.node.clone();
        Self {
            node: ctx.node.clone(),
            stopping: Box::pin(async move { node.stopping().await }),
            leader: needs_leader.then(|| LeaderMonitor::new(ctx.node.election_timeout())),
        }
    }

    /// Waits until the stream must end and returns the error: `Stopped` or `NoLeader`. Cancel safe.
    pub(super) async fn wait(&mut self) -> RpcError {
        loop {
            let Some(leader) = &mut self.leader else {
                self.stopping.as_mut().await;
                return RpcError::Stopped;
            };
            tokio::select! {
                () = self.stopping.as_mut() => return RpcError::Stopped,
                _ = leader.checks.tick() => {
                    if !leader.observe(self.node.status().leader != MemberId::NONE) {
                        return RpcError::NoLeader;
                    }
                }
            }
        }
    }
}

/// Periodic checks of whether this member knows a leader.
struct LeaderMonitor {
    checks: Interval,
    leaderless: u32,
}

impl LeaderMonitor {
    fn new(interval: Duration) -> Self {
        let mut checks = interval_at(Instant::now() + interval, interval);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { checks, leaderless: 0 }
    }

    /// Records the result of a check. Returns false after `LEADERLESS_CHECKS` consecutive checks without a leader.
    fn observe(&mut self, has_leader: bool) -> bool {
        self.leaderless = if has_leader { 0 } else { self.leaderless + 1 };
        self.leaderless < LEADERLESS_CHECKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_short_time_without_a_leader_does_not_end_a_stream() {
        let mut look = LeaderMonitor::new(Duration::from_secs(1));
        let seen = [false, false, true, false, false, false];
        let continues = seen.map(|has_leader| look.observe(has_leader));
        assert_eq!(continues, [true, true, true, true, true, false]);
    }
}

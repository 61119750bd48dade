//! Ends a stream when the process stops. If the client requires a leader, also ends the stream when this member has known no
//! leader for too long.

use std::pin::Pin;

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
    /// Periodic checks of whether this member knows a leader; `None` if the client does not require a leader.
    checks: Option<Interval>,
    /// Number of consecutive checks without a leader.
    leaderless: u32,
}

impl StreamEnd {
    /// Creates the end condition of a stream. With `needs_leader`, `LEADERLESS_CHECKS` checks without a leader also end the
    /// stream.
    pub(super) fn new(ctx: &Context, needs_leader: bool) -> Self {
        let node = ctx.node.clone();
        let interval = node.election_timeout();
        let checks = || {
            let mut checks = interval_at(Instant::now() + interval, interval);
            checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            checks
        };
        Self {
            node: ctx.node.clone(),
            stopping: Box::pin(async move { node.stopping().await }),
            checks: needs_leader.then(checks),
            leaderless: 0,
        }
    }

    /// Waits until the stream must end and returns the error: `Stopped` or `NoLeader`. Cancel safe.
    pub(super) async fn wait(&mut self) -> RpcError {
        loop {
            let Some(checks) = &mut self.checks else {
                self.stopping.as_mut().await;
                return RpcError::Stopped;
            };
            tokio::select! {
                () = self.stopping.as_mut() => return RpcError::Stopped,
                _ = checks.tick() => {
                    let has_leader = self.node.status().leader != MemberId::NONE;
                    if is_leaderless(&mut self.leaderless, has_leader) {
                        return RpcError::NoLeader;
                    }
                }
            }
        }
    }
}

/// Counts a check in `leaderless`. Returns whether there were `LEADERLESS_CHECKS` consecutive checks without a leader.
fn is_leaderless(leaderless: &mut u32, has_leader: bool) -> bool {
    *leaderless = if has_leader { 0 } else { *leaderless + 1 };
    *leaderless >= LEADERLESS_CHECKS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_time_without_a_leader_does_not_end_a_stream() {
        let mut leaderless = 0;
        let checks = [false, false, true, false, false, false];
        let ended = checks.map(|has_leader| is_leaderless(&mut leaderless, has_leader));
        assert_eq!(ended, [false, false, false, false, false, true]);
    }
}

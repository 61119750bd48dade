//! When the server ends a stream: the process stops, or the leader is lost and the client requires
//! one.

use std::pin::Pin;

use witan_dialect::Context;
use witan_node::Node;

use super::watch::leader_monitor::LeaderMonitor;
use crate::error::RpcError;

/// See the module's description.
pub(super) struct StreamEnd {
    node: Node,
    stopping: Pin<Box<dyn Future<Output = ()> + Send>>,
    leader: Option<LeaderMonitor>,
}

impl StreamEnd {
    /// Creates the end of a stream; with `needs_leader` it comes also when this member has known no
    /// leader for too long.
    pub(super) fn new(ctx: &Context, needs_leader: bool) -> Self {
        let node = ctx.node.clone();
        Self {
            node: ctx.node.clone(),
            stopping: Box::pin(async move { node.stopping().await }),
            leader: needs_leader.then(LeaderMonitor::new),
        }
    }

    /// Resolves to the error that ends the stream: `Stopped` or `NoLeader`. Cancel safe.
    pub(super) async fn wait(&mut self) -> RpcError {
        loop {
            let Some(leader) = &mut self.leader else {
                self.stopping.as_mut().await;
                return RpcError::Stopped;
            };
            tokio::select! {
                () = self.stopping.as_mut() => return RpcError::Stopped,
                () = leader.wait() => {
                    if !leader.observe(self.node.status().leader != 0) {
                        return RpcError::NoLeader;
                    }
                }
            }
        }
    }
}

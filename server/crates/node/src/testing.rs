//! A node without a replica, for tests of what brings it messages.

use std::sync::mpsc::{Receiver, sync_channel};

use witan_base::{budget::BudgetMetrics, metrics::Register};
use witan_replica::limits::INBOX_MAX;

use super::*;

/// Makes a node without a replica, for tests of what brings it messages.
pub fn without_replica(member_id: MemberId, cluster_id: u64) -> Node {
    let (node, _) =
        stalled_as(ProcessIdentity { member_id, cluster_id, ..ProcessIdentity::default() });
    node
}

/// Takes the events that the replica of a node without one would get now.
pub fn events(node: &Node) -> Vec<(MemberId, PeerEvent)> {
    node.shared.raft_inbox.take().events
}

/// Returns what wakes the thread of a replica.
pub fn waker(node: &Node) -> &Waker {
    &node.shared.waker
}

/// Makes a node whose requests go to the returned receiver.
pub(crate) fn stalled_as(identity: ProcessIdentity) -> (Node, Receiver<LoopRequest>) {
    let (inbox, requests) = sync_channel(INBOX_MAX);
    let on = Register::default();
    let (_, stopping) = watch::channel(false);
    let parts = SharedParts {
        identity,
        election_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(60),
        token_ttl: Duration::from_secs(300),
        stopping,
        metrics: NodeMetrics::register(&on),
        proposals: MemoryBudget::of_proposals(&BudgetMetrics::register(&on)),
        quota_bytes: None,
    };
    let waker = Waker::new().expect("a descriptor is free");
    let node = Node {
        shared: Arc::new(Shared::new((inbox, waker), parts, Arc::default(), 0)),
        client: ClientNetwork::default(),
    };
    (node, requests)
}

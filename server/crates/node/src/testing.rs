//! Nodes without a replica, for tests of code that sends requests to a node or reads its states.

use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::mpsc::{Receiver, channel};
use witan_base::{account::Totals, metrics::Register};
use witan_replica::{limits::INBOX_MAX, replica::PeerEvent};

use super::{completions::CompletionBatch, *};
use witan_machine::{StateMachine, kv::Kv, values::BlockCache};

/// Creates a node without a replica. Requests to the replica fail with `Stopped`.
pub fn without_replica(member_id: MemberId, cluster_id: u64) -> Node {
    let (node, _) =
        stalled_as(ProcessIdentity { member_id, cluster_id, ..ProcessIdentity::default() });
    node
}

/// Takes the queued transport events of a node without a replica.
pub fn events(node: &Node) -> Vec<(MemberId, PeerEvent)> {
    node.shared.raft_inbox.take().events
}

/// Returns the node's waker of the replica's thread.
pub fn waker(node: &Node) -> &Waker {
    &node.shared.waker
}

/// A node without a replica. The test sets its state.
#[derive(Debug)]
pub struct NodeOfStates {
    /// The node.
    pub node: Node,
    requests: Receiver<LoopRequest>,
    _stop: watch::Sender<bool>,
}

impl NodeOfStates {
    /// Creates a node whose state contains the key space `kv`.
    pub fn begin(kv: &Kv) -> Self {
        let (stop, stopping) = watch::channel(false);
        let (node, requests) = stalled_until(ProcessIdentity::default(), stopping);
        node.shared.watch_streams.begin(kv);
        let states = Self { node, requests, _stop: stop };
        states.publish(kv);
        states
    }

    /// Publishes the state after a turn and notifies the watch streams, as the replica's thread does.
    pub fn advance(&self, kv: &Kv) {
        self.publish(kv);
        let mut completions = CompletionBatch::default();
        self.node.shared.watch_streams.publish(kv.revision());
        self.node.shared.watch_streams.notify(kv, &mut completions);
        completions.flush();
    }

    /// Replaces the state `before` with the state of a received snapshot.
    pub fn replace(&self, before: &Kv, kv: &Kv) {
        self.node.shared.watch_streams.replace_state(before);
        self.advance(kv);
    }

    /// Runs the periodic clean-up, which drops old pre-compaction states.
    pub fn expire_old_states(&self) {
        self.node.shared.watch_streams.expire_old_states();
    }

    /// Withdraws the published state, so that later requests for a state wait.
    pub fn withdraw(&self) {
        self.node.shared.latest.clear();
    }

    /// Completes the waiting requests for a state with a state whose key space is `kv`. Drops all other requests.
    pub fn answer(&mut self, kv: &Kv) {
        let mut completions = CompletionBatch::default();
        while let Ok(request) = self.requests.try_recv() {
            if let LoopRequest::View { to } = request {
                completions.push(to, view_of(kv));
            }
        }
        completions.flush();
    }

    /// Makes later linearizable reads wait, as on a follower.
    pub fn lag(&self) {
        let latest = &self.node.shared.latest;
        if let Some(view) = latest.get() {
            latest.publish(view, false);
        }
    }

    /// Completes the waiting linearizable reads and requests for a state with this state. Drops all other requests.
    pub fn answer_reads(&mut self, machine: StateMachine) {
        let view = Arc::new(View { machine, ..View::default() });
        let mut completions = CompletionBatch::default();
        while let Ok(request) = self.requests.try_recv() {
            if let LoopRequest::Read { to } | LoopRequest::View { to } = request {
                completions.push(to, view.clone());
            }
        }
        completions.flush();
    }

    /// Applies the queued commands to `kv`, publishes the state, and completes the requests of these commands. Drops all other
    /// requests.
    pub fn apply(&mut self, kv: &mut Kv) {
        let mut machine = StateMachine { kv: kv.clone(), ..StateMachine::default() };
        let mut completions = CompletionBatch::default();
        while let Ok(request) = self.requests.try_recv() {
            if let LoopRequest::Propose(proposal) = request {
                let outcome = machine.apply(proposal.entry.entry());
                completions.push(proposal.to, AppliedCommand { outcome, index: 0 });
            }
        }
        *kv = machine.kv;
        self.publish(kv);
        completions.flush();
    }

    /// Publishes a state whose key space is `kv`, and the size of the key space.
    fn publish(&self, kv: &Kv) {
        let size_bytes = &self.node.shared.status.size_bytes;
        size_bytes.store(kv.size_bytes(), Relaxed);
        self.node.shared.latest.publish(view_of(kv), true);
    }
}

/// Returns a state whose key space is `kv`.
fn view_of(kv: &Kv) -> Arc<View> {
    let machine = StateMachine { kv: kv.clone(), ..StateMachine::default() };
    Arc::new(View { machine, ..View::default() })
}

/// Creates a node whose replica's thread is not running. The node's requests go to the returned receiver.
pub(crate) fn stalled_as(identity: ProcessIdentity) -> (Node, Receiver<LoopRequest>) {
    let (_, stopping) = watch::channel(false);
    stalled_until(identity, stopping)
}

/// Creates a node like [`stalled_as`], which stops when `stopping` becomes true.
fn stalled_until(
    identity: ProcessIdentity,
    stopping: watch::Receiver<bool>,
) -> (Node, Receiver<LoopRequest>) {
    let (inbox, requests) = channel(INBOX_MAX);
    let on = Register::default();
    let account = Totals::register(&on, u64::MAX).open();
    let parts = SharedParts {
        identity,
        election_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(60),
        token_ttl: Duration::from_secs(300),
        stopping,
        metrics: NodeMetrics::register(&on),
        account: account.clone(),
        quota_bytes: None,
        memory: Arc::new(MemoryBudget::new(u64::MAX, Arc::new(BlockCache::new()))),
    };
    let waker = Waker::new().expect("a descriptor is free");
    let node = Node {
        shared: Arc::new(Shared::new((inbox, waker), parts, Arc::default(), 0)),
        account,
    };
    (node, requests)
}

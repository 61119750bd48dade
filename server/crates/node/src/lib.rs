//! [`Node`] is the clonable handle to the replica. Dialects have no other access to raft, the disk or the threads.
//!
//! Reading order: `replica_loop` owns the replica (`replica_loop/requests`: requests to it). `raft_inbox` and `waker` bring its
//! inputs, and `host` carries out its effects. `checkpoints` decides when the state is written, and `executor` runs long
//! commands. `completions` returns answers to waiting tasks. `jobs` and `held_views` give states to readers. `tree_watchers`
//! and `watch_streams` are the watches of v2 and v3. `admission` checks commands before they are proposed. `memory` keeps the
//! process within its memory budget and decides whether a received snapshot fits. `value_source` determines whether commands may
//! have to read values from disk.
//!
//! `leadership` transfers leadership and asks the leader about leases, and `reconfiguration` checks whether a membership change
//! is safe for the quorum. The replica checks whether a learner has caught up
//! (`server/crates/replica/src/replica/membership.rs`). `tokens` holds simple tokens, and `state_hashes` the hashes of states.
//! `status` and `peer_links` describe this member and the other members. `clock` reads the wall clock. `metrics`,
//! `request_durations`, `counts` and `labeled_gauges` are metrics; `logged_state` writes log lines. `error` explains failed
//! requests.

use witan_machine::revision::Revision;

mod admission;
mod checkpoints;
mod clock;
mod completions;
mod counts;
pub mod error;
mod executor;
mod held_views;
mod host;
mod jobs;
mod labeled_gauges;
mod leadership;
mod logged_state;
mod memory;
mod metrics;
mod peer_links;
mod raft_inbox;
mod reconfiguration;
mod replica_loop;
mod request_durations;
mod state_hashes;
mod status;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod tokens;
mod tree_watchers;
mod value_source;
mod waker;
mod watch_streams;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use tokio::sync::{mpsc::Sender, oneshot, watch};
use witan_base::account::{Account, Resource};
use witan_machine::{
    Outcome, Reply,
    auth::Caller,
    command::{Command, UnstampedEntry},
    kv::{KvCommand, KvError},
    member::{MemberId, StoreLineage},
    operation::Operation,
    view::View,
};
use witan_storage::{OnDurable, SpaceStatus};
use witan_tree::Watch;

use completions::CompletionSender;
use counts::KvCounts;
use replica_loop::LoopRequest;

pub use clock::{now_ns, now_s};
pub use error::{NodeError, ProposeError, TransferError};
pub use held_views::{HeldView, ViewEnd};
pub use host::Post;
pub use jobs::{CurrentView, Job};
pub use memory::{MemoryBudget, MemoryMonitor};
pub use metrics::NodeMetrics;
pub use peer_links::FollowerCounts;
pub use reconfiguration::{Reconfiguration, UnsafeReconfiguration};
pub use replica_loop::{EXIT_LOG_LOST, EXIT_REMOVED, NodeParts, start};
pub use request_durations::RequestType;
pub use state_hashes::{FrozenState, FrozenStates, StateHashes, StatesToHash};
pub use status::{AuthState, Shortage};
pub use tokens::Tokens;
pub use tree_watchers::TreeWatcher;
pub use waker::Waker;
pub use watch_streams::{StreamChanges, WatchStream};
// No dialect depends on the replica's crate, so this list shows everything that dialects see of it.
pub use witan_replica::{
    lessor::{LeaseDeadlines, Renewal},
    replica::{Role, TransferRefused},
    watch::{
        keys::{PendingChanges, WatcherGroupId, WatcherGroups},
        range::{RangeEnd, WatchRange},
    },
};

/// Number of attempts to propose a command that keeps a stored value (`ignore_value`) if the value grows each time.
const KEPT_VALUE_ATTEMPTS: usize = 4;

/// A clonable handle to the running member.
#[derive(Clone, Debug)]
pub struct Node {
    shared: Arc<Shared>,
    /// The account that is charged for requests through this handle.
    account: Account,
}

#[derive(Debug)]
struct Shared {
    inbox: Sender<LoopRequest>,
    raft_inbox: raft_inbox::RaftInbox,
    waker: Waker,
    peer_links: peer_links::PeerLinks,
    leader: watch::Sender<MemberId>,
    election_timeout: Duration,
    status: status::PublishedStatus,
    latest: status::LatestView,
    held_views: held_views::HeldViews,
    watchers: tree_watchers::TreeWatchers,
    watch_streams: watch_streams::WatchStreams,
    tokens: Tokens,
    identity: ProcessIdentity,
    request_timeout: Duration,
    stopping: watch::Receiver<bool>,
    metrics: NodeMetrics,
    started: Instant,
    /// `--quota-backend-bytes` for both key spaces together.
    quota_bytes: Option<u64>,
    disk: Arc<SpaceStatus>,
    memory: Arc<MemoryBudget>,
    state_hashes: StateHashes,
    /// Number of installed snapshots from leaders.
    installs: watch::Sender<u64>,
    /// Whether this member was removed from the cluster.
    removed: watch::Sender<bool>,
}

/// Initial values of the state that all handles share.
pub struct SharedParts {
    /// The identity of this process.
    pub identity: ProcessIdentity,
    /// `--election-timeout`.
    pub election_timeout: Duration,
    /// Time after which a request without an answer fails.
    pub request_timeout: Duration,
    /// Time after which an unused simple token expires.
    pub token_ttl: Duration,
    /// Becomes true when the process begins to shut down.
    pub stopping: watch::Receiver<bool>,
    /// The node's metrics.
    pub metrics: NodeMetrics,
    /// The account for this member's own requests.
    pub account: Account,
    /// `--quota-backend-bytes`.
    pub quota_bytes: Option<u64>,
    /// The memory budget of the process.
    pub memory: Arc<MemoryBudget>,
}

impl Shared {
    /// Creates the shared state before the first turn. `last_index` is the last index of the recovered log.
    fn new(
        (inbox, waker): (Sender<LoopRequest>, Waker),
        parts: SharedParts,
        disk: Arc<SpaceStatus>,
        last_index: u64,
    ) -> Self {
        Self {
            inbox,
            raft_inbox: raft_inbox::RaftInbox::default(),
            waker,
            peer_links: peer_links::PeerLinks::default(),
            leader: watch::Sender::default(),
            election_timeout: parts.election_timeout,
            status: status::PublishedStatus::default(),
            latest: status::LatestView::default(),
            held_views: held_views::HeldViews::new(parts.quota_bytes),
            watchers: tree_watchers::TreeWatchers::default(),
            watch_streams: watch_streams::WatchStreams::default(),
            tokens: Tokens::new(parts.token_ttl, last_index),
            identity: parts.identity,
            request_timeout: parts.request_timeout,
            stopping: parts.stopping,
            metrics: parts.metrics,
            started: Instant::now(),
            quota_bytes: parts.quota_bytes,
            disk,
            memory: parts.memory,
            state_hashes: StateHashes::default(),
            installs: watch::Sender::default(),
            removed: watch::Sender::default(),
        }
    }

    /// Returns the nanoseconds since startup, measured by a monotonic clock.
    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The identity of this process, fixed at startup.
#[derive(Clone, Debug, Default)]
pub struct ProcessIdentity {
    /// This member's id.
    pub member_id: MemberId,
    /// The cluster's id.
    pub cluster_id: u64,
    /// The store id of the data directory, and the store ids of its originals if it is a copy.
    pub store: StoreLineage,
    /// `--name`.
    pub name: String,
    /// Unix time at which the process started, in nanoseconds.
    pub started_ns: i64,
}

/// An applied command of any kind.
#[derive(Debug)]
struct AppliedCommand {
    outcome: Outcome,
    index: u64,
}

/// The result of an applied operation.
#[derive(Clone, Debug)]
pub struct Applied<T> {
    /// The state machine's reply.
    pub output: T,
    /// v3 revision after the operation.
    pub revision: Revision,
    /// Raft index of the operation's entry.
    pub index: u64,
}

/// The result of a proposed operation.
pub type Proposed<O> =
    Result<Applied<<O as Operation>::Output>, ProposeError<<O as Operation>::Error>>;

impl Node {
    /// Returns a handle whose requests are charged to a connection's account.
    pub fn of_connection(&self, account: &Account) -> Self {
        Self { shared: self.shared.clone(), account: account.clone() }
    }

    /// Returns the account of the connection that uses this handle.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Replicates an operation and waits until this member has applied it, up to the request timeout. After a timeout, the
    /// operation can still be applied. Equals [`Node::propose_for`] without a caller.
    pub fn propose<O: Operation>(&self, operation: O) -> impl Future<Output = Proposed<O>> {
        self.propose_for(operation, None)
    }

    /// Replicates an operation like [`Node::propose`] for `caller`; `None` is an unauthenticated caller. The permissions for v3
    /// keys, leases, and v3 users and roles are checked when the operation is applied. For any other operation, check the
    /// permissions before this call.
    pub fn propose_for<O: Operation>(
        &self,
        operation: O,
        caller: Option<Caller>,
    ) -> impl Future<Output = Proposed<O>> {
        // An `async fn` would keep memory for the operation in addition to the command.
        self.replicate(operation.into(), caller).map(typed::<O>)
    }

    /// Replicates a command and waits until it is applied on this member, or until the request timeout.
    async fn replicate(
        &self,
        command: Command,
        caller: Option<Caller>,
    ) -> Result<AppliedCommand, NodeError> {
        if let Command::Kv(command) = &command
            && command.keeps_values()
        {
            return Box::pin(self.replicate_kept(command, caller)).await;
        }
        self.replicate_once(command, caller, 0).await
    }

    /// Limits the length of the stored values that a command keeps and replicates the command. If a value has grown beyond its
    /// limit when the command is applied, tries again, up to [`KEPT_VALUE_ATTEMPTS`] times in total, and then returns the last
    /// reply.
    async fn replicate_kept(
        &self,
        command: &KvCommand,
        caller: Option<Caller>,
    ) -> Result<AppliedCommand, NodeError> {
        const GREW: Reply = Reply::Kv(Err(KvError::KeptValueGrew));
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut limited = command.clone();
            let kept_bytes = self.view().await?.machine.limit_kept_values(&mut limited);
            let limited = Command::Kv(limited);
            let done = self
                .replicate_once(limited, caller.clone(), kept_bytes)
                .await?;
            if done.outcome.reply != GREW || attempt == KEPT_VALUE_ATTEMPTS {
                return Ok(done);
            }
        }
    }

    /// Admits and replicates a command once and waits until it is applied on this member. While the memory budget is full, a
    /// command that adds data waits first. After the admission, counts a failure and records the duration. `kept_bytes` has the
    /// same meaning as in [`Self::admit`].
    async fn replicate_once(
        &self,
        command: Command,
        caller: Option<Caller>,
        kept_bytes: u64,
    ) -> Result<AppliedCommand, NodeError> {
        let grows = self.admit(&command, kept_bytes).await?;
        if grows && self.memory().is_full() {
            // Box this future, so that the usual future stays small.
            Box::pin(self.memory().wait_for_room()).await;
        }
        let request = request_durations::request_type(&command);
        let (begun, begun_ns) = (Instant::now(), now_ns());
        let entry = UnstampedEntry::new(command, caller);
        let done = match self.send_command(entry, (grows, kept_bytes), begun_ns) {
            Ok(answer) => answer.await,
            Err(refusal) => Err(refusal),
        };
        let done = done.map_err(|error| self.explain_timeout(error, (begun, begun_ns)));
        if done.is_err() {
            self.shared.metrics.proposals_failed.inc();
        }
        if let Some(request) = request {
            self.request_took(request, done.is_ok(), begun.elapsed());
        }
        done
    }

    /// Returns a linearizable view. A sole voter needs no ReadIndex round. Fails on a learner.
    pub async fn read(&self) -> Result<CurrentView, NodeError> {
        self.refuse_learner()?;
        match self.shared.latest.linearizable() {
            Some(view) => Ok(CurrentView::new(view)),
            None => self.read_index().await,
        }
    }

    /// Returns a linearizable view after a ReadIndex round and counts a timeout or other failure. Success proves that the
    /// replica's thread runs.
    pub async fn read_index(&self) -> Result<CurrentView, NodeError> {
        let (to, answer) = CompletionSender::new(self.shared.request_timeout);
        self.send(LoopRequest::Read { to })?;
        let view = answer.await;
        match view {
            Err(NodeError::Timeout) => self.shared.metrics.slow_read_indexes.inc(),
            Err(_) => self.shared.metrics.read_indexes_failed.inc(),
            Ok(_) => {}
        }
        view.map(CurrentView::new)
    }

    /// Returns this member's current state, for serializable reads. Sends a request to the replica's thread only if no state
    /// was read since the last write.
    pub async fn view(&self) -> Result<CurrentView, NodeError> {
        self.shared_view().await.map(CurrentView::new)
    }

    /// Returns this member's current state from the replica's thread. Success proves that the thread runs.
    pub async fn fresh_view(&self) -> Result<CurrentView, NodeError> {
        self.view_of_replica().await.map(CurrentView::new)
    }

    /// Returns the state of [`Node::view`] in a form that can be sent to other threads.
    async fn shared_view(&self) -> Result<Arc<View>, NodeError> {
        match self.shared.latest.get() {
            Some(view) => Ok(view),
            None => self.view_of_replica().await,
        }
    }

    /// Requests this member's current state from the replica's thread.
    async fn view_of_replica(&self) -> Result<Arc<View>, NodeError> {
        let (to, answer) = CompletionSender::new(self.shared.request_timeout);
        self.send(LoopRequest::View { to })?;
        answer.await
    }

    /// Rewrites the checkpoint without outdated records and waits, without a timeout, until it is durable. Reads and writes
    /// continue. Fails with [`NodeError::NoSpace`] if the checkpoint does not fit on the disk, and with [`NodeError::Stopped`]
    /// if the process stops.
    pub async fn rewrite(&self) -> Result<(), NodeError> {
        let (report, reported) = oneshot::channel();
        let done: OnDurable = Box::new(move || {
            // The requester may have stopped waiting.
            let _ = report.send(());
        });
        self.send(LoopRequest::Rewrite { done, is_second: false })?;
        reported.await.map_err(|_| {
            let stops = *self.shared.stopping.borrow() || *self.shared.removed.borrow();
            match stops {
                true => NodeError::Stopped,
                false => NodeError::NoSpace,
            }
        })
    }

    /// Registers a v2 watcher, which is woken after every change that `watch` may match. Take a view afterward, so that no
    /// event is missed. Fails with `TooMany` if there are too many watchers or their paths take too much memory.
    pub fn watch(&self, watch: Watch) -> Result<TreeWatcher, NodeError> {
        self.shared.metrics.tree_watch_requests.inc();
        let bytes = tree_watchers::watcher_bytes(&watch);
        let charge = self.account.hold(Resource::Watchers, bytes);
        let charge = charge.ok_or(NodeError::TooMany)?;
        self.shared.watchers.register(watch, charge)
    }

    /// Registers a stream of v3 watchers.
    pub fn watch_stream(&self) -> WatchStream {
        self.shared.watch_streams.add_stream()
    }

    /// Calls `visit` with the first key of each v3 range that a stream watches, and the number of the stream's watchers of that
    /// range. There may be millions of ranges, so call this on a thread that may block for a long time.
    pub fn visit_watchers(&self, visit: impl FnMut(&[u8], u32)) {
        self.shared.watch_streams.visit(visit);
    }

    /// Calls `visit` with the path of each v2 watcher. Like [`Node::visit_watchers`], may block for a long time.
    pub fn visit_tree_watchers(&self, visit: impl FnMut(&[u8])) {
        self.shared.watchers.visit(visit);
    }

    /// Completes when the process begins to shut down, so that long responses such as watches and snapshots can end.
    pub async fn stopping(&self) {
        let mut stopping = self.shared.stopping.clone();
        // An error means that the sender was dropped, because the process stops.
        let _ = stopping.wait_for(|stop| *stop).await;
    }

    /// Completes when this member has been removed from the cluster and its replica's thread has ended.
    pub async fn removed(&self) {
        let mut removed = self.shared.removed.subscribe();
        // This node holds the sender, so there is no error.
        let _ = removed.wait_for(|removed| *removed).await;
    }

    /// Records the duration of a v3 request, by type and success.
    pub fn request_took(&self, request: RequestType, success: bool, took: Duration) {
        self.shared.metrics.requests.observe(request, success, took);
    }

    /// Counts the v3 ranges that a request has read from a view.
    pub fn ranges_served(&self, ranges: usize) {
        let counts = KvCounts { ranges: ranges as u64, ..KvCounts::default() };
        self.shared.metrics.count_kv(counts);
    }

    /// Sets the gauges that reflect the state to their current values.
    pub async fn show_metrics(&self) {
        // A stopping member, or a member whose disk stalls, has no view but still reports counters.
        let view = self.view().await.ok();
        self.shared.metrics.show(self, view.as_deref());
    }

    /// Makes the replica's thread check its queues and the streams of other members.
    pub fn wake(&self) {
        self.shared.waker.wake();
    }
}

/// Converts a command's reply to the output of operation `O`. The reply of another operation becomes an internal error.
fn typed<O: Operation>(done: Result<AppliedCommand, NodeError>) -> Proposed<O> {
    let AppliedCommand { outcome, index } = done?;
    match O::output(outcome.reply) {
        Some(Ok(output)) => Ok(Applied { output, revision: outcome.revision, index }),
        Some(Err(error)) => Err(ProposeError::Refused(error)),
        None => {
            let operation = std::any::type_name::<O>();
            tracing::error!(
                index,
                operation,
                "bug: the reply belongs to another operation"
            );
            Err(NodeError::Internal.into())
        }
    }
}

//! [`Node`]: the clonable handle through which every dialect reaches the replica. Dialects see no
//! raft, no disk and no thread, only these methods and the types in `replica_types`.
//!
//! Reading order: this file → `replica_loop` (the loop that owns the replica, and what it is sent) → `raft_inbox` (what
//! it takes first), `waker` (how it is woken) → `host` (where its effects go) → `checkpoints` (when the state is
//! written) → `executor` (commands that take long) → `post` (who carries messages), `message_faults` (what is dropped
//! of those), `peer_links`, `leadership`, `reconfiguration` → `completions` (how answers come back) → `latest_view`
//! (reads without a hop) → `jobs` (states for readers, long reads), `held_views` (memory that readers pin) →
//! `tree_watchers` (v2 watchers) → `watch_streams` (v3 watches) → `status` → `state_hashes` (to compare members) →
//! `tokens` → `admission` (the only check before a command is proposed) → `metrics` (series), `counts`, `applies` (what
//! feeds them), `peer_stats` (of v2).

mod admission;
mod applies;
mod checkpoints;
mod clock;
mod completions;
mod counts;
pub mod error;
mod executor;
mod held_views;
mod host;
mod jobs;
mod latest_view;
mod leadership;
mod lease_questions;
mod member_state;
mod message_faults;
mod metrics;
mod peer_links;
mod peer_stats;
mod post;
mod raft_inbox;
mod reconfiguration;
mod replica_loop;
mod replica_types;
mod request_durations;
mod state_hashes;
mod status;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod tokens;
mod tree_watchers;
mod waker;
mod watch_streams;

use std::{
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use tokio::sync::{oneshot, watch};
use witan_base::account::Account;
use witan_machine::{
    Outcome, Reply,
    auth::Caller,
    command::{Command, UnstampedEntry},
    kv::KvError,
    member::{MemberId, StoreLineage},
    operation::Operation,
    view::View,
};
use witan_replica::{host::Envelope, replica::PeerEvent};
use witan_storage::{OnDurable, ReceivedSnapshot, SpaceStatus};
use witan_tree::Watch;

use completions::CompletionSender;
use replica_loop::LoopRequest;

pub use clock::{now_ns, now_s};
pub use error::{NodeError, ProposeError, TransferError};
pub use held_views::{HeldView, ViewEnd};
pub use jobs::{CurrentView, Job};
pub use metrics::NodeMetrics;
pub use peer_stats::FollowerCounts;
pub use post::Post;
pub use reconfiguration::{Reconfiguration, UnsafeReconfiguration};
pub use replica_loop::{EXIT_LOG_LOST, EXIT_REMOVED};
pub use replica_loop::{NodeParts, start};
pub use replica_types::*;
pub use request_durations::RequestType;
pub use state_hashes::{FrozenStates, StateHashes, StatesToHash};
pub use status::AuthState;
pub use tokens::Tokens;
pub use tree_watchers::TreeWatcher;
pub use waker::Waker;
pub use watch_streams::{StreamChanges, WatchStream};

/// How often a command is proposed whose value to keep becomes larger than it was when it was proposed.
const KEPT_VALUE_ATTEMPTS: usize = 4;

/// Clonable handle to the running member.
#[derive(Clone, Debug)]
pub struct Node {
    shared: Arc<Shared>,
    /// The account of the connection whose requests this handle serves.
    account: Account,
}

#[derive(Debug)]
struct Shared {
    inbox: SyncSender<LoopRequest>,
    raft_inbox: raft_inbox::RaftInbox,
    waker: Waker,
    peer_links: peer_links::PeerLinks,
    leader: watch::Sender<MemberId>,
    election_timeout: Duration,
    status: status::PublishedStatus,
    latest: latest_view::LatestView,
    held_views: held_views::HeldViews,
    watchers: tree_watchers::TreeWatchers,
    watch_streams: watch_streams::WatchStreams,
    tokens: Tokens,
    identity: ProcessIdentity,
    request_timeout: Duration,
    stopping: watch::Receiver<bool>,
    metrics: NodeMetrics,
    monotonic: clock::MonotonicClock,
    /// `--quota-backend-bytes`, of both key spaces.
    quota_bytes: Option<u64>,
    /// The last measured state of the disk.
    disk: Arc<SpaceStatus>,
    state_hashes: StateHashes,
    /// Snapshots of leaders that were installed.
    installs: watch::Sender<u64>,
    /// Whether this member was removed from the cluster.
    removed: watch::Sender<bool>,
}

/// The parts that all handles of a node share and that do not begin empty.
pub struct SharedParts {
    /// The ids of this member and its cluster.
    pub identity: ProcessIdentity,
    /// `--election-timeout`.
    pub election_timeout: Duration,
    /// A request without an answer by then fails.
    pub request_timeout: Duration,
    /// Simple tokens that are not used for so long end.
    pub token_ttl: Duration,
    /// Turns true when the process begins to stop.
    pub stopping: watch::Receiver<bool>,
    /// Series to feed.
    pub metrics: NodeMetrics,
    /// The account of this member's own requests.
    pub account: Account,
    /// `--quota-backend-bytes`.
    pub quota_bytes: Option<u64>,
}

impl Shared {
    fn new(
        (inbox, waker): (SyncSender<LoopRequest>, Waker),
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
            latest: latest_view::LatestView::default(),
            held_views: held_views::HeldViews::new(parts.quota_bytes),
            watchers: tree_watchers::TreeWatchers::default(),
            watch_streams: watch_streams::WatchStreams::default(),
            tokens: Tokens::new(parts.token_ttl, last_index),
            identity: parts.identity,
            request_timeout: parts.request_timeout,
            stopping: parts.stopping,
            metrics: parts.metrics,
            monotonic: clock::MonotonicClock::new(),
            quota_bytes: parts.quota_bytes,
            disk,
            state_hashes: StateHashes::default(),
            installs: watch::Sender::default(),
            removed: watch::Sender::default(),
        }
    }
}

/// Identity of this process, fixed at start.
#[derive(Clone, Debug, Default)]
pub struct ProcessIdentity {
    /// Own member id.
    pub member_id: MemberId,
    /// Cluster id.
    pub cluster_id: u64,
    /// The data directory.
    pub store: StoreLineage,
    /// `--name`.
    pub name: String,
    /// Unix time of the process start, nanoseconds.
    pub started_ns: i64,
}

/// An applied command, whichever it was.
#[derive(Debug)]
struct AppliedCommand {
    outcome: Outcome,
    index: u64,
}

/// An applied operation.
#[derive(Clone, Debug)]
pub struct Applied<T> {
    /// The answer of the state machine.
    pub output: T,
    /// v3 revision after it.
    pub revision: i64,
    /// Raft index of its entry.
    pub index: u64,
}

/// How an operation ended.
pub type Proposed<O> =
    Result<Applied<<O as Operation>::Output>, ProposeError<<O as Operation>::Error>>;

impl Node {
    /// Returns a handle for the requests of a connection.
    pub fn of_connection(&self, account: &Account) -> Self {
        Self { shared: self.shared.clone(), account: account.clone() }
    }

    /// Returns the account of the connection whose requests this handle serves.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Replicates an operation and waits until it is applied here. Times out after the request timeout.
    pub fn propose<O: Operation>(&self, operation: O) -> impl Future<Output = Proposed<O>> {
        self.propose_for(operation, None)
    }

    /// Replicates an operation as `Node::propose` does, for a caller whose permissions are checked when it is
    /// applied.
    pub fn propose_for<O: Operation>(
        &self,
        operation: O,
        caller: Option<Caller>,
    ) -> impl Future<Output = Proposed<O>> {
        // an `async fn` would keep memory for the operation beside its command
        self.replicate(operation.into(), caller).map(typed::<O>)
    }

    /// Has a command replicated and waits until it is applied here. Times out after the request timeout.
    async fn replicate(
        &self,
        command: Command,
        caller: Option<Caller>,
    ) -> Result<AppliedCommand, NodeError> {
        if matches!(&command, Command::Kv(command) if command.keeps_values()) {
            return Box::pin(self.replicate_kept(command, caller)).await;
        }
        self.replicate_once(command, caller).await
    }

    /// Has a command replicated that keeps values, again while a value has grown too much since, at most
    /// [`KEPT_VALUE_ATTEMPTS`] times.
    async fn replicate_kept(
        &self,
        command: Command,
        caller: Option<Caller>,
    ) -> Result<AppliedCommand, NodeError> {
        const GREW: Reply = Reply::Kv(Err(KvError::KeptValueGrew));
        for _ in 1..KEPT_VALUE_ATTEMPTS {
            let done = self.replicate_once(command.clone(), caller.clone()).await?;
            if done.outcome.reply != GREW {
                return Ok(done);
            }
        }
        self.replicate_once(command, caller).await
    }

    /// Admits a command, has it replicated and waits until it is applied here; counts failures. Times out
    /// after the request timeout.
    async fn replicate_once(
        &self,
        mut command: Command,
        caller: Option<Caller>,
    ) -> Result<AppliedCommand, NodeError> {
        let growth = self.admit(&mut command).await?;
        let request = request_durations::request_type(&command);
        let (begun, begun_ns) = (Instant::now(), now_ns());
        let entry = UnstampedEntry::new(command, caller);
        let done = match self.send_command(entry, growth, begun_ns) {
            Ok(answer) => answer.await,
            Err(refusal) => Err(refusal),
        };
        let done = done.map_err(|error| self.reason(error, begun_ns));
        if done.is_err() {
            self.shared.metrics.proposals_failed.inc();
        }
        if let Some(request) = request {
            self.request_took(request, done.is_ok(), begun.elapsed());
        }
        done
    }

    /// Returns a linearizable view, which holds everything that was committed before the call. A sole voter
    /// has it at hand while nothing is written; learners refuse.
    pub async fn read(&self) -> Result<CurrentView, NodeError> {
        self.refuse_learner()?;
        match self.shared.latest.linearizable() {
            Some(view) => Ok(CurrentView::new(view)),
            None => self.read_index().await,
        }
    }

    /// Returns a linearizable view after a round of raft's ReadIndex, also on a sole voter; so it proves that
    /// the replica's thread runs.
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

    /// Returns this member's present state (serializable), without the replica's thread if nothing was
    /// written since the last call.
    pub async fn view(&self) -> Result<CurrentView, NodeError> {
        self.shared_view().await.map(CurrentView::new)
    }

    /// Returns this member's present state from the replica's thread itself, which proves that it runs.
    pub async fn fresh_view(&self) -> Result<CurrentView, NodeError> {
        self.view_of_replica().await.map(CurrentView::new)
    }

    /// Returns what [`Node::view`] returns, for this crate.
    async fn shared_view(&self) -> Result<Arc<View>, NodeError> {
        match self.shared.latest.get() {
            Some(view) => Ok(view),
            None => self.view_of_replica().await,
        }
    }

    async fn view_of_replica(&self) -> Result<Arc<View>, NodeError> {
        let (to, answer) = CompletionSender::new(self.shared.request_timeout);
        self.send(LoopRequest::View { to })?;
        answer.await
    }

    /// Rewrites the checkpoint without outdated records, while reads and writes continue. There is
    /// no timeout.
    pub async fn rewrite(&self) -> Result<(), NodeError> {
        let (tell, told) = oneshot::channel();
        let done: OnDurable = Box::new(move || {
            // the requester may have been dropped
            let _ = tell.send(());
        });
        self.send(LoopRequest::Rewrite { done })?;
        told.await.map_err(|_| NodeError::Stopped)
    }

    /// Registers for wake-ups: the returned handle wakes after every applied change that `watch`
    /// may match. Take a view after registering, so that no event is missed.
    pub fn watch(&self, watch: Watch) -> Result<TreeWatcher, NodeError> {
        self.shared.metrics.tree_watch_requests.inc();
        self.shared.watchers.register(watch)
    }

    /// Registers a stream of v3 watchers.
    pub fn watch_stream(&self) -> WatchStream {
        self.shared.watch_streams.add_stream()
    }

    /// Calls `visit` with the first key of each range of v3 that a stream watches, and its watchers of that range. There
    /// can be millions: call it on a thread that can take its time.
    pub fn visit_watchers(&self, visit: impl FnMut(&[u8], u32)) {
        self.shared.watch_streams.visit(visit);
    }

    /// Calls `visit` with the path of each watcher of v2. Call it like [`Node::visit_watchers`].
    pub fn visit_tree_watchers(&self, visit: impl FnMut(&[u8])) {
        self.shared.watchers.visit(visit);
    }

    /// Completes when the process begins to stop, so that long responses (watches, snapshots) can end.
    pub async fn stopping(&self) {
        let mut stopping = self.shared.stopping.clone();
        // an error means that the sender was dropped: the process stops
        let _ = stopping.wait_for(|stop| *stop).await;
    }

    /// Completes when this member was removed from the cluster and its replica's thread has ended.
    pub async fn removed(&self) {
        let mut removed = self.shared.removed.subscribe();
        // there is no error: this node keeps the sender
        let _ = removed.wait_for(|removed| *removed).await;
    }

    /// Records how long a request of v3 took.
    pub fn request_took(&self, request: RequestType, success: bool, took: Duration) {
        self.shared.metrics.requests.observe(request, success, took);
    }

    /// Counts the v3 ranges that one request has read from a view.
    pub fn ranges_served(&self, ranges: usize) {
        self.shared.metrics.kv_counted([ranges as u64, 0, 0]);
    }

    /// Sets the series that follow the state to their present values.
    pub async fn show_metrics(&self) {
        // while stopping there is no view, but counters are still reported
        let view = self.view().await.ok();
        self.shared.metrics.show(self, view.as_deref());
    }

    /// Queues a snapshot message of another member with the received state for the next turn, and replaces a snapshot that
    /// is still queued. The state is dropped if the replica does not install it.
    pub fn receive_snapshot(&self, envelope: Envelope, snapshot: ReceivedSnapshot) {
        self.shared.raft_inbox.receive_snapshot(envelope, snapshot);
        self.wake();
    }

    /// Reports an event of the transport to the replica.
    pub fn peer_event(&self, member: MemberId, event: PeerEvent) {
        self.shared.raft_inbox.event(member, event);
        self.wake();
    }

    /// Reports to the replica's thread that the checkpoint at `index` is durable.
    pub fn durable(&self, index: u64) {
        self.shared.raft_inbox.durable(index);
        self.wake();
    }

    /// Has the replica's thread finish its turn and end.
    pub fn stop(&self) {
        self.shared.raft_inbox.stop();
        self.wake();
    }

    /// Has the replica's thread look at its queues and the streams of other members.
    pub fn wake(&self) {
        self.shared.waker.wake();
    }
}

/// Converts the reply to a command into the output of the operation `O`; a reply of another operation is an
/// internal error.
fn typed<O: Operation>(done: Result<AppliedCommand, NodeError>) -> Proposed<O> {
    let AppliedCommand { outcome, index } = done?;
    match O::output(outcome.reply) {
        Some(Ok(output)) => Ok(Applied { output, revision: outcome.revision, index }),
        Some(Err(error)) => Err(ProposeError::Refused(error)),
        None => {
            let operation = std::any::type_name::<O>();
            tracing::error!(index, operation, "the reply is that of another operation");
            Err(NodeError::Internal.into())
        }
    }
}

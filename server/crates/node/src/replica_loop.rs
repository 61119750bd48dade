//! The thread that owns the replica: its loop takes inputs, ticks, runs a turn and publishes the results.

mod requests;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{Receiver, channel};
use witan_base::panics;
use witan_machine::{kv::ValueSource, member::MemberId, view::View};
use witan_recorder::RecordedReplica;
use witan_replica::{
    host::Envelope,
    input::Input,
    limits::INBOX_MAX,
    replica::{Halt, Role, Status},
    ticket_map::TicketMap,
};
use witan_storage::{
    Checkpointer, DirectoryCopy, DirectoryLock, RaftLog, SnapshotReceiver, SpaceLevel, SpaceMonitor,
};

use super::{
    FrozenStates, Node, NodeError, Shared, SharedParts, Waker,
    checkpoints::Checkpoints,
    completions::CompletionBatch,
    executor::{Executor, warn_slow},
    host::{IncomingState, NodeHost, Post},
    logged_state::{LoggedState, MessageFaults},
    now_ns,
    raft_inbox::{RaftBatch, ReceivedState},
    request_durations::ApplyTally,
    value_source::ValueSearch,
};

pub(super) use requests::{LoopRequest, Proposal};

/// Maximum number of missed ticks to make up for after a stall. Making up for more ticks would start unnecessary elections.
const TICKS_MADE_UP: u32 = 2;

/// Ticks between two clean-ups, which drop outdated log entries and old states that no watcher reads.
const CLEAN_UP_TICKS: u64 = 50;

/// Exit code of a member whose release does not support a command in its log or the cluster's feature level.
const EXIT_UNKNOWN_COMMAND: i32 = 33;

/// Exit code of a member that was removed from the cluster.
pub const EXIT_REMOVED: i32 = 34;

/// Exit code of a member whose data directory was emptied or replaced.
pub const EXIT_LOG_LOST: i32 = 35;

/// Exit code of a member whose committed entries contradict the leader's log, or that started from a different state than the
/// leader.
const EXIT_FORKED: i32 = 40;

/// Exit code of a member whose log cannot be decoded. Startup uses the same code.
const EXIT_CORRUPT_ENTRY: i32 = 30;

/// The parts from which a node starts.
pub struct NodeParts {
    /// The recovered or fresh replica.
    pub replica: RecordedReplica,
    /// The replica's log on disk.
    pub log: RaftLog,
    /// Size in bytes of the log between two checkpoints, derived from the disk's size.
    pub checkpoint_log_bytes: u64,
    /// Monitors the disk's free space.
    pub space: SpaceMonitor,
    /// Initial values of the state that all handles share.
    pub shared: SharedParts,
    /// Duration of a tick: one heartbeat interval.
    pub tick: Duration,
    /// Duration above which a turn or a long command is logged as slow.
    pub slow_apply: Duration,
    /// Queue of states to be hashed.
    pub frozen: FrozenStates,
    /// The data directory's lock, held while the thread runs.
    pub lock: DirectoryLock,
    /// The copied data directory; `None` if the data directory is not a copy.
    pub copy: Option<DirectoryCopy>,
}

/// Starts the replica's thread. Returns the node and the thread's handle. `checkpointer` gets the node, to which it reports
/// durable checkpoints. `post` gets the node and the receiver of snapshots and returns the transport. Fails if one of them
/// fails or a thread cannot be started.
pub fn start(
    parts: NodeParts,
    checkpointer: impl FnOnce(Node) -> std::io::Result<Checkpointer>,
    post: impl FnOnce(Node, SnapshotReceiver) -> std::io::Result<Box<dyn Post>>,
) -> std::io::Result<(Node, JoinHandle<()>)> {
    let (inbox, requests) = channel(INBOX_MAX);
    let (disk, last_index) = (parts.space.status(), parts.replica.last_index());
    let account = parts.shared.account.clone();
    let shared = Shared::new((inbox, Waker::new()?), parts.shared, disk, last_index);
    let shared = Arc::new(shared);
    let state = parts.replica.view().machine;
    let (tree_index, members) = (state.tree.index(), state.members.clone());
    let logged = LoggedState::of(&state);
    shared.status.store_state(&state, shared.identity.member_id);
    shared.watch_streams.begin(&state.kv);
    drop(state);
    let node = Node { shared: shared.clone(), account };
    let checkpointer = checkpointer(node.clone())?;
    let post = post(node.clone(), checkpointer.receiver())?;
    if parts.replica.is_copied() {
        shared.metrics.copied.set(1);
        tracing::warn!(
            "the data directory is a copy: this member does not vote until a leader has brought it up to date; \
             if no quorum of the voters runs on original directories, there is no leader until all voters run"
        );
    }
    let replayed = parts.log.replayed();
    let log_bytes = parts.checkpoint_log_bytes;
    let checkpointer = (checkpointer, shared.memory.clone());
    let host = NodeHost {
        post,
        checkpoints: Checkpoints::new(checkpointer, log_bytes, replayed, &members),
        incoming: None,
        frozen: parts.frozen,
        message_faults: MessageFaults::default(),
        logged,
        appended_bytes: 0,
        log: parts.log,
        shared: shared.clone(),
        waiters: TicketMap::default(),
        completions: CompletionBatch::default(),
        tally: ApplyTally::new(shared.metrics.applies.clone()),
        applying: Instant::now(),
        executor: Executor::start(node.clone(), parts.slow_apply)?,
        executed_took: Duration::ZERO,
        sync_ns: 0,
        tree_index,
    };
    let replica_loop = ReplicaLoop {
        replica: parts.replica,
        host,
        shared,
        _lock: parts.lock,
        copy: parts.copy,
        registrations: 0,
        space: parts.space,
        last_ticket: 0,
        read_requested: false,
        proposed: false,
        ticks: 0,
        tick: parts.tick,
        slow_apply: parts.slow_apply,
        memory_exhausted: false,
        values: ValueSearch::default(),
        value_source: ValueSource::Memory,
    };
    let thread = panics::start_thread("replica", move || replica_loop.run(requests))?;
    Ok((node, thread))
}

struct ReplicaLoop {
    replica: RecordedReplica,
    host: NodeHost,
    shared: Arc<Shared>,
    _lock: DirectoryLock,
    /// The copied data directory; `None` if it is up to date or not a copy.
    copy: Option<DirectoryCopy>,
    /// `Replica::registrations_in_log` after the last turn.
    registrations: u64,
    space: SpaceMonitor,
    last_ticket: u64,
    /// Whether a linearizable read was requested since the last turn.
    read_requested: bool,
    /// Whether a command was proposed since the last turn.
    proposed: bool,
    ticks: u64,
    tick: Duration,
    slow_apply: Duration,
    /// Whether the last report to the replica was that the memory is used up.
    memory_exhausted: bool,
    values: ValueSearch,
    /// The last source of values that was reported to the replica.
    value_source: ValueSource,
}

impl ReplicaLoop {
    /// Takes inputs and runs turns until the node stops or this member is removed, then closes the checkpointer and the log.
    fn run(mut self, mut requests: Receiver<LoopRequest>) {
        let mut next_tick = Instant::now() + self.tick;
        self.search_values();
        self.update_room();
        let mut removed = self.turn();
        let mut messages = Vec::new();
        while !removed {
            let first = self.wait_for_work(&mut requests, next_tick, &mut messages);
            let monotonic_ns = self.shared.monotonic_ns();
            self.replica.take(Input::Clock { monotonic_ns });
            for message in messages.drain(..) {
                self.replica.take(Input::Message(message));
            }
            let raft = self.shared.raft_inbox.take();
            let stops = raft.stop;
            self.take_raft(raft);
            if !stops {
                first.into_iter().for_each(|request| self.take(request));
                self.drain(&mut requests);
            }
            if Instant::now() >= next_tick {
                next_tick = self.run_ticks(next_tick);
            }
            removed = self.turn();
            if stops || removed {
                break;
            }
            if std::mem::take(&mut self.read_requested) && self.replica.is_linearizable() {
                // The next reads use the published view.
                self.latest();
            }
            let size = self.shared.status.size_bytes.load(Relaxed);
            let level = self.checkpoint_level();
            let view = || self.replica.view();
            self.host.checkpoints.offer(size, level, view);
            // Trim here, because this thread allocates the values of most writes.
            self.shared.memory.cache().trim();
            if self.shared.memory.is_full() {
                // While writes wait, this thread hardly allocates. An allocation makes the allocator collect freed memory.
                drop(std::hint::black_box(Vec::<u8>::with_capacity(1 << 20)));
            }
        }
        if removed {
            self.end_removed(&mut requests);
        }
        // Waiting requests then fail. Other members propose their forwarded requests again in a later term.
        drop(requests);
        self.host.checkpoints.checkpointer.stop();
        self.host.log.close();
    }

    /// Reports that this member was removed. If the removal is already applied, queued writes fail with `Removed`, so that
    /// clients can retry at another member.
    fn end_removed(&mut self, requests: &mut Receiver<LoopRequest>) {
        self.host.completions.flush();
        let members = self.replica.view().machine.members;
        // Until this member's removal is applied, its earlier proposals may still be committed.
        if members
            .removed_ids
            .contains(&self.shared.identity.member_id)
        {
            while let Ok(request) = requests.try_recv() {
                if let LoopRequest::Propose(proposal) = request {
                    proposal.to.waiter.refuse(NodeError::Removed);
                }
            }
        }
        self.shared.removed.send_replace(true);
    }

    /// Waits for work until the next tick and adds new messages to `messages`. If a request is queued, returns the request
    /// without waiting, otherwise `None`.
    fn wait_for_work(
        &mut self,
        requests: &mut Receiver<LoopRequest>,
        next_tick: Instant,
        messages: &mut Vec<Envelope>,
    ) -> Option<LoopRequest> {
        let waker = &self.shared.waker;
        let mut first = requests.try_recv().ok();
        if first.is_none() {
            // While the thread is busy, other threads need no system call to wake it.
            waker.prepare();
            first = requests.try_recv().ok();
        }
        let timeout = match first.is_some() || self.shared.raft_inbox.is_filled() {
            true => Duration::ZERO,
            false => self.time_until(next_tick),
        };
        self.host.post.wait(timeout, waker, messages);
        waker.on_awake();
        first
    }

    /// Returns the time until the next tick, or less if the replica needs a turn earlier.
    fn time_until(&self, next_tick: Instant) -> Duration {
        let wait = next_tick.saturating_duration_since(Instant::now());
        let wake = self
            .replica
            .wake_at_ns()
            .map(|at_ns| Duration::from_nanos(at_ns.saturating_sub(self.shared.monotonic_ns())));
        wake.map_or(wait, |wake| wake.min(wait))
    }

    /// Runs the periodic checks once, and a tick for each elapsed interval, up to [`TICKS_MADE_UP`] + 1 ticks. Returns the time
    /// of the next tick.
    fn run_ticks(&mut self, due: Instant) -> Instant {
        let behind = due.elapsed().as_nanos() / self.tick.as_nanos().max(1);
        let times = u32::try_from(behind).unwrap_or(u32::MAX).min(TICKS_MADE_UP) + 1;
        self.update_room();
        if self.host.checkpoints.checkpointer.take_damage() {
            self.handle_checkpoint_damage();
        }
        for _ in 0..times {
            self.ticks += 1;
            self.replica.take(Input::Tick { now_ns: now_ns() });
        }
        if self.ticks.is_multiple_of(CLEAN_UP_TICKS) {
            self.shared.watch_streams.expire_old_states();
            self.host.log.drop_outdated();
            self.search_values();
        }
        due.max(Instant::now().checked_sub(self.tick).unwrap_or(due)) + self.tick
    }

    /// Starts to replace a checkpoint in which the scrub has found damage. Does not read damaged records, because that would
    /// end the process. If there are other voters, sets the flag that makes this member fetch the leader's state. A sole voter
    /// rewrites the checkpoint if all values are in memory. This member keeps the values in memory until the checkpoint is
    /// durable. If a sole voter lacks values in memory, logs that the damage remains.
    fn handle_checkpoint_damage(&mut self) {
        let view = self.replica.view();
        let hold = self.shared.memory.cache().hold();
        if !self.replica.is_sole_voter() {
            tracing::warn!("replacing the damaged checkpoint with the leader's state");
            self.shared.status.checkpoint_damaged.store(true, Relaxed);
        } else if view.machine.kv.values_are_in_memory() {
            tracing::warn!("rewriting the damaged checkpoint from memory");
            self.host.checkpoints.rewrite_all_runs(view, hold);
        } else {
            tracing::error!(
                "not all values are in memory and no other voter has them, so the damaged checkpoint remains; a read of \
                 the damaged block ends the process"
            );
        }
    }

    /// Passes events, a snapshot, an executed command and the durable index to the replica. Call this after passing the
    /// messages that have arrived, because an event may mean that no more messages follow.
    fn take_raft(&mut self, raft: RaftBatch) {
        for (member, event) in raft.events {
            self.replica.take(Input::Peer { member, event });
        }
        if let Some(received) = raft.snapshot {
            self.offer_snapshot(*received);
        }
        if let Some((command, took)) = raft.executed {
            self.host.executed_took = took;
            self.replica.take(Input::Executed(command));
        }
        if let Some(index) = raft.durable {
            self.replica.take(Input::Durable { index });
            self.host.checkpoints.durable(index);
            self.shared.held_views.checkpointed();
        }
    }

    /// Passes a received snapshot to the replica, whose next turn installs or drops it.
    fn offer_snapshot(&mut self, (mut envelope, snapshot): ReceivedState) {
        envelope.snapshot = Some(Box::new(snapshot.view.clone()));
        self.host.incoming =
            Some(IncomingState { received: snapshot, replaced: self.replica.view() });
        self.replica.take(Input::Message(envelope));
    }

    /// Returns the current state and publishes it for reads until the next turn.
    fn latest(&self) -> Arc<View> {
        self.shared.latest.get().unwrap_or_else(|| {
            let view = Arc::new(self.replica.view());
            let linearizable = self.replica.is_linearizable();
            self.shared.latest.publish(view.clone(), linearizable);
            view
        })
    }

    /// Measures the free disk space and tells the replica how much the log may grow. Ends readers of outdated files if the
    /// checkpoint cannot be rewritten for lack of space. Ends readers that pin too much memory if the memory budget is full.
    fn update_room(&mut self) {
        self.space.update();
        self.report_room();
        let (disk, memory) = (&self.shared.disk, &self.shared.memory);
        let (held_bytes, lacks_bytes) = (disk.held_bytes(), disk.rewrite_lacks_bytes());
        let views = &self.shared.held_views;
        let lacks_space = held_bytes > 0 && lacks_bytes > 0;
        let readers = if lacks_space { views.end_outdated() } else { 0 };
        if readers > 0 {
            tracing::warn!(
                held_bytes,
                lacks_bytes,
                readers,
                "there is not enough disk space; ending reads that keep outdated files"
            );
        }
        let readers = match memory.must_end_readers() {
            true => views.end_beyond_budget(memory.bytes()),
            false => 0,
        };
        if readers > 0 {
            tracing::warn!(
                readers,
                "the memory budget is almost used up; ending reads that keep superseded data"
            );
        }
    }

    /// Searches the state for values that are only on disk.
    fn search_values(&mut self) {
        let view = self.replica.view();
        let cache = self.shared.memory.cache();
        self.values.search(cache, &view.machine.kv);
    }

    /// Reports to the replica how many bytes the log can still grow, whether the memory budget is used up, and whether commands
    /// may have to read values from disk. A sole voter never reports used-up memory, because it gets no entries from other
    /// members and refuses its clients' writes earlier.
    fn report_room(&mut self) {
        let bytes = self.space.log_room();
        self.replica.take(Input::LogRoom { bytes });
        let exhausted = self.shared.memory.is_exhausted() && !self.replica.is_sole_voter();
        if exhausted != self.memory_exhausted {
            self.memory_exhausted = exhausted;
            self.replica.take(Input::Memory { exhausted });
        }
        let source = self.values.source(self.shared.memory.cache());
        if source != self.value_source {
            self.value_source = source;
            self.replica.take(Input::Values { source });
        }
    }

    /// Returns the level that decides how soon a checkpoint is due: the disk's level, or `Low` instead of `Enough` while the
    /// memory budget is full. Values that no checkpoint contains must stay in memory, so they could keep the budget full
    /// indefinitely.
    fn checkpoint_level(&self) -> SpaceLevel {
        let level = self.space.level();
        if level == SpaceLevel::Enough && self.shared.memory.is_full() {
            return SpaceLevel::Low;
        }
        level
    }

    /// Runs one turn of the replica and publishes its results. Returns whether this member was removed, which ends the loop.
    /// Ends the process if the replica cannot continue for another reason.
    fn turn(&mut self) -> bool {
        let begun = Instant::now();
        let before = self.replica.status().applied;
        self.host.applying = begun;
        self.host.completions.flush();
        if std::mem::take(&mut self.proposed) {
            // If the state were still published, a write would copy it.
            self.shared.latest.clear();
        }
        if self.host.incoming.is_some() {
            self.values.state_may_be_replaced();
        }
        let halted = self.replica.turn(&mut self.host).err();
        // The replica has installed or dropped the snapshot.
        self.host.incoming = None;
        let appended = std::mem::take(&mut self.host.appended_bytes);
        self.space.written(appended, self.replica.held_bytes());
        self.report_room();
        let registrations = self.replica.registrations_in_log();
        if std::mem::replace(&mut self.registrations, registrations) != registrations {
            self.host
                .post
                .update_members(&self.replica.members_in_log());
        }
        let status = self.replica.status();
        if status.applied != before {
            let took = begun.elapsed();
            if took > self.slow_apply {
                warn_slow(&self.shared.metrics, took, status.applied - before);
            }
        }
        self.replica.take(Input::Turned {
            monotonic_ns: self.shared.monotonic_ns(),
            sync_ns: self.host.sync_ns,
        });
        let waiting = self.replica.proposals_waiting();
        self.shared.metrics.proposals_pending.set(waiting as i64);
        self.publish(&status);
        self.end_copy();
        match halted {
            None => false,
            Some(Halt::Removed) => true,
            Some(halt) => halt_process(halt),
        }
    }

    /// Marks a copied data directory as up to date once the member may vote again. Logs a failure; the next startup then treats
    /// the directory as a copy again.
    fn end_copy(&mut self) {
        if self.replica.is_copied() {
            return;
        }
        let Some(copy) = self.copy.take() else { return };
        self.shared.metrics.copied.set(0);
        match copy.mark_up_to_date() {
            Ok(()) => tracing::info!("the data directory was a copy; this member is up to date"),
            // A member must run even on a full disk. The next startup recognizes the copy again.
            Err(error) => {
                tracing::warn!(%error, "failed to mark the copied data directory as up to date");
            }
        }
    }

    /// Publishes the raft status to other threads. Logs a change of the leader and records its time.
    fn publish(&self, status: &Status) {
        let mut since = self.shared.status.leader_since_ns.load(Relaxed);
        let before = *self.shared.leader.borrow();
        if status.leader != before {
            since = match status.leader {
                MemberId::NONE => 0,
                _ => now_ns(),
            };
            self.log_leader_change(status);
            self.shared.leader.send_replace(status.leader);
        }
        self.shared.status.store(status, since);
    }

    /// Logs a change of the leader. Counts the change in the metrics if the cluster has a leader.
    fn log_leader_change(&self, status: &Status) {
        let (term, leader) = (status.term, status.leader.to_string());
        if status.leader == MemberId::NONE {
            tracing::warn!(term, "lost the leader");
            return;
        }
        self.shared.metrics.leader_changes.inc();
        let leads = status.role == Role::Leader;
        tracing::info!(term, leader, leads, "elected leader");
    }
}

/// Logs why the replica cannot continue and ends the process with the matching exit code. All answered requests are durable.
fn halt_process(halt: Halt) -> ! {
    tracing::error!("{halt}");
    let exit_code = match halt {
        Halt::UnknownCommand { .. } | Halt::LaterLevel { .. } => EXIT_UNKNOWN_COMMAND,
        Halt::Removed => EXIT_REMOVED,
        Halt::LogLost { .. } | Halt::Replaced => EXIT_LOG_LOST,
        Halt::Forked { .. } | Halt::OtherState => EXIT_FORKED,
        Halt::CorruptEntry { .. } => EXIT_CORRUPT_ENTRY,
    };
    std::process::exit(exit_code)
}

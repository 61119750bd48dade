//! The one OS thread that owns the replica: drain the inbox, tick, turn, publish.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use witan_replica::{
    host::Ticket,
    machine::{command::Stamp, view::View},
    replica::{Refusal, Replica, Role, Status},
};

use super::{
    Fault, INBOX_MAX, Identity, Inbound, Node, Shared,
    desk::{Letter, Outbox},
    host::RealHost,
    now_ns,
    status::Published,
    wake::Watchers,
};
use crate::{
    metrics::Metrics,
    storage::{Checkpointer, Hold, Log, Policy},
};

/// Requests taken from the inbox in one turn; they share one fsync.
const BATCH_MAX: usize = 4096;

/// Ticks made up for after a stall; more would start elections that nobody needs.
const CATCH_UP_TICKS_MAX: u32 = 2;

/// Ticks between two looks for requests whose client gave up.
const SWEEP_TICKS: u64 = 50;

/// What a node is made of.
pub struct Parts {
    /// The recovered or fresh replica.
    pub replica: Replica,
    /// Its log on disk.
    pub log: Log,
    /// Who this process is.
    pub identity: Identity,
    /// One heartbeat interval.
    pub tick: Duration,
    /// A request without an answer by then fails.
    pub request_timeout: Duration,
    /// A turn longer than this is warned about.
    pub slow_apply: Duration,
    /// Turns true when the process begins to stop.
    pub stopping: watch::Receiver<bool>,
    /// Series to feed.
    pub metrics: Metrics,
    /// Keeps other processes out of the data directory while the thread runs.
    pub hold: Hold,
}

/// Starts the replica's thread. `checkpointer` gets the node, which it tells what is durable.
pub fn start(
    parts: Parts,
    checkpointer: impl FnOnce(Node) -> std::io::Result<Checkpointer>,
) -> std::io::Result<(Node, JoinHandle<()>)> {
    let (inbox, requests) = sync_channel(INBOX_MAX);
    let tree_index = parts.replica.view().machine.tree.index();
    let shared = Arc::new(Shared {
        inbox,
        status: Published::default(),
        watchers: Watchers::default(),
        identity: parts.identity,
        request_timeout: parts.request_timeout,
        stopping: parts.stopping,
        metrics: parts.metrics,
    });
    let node = Node {
        shared: shared.clone(),
    };
    let host = RealHost {
        log: parts.log,
        shared: shared.clone(),
        writes: HashMap::new(),
        reads: HashMap::new(),
        outbox: Outbox::default(),
        bytes_unsaved: 0,
        tree_index,
    };
    let keeper = Keeper {
        replica: parts.replica,
        host,
        shared,
        checkpointer: checkpointer(node.clone())?,
        _hold: parts.hold,
        policy: Policy::default(),
        last_ticket: 0,
        ticks: 0,
        tick: parts.tick,
        slow_apply: parts.slow_apply,
        leader: 0,
        saved_index: 0,
        changed_at: Instant::now(),
    };
    let thread = std::thread::Builder::new().name("replica".into());
    Ok((node, thread.spawn(move || keeper.run(requests))?))
}

struct Keeper {
    replica: Replica,
    host: RealHost,
    shared: Arc<Shared>,
    checkpointer: Checkpointer,
    _hold: Hold,
    policy: Policy,
    last_ticket: u64,
    ticks: u64,
    tick: Duration,
    slow_apply: Duration,
    /// The leader at the last look, 0 for none.
    leader: u64,
    /// Applied index of the last state handed to the checkpoint.
    saved_index: u64,
    /// When the applied index last moved.
    changed_at: Instant,
}

impl Keeper {
    fn run(mut self, requests: Receiver<Inbound>) {
        let mut next_tick = Instant::now() + self.tick;
        self.turn();
        loop {
            let wait = next_tick.saturating_duration_since(Instant::now());
            let goes_on = match requests.recv_timeout(wait) {
                Ok(first) => self.take(first) && self.drain(&requests),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            let now = Instant::now();
            let late = now.saturating_duration_since(next_tick);
            if now >= next_tick {
                next_tick = self.pass_time(next_tick, late);
            }
            self.turn();
            if !goes_on {
                break;
            }
            self.offer_checkpoint();
        }
        // First, or the checkpoint's thread could wait for room in an inbox that nobody empties.
        drop(requests);
        self.checkpointer.stop();
        self.host.log.close();
    }

    /// Ticks as often as intervals have passed, up to a bound. Returns when to tick next.
    fn pass_time(&mut self, due: Instant, late: Duration) -> Instant {
        let behind = late.as_nanos() / self.tick.as_nanos().max(1);
        let times = u32::try_from(behind)
            .unwrap_or(u32::MAX)
            .min(CATCH_UP_TICKS_MAX)
            + 1;
        for _ in 0..times {
            self.ticks += 1;
            self.replica.tick(now_ns());
        }
        if self.ticks.is_multiple_of(SWEEP_TICKS) {
            self.host.sweep();
        }
        due.max(Instant::now().checked_sub(self.tick).unwrap_or(due)) + self.tick
    }

    /// Whether to go on.
    fn drain(&mut self, requests: &Receiver<Inbound>) -> bool {
        requests
            .try_iter()
            .take(BATCH_MAX)
            .all(|inbound| self.take(inbound))
    }

    /// Whether to go on.
    fn take(&mut self, inbound: Inbound) -> bool {
        match inbound {
            Inbound::Propose {
                command,
                now_ns,
                to,
            } => {
                let ticket = self.ticket();
                let stamp = Stamp {
                    now_ns,
                    ..Stamp::default()
                };
                match self.replica.propose(ticket, stamp, *command) {
                    Ok(()) => drop(self.host.writes.insert(ticket, to)),
                    Err(refusal) => drop(to.reply.send(Err(fault(refusal)))),
                }
            }
            Inbound::Read { to } => {
                let ticket = self.ticket();
                match self.replica.read(ticket) {
                    Ok(()) => drop(self.host.reads.insert(ticket, to)),
                    Err(refusal) => drop(to.reply.send(Err(fault(refusal)))),
                }
            }
            Inbound::View { to } => {
                let view = Arc::new(self.replica.view());
                self.host
                    .outbox
                    .put(to.desk, Letter::View(to.reply, Ok(view)));
            }
            Inbound::Durable { index } => {
                if let Some(below) = self.replica.durable(index) {
                    self.host.log.cut(below);
                }
            }
            Inbound::Stop => return false,
        }
        true
    }

    fn turn(&mut self) {
        let begun = Instant::now();
        let before = self.replica.status().applied;
        self.host.outbox.bring();
        self.replica.turn(&mut self.host);
        let status = self.replica.status();
        if status.applied != before {
            self.changed_at = Instant::now();
            let took = begun.elapsed();
            if took > self.slow_apply {
                self.shared.metrics.slow_apply.inc();
                let entries = status.applied - before;
                tracing::warn!(?took, entries, "apply request took too long");
            }
        }
        self.shared
            .metrics
            .proposals_pending
            .set(self.host.writes.len() as i64);
        let failures = &self.shared.metrics.checkpoint_failures;
        failures.inc_by(self.checkpointer.failures().saturating_sub(failures.get()));
        self.publish(&status);
    }

    fn publish(&mut self, status: &Status) {
        let mut since = self.shared.status.leader_since_ns();
        if status.leader != self.leader {
            self.leader = status.leader;
            since = if status.leader == 0 { 0 } else { now_ns() };
            self.announce(status);
        }
        self.shared.status.store(status, since);
    }

    fn announce(&self, status: &Status) {
        let (term, leader) = (status.term, format!("{:x}", status.leader));
        if status.leader == 0 {
            tracing::warn!(term, "lost the leader");
            return;
        }
        self.shared.metrics.leader_changes.inc();
        let leads = status.role == Role::Leader;
        tracing::info!(term, leader, leads, "elected leader");
    }

    /// Hands a frozen state to the checkpoint when enough log or enough quiet has passed.
    fn offer_checkpoint(&mut self) {
        let applied = self.replica.status().applied;
        if applied == self.saved_index {
            return;
        }
        let quiet_ms = u64::try_from(self.changed_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.policy.due(self.host.bytes_unsaved, quiet_ms) {
            let view: View = self.replica.view();
            self.checkpointer.offer(view);
            self.saved_index = applied;
            self.host.bytes_unsaved = 0;
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }
}

fn fault(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::NoLeader => Fault::NoLeader,
        Refusal::TooMany => Fault::TooMany,
        Refusal::TooLarge => Fault::TooLarge,
    }
}

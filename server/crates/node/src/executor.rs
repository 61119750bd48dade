//! The thread that executes long commands and frees the states that they replace, so that the replica's thread can continue.

use std::{
    sync::mpsc::{SyncSender, TrySendError, sync_channel},
    time::{Duration, Instant},
};

use witan_base::panics;
use witan_machine::StateMachine;
use witan_replica::long_command::LongCommand;

use super::{Node, NodeMetrics};

/// Maximum number of jobs that wait for the thread; when it is exceeded, the replica's thread does the work itself. At most one
/// job is a command; the other jobs free states.
const QUEUE_MAX: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// A handle to the thread, which ends when the handle is dropped.
pub(super) struct Executor {
    jobs: SyncSender<Job>,
    node: Node,
    slow_apply: Duration,
}

impl Executor {
    /// Starts the thread. It passes results to the replica of `node` and logs commands that take longer than `slow_apply`.
    pub(super) fn start(node: Node, slow_apply: Duration) -> std::io::Result<Self> {
        let (jobs, queued) = sync_channel::<Job>(QUEUE_MAX);
        panics::start_thread("executor", move || queued.iter().for_each(|job| job()))?;
        Ok(Self { jobs, node, slow_apply })
    }

    /// Queues a command, whose result is passed to the replica. If the queue is full, the calling thread executes the command.
    /// Counts and logs a slow command.
    pub(super) fn execute(&self, command: Box<LongCommand>) {
        let (node, slow_apply) = (self.node.clone(), self.slow_apply);
        self.run(Box::new(move || {
            let begun = Instant::now();
            let executed = Box::new(command.execute());
            let took = begun.elapsed();
            if took > slow_apply {
                warn_slow(&node.shared.metrics, took, 1);
            }
            node.executed((executed, took));
        }));
    }

    /// Queues a state to be dropped.
    pub(super) fn free(&self, machine: StateMachine) {
        self.run(Box::new(move || drop(machine)));
    }

    /// Passes a job to the thread. If the queue is full or the thread has ended, runs the job on the calling thread.
    fn run(&self, job: Job) {
        let refused = self.jobs.try_send(job);
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = refused {
            job();
        }
    }
}

/// Counts and logs a slow apply of `entries` entries: one long command, or one turn.
pub(super) fn warn_slow(metrics: &NodeMetrics, took: Duration, entries: u64) {
    metrics.slow_apply.inc();
    tracing::warn!(?took, entries, "apply request took too long");
}

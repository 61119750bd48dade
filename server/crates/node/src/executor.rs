//! The thread that executes long commands and frees the states that they replace, so that the replica's thread can continue.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::{Duration, Instant},
};

use witan_base::panics;
use witan_machine::StateMachine;
use witan_replica::long_command::LongCommand;

use super::{Node, NodeMetrics};

/// Maximum number of jobs that wait for the thread; when it is exceeded, the replica's thread does the work itself. At most one
/// job is a command; the others free states.
const QUEUE_MAX: usize = 4;

enum Work {
    Execute(Box<LongCommand>),
    Free(Box<StateMachine>),
}

/// A handle to the thread, which ends when the handle is dropped.
pub(super) struct Executor(SyncSender<Work>);

impl Executor {
    /// Starts the thread. It passes results to the replica of `node` and logs commands that take longer than `slow_apply`.
    pub(super) fn start(node: Node, slow_apply: Duration) -> std::io::Result<Self> {
        let (sender, work) = sync_channel(QUEUE_MAX);
        panics::start_thread("executor", move || run(&work, &node, slow_apply))?;
        Ok(Self(sender))
    }

    /// Passes a command to the thread. Returns the command as the error if the thread's queue is full or the thread has ended.
    pub(super) fn execute(&self, command: Box<LongCommand>) -> Result<(), Box<LongCommand>> {
        use std::sync::mpsc::TrySendError::{Disconnected, Full};
        match self.0.try_send(Work::Execute(command)) {
            Ok(()) => Ok(()),
            Err(Full(Work::Execute(command)) | Disconnected(Work::Execute(command))) => {
                Err(command)
            }
            Err(Full(Work::Free(_)) | Disconnected(Work::Free(_))) => Ok(()),
        }
    }

    /// Frees a state on the thread. If the queue is full, frees the state on the calling thread.
    pub(super) fn free(&self, machine: StateMachine) {
        drop(self.0.try_send(Work::Free(Box::new(machine))));
    }
}

/// Executes long commands and frees states until all senders are dropped. Logs commands that take longer than `slow_apply`.
fn run(work: &Receiver<Work>, node: &Node, slow_apply: Duration) {
    for work in work {
        match work {
            Work::Execute(command) => {
                let begun = Instant::now();
                let executed = Box::new(command.execute());
                let took = begun.elapsed();
                if took > slow_apply {
                    warn_slow(&node.shared.metrics, took, 1);
                }
                node.executed((executed, took));
            }
            Work::Free(machine) => drop(machine),
        }
    }
}

/// Counts and logs a slow apply of `entries` entries: one long command, or one turn.
pub(super) fn warn_slow(metrics: &NodeMetrics, took: Duration, entries: u64) {
    metrics.slow_apply.inc();
    tracing::warn!(?took, entries, "apply request took too long");
}

//! What a leader does on its own, in ticks: expiring v2 nodes and leases, lease checkpoints,
//! automatic compaction, retries of snapshots. The only source of proposals that no client
//! requested (I6).

pub(crate) mod auto_compaction;

use auto_compaction::{AutoCompaction, AutoCompactor};
use raft::{RawNode, SnapshotStatus};
use std::collections::BTreeMap;

use crate::{
    lessor::Lessor,
    limits::{EXPIRE_TICKS, SNAPSHOT_RETRY_TICKS},
    log::MemoryLog,
    machine::{
        StateMachine,
        command::Command,
        tree::{self, ExpireNodes, TreeOperation},
    },
};

#[derive(Debug)]
pub(crate) struct LeaderTasks {
    /// Automatic compaction of the v3 key space.
    pub(crate) compaction: AutoCompactor,
    /// Members to which a snapshot is being sent, with the tick at which it was sent.
    snapshots: BTreeMap<u64, u64>,
    /// Timers of the leases.
    pub(crate) lessor: Lessor,
}

impl LeaderTasks {
    pub(crate) fn new(compaction: Option<AutoCompaction>) -> Self {
        Self {
            compaction: AutoCompactor::new(compaction),
            snapshots: BTreeMap::new(),
            lessor: Lessor::default(),
        }
    }

    /// The commands to propose now: removal of expired v2 nodes and leases, and checkpoints of the
    /// time that leases have left.
    pub(crate) fn due(
        &mut self,
        machine: &StateMachine,
        leading: bool,
        tick: u64,
        now_ns: i64,
    ) -> Vec<Command> {
        let look = leading && tick.is_multiple_of(EXPIRE_TICKS);
        let expired = look
            && machine
                .tree
                .next_expiration_ns()
                .is_some_and(|at| at <= now_ns);
        let mut commands = Vec::new();
        if expired {
            commands.push(Command::Tree(tree::TreeCommand {
                operation: Some(TreeOperation::Expire(ExpireNodes {})),
            }));
        }
        let due = self.lessor.due(machine.kv.leases());
        commands.extend(due.commands().map(Command::Lease));
        commands
    }

    pub(crate) fn snapshot_sent(&mut self, to: u64, tick: u64) {
        self.snapshots.insert(to, tick);
    }

    /// Raft waits without a limit for the report of a snapshot. If none arrives in time, the
    /// snapshot is reported as failed and raft probes the member again.
    pub(crate) fn retry_snapshots(&mut self, raft: &mut RawNode<MemoryLog>, tick: u64) {
        let overdue: Vec<u64> = self
            .snapshots
            .iter()
            .filter(|(_, sent)| tick.saturating_sub(**sent) > SNAPSHOT_RETRY_TICKS)
            .map(|(to, _)| *to)
            .collect();
        for to in overdue {
            self.snapshots.remove(&to);
            raft.report_snapshot(to, SnapshotStatus::Failure);
        }
    }
}

//! What a leader does by itself, in ticks. The only source of proposals that no client asked for (I6).

pub(crate) mod compaction;

use compaction::{AutoCompaction, Compaction};
use raft::{RawNode, SnapshotStatus};
use std::collections::BTreeMap;

use crate::{
    limits::{EXPIRE_TICKS, SNAPSHOT_RETRY_TICKS},
    log::Log,
    machine::{
        Machine,
        command::Command,
        tree::{self, Expire, Verb},
    },
    timers::Timers,
};

#[derive(Debug)]
pub(crate) struct Chores {
    /// What becomes of old v3 revisions.
    pub(crate) compaction: Compaction,
    /// Members to which a snapshot is on its way, and the tick at which it left.
    snapshots: BTreeMap<u64, u64>,
    /// How long each lease has left.
    pub(crate) timers: Timers,
}

impl Chores {
    pub(crate) fn new(compaction: Option<AutoCompaction>) -> Self {
        Self {
            compaction: Compaction::new(compaction),
            snapshots: BTreeMap::new(),
            timers: Timers::default(),
        }
    }

    /// The commands that are to be proposed now: removal of expired v2 nodes and leases, and notes of
    /// what leases have left.
    pub(crate) fn due(
        &mut self,
        machine: &Machine,
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
            commands.push(Command::Tree(tree::Command {
                verb: Some(Verb::Expire(Expire {})),
            }));
        }
        let due = self.timers.due(machine.kv.leases());
        commands.extend(due.commands().map(Command::Lease));
        commands
    }

    pub(crate) fn snapshot_sent(&mut self, to: u64, tick: u64) {
        self.snapshots.insert(to, tick);
    }

    /// Raft waits for ever for word of a snapshot. One that brought no answer in time counts as
    /// lost, and raft probes the member again.
    pub(crate) fn retry_snapshots(&mut self, raft: &mut RawNode<Log>, tick: u64) {
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

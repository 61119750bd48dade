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
};

#[derive(Debug)]
pub(crate) struct Chores {
    /// What becomes of old v3 revisions.
    pub(crate) compaction: Compaction,
    /// Members to which a snapshot is on its way, and the tick at which it left.
    snapshots: BTreeMap<u64, u64>,
}

impl Chores {
    pub(crate) fn new(compaction: Option<AutoCompaction>) -> Self {
        Self {
            compaction: Compaction::new(compaction),
            snapshots: BTreeMap::new(),
        }
    }

    /// The command that is to be proposed now, if any: removal of expired v2 nodes.
    pub(crate) fn due(
        &self,
        machine: &Machine,
        leading: bool,
        tick: u64,
        now_ns: i64,
    ) -> Option<Command> {
        let look = leading && tick.is_multiple_of(EXPIRE_TICKS);
        let expired = look
            && machine
                .tree
                .next_expiration_ns()
                .is_some_and(|at| at <= now_ns);
        expired.then(|| {
            Command::Tree(tree::Command {
                verb: Some(Verb::Expire(Expire {})),
            })
        })
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

//! The leader's own tasks, scheduled in ticks: expiration of v2 nodes and leases, lease checkpoints, automatic compaction and
//! retries of snapshots. All other proposals come from inputs (I6).

pub(crate) mod auto_compaction;

use auto_compaction::{AutoCompaction, AutoCompactor};
use raft::{RawNode, SnapshotStatus};
use std::collections::BTreeMap;

use crate::{
    lessor::Lessor,
    limits::{EXPIRE_TICKS, SNAPSHOT_REPORT_TICKS},
    log::MemoryLog,
};
use witan_machine::{StateMachine, command::Command};
use witan_tree::{ExpireNodes, TreeOperation};

/// Number of ticks for which a member's last response is remembered.
const HEARD_TICKS: u64 = 1000;

#[derive(Debug)]
pub(crate) struct LeaderTasks {
    pub(crate) compaction: AutoCompactor,
    /// Members to which a snapshot is being sent, with the tick at which the transfer started.
    snapshots: BTreeMap<u64, u64>,
    /// The last tick at which each member was known to respond. raft-rs forgets responses at each quorum check.
    heard: BTreeMap<u64, u64>,
    pub(crate) lessor: Lessor,
}

impl LeaderTasks {
    /// Creates the tasks of a member that does not lead yet. Without `compaction`, automatic compaction is disabled. Without
    /// `lease_checkpoint_s`, the time between lease checkpoints is derived from the TTL.
    pub(crate) fn new(compaction: Option<AutoCompaction>, lease_checkpoint_s: Option<i64>) -> Self {
        Self {
            compaction: AutoCompactor::new(compaction),
            snapshots: BTreeMap::new(),
            heard: BTreeMap::new(),
            lessor: Lessor::new(lease_checkpoint_s),
        }
    }

    /// Returns the commands to propose now: expirations of v2 nodes (every [`EXPIRE_TICKS`] ticks) and leases, and checkpoints
    /// of remaining TTLs. Schedules the next checks of these leases. `leads` is the term that this member leads; `None` yields
    /// no commands. Omits lease commands until the lessor has timers of that term. `now_ns` is the wall clock.
    pub(crate) fn due(
        &mut self,
        machine: &StateMachine,
        leads: Option<u64>,
        tick: u64,
        now_ns: i64,
    ) -> Vec<Command> {
        let Some(term) = leads else {
            return Vec::new();
        };
        let look = tick.is_multiple_of(EXPIRE_TICKS);
        let expired = look
            && machine
                .tree
                .next_expiration_ns()
                .is_some_and(|at| at <= now_ns);
        let mut commands = Vec::new();
        if expired {
            commands.push(Command::Tree(witan_tree::TreeCommand {
                operation: Some(TreeOperation::Expire(ExpireNodes {})),
            }));
        }
        // Timers of an earlier term lack the keep-alives of this term.
        if self.lessor.term() == Some(term) {
            let due = self.lessor.due(machine.kv.leases());
            commands.extend(due.commands().map(Command::Lease));
        }
        commands
    }

    /// Records that a snapshot transfer to a member started at `tick`. Returns `false` if one is already in progress.
    pub(crate) fn begin_snapshot(&mut self, to: u64, tick: u64) -> bool {
        let begins = !self.snapshots.contains_key(&to);
        if begins {
            self.snapshots.insert(to, tick);
        }
        begins
    }

    /// Returns whether a snapshot is being sent to the member `to`.
    pub(crate) fn is_sending_snapshot(&self, to: u64) -> bool {
        self.snapshots.contains_key(&to)
    }

    /// Records `tick` as the time of these members' last responses. Forgets members silent for more than [`HEARD_TICKS`].
    pub(crate) fn record_heard(&mut self, members: impl Iterator<Item = u64>, tick: u64) {
        self.heard.extend(members.map(|member| (member, tick)));
        self.heard
            .retain(|_, at| tick.saturating_sub(*at) <= HEARD_TICKS);
    }

    /// Returns the tick of a member's last response, or `None` if the member was silent for more than [`HEARD_TICKS`].
    pub(crate) fn last_heard_tick(&self, member: u64) -> Option<u64> {
        self.heard.get(&member).copied()
    }

    /// Forgets the snapshot being sent to a member, because the transport has reported its result.
    pub(crate) fn snapshot_ended(&mut self, to: u64) {
        self.snapshots.remove(&to);
    }

    /// If the transport has not reported a snapshot's result for [`SNAPSHOT_REPORT_TICKS`] ticks, reports the snapshot to raft
    /// as failed and forgets it. Raft then probes the member again instead of waiting forever.
    pub(crate) fn fail_unreported_snapshots(&mut self, raft: &mut RawNode<MemoryLog>, tick: u64) {
        let lost = self.snapshots.extract_if(.., |_, begun| {
            tick.saturating_sub(*begun) > SNAPSHOT_REPORT_TICKS
        });
        for (to, _) in lost {
            raft.report_snapshot(to, SnapshotStatus::Failure);
        }
    }
}

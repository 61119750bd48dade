//! A replica between two turns as a value, of which another one is made that goes on in the same way: a recording that has
//! lost its start begins there.
//!
//! To freeze a replica takes as long as to copy what waits in it, within bounds. It is refused where state cannot be set
//! again; such states last for a few turns.

mod raft_state;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use raft::RawNode;
use serde::{Deserialize, Serialize};

use super::{
    ApplyQueue, AskedPreVote, Config, Contradiction, CopiedDisk, DeferredCommits, DiskRoom,
    Failover, HeldProposal, OwnRemoval, PendingRemoval, Replica, Role, boot, peers::Acknowledgment,
    proposing::ProposalBatch,
};
use crate::{
    batches_in_flight::BatchesInFlight,
    host::Connection,
    leader_tasks::LeaderTasks,
    lease_requests::LeaseRequests,
    log::{FrozenLog, MemoryLog},
    proposals::Proposals,
    read_index::ReadIndexQueue,
    request_group::RequestGroup,
    taken_messages::TakenMessages,
};
use raft_state::FrozenRaft;
use witan_machine::{record::CorruptRecord, view::View};

/// A replica between two turns.
#[derive(Debug)]
pub struct FrozenReplica {
    /// The state, and its place in the log.
    pub view: View,
    /// Everything else.
    pub state: FrozenState,
}

/// Declares [`FrozenState`] with the fields that are copied as they are, and what copies them.
macro_rules! frozen {
    ({ $($early:ident: $early_type:ty,)* } leader_tasks { $($late:ident: $late_type:ty,)* }) => {
        /// The fields of a replica beside its state and settings.
        #[derive(Debug, Serialize, Deserialize)]
        pub struct FrozenState {
            raft: FrozenRaft,
            log: FrozenLog,
            $($early: $early_type,)*
            leader_tasks: LeaderTasks,
            $($late: $late_type,)*
        }

        impl Replica {
            /// Copies the replica for [`Self::thaw`]; `None` if that is not possible after this turn, or would take too
            /// long.
            pub fn freeze(&self) -> Option<FrozenReplica> {
                if !self.is_quiet() {
                    return None;
                }
                let state = FrozenState {
                    raft: raft_state::freeze(&self.raft, self.status().role)?,
                    log: self.raft.store().freeze()?,
                    $($early: self.$early.clone(),)*
                    leader_tasks: self.leader_tasks.freeze(),
                    $($late: self.$late.clone(),)*
                };
                Some(FrozenReplica { view: self.view(), state })
            }

            /// Whether the fields that are not frozen hold nothing, as between most turns. It lists all fields: one that is
            /// added must be frozen, or be looked at here.
            fn is_quiet(&self) -> bool {
                let Self {
                    apply_queue,
                    batch,
                    lease_answers,
                    outbox,
                    unanswered,
                    halt,
                    incoming_snapshot,
                    // in the view and in the settings
                    config: _,
                    machine: _,
                    // in the frozen state
                    raft: _,
                    $($early: _,)*
                    leader_tasks: _,
                    $($late: _,)*
                } = self;
                apply_queue.is_idle()
                    && batch.is_empty()
                    && lease_answers.is_empty()
                    && outbox.is_empty()
                    && unanswered.is_empty()
                    && halt.is_none()
                    && incoming_snapshot.is_none()
            }

            /// A replica that goes on as the one that was frozen, with the same settings. `CorruptRecord` if the parts
            /// contradict each other; raft panics if they contradict what it never does.
            pub fn thaw(config: Config, frozen: FrozenReplica) -> Result<Self, CorruptRecord> {
                let FrozenReplica { view: View { machine, position }, state } = frozen;
                let applied = position.index;
                let log = MemoryLog::thaw(position, state.log, config.tuning.catch_up_entries)?;
                let logger = slog::Logger::root(slog::Discard, slog::o!());
                let mut raft = RawNode::new(&boot::raft_config(&config, applied), log, &logger)
                    .map_err(|e| CorruptRecord::new(format!("raft refuses the frozen state: {e}")))?;
                raft_state::thaw(state.raft, &mut raft)?;
                Ok(Self {
                    config,
                    raft,
                    machine,
                    $($early: state.$early,)*
                    leader_tasks: state.leader_tasks.thaw(),
                    $($late: state.$late,)*
                    apply_queue: ApplyQueue::default(),
                    batch: ProposalBatch::default(),
                    lease_answers: Vec::new(),
                    outbox: Vec::new(),
                    unanswered: Vec::new(),
                    halt: None,
                    incoming_snapshot: None,
                })
            }
        }
    };
}

frozen! {
    {
        proposals: Proposals,
        group: RequestGroup<HeldProposal>,
        forwarded_bytes: BTreeMap<u64, usize>,
        batches: BatchesInFlight,
        sync_cost_ns: u64,
        taken_messages: TakenMessages,
        version_change: (u64, u64),
        read_index: ReadIndexQueue,
    }
    leader_tasks
    {
        disk_room: DiskRoom,
        probes: BTreeMap<u64, (u64, u64)>,
        acknowledged: Acknowledgment,
        deferred_commits: DeferredCommits,
        ticks: u64,
        term_max: u64,
        campaigns: u64,
        role_and_term: (Role, u64),
        durable_checkpoints: (u64, u64),
        commit_unpersisted: bool,
        lease_requests: LeaseRequests,
        term_and_leader: (u64, u64),
        monotonic_ns: u64,
        failover: Option<Failover>,
        asked_pre_vote: Option<AskedPreVote>,
        handovers: u32,
        pending_removal: PendingRemoval,
        own_removal: OwnRemoval,
        contradiction: Option<Contradiction>,
        copied: Option<CopiedDisk>,
        refused_at: BTreeSet<u64>,
        removed_in_log: BTreeMap<u64, u64>,
        rebuilds: bool,
        other_lineage_term: Option<u64>,
        state_asked_at: u64,
    }
}

impl FrozenState {
    /// Replaces each encoded command that waits by what `map` makes of it.
    pub fn map_commands(&mut self, map: &mut dyn FnMut(Bytes) -> Bytes) {
        self.log.map_commands(map);
        self.proposals.map_commands(map);
        self.group
            .requests_mut()
            .for_each(|held| held.map_commands(map));
    }

    /// Replaces the connection of each request that waits. Equal ones must stay equal.
    pub fn map_connections(&mut self, map: &mut dyn FnMut(Connection) -> Connection) {
        self.group.map_connections(map);
    }
}

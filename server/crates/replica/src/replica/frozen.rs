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
    ApplyQueue, BeyondLog, Config, DeferredCommits, DiskRoom, Failover, HeldProposal,
    PendingRemoval, Replica, Role, boot, peers::Acknowledgment, proposing::ProposalBatch,
};
use crate::{
    batches_in_flight::BatchesInFlight,
    host::Connection,
    leader_tasks::LeaderTasks,
    lease_requests::LeaseRequests,
    limits::FROZEN_REQUESTS_MAX,
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

/// The fields of a replica beside its state and settings.
#[derive(Debug, Serialize, Deserialize)]
pub struct FrozenState {
    raft: FrozenRaft,
    log: FrozenLog,
    turn_keys_max: u64,
    proposals: Proposals,
    group: RequestGroup<HeldProposal>,
    forwarded_bytes: BTreeMap<u64, usize>,
    batches: BatchesInFlight,
    sync_cost_ns: u64,
    taken_messages: TakenMessages,
    version_change: (u64, u64),
    read_index: ReadIndexQueue,
    leader_tasks: LeaderTasks,
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
    handovers: u32,
    pending_removal: PendingRemoval,
    leaving_since: Option<u64>,
    beyond_log: Option<BeyondLog>,
    removed_at: BTreeSet<u64>,
    removed_in_log: BTreeMap<u64, u64>,
    rebuilds: bool,
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

impl Replica {
    /// Copies the replica for [`Self::thaw`]; `None` if that is not possible after this turn, or would take too long.
    pub fn freeze(&self) -> Option<FrozenReplica> {
        let waiting = self.proposals.len() + self.group.len();
        let requests = waiting + self.read_index.len() + self.lease_requests.len();
        if !self.is_quiet() || requests > FROZEN_REQUESTS_MAX {
            return None;
        }
        let state = FrozenState {
            raft: raft_state::freeze(&self.raft, self.status().role)?,
            log: self.raft.store().freeze()?,
            turn_keys_max: self.apply_queue.turn_keys_max,
            proposals: self.proposals.clone(),
            group: self.group.clone(),
            forwarded_bytes: self.forwarded_bytes.clone(),
            batches: self.batches.clone(),
            sync_cost_ns: self.sync_cost_ns,
            taken_messages: self.taken_messages.clone(),
            version_change: self.version_change,
            read_index: self.read_index.clone(),
            leader_tasks: self.leader_tasks.freeze(),
            disk_room: self.disk_room,
            probes: self.probes.clone(),
            acknowledged: self.acknowledged,
            deferred_commits: self.deferred_commits.clone(),
            ticks: self.ticks,
            term_max: self.term_max,
            campaigns: self.campaigns,
            role_and_term: self.role_and_term,
            durable_checkpoints: self.durable_checkpoints,
            commit_unpersisted: self.commit_unpersisted,
            lease_requests: self.lease_requests.clone(),
            term_and_leader: self.term_and_leader,
            monotonic_ns: self.monotonic_ns,
            failover: self.failover,
            handovers: self.handovers,
            pending_removal: self.pending_removal.clone(),
            leaving_since: self.leaving_since,
            beyond_log: self.beyond_log,
            removed_at: self.removed_at.clone(),
            removed_in_log: self.removed_in_log.clone(),
            rebuilds: self.rebuilds,
        };
        Some(FrozenReplica { view: self.view(), state })
    }

    /// Whether the fields that are not frozen hold nothing, as between most turns. It lists all fields: one that is added must
    /// be frozen, or be looked at here.
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
            proposals: _,
            group: _,
            forwarded_bytes: _,
            batches: _,
            sync_cost_ns: _,
            taken_messages: _,
            version_change: _,
            read_index: _,
            leader_tasks: _,
            disk_room: _,
            probes: _,
            acknowledged: _,
            deferred_commits: _,
            ticks: _,
            term_max: _,
            campaigns: _,
            role_and_term: _,
            durable_checkpoints: _,
            commit_unpersisted: _,
            lease_requests: _,
            term_and_leader: _,
            monotonic_ns: _,
            failover: _,
            handovers: _,
            pending_removal: _,
            leaving_since: _,
            beyond_log: _,
            removed_at: _,
            removed_in_log: _,
            rebuilds: _,
        } = self;
        apply_queue.is_idle()
            && batch.is_empty()
            && lease_answers.is_empty()
            && outbox.is_empty()
            && unanswered.is_empty()
            && halt.is_none()
            && incoming_snapshot.is_none()
    }

    /// A replica that goes on as the one that was frozen, with the same settings. `CorruptRecord` if the parts contradict
    /// each other; raft panics if they contradict what it never does.
    pub fn thaw(config: Config, frozen: FrozenReplica) -> Result<Self, CorruptRecord> {
        let FrozenReplica { view: View { machine, position }, state } = frozen;
        let applied = position.index;
        let log = MemoryLog::thaw(position, state.log)?;
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut raft = RawNode::new(&boot::raft_config(&config, applied), log, &logger)
            .map_err(|e| CorruptRecord::new(format!("raft refuses the frozen state: {e}")))?;
        raft_state::thaw(state.raft, &mut raft)?;
        Ok(Self {
            config,
            raft,
            machine,
            apply_queue: ApplyQueue::with_turn_keys_max(state.turn_keys_max),
            proposals: state.proposals,
            group: state.group,
            forwarded_bytes: state.forwarded_bytes,
            batches: state.batches,
            sync_cost_ns: state.sync_cost_ns,
            batch: ProposalBatch::default(),
            taken_messages: state.taken_messages,
            version_change: state.version_change,
            read_index: state.read_index,
            leader_tasks: state.leader_tasks.thaw(),
            disk_room: state.disk_room,
            probes: state.probes,
            acknowledged: state.acknowledged,
            deferred_commits: state.deferred_commits,
            ticks: state.ticks,
            term_max: state.term_max,
            campaigns: state.campaigns,
            role_and_term: state.role_and_term,
            durable_checkpoints: state.durable_checkpoints,
            commit_unpersisted: state.commit_unpersisted,
            lease_requests: state.lease_requests,
            lease_answers: Vec::new(),
            outbox: Vec::new(),
            unanswered: Vec::new(),
            term_and_leader: state.term_and_leader,
            monotonic_ns: state.monotonic_ns,
            failover: state.failover,
            handovers: state.handovers,
            pending_removal: state.pending_removal,
            leaving_since: state.leaving_since,
            halt: None,
            beyond_log: state.beyond_log,
            removed_at: state.removed_at,
            removed_in_log: state.removed_in_log,
            rebuilds: state.rebuilds,
            incoming_snapshot: None,
        })
    }
}

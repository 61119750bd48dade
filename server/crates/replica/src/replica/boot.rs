//! Starts a replica from genesis or from recovered state, and chooses raft's settings.

use std::collections::{BTreeMap, BTreeSet};

use raft::{Config as RaftConfig, RawNode, ReadOnlyOption, eraftpb::HardState};

use super::{ApplyQueue, Config, CopiedDisk, OwnRemoval, PendingRemoval, Replica, Role, Room};
use crate::{
    batches_in_flight::BatchesInFlight,
    host::Recovered,
    leader_tasks::LeaderTasks,
    lease_requests::LeaseRequests,
    limits::{APPLY_ROUND_BYTES, INFLIGHT_MESSAGES, MESSAGE_BYTES_MAX, TERM_RISE_MAX},
    log::MemoryLog,
    proposals::Proposals,
    read_index::ReadIndexQueue,
    request_group::RequestGroup,
    taken_messages::TakenMessages,
    wire::{self, EntryError},
};
use witan_machine::{
    StateMachine, levels,
    member::Member,
    record::CorruptRecord,
    view::{Position, View},
};

/// Index of a cluster's first state, which no entry precedes.
pub(super) const GENESIS_INDEX: u64 = 1;

/// Returns the initial state of a new cluster: a snapshot at index 1 and term 1 with the initial members. Each member advances
/// the v2 index by one, because etcd stores members in the v2 store.
pub fn genesis(cluster_id: u64, members: Vec<Member>) -> View {
    let mut machine = StateMachine::default();
    machine.members.cluster_id = cluster_id;
    let (learners, voters): (Vec<_>, Vec<_>) = members.iter().partition(|m| m.learner);
    let position = Position {
        index: GENESIS_INDEX,
        term: 1,
        voters: voters.iter().map(|m| m.id).collect(),
        learners: learners.iter().map(|m| m.id).collect(),
        ..Position::default()
    };
    for member in members {
        machine.tree.advance_index();
        machine.members.by_id.insert(member.member_id(), member);
    }
    View { machine, position }
}

impl Replica {
    /// Creates a replica from recovered state. In a new cluster, the checkpoint is [`genesis`]. A sole voter campaigns
    /// immediately. Fails if there is no checkpoint, or if the checkpoint has a feature level above this release. Also fails if
    /// the log ends before the checkpoint or the stored commit index, or has a gap or a corrupt entry. Also fails if a later
    /// release wrote the hard state or a record.
    pub fn new(config: Config, recovered: Recovered) -> Result<Self, CorruptRecord> {
        let checkpoint = recovered
            .checkpoint
            .ok_or_else(|| CorruptRecord::new("no checkpoint: the member was never initialized"))?;
        levels::check(checkpoint.machine.members.level(), config.level)?;
        let place = checkpoint.position.clone();
        let stored = recovered.hard_state.as_ref().map(wire::decode_hard_state);
        let mut hard_state = stored.transpose()?.unwrap_or_default();
        // Each record is freed once it is decoded.
        let records = recovered.records.into_iter();
        let entries = records.map(|record| wire::decode_record(&record));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let removed = check_log_and_find_forced_removals(&place, &entries, &hard_state)?;
        raise(&mut hard_state, &place);
        let hard_term = hard_state.term;
        let copied = config.copied.then(|| CopiedDisk::new(&entries));
        let mut log = MemoryLog::new(place.clone(), entries, hard_state);
        log.keep_entries(config.tuning.catch_up_entries, config.tuning.memory_bytes);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raft = RawNode::new(&raft_config(&config, place.index), log, &logger)
            .map_err(|e| CorruptRecord::new(format!("raft refuses the recovered state: {e}")))?;
        let replica = Self {
            proposals: Proposals::new(config.id, config.seed),
            group: RequestGroup::default(),
            forwarded_bytes: BTreeMap::new(),
            batches: BatchesInFlight::default(),
            sync_cost_ns: 0,
            unsent_bytes: 0,
            taken_messages: TakenMessages::default(),
            version_change: (0, 0),
            read_index: ReadIndexQueue::new(config.id, config.seed),
            lease_requests: LeaseRequests::default(),
            leader_tasks: LeaderTasks::new(config.compaction, config.tuning.lease_checkpoint_s),
            raft,
            machine: checkpoint.machine,
            apply_queue: ApplyQueue::default(),
            disk_room: Room::default(),
            probes: BTreeMap::new(),
            acknowledged: Default::default(),
            deferred_commits: Default::default(),
            ticks: 0,
            term_max: hard_term + TERM_RISE_MAX,
            campaigns: 0,
            role_and_term: (Role::Follower, 0),
            durable_checkpoints: (0, place.index),
            commit_unpersisted: None,
            rebuilds: false,
            other_lineage_term: None,
            state_asked_at: 0,
            incoming_snapshot: None,
            outbox: Vec::new(),
            answers: Vec::new(),
            message_faults: Vec::new(),
            cut_below: None,
            term_and_leader: (0, 0),
            monotonic_ns: 0,
            failover: None,
            asked_pre_vote: None,
            handovers: 0,
            pending_removal: PendingRemoval::default(),
            own_removal: OwnRemoval::default(),
            halt: None,
            contradiction: None,
            copied,
            refused_at: BTreeSet::new(),
            removed_in_log: removed,
            config,
        };
        replica.begin()
    }

    /// Handles a removal of this member in the recovered state, and ends the wait of a copied disk that need not wait.
    /// Campaigns if this member is the sole voter.
    fn begin(mut self) -> Result<Self, CorruptRecord> {
        self.notice_own_removal();
        self.settle_copy();
        if self.is_sole_voter() {
            self.raft
                .campaign()
                .map_err(|e| CorruptRecord::new(format!("cannot campaign: {e}")))?;
        }
        Ok(self)
    }
}

/// Returns raft's settings for a member that has applied the entries up to `applied`.
pub(super) fn raft_config(config: &Config, applied: u64) -> RaftConfig {
    RaftConfig {
        id: config.id,
        election_tick: config.election_ticks,
        heartbeat_tick: config.heartbeat_ticks,
        applied,
        max_size_per_msg: MESSAGE_BYTES_MAX,
        max_inflight_msgs: INFLIGHT_MESSAGES,
        check_quorum: true,
        pre_vote: config.pre_vote,
        read_only_option: ReadOnlyOption::Safe,
        max_committed_size_per_ready: APPLY_ROUND_BYTES,
        ..RaftConfig::default()
    }
}

/// Raises the commit index to the applied index, because raft would otherwise panic. If the checkpoint has a higher term,
/// raises the term and drops the vote, which is valid only in its own term.
fn raise(hard_state: &mut HardState, place: &Position) {
    hard_state.commit = hard_state.commit.max(place.index);
    if place.term > hard_state.term {
        (hard_state.term, hard_state.vote) = (place.term, 0);
    }
}

/// Checks that a checkpoint, the log entries after it and the stored commit index are consistent, and that no entry after the
/// checkpoint is corrupt. If the log contains entries of `--force-new-cluster`, returns the members that committed entries
/// remove, with the indexes of these entries; otherwise an empty map.
fn check_log_and_find_forced_removals(
    place: &Position,
    entries: &[raft::eraftpb::Entry],
    hard_state: &HardState,
) -> Result<BTreeMap<u64, u64>, CorruptRecord> {
    let mut last = place.index;
    if let (Some(first), Some(end)) = (entries.first(), entries.last()) {
        if first.index > place.index + 1 {
            return Err(CorruptRecord::new(format!(
                "the log begins at {}, but the checkpoint ends at {}: entries in between are missing",
                first.index, place.index
            )));
        }
        if end.index < place.index {
            return Err(CorruptRecord::new(format!(
                "the log ends at {} below the checkpoint's {}",
                end.index, place.index
            )));
        }
        for pair in entries.windows(2) {
            if pair[1].index != pair[0].index + 1 {
                return Err(CorruptRecord::new(format!(
                    "the log has a gap after {}",
                    pair[0].index
                )));
            }
        }
        last = end.index;
    }
    if hard_state.commit > last {
        return Err(CorruptRecord::new(format!(
            "entries up to {} were committed, but the log ends at {last}",
            hard_state.commit
        )));
    }
    let (mut removed, mut is_forced) = (BTreeMap::new(), false);
    for entry in entries.iter().filter(|e| e.index > place.index) {
        match wire::decode_raft_entry(entry) {
            Ok((command, Some(change)))
                if entry.index <= hard_state.commit && wire::is_removal(&change) =>
            {
                removed.insert(change.node_id, entry.index);
                // An entry without a stamp was not proposed by a member.
                is_forced |= command.stamp.is_none();
            }
            // An entry with unknown parts may never be committed. If it is committed, the member halts when it tries to apply
            // the entry.
            Ok(_) | Err(EntryError::Unknown) => {}
            Err(EntryError::Corrupt(corrupt)) => return Err(corrupt),
        }
    }
    // A removal that members proposed may still be rejected when it is applied, and the member to remove can lead until then.
    if !is_forced {
        removed.clear();
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        host::LogRecord,
        replica::tests::{config, first_state},
    };

    /// In these bytes, a later release may store data that restricts the member, for example in its votes.
    #[test]
    fn a_hard_state_and_a_log_record_of_a_later_release_are_refused() {
        let mut hard_state = wire::hard_state(3, 2, 1).to_vec();
        hard_state.extend([0xc0, 0x3e, 1]);
        let unknown_kind = LogRecord { index: 2, term: 1, payload: Bytes::from_static(&[99]) };
        for (hard_state, records) in [
            (Bytes::from(hard_state), Vec::new()),
            (wire::hard_state(3, 2, 1), vec![unknown_kind]),
        ] {
            let recovered = Recovered {
                checkpoint: Some(first_state()),
                hard_state: Some(hard_state),
                records,
            };
            let error =
                Replica::new(config(), recovered).expect_err("a later release wrote the bytes");
            assert!(error.is_later(), "{error}");
        }
    }

    #[test]
    fn a_state_above_the_level_of_this_release_is_refused() {
        for (raised_level, starts) in [(0, true), (levels::OWN, true), (levels::OWN + 1, false)] {
            let mut checkpoint = first_state();
            checkpoint.machine.members.raised_level = raised_level;
            let recovered = Recovered { checkpoint: Some(checkpoint), ..Recovered::default() };
            let started = Replica::new(config(), recovered);
            let is_later = started.as_ref().is_err_and(CorruptRecord::is_later);
            assert_eq!(
                (started.is_ok(), is_later),
                (starts, !starts),
                "{raised_level}"
            );
        }
    }

    #[test]
    fn a_vote_of_an_earlier_term_than_the_checkpoint_is_dropped() {
        for (checkpoint_term, vote) in [(3, 2), (4, 0)] {
            let mut checkpoint = first_state();
            checkpoint.position.term = checkpoint_term;
            let recovered = Recovered {
                checkpoint: Some(checkpoint),
                hard_state: Some(wire::hard_state(3, 2, 1)),
                ..Recovered::default()
            };
            let replica = Replica::new(config(), recovered).expect("the member starts");
            let raft = &replica.raft.raft;
            assert_eq!((raft.term, raft.vote), (checkpoint_term, vote));
        }
    }
}

//! Raft's part of a frozen replica: what its hard state and its log do not say.

use bytes::Bytes;
use raft::{Progress, ProgressState, RawNode, StateRole, eraftpb::Message};
use serde::{Deserialize, Serialize};

use crate::{
    limits::{FROZEN_ENTRIES_MAX, INFLIGHT_MESSAGES},
    log::MemoryLog,
    replica::Role,
    wire::{self, PeerMessage},
};
use witan_machine::record::CorruptRecord;

/// See the module's description.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FrozenRaft {
    role: Role,
    leader: u64,
    lead_transferee: Option<u64>,
    pending_conf_index: u64,
    pending_request_snapshot: u64,
    election_elapsed: usize,
    election_timeout: usize,
    /// The ReadIndex requests that wait, in their order.
    reads: Vec<FrozenRead>,
    members: Vec<FrozenProgress>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FrozenRead {
    #[serde(with = "crate::hex_bytes")]
    request: Bytes,
    index: u64,
    acknowledged_by: Vec<u64>,
}

/// The progress of a member's log, as the leader knows it.
#[derive(Debug, Serialize, Deserialize)]
struct FrozenProgress {
    member: u64,
    matched: u64,
    next_idx: u64,
    #[serde(with = "FrozenProgressState")]
    state: ProgressState,
    paused: bool,
    pending_snapshot: u64,
    pending_request_snapshot: u64,
    recent_active: bool,
    committed_index: u64,
    /// The last entries of the messages on their way.
    in_flight: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ProgressState")]
enum FrozenProgressState {
    Probe,
    Replicate,
    Snapshot,
}

/// Copies raft's state; `None` if it cannot be set again, which another turn may change: in a campaign, with effects that
/// were not taken, between two heartbeats of a leader that sends none with each tick, or with too much of it.
pub(super) fn freeze(node: &RawNode<MemoryLog>, role: Role) -> Option<FrozenRaft> {
    let raft = &node.raft;
    let log = &raft.raft_log;
    let campaigns = match role {
        Role::Follower | Role::Leader => false,
        Role::PreCandidate | Role::Candidate => true,
    };
    let is_quiet = !node.has_ready()
        && log.persisted == log.last_index()
        && log.committed == log.applied
        && log.applied == node.store().position().index;
    if campaigns || !is_quiet || raft.heartbeat_elapsed() != 0 {
        return None;
    }
    let read = |context: &Vec<u8>| {
        let status = raft.read_only.pending_read_index.get(context)?;
        let mut acknowledged_by: Vec<u64> = status.acks.iter().copied().collect();
        acknowledged_by.sort_unstable();
        Some(FrozenRead {
            request: wire::encode_message(&status.req),
            index: status.index,
            acknowledged_by,
        })
    };
    let members = raft.prs().iter();
    let mut members: Vec<FrozenProgress> = members
        .map(|(member, progress)| freeze_progress(*member, progress))
        .collect::<Option<_>>()?;
    members.sort_unstable_by_key(|progress| progress.member);
    Some(FrozenRaft {
        role,
        leader: raft.leader_id,
        lead_transferee: raft.lead_transferee,
        pending_conf_index: raft.pending_conf_index,
        pending_request_snapshot: raft.pending_request_snapshot,
        election_elapsed: raft.election_elapsed,
        election_timeout: raft.randomized_election_timeout(),
        reads: raft
            .read_only
            .read_index_queue
            .iter()
            .map(read)
            .collect::<Option<_>>()?,
        members,
    })
}

/// Copies what the leader knows of another member; `None` if a part of it cannot be copied.
fn freeze_progress(member: u64, progress: &Progress) -> Option<FrozenProgress> {
    Some(FrozenProgress {
        member,
        matched: progress.matched,
        next_idx: progress.next_idx,
        state: progress.state,
        paused: progress.paused,
        pending_snapshot: progress.pending_snapshot,
        pending_request_snapshot: progress.pending_request_snapshot,
        recent_active: progress.recent_active,
        committed_index: progress.committed_index,
        in_flight: in_flight(progress)?,
    })
}

/// The last entries of the messages on their way, which raft only lets go: a copy lets go one after the other.
fn in_flight(progress: &Progress) -> Option<Vec<u64>> {
    let mut window = progress.ins.clone();
    let mut last_entries = Vec::with_capacity(window.count());
    let range = progress.matched..progress.next_idx;
    if window.count() > 0 && range.clone().count() > FROZEN_ENTRIES_MAX {
        return None;
    }
    for index in range {
        let before = window.count();
        if before == 0 {
            break;
        }
        window.free_to(index);
        // several messages may end with the same entry
        last_entries.extend(std::iter::repeat_n(index, before - window.count()));
    }
    (window.count() == 0).then_some(last_entries)
}

/// Sets the state of a node that was just made. `CorruptRecord` if its members are others.
pub(super) fn thaw(frozen: FrozenRaft, node: &mut RawNode<MemoryLog>) -> Result<(), CorruptRecord> {
    let raft = &mut node.raft;
    raft.state = match frozen.role {
        Role::Leader => StateRole::Leader,
        Role::Follower | Role::PreCandidate | Role::Candidate => StateRole::Follower,
    };
    raft.leader_id = frozen.leader;
    raft.lead_transferee = frozen.lead_transferee;
    raft.pending_conf_index = frozen.pending_conf_index;
    raft.pending_request_snapshot = frozen.pending_request_snapshot;
    raft.election_elapsed = frozen.election_elapsed;
    raft.set_randomized_election_timeout(frozen.election_timeout);
    for read in frozen.reads {
        let (request, own) = (request(&read.request)?, raft.id);
        let context = request.entries.first().map(|entry| entry.data.to_vec());
        let context = context.ok_or_else(|| CorruptRecord::new("a read without a context"))?;
        raft.read_only.add_request(read.index, request, own);
        for member in read.acknowledged_by {
            raft.read_only.recv_ack(member, &context);
        }
    }
    if raft.prs().iter().count() != frozen.members.len() {
        return Err(CorruptRecord::new("raft has other members than the state"));
    }
    for member in frozen.members {
        let progress = raft.mut_prs().get_mut(member.member);
        let other = || CorruptRecord::new("raft has another member than the state");
        thaw_progress(member, progress.ok_or_else(other)?)?;
    }
    // raft reports its present state as a change of that in which it was made
    if node.has_ready() {
        let ready = node.ready();
        node.advance_append(ready);
    }
    Ok(())
}

fn request(encoded: &Bytes) -> Result<Message, CorruptRecord> {
    match PeerMessage::decode(encoded)? {
        PeerMessage::Raft(message) => Ok(message),
        PeerMessage::Proposals(_)
        | PeerMessage::ProposalsAgain(_)
        | PeerMessage::Refused(_)
        | PeerMessage::LeaseRequests(_)
        | PeerMessage::LeaseAnswer(_) => Err(CorruptRecord::new("a read is no message of raft")),
    }
}

/// Restores what the leader knows of another member from its copy.
fn thaw_progress(frozen: FrozenProgress, progress: &mut Progress) -> Result<(), CorruptRecord> {
    if frozen.in_flight.len() > INFLIGHT_MESSAGES {
        return Err(CorruptRecord::new("too many messages are on their way"));
    }
    progress.matched = frozen.matched;
    progress.next_idx = frozen.next_idx;
    progress.state = frozen.state;
    progress.paused = frozen.paused;
    progress.pending_snapshot = frozen.pending_snapshot;
    progress.pending_request_snapshot = frozen.pending_request_snapshot;
    progress.recent_active = frozen.recent_active;
    progress.committed_index = frozen.committed_index;
    progress.ins.reset();
    frozen
        .in_flight
        .into_iter()
        .for_each(|last| progress.ins.add(last));
    Ok(())
}

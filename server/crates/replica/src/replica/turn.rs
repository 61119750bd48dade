//! Converts everything that raft has ready into effects, in a fixed order (I3):
//!
//! 1. The leader's messages are sent, and entries that `Ready` reports as committed are applied.
//! 2. Records are persisted, and the follower's messages are sent.
//! 3. Entries that `LightReady` adds are applied, and reads are released.
//!
//! Exception: if the commit index covers an unapplied membership change, the leader's messages and the answers wait until the
//! records are synced (`commits_change`).

use raft::{
    Ready,
    eraftpb::{Entry as RaftEntry, EntryType, Message, MessageType},
};

use super::{Halt, Replica, apply_queue::ExecutingCommand};
use crate::{
    host::{Applied, Envelope, Host, Lane, LogBatch, Unanswered},
    log::fill_metadata,
    long_command::{ExecutedCommand, LongCommand},
    read_index::{ReadIndexTry, Released},
    wire::{self, EntryError},
};
use witan_machine::{
    Outcome, Reply,
    command::{Command, Entry, Stamp},
    kv::{KvOperation, ReadResults},
    member::MemberId,
};

/// Processes everything that raft has ready, round by round, until nothing is left. Fails if the member must halt.
pub(super) fn turn(replica: &mut Replica, host: &mut dyn Host) -> Result<(), Halt> {
    replica.set_election_timeout();
    replica.apply_queue.turn_keys = 0;
    replica.hand_in_due();
    loop {
        replica.notice_leader();
        replica.send_due_commits();
        replica.hand_in_proposals();
        replica.send_appended();
        replica.hand_in_lease_requests();
        issue_reads(replica);
        flush(replica, host);
        if replica.raft.has_ready() {
            round(replica, host)?;
        } else if replica.apply_queue.executed.is_some() {
            apply_and_answer(replica, host, Vec::new())?;
        } else if !release_reads(replica, host) {
            persist_idle_commit(replica, host);
            replica.batches.turned(replica.last_index());
            return end(replica, host);
        }
    }
}

/// Ends a turn and fails if the member must halt. If the member was removed, first answers, with `Removed`, the proposals that
/// can no longer be applied.
fn end(replica: &mut Replica, host: &mut dyn Host) -> Result<(), Halt> {
    if replica.halt == Some(Halt::Removed) {
        let ended = match replica.has_applied_own_removal() {
            true => replica.proposals.forget_all(),
            false => replica.proposals.forget_unappended(),
        };
        replica.end_unanswered(ended, Unanswered::Removed);
        flush(replica, host);
    }
    replica.halt.map_or(Ok(()), Err)
}

/// Passes queued messages, answers, reports of dropped messages and the index at which to cut the log to the host.
fn flush(replica: &mut Replica, host: &mut dyn Host) {
    if !replica.outbox.is_empty() {
        host.send(std::mem::take(&mut replica.outbox));
    }
    if !replica.answers.is_empty() {
        host.answered(std::mem::take(&mut replica.answers));
    }
    for (from, fault) in replica.message_faults.drain(..) {
        host.message_dropped(from, fault);
    }
    if let Some(below) = replica.cut_below.take() {
        host.cut_log(below);
    }
}

/// Processes one `Ready` of raft in the order of the module documentation. Fails if a committed entry cannot be applied, after
/// answering the entries before it.
fn round(replica: &mut Replica, host: &mut dyn Host) -> Result<(), Halt> {
    let mut ready = replica.raft.ready();
    let is_change = |entry: &RaftEntry| entry.get_entry_type() != EntryType::EntryNormal;
    let syncs_first = commits_change(replica) || ready.committed_entries().iter().any(is_change);
    let mut messages = ready.take_messages();
    if !syncs_first {
        send(replica, host, std::mem::take(&mut messages));
    }
    install(replica, host, &ready);
    for state in ready.take_read_states() {
        let unproven =
            replica
                .read_index
                .confirmed(&state.request_ctx, state.index, replica.monotonic_ns);
        replica.deliver_proven(unproven);
    }
    let mut applied = Vec::new();
    replica.apply_queue.push(ready.take_committed_entries());
    let result = apply(replica, host, &mut applied);
    if result.is_err() {
        answer(replica, host, applied);
        return result;
    }
    let mut batch = persist_batch(replica, &ready);
    batch.must_sync |= syncs_first;
    // Answering a removal closes the connection to the removed member, so the message with the commit index is sent first.
    if !syncs_first {
        answer(replica, host, std::mem::take(&mut applied));
    }
    persist(host, &batch);
    messages.extend(ready.take_persisted_messages());
    send(replica, host, messages);
    let mut light = replica.raft.advance_append(ready);
    if let Some(commit) = light.commit_index() {
        replica.raft.mut_store().set_commit(commit);
        replica.commit_unpersisted.get_or_insert(replica.ticks);
        persist_committed_change(replica, host);
    }
    send(replica, host, light.take_messages());
    replica.apply_queue.push(light.take_committed_entries());
    apply_and_answer(replica, host, applied)
}

/// Applies the result of a finished long command, if any, and the queued entries. Then reports the applied index to raft and
/// passes these entries and `applied` to the host. Fails at the first entry that this release cannot apply.
fn apply_and_answer(
    replica: &mut Replica,
    host: &mut dyn Host,
    mut applied: Vec<Applied>,
) -> Result<(), Halt> {
    let result = apply(replica, host, &mut applied);
    if result.is_ok() {
        applied_to_raft(replica);
    }
    answer(replica, host, applied);
    result
}

/// Reports the last applied index to raft and trims the log in memory. Requests the leader's state if it must replace this
/// member's state.
fn applied_to_raft(replica: &mut Replica) {
    let applied = replica.raft.store().position().index;
    replica.raft.advance_apply_to(applied);
    let receivers = replica.slowest_receiver();
    replica.raft.mut_store().trim(receivers);
    // Under load, the entire log is rarely committed at a tick, so the request is also retried here.
    replica.request_snapshot();
}

/// Installs the snapshot of a `Ready`, if it has one: replaces the state on disk, then the state in memory. Ends the proposals
/// whose entries the snapshot may skip, stops the lease timers and handles this member's removal.
fn install(replica: &mut Replica, host: &mut dyn Host, ready: &Ready) {
    let metadata = ready.snapshot().get_metadata();
    if metadata.index == 0 {
        return;
    }
    let mut view = replica
        .incoming_snapshot
        .take()
        .expect("raft accepts only received snapshots");
    view.machine.kv.begin_layout(&replica.machine.kv);
    assert_eq!(
        view.position.index, metadata.index,
        "the state must be at the index of the snapshot"
    );
    host.install(&view);
    replica
        .raft
        .mut_store()
        .install_snapshot(view.position.clone());
    replica.machine = view.machine;
    replica.rebuilds = false;
    replica.apply_queue.clear();
    replica.notice_own_removal();
    let lost = replica.proposals.entries_skipped();
    replica.end_unanswered(lost, Unanswered::LeaderChanged);
    // Only followers receive snapshots.
    replica
        .leader_tasks
        .lessor
        .set_leader_term(None, replica.machine.kv.leases(), 0);
    replica.durable_checkpoints = (view.position.index, view.position.index);
    replica.other_lineage_term = None;
}

/// Appends the entries and hard state of a `Ready` to the log in memory and returns the batch for the disk. The batch also
/// contains the hard state if only the commit index has advanced since the last batch.
fn persist_batch(replica: &mut Replica, ready: &Ready) -> LogBatch {
    let log = replica.raft.mut_store();
    log.append(ready.entries());
    let mut changed = replica.commit_unpersisted.take().is_some();
    if let Some(state) = ready.hs() {
        log.set_hard_state(state.clone());
        changed = true;
    }
    // Encode the hard state after the append, when raft's own copy and the log agree.
    let hard_state = changed.then(|| wire::encode_hard_state(log.hard_state()));
    // The log on disk keeps a hard state in memory until the next batch if this batch has neither entries nor a sync.
    if changed && ready.entries().is_empty() && !ready.must_sync() {
        replica.commit_unpersisted = Some(replica.ticks);
    }
    LogBatch {
        records: ready.entries().iter().map(wire::encode_record).collect(),
        hard_state,
        must_sync: ready.must_sync(),
    }
}

/// Returns whether the commit index covers an unapplied membership change. Such a commit index must be synced before other
/// members learn of it. If the only remaining member lost it, that member would wait for the removed member's vote forever.
fn commits_change(replica: &Replica) -> bool {
    let raft = &replica.raft.raft;
    raft.has_pending_conf() && raft.pending_conf_index <= raft.raft_log.committed
}

/// Persists and syncs the commit index immediately if it covers an unapplied membership change.
fn persist_committed_change(replica: &mut Replica, host: &mut dyn Host) {
    if commits_change(replica) {
        persist_commit(replica, host);
    }
}

/// Persists and syncs the commit index if no later batch has persisted it within an election timeout. Without this sync, a
/// member that restarts would not know that its last entries are committed. A leader of a forked history could then replace
/// them.
fn persist_idle_commit(replica: &mut Replica, host: &mut dyn Host) {
    let patience = replica.config.election_ticks as u64;
    let advanced = replica.commit_unpersisted;
    if advanced.is_some_and(|tick| tick + patience <= replica.ticks) {
        persist_commit(replica, host);
    }
}

/// Persists and syncs the current hard state.
fn persist_commit(replica: &mut Replica, host: &mut dyn Host) {
    replica.commit_unpersisted = None;
    let batch = LogBatch {
        records: Vec::new(),
        hard_state: Some(wire::encode_hard_state(replica.raft.store().hard_state())),
        must_sync: true,
    };
    persist(host, &batch);
}

/// Passes a batch to the host unless the batch is empty.
fn persist(host: &mut dyn Host, batch: &LogBatch) {
    if !batch.records.is_empty() || batch.hard_state.is_some() {
        host.persist(batch);
    }
}

/// Installs the result of a finished long command, if any, applies queued entries, and adds the results to `applied`. Stops at
/// a command that the host executes on another thread. Fails at the first entry that this release cannot apply.
fn apply(
    replica: &mut Replica,
    host: &mut dyn Host,
    applied: &mut Vec<Applied>,
) -> Result<(), Halt> {
    if let Some(executed) = replica.apply_queue.executed.take() {
        applied.extend(finish(replica, host, *executed));
    }
    while replica.apply_queue.executing.is_none()
        && let Some(entry) = replica.apply_queue.pop()
    {
        applied.extend(apply_one(replica, host, &entry)?);
    }
    Ok(())
}

/// Applies a committed entry. Returns `None` if the host executes it on another thread. Fails if the entry cannot be decoded,
/// comes from a later release, or raises the feature level above this release. The first entry of a term makes lost proposals
/// of earlier terms due again.
fn apply_one(
    replica: &mut Replica,
    host: &mut dyn Host,
    entry: &RaftEntry,
) -> Result<Option<Applied>, Halt> {
    let index = entry.index;
    let is_own = |stamp: &Stamp| replica.proposals.has_stamped(stamp);
    let (command, change) =
        wire::decode_committed_entry(entry, is_own).map_err(|error| match error {
            EntryError::Unknown => Halt::UnknownCommand { index },
            EntryError::Corrupt(_) => Halt::CorruptEntry { index },
        })?;
    let own = replica.config.level;
    if let Some(Command::ClusterVersion(decided)) = &command.command
        && decided.level > own
    {
        // The leader does not consider the level of a member that was removed before the level rose.
        return Err(match replica.has_applied_own_removal() {
            true => Halt::Removed,
            false => Halt::LaterLevel { level: decided.level, own },
        });
    }
    if entry.term > replica.raft.store().position().term {
        replica.proposals.term_begins(entry.term);
    }
    let waits = |stamp| replica.proposals.is_waiting(stamp);
    let results = match command.stamp.as_ref().is_some_and(waits) {
        true => ReadResults::Return,
        false => ReadResults::Discard,
    };
    let place = ExecutingCommand { index, term: entry.term, change };
    let keys_max = replica.config.tuning.long_command_keys;
    let is_long = replica.apply_queue.charge(
        &replica.machine,
        &command,
        keys_max,
        replica.disk_room.values,
    );
    if !is_long {
        let outcome = replica.machine.apply_with(&command, results);
        return Ok(Some(conclude(replica, place, &command, outcome)));
    }
    replica.apply_queue.executing = Some(place);
    let mut machine = replica.machine.clone();
    // `finish` adds the states that watchers have not been notified of.
    machine.kv.clear_states_before_compaction();
    let executed = host.execute(Box::new(LongCommand {
        index,
        entry: command,
        results,
        machine,
    }));
    Ok(executed.and_then(|executed| finish(replica, host, *executed)))
}

/// Installs the resulting state of a long command, passes the replaced state to [`Host::discard`], and returns the outcome.
/// Returns `None` if no long command is being executed.
fn finish(
    replica: &mut Replica,
    host: &mut dyn Host,
    executed: ExecutedCommand,
) -> Option<Applied> {
    let place = replica.apply_queue.executing.take()?;
    let ExecutedCommand { entry, outcome, machine, .. } = executed;
    let before = std::mem::replace(&mut replica.machine, machine);
    // Watchers of earlier entries are not notified yet if the host executed the command immediately.
    let kv = &mut replica.machine.kv;
    kv.inherit_states_before_compaction(&before.kv);
    host.discard(before);
    Some(conclude(replica, place, &entry, outcome))
}

/// Updates lease timers, the applied position, raft's configuration and the waiting ticket after an applied entry. Returns the
/// report for the host. Also handles the removal of this member.
fn conclude(
    replica: &mut Replica,
    place: ExecutingCommand,
    command: &Entry,
    outcome: Outcome,
) -> Applied {
    if let (Some(Command::Lease(command)), Reply::Lease(Ok(reply))) =
        (&command.command, &outcome.reply)
    {
        replica.leader_tasks.lessor.applied(command, reply);
    }
    let log = replica.raft.mut_store();
    log.advance_position(place.index, place.term);
    // Raft's configuration changes only if the member registry accepted the change.
    let accepted = outcome.reply == Reply::MembershipChanged(Ok(()));
    if let Some(change) = place.change.filter(|_| accepted) {
        let changed = replica.raft.apply_conf_change(&change);
        let configuration = changed.expect("the registry rejects each change that raft rejects");
        replica.raft.mut_store().set_conf_state(configuration);
        replica.notice_own_removal();
    }
    let ticket = command
        .stamp
        .and_then(|stamp| replica.proposals.take(&stamp));
    let members = command.changes_members().then(|| replica.members_in_log());
    let hashed = is_hashed(command, &outcome.reply).then(|| Box::new(replica.view()));
    Applied { index: place.index, ticket, outcome, members, hashed }
}

/// Returns whether members may hash their state after an entry: after a successful compaction, or when an alarm command
/// requests it.
fn is_hashed(entry: &Entry, reply: &Reply) -> bool {
    match &entry.command {
        Some(Command::Alarm(command)) => command.hashes_state(),
        Some(Command::Kv(command)) => {
            matches!(command.operation, Some(KvOperation::Compact(_)))
                && matches!(reply, Reply::Kv(Ok(_)))
        }
        Some(
            Command::Tree(_)
            | Command::Publish(_)
            | Command::ClusterVersion(_)
            | Command::PeerUrls(_)
            | Command::Lease(_)
            | Command::Auth(_)
            | Command::Members(_)
            | Command::Downgrade(_)
            | Command::Follow(_),
        )
        | None => false,
    }
}

/// Passes the applied entries, if any, to the host with the current state. Then drops the states before compactions.
fn answer(replica: &mut Replica, host: &mut dyn Host, applied: Vec<Applied>) {
    if !applied.is_empty() {
        host.applied(applied, &replica.view());
        replica.machine.kv.clear_states_before_compaction();
    }
}

/// Passes raft's messages to the host, except repetitions, deferred commit indexes and messages that [`envelope`] drops.
fn send(replica: &mut Replica, host: &mut dyn Host, messages: Vec<Message>) {
    if messages.is_empty() {
        return;
    }
    let envelopes: Vec<Envelope> = messages
        .into_iter()
        .filter_map(|message| {
            if replica.record_probe_and_check_repeat(&message)
                || replica.record_acknowledgment_and_check_repeat(&message)
                || replica.defers_commit(&message)
            {
                return None;
            }
            envelope(replica, message)
        })
        .collect();
    if !envelopes.is_empty() {
        host.send(envelopes);
    }
}

/// Wraps a raft message in an envelope. Adds the current state to a snapshot message and records the start of the transfer.
/// Returns `None` for a snapshot while another snapshot is being sent to that member; raft sends a new one after the
/// transport's report.
fn envelope(replica: &mut Replica, mut message: Message) -> Option<Envelope> {
    let mut snapshot = None;
    if message.get_msg_type() == MessageType::MsgSnapshot {
        if !replica
            .leader_tasks
            .begin_snapshot(message.to, replica.ticks)
        {
            return None;
        }
        let view = replica.view();
        fill_metadata(message.mut_snapshot(), &view.position);
        snapshot = Some(Box::new(view));
    }
    replica.attach_append_context(&mut message);
    replica.name_voters(&mut message);
    Some(Envelope {
        to: MemberId(message.to),
        from: MemberId(message.from),
        lane: lane(message.get_msg_type()),
        message: wire::encode_message(&message),
        snapshot,
    })
}

/// Returns the stream for a message type.
fn lane(kind: MessageType) -> Lane {
    match kind {
        MessageType::MsgAppend | MessageType::MsgSnapshot | MessageType::MsgPropose => Lane::Bulk,
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgAppendResponse
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgHeartbeat
        | MessageType::MsgHeartbeatResponse
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader
        | MessageType::MsgTimeoutNow
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse => Lane::Control,
    }
}

/// If a ReadIndex round is due and raft would answer it, issues the round. A sole voter does not hold reads, because a round
/// does not cost it any messages.
fn issue_reads(replica: &mut Replica) {
    if !replica.can_read_index() {
        return;
    }
    let raft = &replica.raft.raft;
    let now = ReadIndexTry {
        tick: replica.ticks,
        term_and_leader: (raft.term, raft.leader_id),
        now_ns: replica.monotonic_ns,
        holds: !replica.is_sole_voter(),
    };
    if let Some(context) = replica.read_index.due(&now) {
        replica.raft.read_index(context);
    }
}

/// Releases the reads whose index is applied. Answers the lease requests that waited for their index. Returns whether there
/// were such reads or requests, because the next round may then be due.
fn release_reads(replica: &mut Replica, host: &mut dyn Host) -> bool {
    let Released { reads, questions } = replica
        .read_index
        .release(replica.raft.store().position().index);
    let any = !reads.is_empty() || !questions.is_empty();
    if !reads.is_empty() {
        host.readable(&reads, &replica.view());
    }
    replica.recompute_answers(questions);
    any
}

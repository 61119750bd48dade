//! A member's consensus and state, driven by ticks, messages and requests.
//!
//! An [`crate::input::Input`] only queues work. [`Replica::turn`] processes the queue. No other function has external effects
//! (I3).
//!
//! Reading order: this file → `boot` (start, raft's settings) → `admission`, `proposing`, `group_commit`, `forwarding`
//! (proposals) → `reads`, `leases` → `turn`, `append_context`, `deferred_commits`, `apply_queue` → `message_check`, `peers`
//! (also leadership transfers) → `membership` → `failover` → `halt`. Disks: `disk_room` (little space), `copied`, `log_lost`
//! (emptied or forked), `lineage` (adopted), `forced` (`--force-new-cluster`).

mod admission;
pub(crate) mod append_context;
mod apply_queue;
mod boot;
mod copied;
mod deferred_commits;
mod disk_room;
mod failover;
mod forced;
mod forwarding;
mod group_commit;
mod halt;
mod leases;
mod lineage;
mod log_lost;
mod membership;
mod message_check;
mod peers;
mod proposing;
mod reads;
mod simulated;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::{BTreeMap, BTreeSet};

use raft::{
    RawNode, StateRole,
    eraftpb::{Message, MessageType},
};

pub use boot::genesis;
pub use forced::{ForceError, ForcedCluster};
pub use halt::Halt;
pub use message_check::MessageFault;
pub use peers::{PeerEvent, TransferRefused};

pub use crate::{host::ProposalRejected, leader_tasks::auto_compaction::AutoCompaction};

use crate::{
    batches_in_flight::BatchesInFlight,
    host::{Answer, Envelope, Host, Ticket, Unanswered},
    jitter,
    leader_tasks::LeaderTasks,
    lease_requests::LeaseRequests,
    lessor::LeaseDeadlines,
    limits::{CATCH_UP_ENTRIES, LONG_COMMAND_KEYS, TERM_RISE_MAX, catch_up_bytes},
    log::MemoryLog,
    long_command::ExecutedCommand,
    proposals::Proposals,
    read_index::ReadIndexQueue,
    request_group::RequestGroup,
    taken_messages::TakenMessages,
    wire::PeerMessage,
};
use apply_queue::ApplyQueue;
use copied::{CopiedDisk, is_vote_request};
use deferred_commits::DeferredCommits;
use disk_room::Room;
use failover::Failover;
use group_commit::HeldProposal;
use log_lost::Contradiction;
use membership::{OwnRemoval, PendingRemoval, ReceivedCommit};
use witan_machine::{StateMachine, alarm::AlarmType, levels::Level, member::MemberId, view::View};

/// Settings of a replica.
#[derive(Clone, Debug)]
pub struct Config {
    /// Id of this member in raft.
    pub id: u64,
    /// Election timeout in ticks; jitter adds up to the same number again.
    pub election_ticks: usize,
    /// Heartbeat interval in ticks.
    pub heartbeat_ticks: usize,
    /// The election timeout in nanoseconds.
    pub election_ns: u64,
    /// Seeds the election jitter and distinguishes this process from earlier processes, so it must differ at every startup.
    pub seed: u64,
    /// Whether members request a pre-vote before they campaign (raft thesis 9.6).
    pub pre_vote: bool,
    /// The rule of the leader's automatic compaction; `None` disables it.
    pub compaction: Option<AutoCompaction>,
    /// Number of ticks after which the replica forgets a request. The shell has reported a timeout by then.
    pub request_ticks: u64,
    /// Whether the data directory is a copy. If so, this member may have run elsewhere since the copy was taken.
    pub copied: bool,
    /// The feature level of this release. It differs from `levels::OWN` only in tests with members of several releases.
    pub level: Level,
    /// The memory budget, and bounds that tests lower.
    pub tuning: Tuning,
}

/// The memory budget, and bounds that only the simulator and tests lower, because their runs are short.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Minimum number of keys in a turn for which the host executes the commands while raft continues.
    pub long_command_keys: u64,
    /// Number of applied entries kept in memory for members that lag behind.
    pub catch_up_entries: u64,
    /// Seconds between two checkpoints of a lease; `None` derives the interval from the lease's TTL.
    pub lease_checkpoint_s: Option<i64>,
    /// Memory budget of the process in bytes, which lowers the bounds on entries in memory; `u64::MAX` if it is unlimited.
    pub memory_bytes: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            long_command_keys: LONG_COMMAND_KEYS,
            catch_up_entries: CATCH_UP_ENTRIES,
            lease_checkpoint_s: None,
            memory_bytes: u64::MAX,
        }
    }
}

/// Status of a replica, published after every turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Id of this member.
    pub id: MemberId,
    /// Id of the leader, or [`MemberId::NONE`] if it is unknown.
    pub leader: MemberId,
    /// The current term.
    pub term: u64,
    /// The commit index.
    pub committed: u64,
    /// The index of the last applied entry.
    pub applied: u64,
    /// The role of this member.
    pub role: Role,
}

/// Raft role of a member. Recordings contain the numeric values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[expect(missing_docs, reason = "the names come from Raft")]
pub enum Role {
    Follower = 0,
    PreCandidate = 1,
    Candidate = 2,
    Leader = 3,
}

impl Role {
    fn of(state: StateRole) -> Self {
        match state {
            StateRole::Follower => Self::Follower,
            StateRole::PreCandidate => Self::PreCandidate,
            StateRole::Candidate => Self::Candidate,
            StateRole::Leader => Self::Leader,
        }
    }
}

/// One member: raft, its log in memory and the state machine.
pub struct Replica {
    config: Config,
    raft: RawNode<MemoryLog>,
    machine: StateMachine,
    /// Committed entries that wait for a long command.
    apply_queue: ApplyQueue,
    proposals: Proposals,
    /// Proposals that are held until the proposals in flight are answered.
    group: RequestGroup<HeldProposal>,
    /// Size in bytes of the held messages with proposals from each member; a small message is charged with a minimum.
    forwarded_bytes: BTreeMap<u64, usize>,
    batches: BatchesInFlight,
    /// Duration in nanoseconds of the last sync of the log.
    sync_cost_ns: u64,
    /// Size in bytes of the entries that this leader has appended but not sent.
    unsent_bytes: u64,
    taken_messages: TakenMessages,
    /// Term and index of this leader's last entry that changes the cluster version, the feature level or a downgrade.
    version_change: (u64, u64),
    read_index: ReadIndexQueue,
    leader_tasks: LeaderTasks,
    disk_room: Room,
    /// The last probe sent to each member: its tick, and the index before its first entry.
    probes: BTreeMap<u64, (u64, u64)>,
    acknowledged: peers::Acknowledgment,
    deferred_commits: DeferredCommits,
    /// Number of ticks since startup.
    ticks: u64,
    /// The highest term to which messages can raise this member in the current election timeout.
    term_max: u64,
    /// Number of campaigns since startup.
    campaigns: u64,
    /// Role and term at the last check, to count campaigns.
    role_and_term: (Role, u64),
    /// Indexes of the last two durable checkpoints, older first.
    durable_checkpoints: (u64, u64),
    /// The tick at which the commit index first advanced after the last persist; `None` if the index has not advanced.
    commit_unpersisted: Option<u64>,
    /// Lease requests that wait for the leader.
    lease_requests: LeaseRequests,
    /// Messages that the next turn sends.
    outbox: Vec<Envelope>,
    /// Answers that the next turn delivers.
    pub(crate) answers: Vec<(Ticket, Answer)>,
    /// Dropped messages that the next turn reports.
    message_faults: Vec<(MemberId, MessageFault)>,
    /// The index below which the next turn allows the host to cut the log on disk.
    cut_below: Option<u64>,
    /// Term and leader at the last check, to detect changes.
    term_and_leader: (u64, u64),
    /// The last known time of the monotonic clock in nanoseconds.
    monotonic_ns: u64,
    /// Campaigns after the end of the leader's process.
    failover: Option<Failover>,
    asked_pre_vote: Option<Message>,
    /// Number of leadership transfers that this leader has attempted before its removal.
    handovers: u32,
    pending_removal: PendingRemoval,
    own_removal: OwnRemoval,
    /// The reason why this member must stop after this turn.
    halt: Option<Halt>,
    /// A claim of a leader that contradicts this member's log.
    contradiction: Option<Contradiction>,
    /// State of a copied disk, until a confirmed leader has brought this member up to date.
    copied: Option<CopiedDisk>,
    /// Members that permanently reject this member because it was removed, its data directory was replaced, or its release has
    /// too low a feature level.
    refused_at: BTreeSet<u64>,
    /// If the log contains entries of `--force-new-cluster`: the members that its committed entries remove, with the indexes of
    /// these entries. Entries committed after startup are not included.
    removed_in_log: BTreeMap<u64, u64>,
    /// The term whose leader has a state of another lineage.
    other_lineage_term: Option<u64>,
    /// The tick of this member's last request for the leader's state.
    state_asked_at: u64,
    /// Whether the leader's state must replace this member's state.
    rebuilds: bool,
    /// The state of a snapshot that raft has accepted and the next turn installs.
    incoming_snapshot: Option<View>,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Replica {
    /// Advances raft's clock by one tick if this member leads or may campaign now. Drops requests older than
    /// `Config::request_ticks`, retries what was deferred to a tick, and runs the leader's tasks. `now_ns` is the wall clock in
    /// Unix nanoseconds, for entries that the leader stamps.
    pub(crate) fn tick(&mut self, now_ns: i64) {
        self.ticks += 1;
        self.send_appended();
        self.record_heard();
        if self.ticks.is_multiple_of(self.config.election_ticks as u64) {
            self.term_max = self.raft.raft.term + TERM_RISE_MAX;
        }
        let leads = self.raft.raft.state == StateRole::Leader;
        // In Raft, a learner never campaigns. A copy may be a voter in a configuration that it has not applied, so it reports
        // its log itself.
        let reports = self.copied.is_some() && !self.raft.raft.promotable();
        if leads || (self.may_campaign() && !reports) {
            if !leads {
                self.enter_reported_term();
            }
            self.raft.tick();
            if self.raft.raft.state == StateRole::Follower && self.is_sole_voter() {
                // Raft refuses to campaign while membership changes are unapplied. A sole voter need not wait for them.
                let _ = self.raft.campaign();
            }
        } else {
            self.tick_as_copy();
        }
        self.settle_copy();
        let patience = self.config.request_ticks;
        self.continue_leaving();
        self.hand_over_if_full();
        let mut expired = self.proposals.expire(self.ticks, patience);
        if !expired.is_empty() {
            self.drop_expired();
        }
        self.proposals.release_deferred();
        self.request_snapshot();
        expired.extend(self.lease_requests.tick(self.ticks, patience));
        expired.extend(self.read_index.expire(self.ticks, patience));
        self.end_unanswered(expired, Unanswered::Expired);
        // Handle keep-alives before the expiration of their leases.
        self.hand_in_lease_requests();
        self.run_leader_tasks(now_ns);
    }

    /// Advances the monotonic clock to `monotonic_ns`. The clock times leases and waiting requests. Starts a failover campaign
    /// that is due, and starts or drops the lease timers if leadership has changed.
    pub(crate) fn advance_clock(&mut self, monotonic_ns: u64) {
        self.monotonic_ns = self.monotonic_ns.max(monotonic_ns);
        self.follow_batches();
        self.continue_failover();
        // Entries of earlier leaders may remove leases, so a leader tracks leases only after it has applied all of them. If
        // this cluster follows another cluster, the source expires the leases.
        let counts = self.leads_with_all_applied() && !self.machine.members.follows;
        let leads = counts.then_some(self.raft.raft.term);
        let leases = self.machine.kv.leases();
        let timers = &mut self.leader_tasks.lessor;
        timers.set_leader_term(leads, leases, self.config.election_ns);
        timers.advance_clock(monotonic_ns, leases);
    }

    /// Returns whether this member is the only voter in the applied configuration, which must have no outgoing voters.
    pub fn is_sole_voter(&self) -> bool {
        let place = self.raft.store().position();
        place.voters == [self.config.id] && place.voters_outgoing.is_empty()
    }

    /// Returns the monotonic time in nanoseconds at which the next failover campaign, held request or deferred commit index is
    /// due. The replica then needs an [`Input::Clock`](crate::input::Input::Clock) and a turn. Returns `None` if nothing is due
    /// before the next tick or input.
    pub fn wake_at_ns(&self) -> Option<u64> {
        let failover = self.failover.filter(|_| self.may_campaign());
        let failover = failover.map(|failover| failover.at_ns);
        let held = [
            self.proposals_due_ns(),
            self.reads_due_ns(),
            self.commits_due_ns(),
        ];
        failover.into_iter().chain(held.into_iter().flatten()).min()
    }

    fn is_leader_of_others(&self) -> bool {
        self.raft.raft.state == StateRole::Leader && !self.is_sole_voter()
    }

    /// Returns whether this member may campaign now. A sole voter wins immediately, which raft allows only if the entire log is
    /// persisted. Entries received since the last turn are not persisted yet.
    fn may_campaign(&self) -> bool {
        let log = &self.raft.raft.raft_log;
        let persisted = !self.is_sole_voter() || log.persisted == log.last_index();
        persisted && self.log_permits_campaign()
    }

    /// Returns whether the current state serves linearizable reads without messages: this member is the sole voter, leads, and
    /// has applied an entry of its term.
    pub fn is_linearizable(&self) -> bool {
        self.is_sole_voter() && self.leads_with_all_applied()
    }

    /// Returns whether this member leads and has applied an entry of its term, and therefore all entries of earlier leaders.
    fn leads_with_all_applied(&self) -> bool {
        let raft = &self.raft.raft;
        raft.state == StateRole::Leader && self.raft.store().position().term == raft.term
    }

    /// Returns the deadlines of all leases in O(1), or `None` if this member does not track leases. Only a leader that has
    /// applied all entries of earlier leaders tracks leases, unless its cluster follows another cluster.
    pub fn deadlines(&self) -> Option<LeaseDeadlines> {
        self.leader_tasks.lessor.deadlines()
    }

    /// Handles a message from another member. Silently drops messages from removed members. Also drops faulty messages, which
    /// the next turn reports to the host.
    pub(crate) fn receive(&mut self, envelope: Envelope) {
        let from = envelope.from;
        if !self.is_removed(from.0)
            && let Err(fault) = self.dispatch(envelope)
        {
            self.message_faults.push((from, fault));
        }
    }

    /// Decodes a message and passes it to its handler. Fails if the message cannot be decoded, if a raft message names another
    /// sender, or if [`Self::step`] fails.
    fn dispatch(&mut self, envelope: Envelope) -> Result<(), MessageFault> {
        let Envelope { from: MemberId(from), message, snapshot, .. } = envelope;
        match PeerMessage::decode(&message) {
            Ok(PeerMessage::Raft(message)) if message.from == from => {
                self.step(message, snapshot.map(|view| *view))?;
            }
            Ok(PeerMessage::Proposals(proposals) | PeerMessage::ProposalsAgain(proposals)) => {
                self.hold_forwarded(from, proposals, message.len());
            }
            Ok(PeerMessage::Refused(refused)) => self.proposals_refused(from, &refused),
            Ok(PeerMessage::LeaseRequests(requests)) => self.take_lease_requests(from, &requests),
            Ok(PeerMessage::LeaseAnswer(answer)) => self.lease_answer_received(&answer),
            Ok(PeerMessage::Raft(_)) => return Err(MessageFault::Unsound),
            Err(_) => return Err(MessageFault::Malformed),
        }
        Ok(())
    }

    /// Returns whether a member was removed, either by the applied state or by an unapplied entry of `--force-new-cluster`.
    /// Without the second case, this member would follow the removed leader until it applies the entry.
    fn is_removed(&self, member: u64) -> bool {
        let applied = self.raft.store().position().index;
        let ahead = self.removed_in_log.get(&member);
        self.machine.members.removed_ids.contains(&MemberId(member))
            || ahead.is_some_and(|index| *index > applied)
    }

    /// Checks a raft message and passes it to raft. `state` accompanies a snapshot message. Silently drops messages that raft
    /// must not process now. Fails for a message that no correct member sends, or if the leader started from another state.
    fn step(&mut self, mut message: Message, state: Option<View>) -> Result<(), MessageFault> {
        self.send_appended();
        let metadata = message.get_snapshot().get_metadata();
        let (kind, place) = (message.get_msg_type(), (metadata.index, metadata.term));
        let carried = state.as_ref().map(|v| (v.position.index, v.position.term));
        if carried != (kind == MessageType::MsgSnapshot).then_some(place) {
            return Err(MessageFault::Unsound);
        }
        let queue_full = self.apply_queue.bytes > catch_up_bytes(self.config.tuning.memory_bytes);
        if kind == MessageType::MsgAppend && queue_full {
            return Ok(());
        }
        let raft = &self.raft.raft;
        let last = raft.raft_log.last_index();
        let leads = raft.state == StateRole::Leader && raft.term == message.term;
        let last_if_leading = leads.then_some(last);
        message_check::check(&message, last_if_leading, self.config.level, || {
            self.admits_later_entries()
        })?;
        if let Some(lower) = message_check::with_bounded_term(&message, self.term_max) {
            let _ = self.raft.step(lower);
            return Ok(());
        }
        if self.started_from_another_state(&message, state.as_ref()) {
            return Err(MessageFault::OtherState);
        }
        self.compare_lineage(&message);
        self.cut_behind_first_of_term(&mut message);
        self.cut_to_room(&mut message);
        let must_not_lead =
            || self.lacks_room() || !self.may_campaign() || self.is_behind_reported_term();
        if (kind == MessageType::MsgTimeoutNow && must_not_lead())
            || (is_vote_request(kind) && !self.record_log_end_and_check_vote(&message))
            || self.is_late_from_ended_leader(&message)
            || self.disturbs_first_campaign(&message)
            || self.is_outdated_snapshot(&message)
            || self.halt_below_level_of(state.as_ref())
            || self.record_snapshot_request_and_check_repeat(&message)
        {
            return Ok(());
        }
        if self.record_or_refute_claim(&message, last)
            || self.ask_unconfirmed_leader(&mut message)
            || self.correct_rejection(&mut message)
        {
            return Ok(());
        }
        if kind == MessageType::MsgReadIndex
            && !self
                .read_index
                .accept(message.from, &message.entries[0].data)
        {
            return Ok(());
        }
        let term = self.raft.raft.term;
        if kind == MessageType::MsgRequestVote && message.term < term {
            self.reject_with_term(message.from, term);
            return Ok(());
        }
        self.pass_to_raft(message);
        // A snapshot that raft refused must not replace an accepted snapshot that waits for the next turn.
        let accepted = self.raft.raft.raft_log.unstable_snapshot().as_ref();
        if carried.is_some()
            && accepted.map(|s| (s.get_metadata().index, s.get_metadata().term)) == carried
        {
            self.incoming_snapshot = state;
        }
        Ok(())
    }

    /// Passes a checked message to raft and records what the message reveals about its sender.
    fn pass_to_raft(&mut self, message: Message) {
        self.keep_pre_vote(&message);
        let commit = ReceivedCommit::of(&message);
        let (kind, last) = (message.get_msg_type(), (message.log_term, message.index));
        self.cancel_snapshot_request_before(&message);
        let (end, before) = (peers::last_index_in(&message), self.raft.raft.msgs.len());
        // An error means that raft ignored a stale or misdirected message.
        let _ = self.raft.step(message);
        self.limit_acknowledgments(before, end);
        self.update_confirmed_leader(kind, commit, last);
        self.record_leader_commit(commit);
    }

    /// Records that a checkpoint up to `index` is durable. The log on disk no longer needs the entries up to the previous
    /// checkpoint (I5). Ignores an index that is not higher than the index of the last checkpoint.
    pub(crate) fn checkpoint_durable(&mut self, index: u64) {
        if index > self.durable_checkpoints.1 {
            self.durable_checkpoints = (self.durable_checkpoints.1, index);
            self.cut_below = Some(self.durable_checkpoints.0 + 1);
        }
    }

    /// Takes the result of a long command for the next turn. Drops the result if a snapshot has replaced the state since.
    pub(crate) fn take_executed(&mut self, command: Box<ExecutedCommand>) {
        self.apply_queue.executed(command);
    }

    /// Processes everything that raft has ready. This is the only function with effects outside the replica (I3). After a
    /// [`Halt`], the replica must not be used.
    pub fn turn(&mut self, host: &mut dyn Host) -> Result<(), Halt> {
        turn::turn(self, host)
    }

    /// Answers these requests with [`Answer::Unanswered`] and `reason` in the next turn.
    fn end_unanswered(&mut self, tickets: Vec<Ticket>, reason: Unanswered) {
        let answer = |ticket| (ticket, Answer::Unanswered(reason));
        self.answers.extend(tickets.into_iter().map(answer));
    }

    /// Returns the frozen current state in O(1).
    pub fn view(&self) -> View {
        View {
            machine: self.machine.clone(),
            position: self.raft.store().position().clone(),
        }
    }

    /// Returns the index of the last entry in the log. The entry might not be committed.
    pub fn last_index(&self) -> u64 {
        self.raft.raft.raft_log.last_index()
    }

    /// Returns the current id, leader, term, indexes and role of this member.
    pub fn status(&self) -> Status {
        let raft = &self.raft.raft;
        Status {
            id: MemberId(self.config.id),
            leader: MemberId(raft.leader_id),
            term: raft.term,
            committed: raft.raft_log.committed,
            applied: self.raft.store().position().index,
            role: Role::of(raft.state),
        }
    }

    /// Reports snapshots whose results are overdue as failed, so that raft sends new snapshots. Then, unless the disk is full,
    /// proposes the leader's own commands. Omits compactions and sweeps if this cluster follows another cluster.
    fn run_leader_tasks(&mut self, now_ns: i64) {
        self.leader_tasks
            .fail_unreported_snapshots(&mut self.raft, self.ticks);
        if self.has_full_disk() {
            return;
        }
        let leading = self.raft.raft.state == StateRole::Leader;
        let term = leading.then_some(self.raft.raft.term);
        let due = self
            .leader_tasks
            .due(&self.machine, term, self.ticks, now_ns);
        for command in due {
            // A refused proposal is due again at the next check.
            self.propose_as_leader(now_ns, command);
        }
        self.send_appended();
        let last = self.last_index();
        self.leader_tasks.lessor.proposed(last);
        if self.machine.members.follows {
            return;
        }
        let log = &self.raft.raft.raft_log;
        let applied = log.last_index() == self.raft.store().position().index;
        // While the alarm is raised, sweeps are refused, so the leader would propose them again in each tick.
        let idle = applied && !self.machine.alarms.any(AlarmType::Corrupt);
        let due = self
            .leader_tasks
            .compaction
            .due(&self.machine.kv, leading, idle, self.ticks);
        for command in due {
            let taken = self.propose_as_leader(now_ns, command);
            self.leader_tasks.compaction.proposal_result(taken);
        }
    }

    /// Replaces the random election timeout that raft-rs may have drawn since the last turn (I1) and counts a campaign that
    /// has started since. If a turn follows within an election timeout, no tick uses a timeout drawn by raft-rs.
    fn set_election_timeout(&mut self) {
        let raft = &mut self.raft.raft;
        let now = (Role::of(raft.state), raft.term);
        let campaigning = matches!(now.0, Role::Candidate | Role::PreCandidate);
        if campaigning && self.role_and_term != now {
            self.campaigns += 1;
        }
        self.role_and_term = now;
        raft.set_randomized_election_timeout(jitter::election_ticks(
            self.config.seed,
            self.config.id,
            raft.term,
            self.campaigns,
            self.config.election_ticks,
        ));
    }
}

//! Proposals on their way to the log of the leader, which may be this member: handed in at once, held while
//! there is no leader, forwarded, refused, and proposed again when it is certain that they were lost.

use bytes::Bytes;
use raft::{
    StateRole,
    eraftpb::{Entry as RaftEntry, EntryType, Message, MessageType},
};

use super::Replica;
use crate::{
    forward::{ForwardedProposals, RefusalReason, RefusedProposal, RefusedProposals},
    host::{Lane, ProposalRejected, Ticket, Unanswered},
    limits::{
        APPLY_GAP_MAX, COMMAND_BYTES_MAX, FORWARD_AGAIN_BYTES_MAX, FORWARD_BYTES_MAX,
        PROPOSAL_BATCH_BYTES, UNCOMMITTED_BYTES_MAX,
    },
    proposals::HandedIn,
    wire::{self, PeerMessage},
};
use witan_machine::{
    auth::Caller,
    command::{Command, Entry, Stamp},
    member::MemberRegistry,
    versions::FIRST,
};

/// Why this member did not append an entry. Nothing was written.
enum NotAppended {
    /// It does not lead, or has something to do first.
    NotNow,
    Refused(ProposalRejected),
}

/// Whether a command changes the version of the cluster, or what follows from it.
fn changes_version(command: &Command) -> bool {
    match command {
        Command::ClusterVersion(_) | Command::Downgrade(_) => true,
        Command::Kv(_)
        | Command::Lease(_)
        | Command::Tree(_)
        | Command::Alarm(_)
        | Command::Auth(_)
        | Command::Publish(_)
        | Command::PeerUrls(_)
        | Command::Members(_) => false,
    }
}

/// Entries that wait for the same turn.
#[derive(Debug, Default)]
pub(super) struct ProposalBatch {
    entries: Vec<RaftEntry>,
    bytes: u64,
}

impl Replica {
    /// Proposes a command. The result comes through `Host::applied` with the same ticket, or
    /// `Host::unanswered`, or neither (the shell reports a timeout for a lost proposal). While there is no
    /// leader the proposal waits. Only the time of `stamp` is used; the proposer is filled in here.
    pub fn propose(
        &mut self,
        ticket: Ticket,
        stamp: Stamp,
        command: Command,
    ) -> Result<(), ProposalRejected> {
        self.propose_for(ticket, stamp, command, None)
    }

    /// Proposes a command as [`Self::propose`] does, with the caller whose permissions are checked when it is
    /// executed.
    pub fn propose_for(
        &mut self,
        ticket: Ticket,
        stamp: Stamp,
        command: Command,
        caller: Option<Caller>,
    ) -> Result<(), ProposalRejected> {
        if self.proposals.is_full() || self.is_behind() {
            return Err(ProposalRejected::TooMany);
        }
        if !self.machine.members.all_know(&command) {
            return Err(ProposalRejected::ClusterVersion);
        }
        let stamp = self.proposals.stamp(ticket, stamp.now_ns, self.ticks);
        let entry = Entry { stamp: Some(stamp), command: Some(command), caller };
        let data = Bytes::from(wire::encode_entry(&entry));
        if data.len() > COMMAND_BYTES_MAX {
            self.proposals.forget(ticket);
            return Err(ProposalRejected::TooLarge);
        }
        // A sole voter loses nothing that it appends, so it keeps no copy.
        let copy = (!self.is_sole_voter()).then(|| data.clone());
        match self.append(self.config.id, &entry, &data) {
            Ok(()) => {
                let handed_in = self.own_term();
                if let Some(data) = copy {
                    self.proposals.keep(ticket, data, handed_in);
                }
                Ok(())
            }
            Err(NotAppended::NotNow) => {
                self.proposals.hold(ticket, data);
                Ok(())
            }
            Err(NotAppended::Refused(refusal)) => {
                self.proposals.forget(ticket);
                Err(refusal)
            }
        }
    }

    /// Proposes what only the leader of `term` may propose: it is appended in that term or never. Whether it
    /// was appended.
    pub(super) fn propose_as_leader(
        &mut self,
        term: Option<u64>,
        now_ns: i64,
        command: Command,
    ) -> bool {
        if term != Some(self.raft.raft.term) {
            return false;
        }
        let entry = Entry {
            stamp: Some(self.proposals.internal_stamp(now_ns)),
            command: Some(command),
            caller: None,
        };
        let data = wire::encode_entry(&entry).into();
        self.append(self.config.id, &entry, &data).is_ok()
    }

    /// Proposes what the leader has decided by looking at `members`. Returns `false`, and appends nothing, if
    /// members, cluster version or downgrade target have changed since, or a change of one of them may be in
    /// the log and not applied.
    pub fn propose_decision(
        &mut self,
        members: &MemberRegistry,
        now_ns: i64,
        command: Command,
    ) -> bool {
        let raft = &self.raft.raft;
        let now = &self.machine.members;
        let unchanged = now.by_id.keys().eq(members.by_id.keys())
            && now.cluster_version == members.cluster_version
            && now.downgrade_target == members.downgrade_target;
        let current = unchanged && !raft.has_pending_conf();
        current && self.propose_as_leader(Some(raft.term), now_ns, command)
    }

    /// Whether more than [`APPLY_GAP_MAX`] committed entries wait to be applied here.
    fn is_behind(&self) -> bool {
        let committed = self.raft.raft.raft_log.committed;
        committed.saturating_sub(self.raft.store().position().index) > APPLY_GAP_MAX
    }

    /// The place of a proposal that this member appends to its own log in the present term.
    fn own_term(&self) -> HandedIn {
        HandedIn { term: self.raft.raft.term, leader: self.config.id, number: 0 }
    }

    /// Batches an entry of `proposer` for [`Self::append_batch`], which appends it in the term that this
    /// member leads; nothing else appends one. A change of membership is appended at once. `NotNow` if the
    /// entry may be tried again, `Refused` if not.
    fn append(&mut self, proposer: u64, entry: &Entry, data: &Bytes) -> Result<(), NotAppended> {
        let raft = &self.raft.raft;
        let leads = raft.state == StateRole::Leader && raft.lead_transferee.is_none();
        if !leads || raft.prs().get(self.config.id).is_none() {
            return Err(NotAppended::NotNow);
        }
        // What follows its removal in the log a member does not see executed: it could not answer for it.
        if self.is_removing(proposer) {
            return Err(NotAppended::NotNow);
        }
        // its proposer may not know of a downgrade
        if let Some(command) = &entry.command {
            if self.awaits_version(command) {
                return Err(NotAppended::NotNow);
            }
            if !self.machine.members.all_know(command) {
                return Err(NotAppended::Refused(ProposalRejected::ClusterVersion));
            }
        }
        let mut proposed = RaftEntry::default();
        let change = wire::conf_change(entry, data);
        if let Some(change) = &change {
            self.append_batch();
            // one at a time, or raft silently drops the second
            if self.raft.raft.has_pending_conf() || self.hands_over_before(change) {
                return Err(NotAppended::NotNow);
            }
            self.admit_change(change).map_err(NotAppended::Refused)?;
            proposed.set_entry_type(EntryType::EntryConfChange);
            proposed.data = wire::encode_conf_change(change);
        } else {
            proposed.data = data.clone();
        }
        let bytes = proposed.data.len() as u64;
        // raft drops what exceeds the bound of uncommitted bytes
        let uncommitted = self.raft.raft.uncommitted_size() as u64 + self.batch.bytes;
        if uncommitted > 0 && uncommitted + bytes > UNCOMMITTED_BYTES_MAX {
            return Err(NotAppended::Refused(ProposalRejected::TooMany));
        }
        if self.batch.bytes + bytes > PROPOSAL_BATCH_BYTES {
            self.append_batch();
        }
        self.batch.bytes += bytes;
        self.batch.entries.push(proposed);
        if entry.command.as_ref().is_some_and(changes_version) {
            let raft = &self.raft.raft;
            let index = raft.raft_log.last_index() + self.batch.entries.len() as u64;
            self.version_change = (raft.term, index);
        }
        if change.is_some() {
            self.append_batch();
        }
        Ok(())
    }

    /// Whether this leader's log may hold a change of the cluster version that it has not applied, and the
    /// command depends on that: the command would follow a downgrade, and end the members that had it.
    fn awaits_version(&self, command: &Command) -> bool {
        let depends = changes_version(command) || command.since() > Some(FIRST);
        let (term, index) = self.version_change;
        let unapplied = term == self.raft.raft.term && index > self.raft.store().position().index;
        depends && (unapplied || !self.leads_with_all_applied())
    }

    /// Whether entries that came since the last turn are to be appended to the log on disk.
    pub fn has_unpersisted(&self) -> bool {
        let log = &self.raft.raft.raft_log;
        !self.batch.entries.is_empty() || log.persisted < log.last_index()
    }

    /// Puts what was appended since the last call into the log, with one message to each other member. Must
    /// come before anything that may end this member's leadership.
    pub(super) fn append_batch(&mut self) {
        if self.batch.entries.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.config.id;
        message.set_entries(batch.entries.into());
        let appended = self.raft.raft.step(message);
        self.apply_election_jitter();
        appended.expect("a leader appends what fits its bounds");
    }

    /// Hands held proposals to the leader, which may be this member; does nothing while no leader is known.
    pub(super) fn hand_in_proposals(&mut self) {
        let raft = &self.raft.raft;
        if !self.proposals.has_held() || raft.leader_id == 0 {
            return;
        }
        if raft.state == StateRole::Leader {
            return self.append_held();
        }
        let mut to = HandedIn {
            term: raft.term,
            leader: raft.leader_id,
            number: self.proposals.next_number(),
        };
        let mut entries = Vec::new();
        let mut bytes = 0;
        while let Some((ticket, data)) = self.proposals.take_held() {
            if bytes + data.len() > FORWARD_BYTES_MAX && !entries.is_empty() {
                self.forward(to, std::mem::take(&mut entries));
                to.number = self.proposals.next_number();
                bytes = 0;
            }
            bytes += data.len();
            entries.push(data);
            self.proposals.handed_in(ticket, to);
        }
        self.forward(to, entries);
    }

    /// Sends encoded entries to a leader in one message, unless there are none.
    fn forward(&mut self, to: HandedIn, entries: Vec<Bytes>) {
        if !entries.is_empty() {
            let message = ForwardedProposals { term: to.term, entries, number: to.number };
            self.post(to.leader, Lane::Bulk, &PeerMessage::Proposals(message));
        }
    }

    /// Sends the messages with proposals again that a leader may not have got, up to [`FORWARD_AGAIN_BYTES_MAX`]; the
    /// requests of others wait for their timeout. The leader takes each of them once, and only in the term that they
    /// name.
    pub(super) fn forward_again(&mut self, leader: u64) {
        let mut bytes = 0;
        for ((term, number), entries) in self.proposals.unanswered_messages(leader) {
            bytes += entries.iter().map(Bytes::len).sum::<usize>();
            if bytes > FORWARD_AGAIN_BYTES_MAX {
                break;
            }
            let message = ForwardedProposals { term, entries, number };
            self.post(leader, Lane::Bulk, &PeerMessage::ProposalsAgain(message));
        }
    }

    /// Appends held proposals on the leader. Those that it does not take now are held for later; those that
    /// it refuses are forgotten and answered with the rejection.
    fn append_held(&mut self) {
        while let Some((ticket, data)) = self.proposals.take_held() {
            let entry = wire::decode_entry(&data).expect("this process has encoded it");
            match self.append(self.config.id, &entry, &data) {
                Ok(()) => self.proposals.handed_in(ticket, self.own_term()),
                Err(NotAppended::NotNow) => self.proposals.hold_for_later(ticket),
                Err(NotAppended::Refused(refusal)) => {
                    self.proposals.forget(ticket);
                    self.unanswered.push((ticket, Unanswered::Refused(refusal)));
                }
            }
        }
    }

    /// Appends what another member proposes, if this member leads the term that it means, and sends back
    /// which of them were not appended and why. Ignores a message that it has taken before, and entries that do not
    /// decode or that another member has stamped.
    pub(super) fn take_forwarded(&mut self, from: u64, message: ForwardedProposals) {
        let raft = &self.raft.raft;
        if raft.state != StateRole::Leader || raft.term != message.term {
            // It may have taken a copy when it led that term, before a restart even: a refusal would have the
            // proposals made twice. Their proposer goes on when an entry of the next term is applied.
            return;
        }
        // What a member cannot have encoded has no request that waits for an answer. A leader's own
        // commands have no ticket, and are never forwarded.
        let stamped = |data: Bytes| {
            let entry = wire::decode_entry(&data).ok()?;
            let of_sender = |stamp: &Stamp| stamp.member == from && stamp.ticket != 0;
            let stamp = entry.stamp.filter(of_sender)?;
            Some((stamp, entry, data))
        };
        let mut proposed = message.entries.into_iter().filter_map(stamped).peekable();
        let Some((first, ..)) = proposed.peek() else {
            return;
        };
        let process = (from, first.incarnation);
        let (term, number) = (message.term, message.number);
        if !self.taken_messages.take(term, process, number) {
            return;
        }
        let mut refused = Vec::new();
        for (stamp, entry, data) in proposed {
            let done = if data.len() > COMMAND_BYTES_MAX {
                Err(NotAppended::Refused(ProposalRejected::TooLarge))
            } else if self.is_behind() {
                Err(NotAppended::Refused(ProposalRejected::TooMany))
            } else if !self.take_room_for(entry.command.as_ref(), data.len()) {
                Err(NotAppended::NotNow)
            } else {
                self.append(from, &entry, &data)
            };
            let reason = match done {
                Ok(()) => continue,
                Err(NotAppended::NotNow) => RefusalReason::from(None),
                Err(NotAppended::Refused(refusal)) => RefusalReason::from(Some(refusal)),
            };
            refused.push(RefusedProposal {
                ticket: stamp.ticket,
                incarnation: stamp.incarnation,
                reason: reason as i32,
            });
        }
        if !refused.is_empty() {
            let message = RefusedProposals { term, refused, number };
            self.post(from, Lane::Control, &PeerMessage::Refused(message));
        }
    }

    /// Handles the refusal of proposals forwarded to `from`: each is, by its reason, held to be proposed
    /// again or forgotten and answered with the rejection. Ignores those of another life of this member,
    /// those no longer handed in to that leader in that term by that message, and unknown reasons.
    pub(super) fn proposals_refused(&mut self, from: u64, message: &RefusedProposals) {
        let there = HandedIn { term: message.term, leader: from, number: message.number };
        for refused in &message.refused {
            let ticket = Ticket(refused.ticket);
            let waits = self.proposals.is_own(refused.incarnation)
                && self.proposals.was_handed_in(ticket, there);
            let Some(reason) = RefusalReason::try_from(refused.reason)
                .ok()
                .filter(|_| waits)
            else {
                continue;
            };
            match reason.rejection() {
                None => self.proposals.hold_for_later(ticket),
                Some(refusal) => {
                    self.proposals.forget(ticket);
                    self.unanswered.push((ticket, Unanswered::Refused(refusal)));
                }
            }
        }
    }

    /// If term or leader have changed since the last call: has held proposals and all requests about leases
    /// handed in again, and drops answers about leases that were not proven.
    pub(super) fn notice_leader(&mut self) {
        let raft = &self.raft.raft;
        let now = (raft.term, raft.leader_id);
        if now != self.term_and_leader {
            self.term_and_leader = now;
            self.handovers = 0;
            self.proposals.later_is_now();
            self.lease_requests.ask_again();
            self.read_index.drop_unproven();
        }
    }
}

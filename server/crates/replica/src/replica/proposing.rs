//! Proposals for the log. A leader appends them at once, and sends all entries of a turn in one message to each other member.
//! They are held first (`group_commit`). While this member does not lead, its own proposals wait to be forwarded
//! (`forwarding`).

use bytes::Bytes;
use raft::{
    StateRole,
    eraftpb::{ConfChange, Entry as RaftEntry, EntryType, Message, MessageType},
};

use super::Replica;
use crate::{
    host::{Connection, ProposalRejected, Ticket},
    limits::{APPLY_GAP_MAX, COMMAND_BYTES_MAX, PROPOSAL_BATCH_BYTES},
    proposals::HandedIn,
    wire,
};
use witan_machine::{
    command::{Command, Entry},
    member::MemberRegistry,
    versions::FIRST,
};

/// Why this member did not append an entry. Nothing was written.
pub(super) enum NotAppended {
    /// This member cannot append the entry now: it does not lead, is transferring leadership, or waits for an earlier change of
    /// membership or version. The proposer can try again.
    NotNow,
    Refused(ProposalRejected),
}

/// Returns whether a command changes the cluster version or a downgrade.
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
        | Command::Members(_)
        | Command::Follow(_) => false,
    }
}

impl Replica {
    /// Stamps the entry of a client, and holds it for the log or for the leader.
    pub(crate) fn propose(
        &mut self,
        ticket: Ticket,
        connection: Connection,
        now_ns: i64,
        mut entry: Box<Entry>,
    ) -> Result<(), ProposalRejected> {
        if self.proposals.is_full() || self.is_behind() {
            return Err(ProposalRejected::TooMany);
        }
        let members = &self.machine.members;
        if entry
            .command
            .as_ref()
            .is_some_and(|it| !members.all_members_support(it))
        {
            return Err(ProposalRejected::ClusterVersion);
        }
        entry.stamp = Some(self.proposals.stamp(ticket, now_ns));
        let bytes = wire::entry_bytes(&entry);
        if bytes > COMMAND_BYTES_MAX {
            return Err(ProposalRejected::TooLarge);
        }
        self.proposals.add(ticket, self.ticks, entry);
        self.hold_own(connection, ticket, bytes);
        Ok(())
    }

    /// Returns the number of client proposals that wait to be applied.
    pub fn proposals_waiting(&self) -> usize {
        self.proposals.len()
    }

    /// Proposes a command that only the leader of `term` may propose: it is appended in that term or never. Returns whether it
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
        self.append_entry(self.config.id, &entry, data).is_ok()
    }

    /// Proposes what the leader has decided by looking at `members`. Returns `false`, and appends nothing, if
    /// members, cluster version or downgrade target have changed since, or a change of one of them may be in
    /// the log and not applied.
    pub(crate) fn propose_decision(
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

    /// Returns whether more than [`APPLY_GAP_MAX`] committed entries wait to be applied here.
    pub(super) fn is_behind(&self) -> bool {
        let committed = self.raft.raft.raft_log.committed;
        committed.saturating_sub(self.raft.store().position().index) > APPLY_GAP_MAX
    }

    /// Returns the place of a proposal that this member appends to its own log in the current term.
    pub(super) fn own_term(&self) -> HandedIn {
        HandedIn { term: self.raft.raft.term, leader: self.config.id, number: 0 }
    }

    /// Appends an entry of `proposer` to the log in the term that this member leads; nothing else appends entries.
    /// [`Self::send_appended`] sends it. Fails with `NotNow` if the entry can be retried, with `Refused` if not.
    pub(super) fn append_entry(
        &mut self,
        proposer: u64,
        entry: &Entry,
        data: Bytes,
    ) -> Result<(), NotAppended> {
        let raft = &self.raft.raft;
        let leads = raft.state == StateRole::Leader && raft.lead_transferee.is_none();
        if !leads || raft.prs().get(self.config.id).is_none() {
            return Err(NotAppended::NotNow);
        }
        // A member that is being removed does not see later entries applied, so it could not answer this proposal.
        if self.is_removing(proposer) {
            return Err(NotAppended::NotNow);
        }
        // Its proposer may not know of a downgrade.
        if let Some(command) = &entry.command {
            if self.awaits_version(command) {
                return Err(NotAppended::NotNow);
            }
            if !self.machine.members.all_members_support(command) {
                return Err(NotAppended::Refused(ProposalRejected::ClusterVersion));
            }
            // A member that has just joined does not know it yet.
            if self.machine.members.follows && command.changes_followed() {
                return Err(NotAppended::Refused(ProposalRejected::Follows));
            }
        }
        if let Some(change) = wire::conf_change(entry, &data) {
            return self.append_change(&change);
        }
        let bytes = data.len() as u64;
        if self.unsent_bytes + bytes > PROPOSAL_BATCH_BYTES {
            self.send_appended();
        }
        self.unsent_bytes += bytes;
        let mut appended = RaftEntry { data, ..RaftEntry::default() };
        let taken = self
            .raft
            .raft
            .append_entry(std::slice::from_mut(&mut appended));
        assert!(taken, "raft does not bound uncommitted entries");
        if entry.command.as_ref().is_some_and(changes_version) {
            self.version_change = (appended.term, appended.index);
        }
        Ok(())
    }

    /// Appends a membership change to the log, and sends it. There is one at a time, because raft silently drops a second one.
    fn append_change(&mut self, change: &ConfChange) -> Result<(), NotAppended> {
        self.send_appended();
        if self.raft.raft.has_pending_conf() || self.transfers_leadership_first(change) {
            return Err(NotAppended::NotNow);
        }
        self.check_change(change).map_err(NotAppended::Refused)?;
        let mut entry = RaftEntry::default();
        entry.set_entry_type(EntryType::EntryConfChange);
        entry.data = wire::encode_conf_change(change);
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.config.id;
        message.set_entries(vec![entry].into());
        self.deferred_commits.appended(self.monotonic_ns);
        let appended = self.raft.raft.step(message);
        appended.expect("a leader appends what is proposed");
        Ok(())
    }

    /// Returns whether this leader's log may have an unapplied change of the cluster version on which the command depends. The
    /// command would follow a downgrade and halt the members that applied it.
    fn awaits_version(&self, command: &Command) -> bool {
        let (term, index) = self.version_change;
        let unapplied = term == self.raft.raft.term && index > self.raft.store().position().index;
        let open = unapplied || !self.leads_with_all_applied();
        open && (changes_version(command) || command.since() > Some(FIRST))
    }

    /// Returns whether entries that arrived since the last turn must be appended to the log on disk.
    pub(super) fn has_unpersisted(&self) -> bool {
        let log = &self.raft.raft.raft_log;
        log.persisted < log.last_index()
    }

    /// Sends the entries that were appended since the last call, in one message to each other member. Must be called before
    /// anything that may end this member's leadership.
    pub(super) fn send_appended(&mut self) {
        if std::mem::take(&mut self.unsent_bytes) > 0 {
            assert_eq!(
                self.raft.raft.state,
                StateRole::Leader,
                "only a leader appends"
            );
            self.deferred_commits.appended(self.monotonic_ns);
            self.raft.raft.bcast_append();
        }
    }
}

//! Proposals on the leader: they are first held (`group_commit`), then appended, and usually sent in one message per member and
//! turn. On any other member, `forwarding` sends them to the leader.

use bytes::Bytes;
use raft::{
    StateRole,
    eraftpb::{ConfChange, Entry as RaftEntry, EntryType, Message, MessageType},
};

use super::{
    Replica,
    admission::{NotAppended, changes_version},
};
use crate::{
    host::{Connection, ProposalRejected, Ticket},
    limits::PROPOSAL_BATCH_BYTES,
    proposals::TargetLog,
    wire,
};
use witan_machine::{
    command::{Command, Entry, UnstampedEntry},
    member::MemberRegistry,
};

impl Replica {
    /// Stamps a client's entry and holds it until it is appended or forwarded to the leader. Fails if [`Self::admit`] rejects
    /// the entry.
    pub(crate) fn propose(
        &mut self,
        ticket: Ticket,
        connection: Connection,
        now_ns: i64,
        entry: UnstampedEntry,
    ) -> Result<(), ProposalRejected> {
        let (entry, encoded_bytes) = entry.stamp(self.proposals.stamp(ticket, now_ns));
        let bytes = wire::data_bytes(encoded_bytes);
        self.admit(&entry, bytes)?;
        self.proposals.add(ticket, self.ticks, entry);
        self.hold_own(connection, ticket, bytes);
        Ok(())
    }

    /// Returns the number of client proposals that wait to be applied.
    pub fn proposals_waiting(&self) -> usize {
        self.proposals.len()
    }

    /// Proposes one of the leader's own commands. The command is never retried in a later term. Returns whether it was
    /// appended.
    pub(super) fn propose_as_leader(&mut self, now_ns: i64, command: Command) -> bool {
        let entry = Entry {
            stamp: Some(self.proposals.internal_stamp(now_ns)),
            command: Some(command),
            caller: None,
        };
        let data = wire::encode_entry(&entry).into();
        self.append_entry(self.config.id, &entry, data).is_ok()
    }

    /// Proposes a command that the leader derived from `members`. Returns whether it was appended. Appends nothing if the
    /// member ids, cluster version, feature level or downgrade target have changed since. Also appends nothing if the log may
    /// contain an unapplied change to any of them.
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
            && now.raised_level == members.raised_level
            && now.downgrade_target == members.downgrade_target;
        let current = unchanged && !raft.has_pending_conf();
        current && self.propose_as_leader(now_ns, command)
    }

    /// Returns the [`TargetLog`] of a proposal that this member appends to its own log in the current term.
    pub(super) fn own_term(&self) -> TargetLog {
        TargetLog { term: self.raft.raft.term, leader: self.config.id, number: 0 }
    }

    /// Appends an entry, which member `proposer` proposed, to this leader's log. [`Self::send_appended`] sends the entry; a
    /// membership change is sent immediately. Fails with `NotNow` if the proposer may retry, or else with the reason for the
    /// rejection.
    pub(super) fn append_entry(
        &mut self,
        proposer: u64,
        entry: &Entry,
        data: Bytes,
    ) -> Result<(), NotAppended> {
        self.admit_to_log(proposer, entry)?;
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

    /// Appends a membership change to the log and sends it. Fails with `NotNow` while another change is pending, because raft
    /// would silently drop a second change. Also fails with `NotNow` if this leader must first transfer leadership, and starts
    /// the transfer. Also fails if [`Self::check_change`] rejects the change.
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
        appended.expect("a leader appends each proposal");
        Ok(())
    }

    /// Returns whether the log has entries that the next turn must persist.
    pub(super) fn has_unpersisted(&self) -> bool {
        let log = &self.raft.raft.raft_log;
        log.persisted < log.last_index()
    }

    /// Sends the entries that were appended since the last call, in one message to each member. Must be called before anything
    /// that may end this member's leadership.
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

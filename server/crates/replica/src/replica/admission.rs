//! The core's checks of proposals: when a client proposes an entry, when another member forwards it, and when the leader
//! appends it.
//!
//! `witan_node` checks the caller, the quota and this process's memory; `membership` checks membership changes.

use raft::StateRole;

use super::Replica;
use crate::{
    host::ProposalRejected,
    limits::{APPLY_GAP_MAX, COMMAND_BYTES_MAX},
};
use witan_machine::command::{Command, Entry};

/// The reason why this member did not append an entry. Nothing was written.
pub(super) enum NotAppended {
    /// This member cannot append the entry now: it does not lead, is transferring leadership, or waits for an earlier change of
    /// membership or version. The proposer may retry.
    NotNow,
    Refused(ProposalRejected),
}

impl From<ProposalRejected> for NotAppended {
    fn from(refusal: ProposalRejected) -> Self {
        Self::Refused(refusal)
    }
}

/// Returns whether a command sets the cluster version or the feature level, or starts or cancels a downgrade.
pub(super) fn changes_version(command: &Command) -> bool {
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
    /// Checks an entry of `bytes` bytes that a client of this member proposes. Rejects an entry that is too long or that
    /// [`Self::check_version`] rejects. Also rejects the entry if too many proposals wait, or if too many committed entries are
    /// unapplied.
    pub(super) fn admit(&self, entry: &Entry, bytes: usize) -> Result<(), ProposalRejected> {
        if self.proposals.is_full() {
            return Err(ProposalRejected::TooMany);
        }
        self.check_length_and_gap(bytes)?;
        // A leader that runs an earlier release could not decode an entry with a newer command.
        self.check_version(entry)
    }

    /// Checks an entry of `bytes` bytes that another member has forwarded and reserves disk space for it, unless members need
    /// its command at startup. Rejects an entry that is too long, or any entry while too many committed entries are unapplied.
    /// Fails with `NotNow` if there is not enough disk space or memory, or if `within_bound` is false. `within_bound` says
    /// whether the queued messages of that member are within their bound.
    pub(super) fn admit_forwarded(
        &mut self,
        entry: &Entry,
        bytes: usize,
        within_bound: bool,
    ) -> Result<(), NotAppended> {
        self.check_length_and_gap(bytes)?;
        match within_bound && self.take_room_for(entry.command.as_ref(), bytes) {
            true => Ok(()),
            false => Err(NotAppended::NotNow),
        }
    }

    /// Checks an entry of `proposer` before it is appended. Fails with `NotNow` if this member does not lead or is transferring
    /// leadership, if `proposer` is being removed, or if the entry must wait. Rejects entries that [`Self::check_version`]
    /// rejects, and commands that change data copied from another cluster.
    pub(super) fn admit_to_log(&mut self, proposer: u64, entry: &Entry) -> Result<(), NotAppended> {
        let raft = &self.raft.raft;
        let leads = raft.state == StateRole::Leader && raft.lead_transferee.is_none();
        if !leads || raft.prs().get(self.config.id).is_none() {
            return Err(NotAppended::NotNow);
        }
        // A member that is being removed does not apply later entries, so it could not answer this proposal.
        if self.is_removing(proposer) || self.awaits_version(entry) {
            return Err(NotAppended::NotNow);
        }
        // The leader's own commands were not checked before.
        self.check_version(entry)?;
        // A member that has just joined does not know whether the cluster follows another cluster.
        let changes_followed = entry
            .command
            .as_ref()
            .is_some_and(Command::changes_followed);
        match self.machine.members.follows && changes_followed {
            true => Err(ProposalRejected::Follows.into()),
            false => Ok(()),
        }
    }

    /// Fails if an entry of `bytes` bytes is too long, or if too many committed entries are unapplied.
    fn check_length_and_gap(&self, bytes: usize) -> Result<(), ProposalRejected> {
        let committed = self.raft.raft.raft_log.committed;
        let gap = committed.saturating_sub(self.raft.store().position().index);
        if bytes > COMMAND_BYTES_MAX {
            Err(ProposalRejected::TooLarge)
        } else if gap > APPLY_GAP_MAX {
            Err(ProposalRejected::TooMany)
        } else {
            Ok(())
        }
    }

    /// Fails if some member does not support the entry's command, or if the command starts a downgrade below the cluster's
    /// level.
    fn check_version(&self, entry: &Entry) -> Result<(), ProposalRejected> {
        let members = &self.machine.members;
        let supports = |command: &Command| {
            members.all_members_support(command) && members.permits_downgrade(command)
        };
        let known = entry.command.as_ref().is_none_or(supports);
        known.then_some(()).ok_or(ProposalRejected::ClusterVersion)
    }

    /// Returns whether the entry changes the cluster version, the level or a downgrade while the log may have an unapplied
    /// change of this kind. Such an entry must wait. Otherwise, an entry that raises the level could follow a downgrade that
    /// forbids the raise.
    fn awaits_version(&self, entry: &Entry) -> bool {
        let (term, index) = self.version_change;
        let unapplied = term == self.raft.raft.term && index > self.raft.store().position().index;
        let open = unapplied || !self.leads_with_all_applied();
        open && entry.command.as_ref().is_some_and(changes_version)
    }
}

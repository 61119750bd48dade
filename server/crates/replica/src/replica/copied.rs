//! A member that starts from a copy of its data directory. The member may have acknowledged entries and voted after the copy
//! was taken. Nothing shows whether it did: the original may be gone, or may run elsewhere. The member therefore neither votes
//! nor campaigns until a confirmed leader has brought it up to date. It acknowledges nothing to an unconfirmed leader.
//!
//! A leader is confirmed as in `log_lost`: it answers a ReadIndex request, which requires a quorum. This member is not part of
//! that quorum, because raft does not see messages from an unconfirmed leader. The member is up to date once it has accepted
//! the confirmed leader's append. Its commit index must also have reached the index in the leader's answer.
//!
//! If the voters on original disks do not form a quorum, no leader can be confirmed, so all voters must run. A copy votes only
//! for a candidate whose log is at least as long as every voter's log. It then regards that candidate as confirmed. No entry
//! that is still on a voter's disk is lost. The original may have voted in a term that the copy has not seen, but the other
//! voters of that term have seen it. A copy neither votes nor campaigns in a term that a voter has reported, so each term has
//! at most one leader.
//!
//! With fewer than [`CONFIRMING_VOTERS`] voters, the member does not wait, because each election needs all voters. This does
//! not apply to an old configuration that the member passes through while a confirmed leader brings it up to date.
//!
//! A copy may be older than the last membership change. Each vote request therefore names the voters that its sender knows, and
//! the applied index at which it knows them. A copy uses the newest list. If no member that knows an added voter requests a
//! vote, the copy counts too few voters (`docs/operating/backup.md`). A member does not name a voter whose addition is in its
//! log but not applied.

use std::collections::{BTreeMap, BTreeSet};

use raft::{
    StateRole,
    eraftpb::{Entry, EntryType, Message, MessageType},
};

use super::{
    Replica,
    log_lost::{CONFIRMING_VOTERS, NO_VOTE_TIMEOUTS},
    membership::ReceivedCommit,
};
use crate::{host::Lane, wire::PeerMessage};

/// The state of a member whose data directory is a copy.
#[derive(Debug, Default)]
pub(super) struct CopiedDisk {
    /// The leader that this member has asked for confirmation.
    asked: Option<QueriedLeader>,
    confirmed: Option<ConfirmedLeader>,
    /// The end of each voter's log, from its last vote request.
    log_ends: BTreeMap<u64, LogEnd>,
    /// Index of the last membership change in the log at startup; 0 if the log contains no such change. From that index on, all
    /// voters are known.
    last_change: u64,
}

impl CopiedDisk {
    /// Creates the state of an unconfirmed copy whose log has these entries.
    pub(super) fn new(entries: &[Entry]) -> Self {
        let is_change = |entry: &&Entry| entry.get_entry_type() != EntryType::EntryNormal;
        let last_change = entries.iter().rev().find(is_change);
        Self {
            last_change: last_change.map_or(0, |entry| entry.index),
            ..Self::default()
        }
    }
}

/// A leader that this member has asked to confirm that it leads.
#[derive(Clone, Copy, Debug)]
struct QueriedLeader {
    leader: u64,
    term: u64,
    /// The number of the first request.
    first: u64,
    /// Tick of the last request.
    last: u64,
}

/// A leader that is confirmed, or that won the election with the longest log.
#[derive(Clone, Copy, Debug)]
struct ConfirmedLeader {
    leader: u64,
    term: u64,
    /// Index up to which the leader's log contains every entry that was acknowledged before the confirmation.
    index: u64,
    /// Whether this member has accepted entries or a snapshot from this leader. Until then, the leader may count
    /// acknowledgments from the original.
    has_appended: bool,
}

/// The term of a voter, the last entry of its log, and the voters that it knows.
#[derive(Debug)]
struct LogEnd {
    /// Tick at which the voter's request arrived.
    tick: u64,
    /// The highest term that the voter has reported.
    term: u64,
    /// Term and index of the last entry.
    last: (u64, u64),
    voters: NamedVoters,
}

/// The voters at an applied index, including the outgoing voters of a configuration change. The index is 0 in a request from
/// release 0.1.0, which does not send it.
#[derive(Clone, Debug)]
struct NamedVoters {
    applied: u64,
    ids: Vec<u64>,
}

/// Returns whether messages of this type request a vote or a pre-vote.
pub(super) fn is_vote_request(kind: MessageType) -> bool {
    matches!(
        kind,
        MessageType::MsgRequestVote | MessageType::MsgRequestPreVote
    )
}

/// Returns whether only leaders send messages of this type.
pub(super) fn is_of_leader(kind: MessageType) -> bool {
    matches!(
        kind,
        MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot
    )
}

impl Replica {
    /// Returns whether the data directory is a copy that no confirmed leader has brought up to date yet.
    pub fn is_copied(&self) -> bool {
        self.copied.is_some()
    }

    /// Returns the number of ticks for which voters' reports are valid and messages from the original may still arrive.
    fn copy_patience(&self) -> u64 {
        NO_VOTE_TIMEOUTS * self.config.election_ticks as u64
    }

    /// Returns whether raft must not see a leader's message, because this member is a copy and the leader is not confirmed.
    /// Raft always sees messages of earlier terms. Asks the leader for confirmation, at most once per tick. Limits the commit
    /// index in heartbeats from a confirmed leader that may still count acknowledgments from the original. Asks no leader in
    /// the first `copy_patience` ticks, because a candidate of a later term may still win with the original's vote.
    pub(super) fn ask_unconfirmed_leader(&mut self, message: &mut Message) -> bool {
        let (kind, leader, term) = (message.get_msg_type(), message.from, message.term);
        let raft = &self.raft.raft;
        let Some(copied) = self.copied.as_ref().filter(|_| term >= raft.term) else {
            return false;
        };
        if !is_of_leader(kind) {
            return false;
        }
        let (confirmed, committed) = (copied.confirmed, raft.raft_log.committed);
        if let Some(confirmed) = confirmed.filter(|it| (it.leader, it.term) == (leader, term)) {
            if kind == MessageType::MsgHeartbeat && !confirmed.has_appended {
                message.commit = message.commit.min(committed);
            }
            return false;
        }
        let known = copied
            .asked
            .filter(|it| (it.leader, it.term) == (leader, term));
        let asks =
            self.ticks >= self.copy_patience() && known.is_none_or(|asked| asked.last < self.ticks);
        if asks && self.may_lead(message) {
            let number = self.ask_whether_it_leads(leader);
            let first = known.map_or(number, |asked| asked.first);
            let asked = QueriedLeader { leader, term, first, last: self.ticks };
            self.copied.iter_mut().for_each(|it| it.asked = Some(asked));
        }
        true
    }

    /// Confirms a leader if the message is its response to this member's ReadIndex request `number`. Returns whether the leader
    /// was confirmed.
    pub(super) fn confirm_leader_for_copy(&mut self, message: &Message, number: u64) -> bool {
        let Some(copied) = &mut self.copied else {
            return false;
        };
        let (leader, term) = (message.from, message.term);
        let answers = copied.asked.is_some_and(|asked| {
            (asked.leader, asked.term) == (leader, term) && asked.first <= number
        });
        if answers {
            copied.asked = None;
            copied.confirmed =
                Some(ConfirmedLeader { leader, term, index: message.index, has_appended: false });
        }
        answers
    }

    /// Returns whether this member may vote for the sender of a vote request. A copy first records the log end that the request
    /// reports. If another voter has reported the request's term or a higher term, returns `false` and, while no leader is
    /// known, tells the sender that term.
    pub(super) fn record_log_end_and_check_vote(&mut self, request: &Message) -> bool {
        let (tick, last) = (self.ticks, (request.log_term, request.index));
        // A pre-vote request has the sender's term plus one.
        let is_pre_vote = request.get_msg_type() == MessageType::MsgRequestPreVote;
        let term = (request.term - u64::from(is_pre_vote)).min(self.term_max);
        if let Some(copied) = &mut self.copied {
            let metadata = request.get_snapshot().get_metadata();
            let ids = metadata.get_conf_state().voters.clone();
            let voters = NamedVoters { applied: metadata.index, ids };
            let before = copied.log_ends.get(&request.from);
            let term = before.map_or(term, |end| end.term.max(term));
            copied
                .log_ends
                .insert(request.from, LogEnd { tick, term, last, voters });
        }
        let reported = self.reported_term(request.from);
        if request.term <= reported {
            // A pre-candidate learns a later term only from a rejection. Without the rejection, the candidate with the longest
            // log could ask in the same term forever. As in raft, a member with a leader does not answer.
            if self.raft.raft.leader_id == 0 {
                self.reject_with_term(request.from, reported);
            }
            return false;
        }
        !self.is_contradicted() && self.is_longest_log(request.from, last)
    }

    /// Returns the highest term that voters other than `candidate` have reported, or 0 if this member is not a copy.
    fn reported_term(&self, candidate: u64) -> u64 {
        let ends = self.copied.iter().flat_map(|copied| &copied.log_ends);
        let terms = ends.filter(|(voter, _)| **voter != candidate);
        terms.map(|(_, end)| end.term).max().unwrap_or(0)
    }

    /// Enters the highest term that voters have reported, as a follower without a leader, so that a copy campaigns in a later
    /// term. Does nothing if this member's term is at least as high.
    pub(super) fn enter_reported_term(&mut self) {
        let term = self.reported_term(self.config.id);
        let raft = &mut self.raft.raft;
        if term > raft.term {
            raft.become_follower(term, 0);
        }
    }

    /// Returns whether this member may campaign: no leader contradicts its log. A copy also needs a recent report from every
    /// other voter, each with a log that is not longer. While it catches up, it must not be the sole voter of an old
    /// configuration.
    pub(super) fn log_permits_campaign(&self) -> bool {
        let log = &self.raft.raft.raft_log;
        let last = (log.last_term(), log.last_index());
        let in_old_configuration = self.is_catching_up() && self.is_sole_voter();
        !self.is_contradicted()
            && !in_old_configuration
            && self.is_longest_log(self.config.id, last)
    }

    /// Returns whether this copy has not applied all entries that its confirmed leader had when it was confirmed. Its
    /// configuration may then be an old one.
    fn is_catching_up(&self) -> bool {
        let confirmed = self.copied.as_ref().and_then(|copied| copied.confirmed);
        let applied = self.raft.store().position().index;
        confirmed.is_some_and(|confirmed| applied < confirmed.index)
    }

    /// Returns whether a log that ends at `last` (term and index) is at least as long as the log of every voter except
    /// `candidate`. Each voter must have reported its log recently, but not in the first `copy_patience` ticks, because such a
    /// report may be older than the original's last vote. Returns `true` if this member is not a copy, because raft then
    /// compares the logs.
    fn is_longest_log(&self, candidate: u64, last: (u64, u64)) -> bool {
        let Some(copied) = &self.copied else {
            return true;
        };
        let patience = self.copy_patience();
        let is_shorter = |voter: u64| {
            let end = copied.log_ends.get(&voter);
            end.is_some_and(|end| {
                end.tick >= patience && self.ticks <= end.tick + patience && end.last <= last
            })
        };
        let mut others = self.other_voters().into_iter();
        self.ticks >= patience && others.all(|voter| voter == candidate || is_shorter(voter))
    }

    /// Returns the voters of this member's applied configuration, including outgoing voters.
    fn own_voters(&self) -> NamedVoters {
        let place = self.raft.store().position();
        let ids = place.voters.iter().chain(&place.voters_outgoing);
        NamedVoters { applied: place.index, ids: ids.copied().collect() }
    }

    /// Returns the lists of voters in the vote requests that this copy has received. A member that is not a copy records none.
    fn named_voters(&self) -> impl Iterator<Item = &NamedVoters> {
        let ends = self.copied.iter().flat_map(|it| it.log_ends.values());
        ends.map(|end| &end.voters)
    }

    /// Returns the newest known list of voters.
    fn newest_voters(&self) -> NamedVoters {
        let own = self.own_voters();
        let newest = self.named_voters().max_by_key(|named| named.applied);
        let newer = newest.filter(|named| named.applied > own.applied);
        newer.cloned().unwrap_or(own)
    }

    /// Returns the voters in the newest list and in the lists without an index.
    fn known_voters(&self) -> BTreeSet<u64> {
        let unindexed = self.named_voters().filter(|named| named.applied == 0);
        let unindexed = unindexed.flat_map(|named| named.ids.clone());
        self.newest_voters()
            .ids
            .into_iter()
            .chain(unindexed)
            .collect()
    }

    /// Returns the ids of the known voters except this member.
    fn other_voters(&self) -> BTreeSet<u64> {
        let mut voters = self.known_voters();
        voters.remove(&self.config.id);
        voters
    }

    /// Adds the newest known list of voters to a vote request, in the snapshot metadata, which raft ignores. Ignores other
    /// messages.
    pub(super) fn name_voters(&self, message: &mut Message) {
        if is_vote_request(message.get_msg_type()) {
            let NamedVoters { applied, ids } = self.newest_voters();
            let metadata = message.mut_snapshot().mut_metadata();
            metadata.index = applied;
            metadata.mut_conf_state().voters = ids;
        }
    }

    /// Returns whether a copy must not campaign in the next term, because a voter has reported that term or a later term.
    pub(super) fn is_behind_reported_term(&self) -> bool {
        self.reported_term(self.config.id) > self.raft.raft.term
    }

    /// Counts a tick of a copy that is not allowed to campaign. Does nothing on a member that is not a copy. When raft would
    /// campaign, the copy forgets the leader and sends all voters a pre-vote request with the end of its log. Raft ignores the
    /// responses.
    pub(super) fn tick_as_copy(&mut self) {
        if self.copied.is_none() {
            return;
        }
        let raft = &mut self.raft.raft;
        raft.election_elapsed += 1;
        if !raft.pass_election_timeout() {
            return;
        }
        (raft.election_elapsed, raft.leader_id) = (0, 0);
        let mut request = Message {
            from: self.config.id,
            term: raft.term + 1,
            index: raft.raft_log.last_index(),
            log_term: raft.raft_log.last_term(),
            ..Message::default()
        };
        request.set_msg_type(MessageType::MsgRequestPreVote);
        self.name_voters(&mut request);
        for voter in self.other_voters() {
            let request = Message { to: voter, ..request.clone() };
            self.post(voter, Lane::Control, &PeerMessage::Raft(request));
        }
    }

    /// Updates the copy's confirmed leader after an accepted message of type `kind`. The tuple is the term and index of the
    /// message's log entry. Confirms a candidate that receives this member's vote, because it has the longest log. Records
    /// whether a confirmed leader's append or snapshot follows this log.
    pub(super) fn update_confirmed_leader(
        &mut self,
        kind: MessageType,
        commit: ReceivedCommit,
        (log_term, index): (u64, u64),
    ) {
        let (leader, term, raft) = (commit.from, commit.term, &self.raft.raft);
        let Some(copied) = self.copied.as_mut().filter(|_| raft.term == term) else {
            return;
        };
        let log = &raft.raft_log;
        let is_longer = (log_term, index) >= (log.last_term(), log.last_index());
        if kind == MessageType::MsgRequestVote && raft.vote == leader && is_longer {
            copied.confirmed = Some(ConfirmedLeader { leader, term, index, has_appended: false });
        }
        let follows = match kind == MessageType::MsgSnapshot {
            true => commit.index <= log.committed,
            false => log.match_term(index, log_term),
        };
        let appends = is_of_leader(kind) && kind != MessageType::MsgHeartbeat;
        if let Some(confirmed) = &mut copied.confirmed
            && (confirmed.leader, confirmed.term) == (leader, term)
        {
            confirmed.has_appended |= appends && follows;
        }
    }

    /// Ends the wait of a copy that leads or need not wait. For any other copy, a confirmed leader must first have brought the
    /// copy up to date. All messages from the original must also have arrived.
    pub(super) fn settle_copy(&mut self) {
        let Some(copied) = &self.copied else { return };
        let raft = &self.raft.raft;
        let is_up_to_date = copied.confirmed.is_some_and(|it| {
            it.has_appended
                && (it.leader, it.term) == (raft.leader_id, raft.term)
                && raft.raft_log.committed >= it.index
        });
        // Raft votes in this member's own configuration, which may be older than the newest list.
        let own = self.own_voters();
        let lists = [own.ids.into_iter().collect(), self.known_voters()];
        let needs_all = own.applied >= copied.last_change
            && !self.is_catching_up()
            && lists
                .iter()
                .all(|voters| voters.contains(&self.config.id) && voters.len() < CONFIRMING_VOTERS);
        let leads = raft.state == StateRole::Leader;
        if leads || needs_all || (is_up_to_date && self.ticks >= self.copy_patience()) {
            self.copied = None;
        }
    }
}

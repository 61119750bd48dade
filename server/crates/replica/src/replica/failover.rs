//! Failover: followers campaign immediately when their leader's process ends.
//!
//! The transport reports the end of the process to each member separately, milliseconds apart (`peers`). A member whose report
//! is late ignores a candidate's pre-vote request at first and answers it after the report.

use raft::{
    StateRole,
    eraftpb::{Message, MessageType},
};

use super::{Replica, copied::is_of_leader};
use crate::{
    jitter,
    limits::{FAILOVER_CAMPAIGNS, FAILOVER_STEP_NS},
};

/// Campaigns of a follower whose leader's process ended. They only skip the wait for the election timeout: members that still
/// receive messages from the leader reject the pre-vote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failover {
    /// Id and term of the leader whose process ended.
    ended: (u64, u64),
    /// Monotonic time in nanoseconds until which messages from the leader are dropped, because it may have sent them before the
    /// process ended. The time is an election timeout after the report.
    ignored_until_ns: u64,
    /// Monotonic time of the next campaign in nanoseconds.
    pub(super) at_ns: u64,
    campaigns: u32,
    /// The last known term. A later term delays the next campaign.
    term: u64,
}

impl Replica {
    /// Keeps a pre-vote request in case the report about the leader's process arrives later. Raft ignores such requests while
    /// this member receives messages from a leader. The request replaces an earlier request, even if that request is from
    /// another candidate. Ignores other messages.
    pub(super) fn keep_pre_vote(&mut self, message: &Message) {
        if message.get_msg_type() == MessageType::MsgRequestPreVote {
            self.asked_pre_vote = Some(message.clone());
        }
    }

    /// Returns whether to drop a pre-vote request, because this member campaigns before its sender and has a log at least as
    /// long. If this member answered, both members would become candidates and split the votes.
    pub(super) fn disturbs_first_campaign(&self, message: &Message) -> bool {
        let raft = &self.raft.raft;
        let log = &raft.raft_log;
        message.get_msg_type() == MessageType::MsgRequestPreVote
            && raft.state == StateRole::PreCandidate
            && self
                .failover
                .is_some_and(|failover| failover.campaigns == 1)
            && self.config.id < message.from
            && (message.log_term, message.index) <= (log.last_term(), log.last_index())
    }

    /// Answers the kept pre-vote request as if it had just arrived. Does nothing if the request is not for the next term.
    fn answer_pre_vote(&mut self) {
        let next = self.raft.raft.term + 1;
        let asked = self.asked_pre_vote.take();
        if let Some(asked) = asked.filter(|asked| asked.term == next) {
            // The request was checked when it arrived.
            let _ = self.step(asked, None);
        }
    }

    /// Starts failover campaigns if `member` is this follower's leader, after a delay that depends on this voter's rank.
    /// Forgets the leader, drops its late messages for an election timeout, and then grants pre-votes, beginning with a kept
    /// request. Does nothing if this member cannot be elected, or if pre-vote is disabled, because a failed campaign would then
    /// disturb the leader.
    pub(super) fn peer_process_ended(&mut self, member: u64) {
        let raft = &self.raft.raft;
        if raft.state != StateRole::Follower
            || raft.leader_id != member
            || !raft.promotable()
            || !raft.pre_vote
        {
            return;
        }
        self.failover = Some(Failover {
            ended: (member, raft.term),
            ignored_until_ns: self.monotonic_ns.saturating_add(self.config.election_ns),
            at_ns: self.monotonic_ns + self.failover_delay_ns(member, 0),
            campaigns: 0,
            term: raft.term,
        });
        // As after an election timeout, this member now grants pre-votes.
        self.raft.raft.leader_id = 0;
        self.answer_pre_vote();
        self.continue_failover();
    }

    /// Accepts messages from `member` again if its process was believed to have ended. The campaigns continue until its next
    /// message as a leader, because a restarted process does not lead.
    pub(super) fn peer_process_returned(&mut self, member: u64) {
        let failover = self.failover.as_mut();
        if let Some(failover) = failover.filter(|failover| failover.ended.0 == member) {
            failover.ignored_until_ns = 0;
        }
    }

    /// Returns whether the leader may have sent this message before its process ended. This is the case if the message belongs
    /// to that leader's term and arrives within an election timeout of the report. The caller drops such a message, because it
    /// would end the campaigns.
    pub(super) fn is_late_from_ended_leader(&self, message: &Message) -> bool {
        let sent = (message.from, message.term);
        let is_late = |failover: Failover| {
            failover.ended == sent && self.monotonic_ns < failover.ignored_until_ns
        };
        is_of_leader(message.get_msg_type()) && self.failover.is_some_and(is_late)
    }

    /// Returns the nanoseconds until this member's next failover campaign, after `campaigns` campaigns. Voters campaign in the
    /// order of their ids, without `ended_leader` (0 for none). Each failed campaign doubles the step between members, up to an
    /// election timeout. It also adds a random part of a step, so that slow campaigns do not collide.
    fn failover_delay_ns(&self, ended_leader: u64, campaigns: u32) -> u64 {
        let voters = self.raft.store().position().voters.iter();
        let before = voters.filter(|id| **id < self.config.id && **id != ended_leader);
        let rank = before.count() as u64;
        let Some(doubled) = campaigns.checked_sub(1) else {
            return rank * FAILOVER_STEP_NS;
        };
        let longest = self.config.election_ns.max(FAILOVER_STEP_NS);
        let step = (FAILOVER_STEP_NS << doubled.min(FAILOVER_CAMPAIGNS)).min(longest);
        let draw = self.campaigns + u64::from(campaigns);
        (1 + rank) * step + jitter::below(self.config.seed, draw, step)
    }

    /// Campaigns if the next failover campaign is due. Stops once there is a leader, this member is no longer a voter, or
    /// [`FAILOVER_CAMPAIGNS`] campaigns have failed. A removed member must not campaign, because raft-rs panics if it wins.
    pub(super) fn continue_failover(&mut self) {
        let Some(mut failover) = self.failover else {
            return;
        };
        let raft = &self.raft.raft;
        let in_vain = failover.campaigns >= FAILOVER_CAMPAIGNS;
        if raft.leader_id != 0 || !raft.promotable() || in_vain {
            self.failover = None;
            return;
        }
        if failover.term != raft.term {
            // A candidate has requested votes and gets time to win.
            let delay_ns = self.failover_delay_ns(0, failover.campaigns.max(1));
            failover.at_ns = failover.at_ns.max(self.monotonic_ns + delay_ns);
            failover.term = raft.term;
            self.failover = Some(failover);
        }
        if self.monotonic_ns < failover.at_ns || !self.may_campaign() {
            return;
        }
        self.enter_reported_term();
        // An error means that raft must first apply membership changes.
        let _ = self.raft.campaign();
        let campaigns = failover.campaigns + 1;
        self.failover = Some(Failover {
            at_ns: self.monotonic_ns + self.failover_delay_ns(0, campaigns),
            campaigns,
            ..failover
        });
    }
}

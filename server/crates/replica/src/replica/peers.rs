//! The transport's reports about other members (reachability, results of snapshots, rejections), and leadership transfers.
//! `failover` handles the end of a leader's process.

use std::cmp::Reverse;

use raft::{
    INVALID_INDEX, ProgressState, SnapshotStatus, StateRole,
    eraftpb::{Message, MessageType},
};

use super::{Halt, Replica};
use crate::{host::Lane, wire::PeerMessage};
use witan_machine::member::MemberId;

/// The transport's report about another member. Recordings contain the numeric values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
pub enum PeerEvent {
    /// A message could not be sent.
    Unreachable = 0,
    /// The member closed both of its streams and refused a new connection.
    ProcessGone = 1,
    /// A member whose process seemed to have ended has opened a stream to this member, so it is running.
    ProcessBack = 2,
    /// The bulk stream to the member was opened. The member runs, and earlier messages may be lost.
    StreamOpened = 3,
    /// The member has received and installed the snapshot.
    SnapshotDelivered = 4,
    /// The transfer of a snapshot to the member failed.
    SnapshotFailed = 5,
    /// The member rejects streams, because this member was removed from the cluster.
    RemovedHere = 6,
    /// The member rejects streams, because it knows this member with a different data directory.
    ReplacedHere = 7,
    /// The member rejects streams, because the cluster has a feature level above this member's release.
    LevelTooLowHere = 8,
}

/// The reason why leadership was not transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferRefused {
    /// This member is not the leader.
    #[error("not leader")]
    NotLeader,
    /// The target is not a voter.
    #[error("bad leader transferee")]
    BadTransferee,
    /// No other voter is active.
    #[error("no other member is active")]
    NoTransferee,
}

/// The last acknowledgment that this member sent: its receiver, term, index and tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Acknowledgment {
    tick: u64,
    to: u64,
    term: u64,
    index: u64,
}

/// Returns the index of the last entry in an append message, or the index of a snapshot. An append without entries has the
/// index of the entry before it.
pub(super) fn last_index_in(message: &Message) -> u64 {
    match message.get_msg_type() == MessageType::MsgSnapshot {
        true => message.get_snapshot().get_metadata().index,
        false => message.index + message.entries.len() as u64,
    }
}

impl Replica {
    /// Handles the transport's report about another member. Informs raft, campaigns if the leader's process ended, resends
    /// proposals when a stream opens, and halts this member if most other members permanently reject it.
    pub(crate) fn peer_event(&mut self, MemberId(member): MemberId, event: PeerEvent) {
        match event {
            PeerEvent::Unreachable => self.raft.report_unreachable(member),
            PeerEvent::ProcessGone => {
                self.raft.report_unreachable(member);
                self.peer_process_ended(member);
            }
            PeerEvent::ProcessBack => self.peer_process_returned(member),
            PeerEvent::StreamOpened => {
                self.peer_process_returned(member);
                self.forward_again(member);
            }
            PeerEvent::SnapshotDelivered => self.snapshot_ended(member, SnapshotStatus::Finish),
            PeerEvent::SnapshotFailed => self.snapshot_ended(member, SnapshotStatus::Failure),
            PeerEvent::RemovedHere => self.record_rejection(member, Halt::Removed),
            PeerEvent::ReplacedHere => self.record_rejection(member, Halt::Replaced),
            PeerEvent::LevelTooLowHere => {
                let own = self.config.level;
                // The level of the cluster is at least the next level.
                self.record_rejection(member, Halt::LaterLevel { level: own + 1, own });
            }
        }
    }

    /// Returns the lowest last index among the other members that have responded recently or are receiving a snapshot. Returns
    /// `None` if there is no such member or this member does not lead.
    pub(super) fn slowest_receiver(&self) -> Option<u64> {
        let raft = &self.raft.raft;
        if raft.state != StateRole::Leader
            || self.is_sole_voter() && self.raft.store().position().learners.is_empty()
        {
            return None;
        }
        let others = raft.prs().iter().filter(|(id, _)| **id != self.config.id);
        let receiving = others.filter(|(id, peer)| {
            peer.recent_active
                || self.has_answered_recently(**id)
                || self.leader_tasks.is_sending_snapshot(**id)
        });
        // A member that has not responded yet is assumed to have its snapshot, and all entries before the next entry to send.
        let has = receiving.map(|(_, peer)| match peer.matched {
            0 => peer.pending_snapshot.max(peer.next_idx - 1),
            matched => matched.max(peer.pending_snapshot),
        });
        has.min()
    }

    /// Returns whether to drop a rejection of entries that have been acknowledged since. Raises the hint of any other rejection
    /// to the acknowledged index, because raft would otherwise probe at an older index and might send a snapshot.
    pub(super) fn correct_rejection(&self, message: &mut Message) -> bool {
        let raft = &self.raft.raft;
        let leads = raft.state == StateRole::Leader && raft.term == message.term;
        let rejects = message.get_msg_type() == MessageType::MsgAppendResponse
            && message.reject
            && message.request_snapshot == INVALID_INDEX;
        let peer = raft.prs().get(message.from).filter(|_| leads && rejects);
        let Some(matched) = peer.map(|peer| peer.matched) else {
            return false;
        };
        if message.reject_hint < matched {
            (message.reject_hint, message.log_term) = (matched, 0);
        }
        message.index <= matched
    }

    /// Records which members have responded to this leader, because raft forgets this at each quorum check.
    pub(super) fn record_heard(&mut self) {
        if self.raft.raft.state == StateRole::Leader {
            let peers = self.raft.raft.prs().iter();
            let heard = peers.filter(|(_, peer)| peer.recent_active);
            self.leader_tasks
                .record_heard(heard.map(|(id, _)| *id), self.ticks);
        }
    }

    /// Returns whether a member has responded to this leader within the last election timeout.
    fn has_answered_recently(&self, id: u64) -> bool {
        let since = self.ticks.saturating_sub(self.config.election_ticks as u64);
        let heard = self.leader_tasks.last_heard_tick(id);
        heard.is_some_and(|at| at >= since)
    }

    /// Sends a candidate a rejection with the later term `term`, because raft-rs sends none. Without the rejection, a candidate
    /// that gets no message of that term would campaign in many earlier terms.
    pub(super) fn reject_with_term(&mut self, candidate: u64, term: u64) {
        let mut message = Message {
            to: candidate,
            from: self.config.id,
            term,
            reject: true,
            ..Message::default()
        };
        message.set_msg_type(MessageType::MsgRequestVoteResponse);
        self.post(candidate, Lane::Control, &PeerMessage::Raft(message));
    }

    /// Records a probe and returns whether to drop it because it repeats a probe of this tick. Returns `false` for other
    /// messages. Raft probes after each heartbeat response, so each linearizable read would send entries to a member whose disk
    /// is full.
    pub(super) fn record_probe_and_check_repeat(&mut self, message: &Message) -> bool {
        let peer = self.raft.raft.prs().get(message.to);
        let probes = peer.is_some_and(|peer| peer.state == ProgressState::Probe);
        if message.get_msg_type() != MessageType::MsgAppend || message.entries.is_empty() || !probes
        {
            return false;
        }
        let probe = (self.ticks, message.index);
        self.probes.insert(message.to, probe) == Some(probe)
    }

    /// Returns whether to drop an acknowledgment that adds nothing to an acknowledgment sent to the same leader in this tick.
    /// Records any other acknowledgment. Raft answers each append, even an append with only a commit index. One acknowledgment
    /// per tick passes, in case an earlier acknowledgment was lost.
    pub(super) fn record_acknowledgment_and_check_repeat(&mut self, message: &Message) -> bool {
        if message.get_msg_type() != MessageType::MsgAppendResponse || message.reject {
            return false;
        }
        let new = Acknowledgment {
            tick: self.ticks,
            to: message.to,
            term: message.term,
            index: message.index,
        };
        let last = self.acknowledged;
        let repeated =
            Acknowledgment { index: last.index, ..new } == last && new.index <= last.index;
        if !repeated {
            self.acknowledged = new;
        }
        repeated
    }

    /// Limits the acknowledgments in raft's messages after the first `before` messages to `end`, the last index in the leader's
    /// message. Raft acknowledges its commit index if the leader's message starts below it. The leader's entries after `end`
    /// may differ from the entries of this log (`log_lost`), and the leader would count them as replicated.
    pub(super) fn limit_acknowledgments(&mut self, before: usize, end: u64) {
        for answer in self.raft.raft.msgs.iter_mut().skip(before) {
            if answer.get_msg_type() == MessageType::MsgAppendResponse && !answer.reject {
                answer.index = answer.index.min(end);
            }
        }
    }

    /// Reports the result of a snapshot transfer to raft, so that another transfer can start.
    fn snapshot_ended(&mut self, member: u64, status: SnapshotStatus) {
        self.leader_tasks.snapshot_ended(member);
        self.raft.report_snapshot(member, status);
    }

    /// Returns the recently active voter with the longest log, other than this member and `except`. Fails with `NoTransferee`
    /// if there is no such voter. The caller checks that this member leads.
    pub(super) fn transferee(&self, except: Option<u64>) -> Result<u64, TransferRefused> {
        let (own, raft) = (self.config.id, &self.raft.raft);
        let voters = &self.raft.store().position().voters;
        let others = raft
            .prs()
            .iter()
            .filter(|(id, _)| **id != own && Some(**id) != except && voters.contains(id));
        // After each quorum check, raft regards no member as active until new responses arrive.
        let heard =
            others.filter(|(id, peer)| peer.recent_active || self.has_answered_recently(**id));
        heard
            .max_by_key(|(id, peer)| (peer.matched, peer.recent_active, Reverse(**id)))
            .map(|(id, _)| *id)
            .ok_or(TransferRefused::NoTransferee)
    }

    /// Appends the held proposals, then starts a transfer of leadership to `to` or, for `None`, to the recently active voter
    /// with the longest log. Returns the target's id. Fails if this member does not lead, `to` is not a voter, or there is no
    /// suitable voter.
    pub(crate) fn transfer_leadership(
        &mut self,
        to: Option<MemberId>,
    ) -> Result<MemberId, TransferRefused> {
        self.hand_in_all();
        self.hand_over(to.map(|MemberId(id)| id)).map(MemberId)
    }

    /// Starts a transfer like [`Self::transfer_leadership`] but does not append held proposals first. A transfer to this leader
    /// succeeds and only cancels a transfer in progress.
    pub(super) fn hand_over(&mut self, to: Option<u64>) -> Result<u64, TransferRefused> {
        self.send_appended();
        let raft = &self.raft.raft;
        if raft.state != StateRole::Leader {
            return Err(TransferRefused::NotLeader);
        }
        let voters = &self.raft.store().position().voters;
        let to = match to {
            Some(to) if voters.contains(&to) => to,
            Some(_) => return Err(TransferRefused::BadTransferee),
            None => self.transferee(None)?,
        };
        self.raft.transfer_leader(to);
        Ok(to)
    }
}

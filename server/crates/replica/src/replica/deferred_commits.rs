//! Commit indexes that a leader does not send by themselves: under load the next append is about to carry them, and a
//! message of its own costs each follower a wake-up, and the leader an answer.
//!
//! A commit index goes at once to a member that waits for it because it has forwarded an entry. A member that reads gets it
//! with the heartbeats of the read.

use std::collections::BTreeMap;

use raft::{
    ProgressState,
    eraftpb::{Message, MessageType},
};

use super::Replica;
use crate::{host::Lane, limits::COMMIT_DEFERRAL_NS, wire::PeerMessage};

/// See the module's description. It holds for the term that this member leads.
#[derive(Debug, Default)]
pub(super) struct DeferredCommits {
    /// When this leader appended before the last time, and the last time, on the monotonic clock.
    appended_ns: (u64, u64),
    /// Since when the oldest one waits.
    since_ns: u64,
    /// By member.
    waiting: BTreeMap<u64, DeferredCommit>,
    /// The first and the last entry that each member has forwarded and does not know as committed.
    forwarded: BTreeMap<u64, (u64, u64)>,
}

/// The fields of an append without entries. It is sent as raft has made it, in the term of then: as if the network had
/// delayed it.
#[derive(Clone, Copy, Debug)]
struct DeferredCommit {
    term: u64,
    index: u64,
    log_term: u64,
    commit: u64,
}

impl DeferredCommits {
    /// Notes that this leader appends entries. Two appends at the same time are one.
    pub(super) fn appended(&mut self, now_ns: u64) {
        if self.appended_ns.1 != now_ns {
            self.appended_ns = (self.appended_ns.1, now_ns);
        }
    }

    /// Records that `member` forwarded the entry at `index`, so that the commit index covering it is sent to that member at
    /// once.
    pub(super) fn forwarded(&mut self, member: u64, index: u64) {
        let (_, last) = self.forwarded.entry(member).or_insert((index, index));
        *last = index;
    }

    /// Whether appends follow one another so fast that the next one carries what is committed now.
    fn expects_append(&self, now_ns: u64) -> bool {
        let (before, last) = self.appended_ns;
        before != 0
            && last - before <= COMMIT_DEFERRAL_NS
            && now_ns.saturating_sub(last) <= COMMIT_DEFERRAL_NS
    }

    /// Whether the commit index is the first that covers an entry of the member.
    fn is_awaited(&mut self, member: u64, commit: u64) -> bool {
        let Some((first, last)) = self.forwarded.get_mut(&member) else {
            return false;
        };
        let awaited = commit >= *first;
        if commit >= *last {
            self.forwarded.remove(&member);
        } else if awaited {
            *first = commit + 1;
        }
        awaited
    }
}

impl Replica {
    /// Whether a message of raft only carries a commit index that can wait for the next append. The caller drops such a
    /// message; its commit index is sent later, unless an append is sent before.
    pub(super) fn defers_commit(&mut self, message: &Message) -> bool {
        if message.get_msg_type() != MessageType::MsgAppend {
            return false;
        }
        let (raft, commits) = (&self.raft.raft, &mut self.deferred_commits);
        let awaited = commits.is_awaited(message.to, message.commit);
        let peer = raft.prs().get(message.to);
        let replicates = peer.is_some_and(|peer| peer.state == ProgressState::Replicate);
        let settled = !raft.has_pending_conf() && raft.lead_transferee.is_none();
        let defers = message.entries.is_empty()
            && !awaited
            && replicates
            && settled
            && commits.expects_append(self.monotonic_ns);
        if !defers {
            commits.waiting.remove(&message.to);
            return false;
        }
        if commits.waiting.is_empty() {
            commits.since_ns = self.monotonic_ns;
        }
        let &Message { term, index, log_term, commit, .. } = message;
        let deferred = DeferredCommit { term, index, log_term, commit };
        commits.waiting.insert(message.to, deferred);
        true
    }

    /// Returns when the deferred commit indexes are sent, if no append is sent before.
    pub(super) fn commits_due_ns(&self) -> Option<u64> {
        let commits = &self.deferred_commits;
        let due = commits.since_ns.saturating_add(COMMIT_DEFERRAL_NS);
        (!commits.waiting.is_empty()).then_some(due)
    }

    /// Sends the commit indexes that have waited long enough.
    pub(super) fn send_due_commits(&mut self) {
        if self
            .commits_due_ns()
            .is_some_and(|due| due <= self.monotonic_ns)
        {
            for (to, deferred) in std::mem::take(&mut self.deferred_commits.waiting) {
                self.post_commit(to, deferred);
            }
        }
    }

    /// Sends a deferred commit index in an append message without entries.
    fn post_commit(&mut self, to: u64, deferred: DeferredCommit) {
        let DeferredCommit { term, index, log_term, commit } = deferred;
        let from = self.config.id;
        let mut message = Message {
            to,
            from,
            term,
            index,
            log_term,
            commit,
            ..Message::default()
        };
        message.set_msg_type(MessageType::MsgAppend);
        self.attach_lineage(&mut message);
        self.post(to, Lane::Bulk, &PeerMessage::Raft(message));
    }
}

//! Commit indexes that a leader does not send in their own messages. Under load, the next append soon carries them. A
//! separate message would cost each follower a wake-up, and the leader an answer.
//!
//! A commit index is sent at once to a member that waits for it because it forwarded an entry. A member that reads receives
//! it with the heartbeats of the read.

use std::collections::BTreeMap;

use raft::{
    ProgressState,
    eraftpb::{Message, MessageType},
};

use super::Replica;
use crate::{host::Lane, limits::COMMIT_DEFERRAL_NS, wire::PeerMessage};

/// The deferred commit indexes of the term that this member leads.
#[derive(Debug, Default)]
pub(super) struct DeferredCommits {
    /// Monotonic times in nanoseconds of this leader's last append but one and its last append.
    appended_ns: (u64, u64),
    /// Monotonic time in nanoseconds since which the oldest deferred commit index waits.
    since_ns: u64,
    /// The deferred commit index of each member.
    waiting: BTreeMap<u64, DeferredCommit>,
    /// The first and the last entry that each member has forwarded and that was not sent to it as committed.
    forwarded: BTreeMap<u64, (u64, u64)>,
}

/// The fields of an append without entries, as raft has made it. It is sent later with its original term, like a message that
/// the network has delayed.
#[derive(Clone, Copy, Debug)]
struct DeferredCommit {
    term: u64,
    index: u64,
    log_term: u64,
    commit: u64,
}

impl DeferredCommits {
    /// Records that this leader appends entries at `now_ns`. Two appends at the same time count as one.
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

    /// Returns whether appends follow each other so fast that the next append soon carries the current commit index.
    fn expects_append(&self, now_ns: u64) -> bool {
        let (before, last) = self.appended_ns;
        before != 0
            && last - before <= COMMIT_DEFERRAL_NS
            && now_ns.saturating_sub(last) <= COMMIT_DEFERRAL_NS
    }

    /// Returns whether `commit` is the first commit index that covers an entry forwarded by `member`.
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
    /// Returns whether a raft message only carries a commit index that can wait for the next append. The caller drops such a
    /// message. Its commit index is sent later, unless an append is sent before.
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

    /// Returns when the deferred commit indexes are sent if no append is sent before. Returns `None` without deferred commit
    /// indexes.
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

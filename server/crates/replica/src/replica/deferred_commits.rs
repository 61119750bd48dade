//! Defers commit index updates: while a leader is appending entries, the next append will carry the commit index anyway. A
//! separate message would wake each follower, and the leader would have to process the responses.
//!
//! Members that forwarded an entry get the commit index immediately. Members that wait for a linearizable read get it with the
//! heartbeats of that ReadIndex round.

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
    /// Monotonic times in nanoseconds of this leader's last two appends, older first.
    appended_ns: (u64, u64),
    /// Monotonic time in nanoseconds at which the oldest deferred commit index was deferred.
    since_ns: u64,
    waiting: BTreeMap<u64, DeferredCommit>,
    /// First and last index of the entries that each member has forwarded and does not yet know to be committed.
    forwarded: BTreeMap<u64, (u64, u64)>,
}

/// The fields of an append message without entries, which is sent later with its original term, like a delayed message.
#[derive(Clone, Copy, Debug)]
struct DeferredCommit {
    term: u64,
    index: u64,
    log_term: u64,
    commit: u64,
}

impl DeferredCommits {
    /// Records that this leader appends entries at `now_ns`. A second call with the same time changes nothing.
    pub(super) fn appended(&mut self, now_ns: u64) {
        if self.appended_ns.1 != now_ns {
            self.appended_ns = (self.appended_ns.1, now_ns);
        }
    }

    /// Records that `member` forwarded the entry at `index`, so that the member gets the covering commit index without
    /// deferral.
    pub(super) fn forwarded(&mut self, member: u64, index: u64) {
        let (_, last) = self.forwarded.entry(member).or_insert((index, index));
        *last = index;
    }

    /// Returns whether this leader appends so often that the next append will soon carry the current commit index.
    fn expects_append(&self, now_ns: u64) -> bool {
        let (before, last) = self.appended_ns;
        before != 0
            && last - before <= COMMIT_DEFERRAL_NS
            && now_ns.saturating_sub(last) <= COMMIT_DEFERRAL_NS
    }

    /// Returns whether `commit` is the first to cover an entry that `member` forwarded. Forgets the covered entries.
    fn take_awaited(&mut self, member: u64, commit: u64) -> bool {
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
    /// Returns whether a raft message carries only a commit index that can wait for the next append. If so, records the commit
    /// index, and the caller drops the message. The commit index is sent later unless an append carries it first. Any other
    /// append to the same member drops the deferred commit index.
    pub(super) fn defers_commit(&mut self, message: &Message) -> bool {
        if message.get_msg_type() != MessageType::MsgAppend {
            return false;
        }
        let (raft, commits) = (&self.raft.raft, &mut self.deferred_commits);
        let awaited = commits.take_awaited(message.to, message.commit);
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

    /// Returns the monotonic time in nanoseconds at which deferred commit indexes must be sent; `None` if none is deferred.
    pub(super) fn commits_due_ns(&self) -> Option<u64> {
        let commits = &self.deferred_commits;
        let due = commits.since_ns.saturating_add(COMMIT_DEFERRAL_NS);
        (!commits.waiting.is_empty()).then_some(due)
    }

    /// Sends the deferred commit indexes if they are due.
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
        self.attach_append_context(&mut message);
        self.post(to, Lane::Bulk, &PeerMessage::Raft(message));
    }
}

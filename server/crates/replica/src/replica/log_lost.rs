//! A member whose data directory was emptied or replaced: leaders know acknowledgments of it that its log does
//! not hold. It must neither vote nor lead, and ends.
//!
//! A single message does not end it: one that a broken member has sent may say anything.

use raft::eraftpb::{Message, MessageType};

use super::{Halt, Replica};

/// What a leader has said about entries that the log does not hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct BeyondLog {
    leader: u64,
    term: u64,
    /// The largest commit index that it told.
    commit: u64,
    /// Ticks at which it said so first and last.
    first: u64,
    last: u64,
}

/// Election timeouts after the leader's last word in which this member does not vote: an ordinary election comes
/// one to two after it.
const NO_VOTE_TIMEOUTS: u64 = 3;

impl Replica {
    /// Whether a heartbeat tells a commit index beyond the log, at which raft would panic: a leader tells no more
    /// than this member has acknowledged. If the leader goes on to say so for an election timeout, it is right.
    pub(super) fn is_beyond_log(&mut self, message: &Message, last: u64) -> bool {
        let kind = message.get_msg_type();
        let (leader, term) = (message.from, message.term);
        let beyond = kind == MessageType::MsgHeartbeat
            && term >= self.raft.raft.term
            && message.commit > last;
        let same = |said: &BeyondLog| (said.leader, said.term) == (leader, term);
        if !beyond {
            let follows = kind == MessageType::MsgHeartbeat || kind == MessageType::MsgAppend;
            // an append says nothing yet about the entries that are missing before it
            let refilled = |said: &BeyondLog| same(said) && said.commit <= last;
            if follows && self.beyond_log.as_ref().is_some_and(refilled) {
                self.beyond_log = None;
            }
            return false;
        }
        let patience = self.config.election_ticks as u64;
        let known = self
            .beyond_log
            .filter(|said| same(said) && self.ticks <= said.last + patience);
        let first = known.map_or(self.ticks, |said| said.first);
        let commit = known.map_or(0, |said| said.commit).max(message.commit);
        self.beyond_log = Some(BeyondLog {
            leader,
            term,
            commit,
            first,
            last: self.ticks,
        });
        if self.ticks >= first + patience {
            self.halt = Some(Halt::LogLost {
                committed: message.commit,
                last,
            });
        }
        true
    }

    /// Whether a leader has lately said that entries of this member are lost: a vote of it could elect a member
    /// without them.
    pub(super) fn may_have_lost_log(&self) -> bool {
        let patience = NO_VOTE_TIMEOUTS * self.config.election_ticks as u64;
        self.beyond_log
            .is_some_and(|said| self.ticks <= said.last + patience)
    }
}

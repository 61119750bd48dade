//! A member whose data directory was emptied or replaced: leaders know acknowledgments of it that its log does
//! not hold. It must neither vote nor lead, and ends.
//!
//! No single message ends it, nor do many of one kind: a member that lies, or a stranger who speaks for one in
//! clear text, may say anything. The leader has to confirm that it leads. It is asked for a ReadIndex, which it
//! answers with the help of a quorum, and whose context nobody but the leader gets.

use raft::eraftpb::{Entry, Message, MessageType};
use serde::{Deserialize, Serialize};

use super::{Halt, Replica};
use crate::{host::Lane, wire::PeerMessage};
use witan_machine::member::MemberId;

/// Evidence of a leader for entries that the log does not hold.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct BeyondLog {
    leader: u64,
    term: u64,
    /// The largest commit index that it told.
    commit: u64,
    /// Ticks at which it said so first, with nothing that contradicts it since, and last.
    first: u64,
    last: u64,
    /// Number of the first question since then whether it leads.
    asked: Option<u64>,
    /// Whether it has answered one.
    confirmed: bool,
}

/// Election timeouts after the leader's last word in which this member does not vote: an ordinary election comes
/// one to two after it.
const NO_VOTE_TIMEOUTS: u64 = 3;

/// Voters from which on a leader has a quorum without one of them.
const CONFIRMING_VOTERS: usize = 3;

impl Replica {
    /// Returns whether raft must not see a message: a heartbeat with a commit index beyond `last`, the log's last
    /// index, at which raft would panic, or the answer by which its leader confirms that it leads. If the
    /// leader goes on for an election timeout, this member has lost what it acknowledged, and halts.
    pub(super) fn check_beyond_log(&mut self, message: &Message, last: u64) -> bool {
        let kind = message.get_msg_type();
        if kind == MessageType::MsgReadIndexResp {
            return self.confirms_beyond_log(message);
        }
        if kind != MessageType::MsgHeartbeat || message.commit <= last {
            self.doubt_beyond_log(message, last);
            return false;
        }
        if message.term >= self.raft.raft.term && self.may_lead(message) {
            self.note_beyond_log(message, last);
        }
        message.term >= self.raft.raft.term
    }

    /// Whether no other member is known to lead the message's term. The sender may have become a member later
    /// than this state knows, if the disk is an older copy.
    fn may_lead(&self, message: &Message) -> bool {
        let raft = &self.raft.raft;
        raft.term != message.term || [0, message.from].contains(&raft.leader_id)
    }

    /// Records that a leader tells a commit index beyond `last`, and asks it whether it leads, at most once
    /// in a tick. Halts this member if the leader has said so for an election timeout and is believed.
    fn note_beyond_log(&mut self, message: &Message, last: u64) {
        let patience = self.config.election_ticks as u64;
        let (leader, term) = (message.from, message.term);
        let known = self.beyond_log.filter(|said| {
            (said.leader, said.term) == (leader, term) && self.ticks <= said.last + patience
        });
        let asks = known.is_none_or(|said| said.last < self.ticks);
        let number = asks.then(|| self.ask_whether_it_leads(leader));
        let said = BeyondLog {
            leader,
            term,
            commit: known.map_or(0, |said| said.commit).max(message.commit),
            first: known.map_or(self.ticks, |said| said.first),
            last: self.ticks,
            asked: known.and_then(|said| said.asked).or(number),
            confirmed: known.is_some_and(|said| said.confirmed),
        };
        self.beyond_log = Some(said);
        let believed = said.confirmed || !self.is_leader_confirmable(leader);
        if believed && self.ticks >= said.first + patience {
            self.halt = Some(Halt::LogLost { committed: message.commit, last });
        }
    }

    /// Whether the leader is believed only after it has confirmed that it leads: it has a quorum without this
    /// member, as far as this one knows, or this one does not know it.
    fn is_leader_confirmable(&self, leader: u64) -> bool {
        let members = &self.machine.members.by_id;
        if !members.contains_key(&MemberId(leader)) {
            return true;
        }
        let voters = members.values().filter(|member| !member.learner);
        let votes = members
            .get(&MemberId(self.config.id))
            .is_some_and(|own| !own.learner);
        !votes || voters.count() >= CONFIRMING_VOTERS
    }

    /// Sends a leader a ReadIndex and returns its number. It does not go through raft, which may not know
    /// this leader and must not see its answer.
    fn ask_whether_it_leads(&mut self, leader: u64) -> u64 {
        let (number, context) = self.read_index.question();
        let mut question = Message::default();
        question.set_msg_type(MessageType::MsgReadIndex);
        (question.from, question.to) = (self.config.id, leader);
        let entry = Entry { data: context.into(), ..Entry::default() };
        question.set_entries(vec![entry].into());
        self.post(leader, Lane::Control, &PeerMessage::Raft(question));
        number
    }

    /// Whether a message is the answer of the leader to a question since it first told the commit index
    /// beyond the log, and covers that index. The leader then counts as confirmed.
    fn confirms_beyond_log(&mut self, message: &Message) -> bool {
        let context = message.entries.first().map(|entry| &entry.data[..]);
        let number = context.and_then(|context| self.read_index.own_number(context));
        let Some((number, said)) = number.zip(self.beyond_log.as_mut()) else {
            return false;
        };
        let answers = (message.from, message.term) == (said.leader, said.term)
            && said.asked.is_some_and(|asked| asked <= number)
            && message.index >= said.commit;
        said.confirmed |= answers;
        answers
    }

    /// Forgets what a leader said about a commit index beyond the log if its message shows that the log holds
    /// it by now. Has the election timeout begin again if a leader contradicts it.
    fn doubt_beyond_log(&mut self, message: &Message, last: u64) {
        let kind = message.get_msg_type();
        let leads = kind == MessageType::MsgHeartbeat || kind == MessageType::MsgAppend;
        let Some(said) = self.beyond_log.filter(|_| leads) else {
            return;
        };
        let same = (said.leader, said.term) == (message.from, message.term);
        if same && said.commit <= last {
            self.beyond_log = None;
        } else if message.term >= self.raft.raft.term
            && (!same || kind == MessageType::MsgHeartbeat)
        {
            // An append of the same leader says nothing yet about the entries that are missing before it. It does
            // not vote for a while all the same: the one or the other may be true.
            self.beyond_log =
                Some(BeyondLog { first: self.ticks, asked: None, confirmed: false, ..said });
        }
    }

    /// Whether a leader has said in the last [`NO_VOTE_TIMEOUTS`] election timeouts that entries of this
    /// member are lost: a vote of it could elect a member without them.
    pub(super) fn may_have_lost_log(&self) -> bool {
        let patience = NO_VOTE_TIMEOUTS * self.config.election_ticks as u64;
        self.beyond_log
            .is_some_and(|said| self.ticks <= said.last + patience)
    }
}

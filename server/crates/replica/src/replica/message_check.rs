//! What a raft message must be like before raft sees it. raft-rs panics on messages that no member sends, and
//! one such message of a member that lies, or of a stranger who speaks for it, must not end the others. (`log_lost` says what
//! a member believes that lies for an election timeout.)

use raft::eraftpb::{Entry, Message, MessageType};

use crate::wire::{self, EntryError};

/// Why a message of another member is dropped. What is only late or lost is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageFault {
    /// It does not decode, or this release does not know its kind.
    #[error("the message does not decode")]
    Malformed,
    /// It appends an entry that does not decode. The leader sends it again and again.
    #[error("entry {index} of the raft log does not decode")]
    CorruptEntry {
        /// Raft index of the entry.
        index: u64,
    },
    /// No member sends it.
    #[error("no member sends such a message")]
    Unsound,
}

/// Terms and indexes of a message stay below this. No cluster reaches it, and sums of two of them do not
/// overflow.
const POSITION_MAX: u64 = 1 << 60;

/// Checks whether a member could have sent this message; the error says why not. `last` is the last index of
/// the receiver's log, if it leads the message's term.
pub(super) fn check(message: &Message, last: Option<u64>) -> Result<(), MessageFault> {
    let positions = [
        message.term,
        message.log_term,
        message.index,
        message.commit,
        message.reject_hint,
    ];
    let sound = positions.iter().all(|position| *position < POSITION_MAX);
    if !sound || !has_its_term(message) || !fits_its_kind(message, last) {
        return Err(MessageFault::Unsound);
    }
    match message
        .entries
        .iter()
        .find(|entry| appends(message) && !decodes(entry))
    {
        Some(Entry { index, .. }) => Err(MessageFault::CorruptEntry { index: *index }),
        None => Ok(()),
    }
}

/// Whether a message names a term if its type has one: raft takes one without for a message of its own. A member
/// that has no term yet refuses votes.
fn has_its_term(message: &Message) -> bool {
    let kind = message.get_msg_type();
    let votes = kind == MessageType::MsgRequestVoteResponse
        || kind == MessageType::MsgRequestPreVoteResponse;
    message.term > 0 || kind == MessageType::MsgReadIndex || (votes && message.reject)
}

fn appends(message: &Message) -> bool {
    message.get_msg_type() == MessageType::MsgAppend
}

/// Whether members send messages of this type to each other, and its fields fit the type. `last` is that of
/// [`check`].
fn fits_its_kind(message: &Message, last: Option<u64>) -> bool {
    match message.get_msg_type() {
        MessageType::MsgAppend => has_contiguous_entries(message),
        // a follower acknowledges what the leader has
        MessageType::MsgAppendResponse => {
            last.is_none_or(|last| message.index <= last && message.request_snapshot <= last)
        }
        MessageType::MsgReadIndex => message.term == 0 && message.entries.len() == 1,
        // what a member tells itself, and proposals, which members forward in messages of their own
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader => false,
        MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse
        | MessageType::MsgSnapshot
        | MessageType::MsgHeartbeat
        | MessageType::MsgHeartbeatResponse
        | MessageType::MsgTimeoutNow
        | MessageType::MsgReadIndexResp => true,
    }
}

/// Whether the entries follow the index before them, and no term goes back or beyond the message's.
fn has_contiguous_entries(message: &Message) -> bool {
    let mut before = (message.index, message.log_term);
    message.entries.iter().all(|entry| {
        let follows = entry.index == before.0 + 1 && entry.term >= before.1;
        before = (entry.index, entry.term);
        follows && entry.term <= message.term
    })
}

/// Whether an entry can be executed, now or by a later release. One that cannot would end the member when it is
/// executed, and at each start after that.
fn decodes(entry: &Entry) -> bool {
    match wire::decode_raft_entry(entry) {
        Ok(_) | Err(EntryError::Unknown) => true,
        Err(EntryError::Corrupt(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::EntryType;

    use super::*;

    fn message(kind: MessageType) -> Message {
        let mut message = Message { term: 3, index: 10, log_term: 2, ..Message::default() };
        message.set_msg_type(kind);
        message
    }

    fn append(entries: &[(u64, u64)]) -> Message {
        let entry =
            |(index, term): &(u64, u64)| Entry { index: *index, term: *term, ..Entry::default() };
        let mut append = message(MessageType::MsgAppend);
        append.entries = entries.iter().map(entry).collect();
        append
    }

    #[test]
    fn entries_follow_each_other_and_terms_do_not_go_back() {
        for (entries, sound) in [
            (&[][..], true),
            (&[(11, 2), (12, 3)], true),
            (&[(11, 1)], false),
            (&[(11, 3), (12, 2)], false),
            (&[(11, 4)], false),
            (&[(12, 2)], false),
            (&[(11, 2), (13, 2)], false),
        ] {
            assert_eq!(check(&append(entries), None).is_ok(), sound, "{entries:?}");
        }
    }

    #[test]
    fn entries_that_do_not_decode_never_enter_the_log() {
        let with = |data: &'static [u8], kind| {
            let mut message = append(&[(11, 3)]);
            message.entries[0].data = data.into();
            message.entries[0].set_entry_type(kind);
            check(&message, None)
        };
        let corrupt = Err(MessageFault::CorruptEntry { index: 11 });
        assert_eq!(with(b"", EntryType::EntryNormal), Ok(()), "raft's own");
        let later = with(b"\x02later", EntryType::EntryNormal);
        assert_eq!(later, Ok(()), "a later release's");
        assert_eq!(with(b"\x01\xff", EntryType::EntryNormal), corrupt);
        assert_eq!(with(b"\xff", EntryType::EntryConfChange), corrupt);
        assert_eq!(with(b"", EntryType::EntryConfChangeV2), corrupt);
    }

    #[test]
    fn messages_that_no_member_sends_are_dropped() {
        for kind in [
            MessageType::MsgHup,
            MessageType::MsgPropose,
            MessageType::MsgTransferLeader,
            MessageType::MsgReadIndex,
        ] {
            let checked = check(&message(kind), None);
            assert_eq!(checked, Err(MessageFault::Unsound), "{kind:?}");
        }
        let mut nameless = message(MessageType::MsgHeartbeat);
        nameless.term = 0;
        assert_eq!(check(&nameless, None), Err(MessageFault::Unsound));
        let mut vote = message(MessageType::MsgRequestPreVoteResponse);
        vote.term = 0;
        assert_eq!(check(&vote, None), Err(MessageFault::Unsound));
        vote.reject = true;
        assert_eq!(check(&vote, None), Ok(()), "of a member without a term");
        let mut read = message(MessageType::MsgReadIndex);
        (read.term, read.entries) = (0, vec![Entry::default()].into());
        assert!(check(&read, None).is_ok());
        let mut heartbeat = message(MessageType::MsgHeartbeat);
        assert!(check(&heartbeat, Some(5)).is_ok());
        heartbeat.term = u64::MAX;
        assert!(check(&heartbeat, Some(5)).is_err());
        let acknowledged = message(MessageType::MsgAppendResponse);
        assert!(check(&acknowledged, None).is_ok() && check(&acknowledged, Some(10)).is_ok());
        let more_than_the_leader_has = check(&acknowledged, Some(9));
        assert!(more_than_the_leader_has.is_err());
    }
}

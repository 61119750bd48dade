//! Checks raft messages before raft sees them. A message from a faulty or impersonated peer must not crash the cluster, but
//! raft-rs panics on messages that no correct member sends.

use raft::{
    GetEntriesContext,
    eraftpb::{Entry, Message, MessageType},
};

use super::{Halt, Replica, append_context::AppendContext};
use crate::wire::{self, EntryError};
use witan_machine::{
    command::{self, Command},
    counters::COUNT_MAX,
    levels::Level,
    versions::{LATEST, release},
    view::View,
};

/// The reason why a message from another member was dropped as faulty. Late messages are dropped without a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageFault {
    /// The message cannot be decoded, or this release does not support its kind.
    #[error("the message does not decode")]
    Malformed,
    /// The message appends an entry that cannot be decoded. The leader keeps resending it.
    #[error("entry {index} of the raft log cannot be decoded")]
    CorruptEntry {
        /// Raft index of the entry.
        index: u64,
    },
    /// The message appends an entry from a later release than the cluster version allows.
    #[error(
        "entry {index} of the raft log is from a later release than the cluster version allows"
    )]
    UnknownEntry {
        /// Raft index of the entry.
        index: u64,
    },
    /// The leader started from a different state than this member, and one of them was restored.
    #[error(
        "the leader started from a different state than this member; restore all members from the same snapshot"
    )]
    OtherState,
    /// No correct member sends such a message.
    #[error("no correct member sends such a message")]
    Unsound,
}

/// Checks whether a correct member could have sent this message and returns the reason if not. `last` is the last index of the
/// receiver's log if the receiver leads the message's term, otherwise `None`. `own` is the feature level of this release.
/// `admits_later` returns whether the receiver accepts entries from a later release ([`Replica::admits_later_entries`]).
pub(super) fn check(
    message: &Message,
    last: Option<u64>,
    own: Level,
    admits_later: impl Fn() -> bool,
) -> Result<(), MessageFault> {
    let snapshot = message.get_snapshot().get_metadata();
    let positions = [
        message.term,
        message.log_term,
        message.index,
        message.commit,
        message.reject_hint,
        snapshot.index,
    ];
    let sound = positions.iter().all(|position| *position < COUNT_MAX)
        && message.log_term.max(snapshot.term) <= message.term;
    if !sound || !has_its_term(message) || !fits_its_kind(message, last) {
        return Err(MessageFault::Unsound);
    }
    match appends(message) {
        true => check_entries(&message.entries, own, admits_later),
        false => Ok(()),
    }
}

/// Returns a replacement with term `highest` for a message with a higher term. Returns `None` for messages of terms up to
/// `highest`, and for pre-votes and their grants, whose term belongs to a future campaign. A member never lowers its term, and
/// no election is possible in a term too close to [`COUNT_MAX`]. Messages therefore must not raise the term faster than
/// elections could.
///
/// A vote request is replaced by the vote request of a member with an empty log. Raft ignores vote requests while it receives
/// messages from a leader. Any other message is replaced by a rejected pre-vote, which contains only its term.
pub(super) fn with_bounded_term(message: &Message, highest: u64) -> Option<Message> {
    let kind = message.get_msg_type();
    let raises = kind != MessageType::MsgRequestPreVote
        && (kind != MessageType::MsgRequestPreVoteResponse || message.reject);
    if message.term <= highest || !raises {
        return None;
    }
    let asks_for_vote = kind == MessageType::MsgRequestVote;
    let mut lower = Message {
        from: message.from,
        to: message.to,
        term: highest,
        reject: !asks_for_vote,
        ..Message::default()
    };
    lower.set_msg_type(match asks_for_vote {
        true => kind,
        false => MessageType::MsgRequestPreVoteResponse,
    });
    Some(lower)
}

/// Returns whether a message has a term or its type needs no term. Raft treats a message without a term as a local message. A
/// response that rejects a vote may have term 0 if its sender has no term yet.
fn has_its_term(message: &Message) -> bool {
    let kind = message.get_msg_type();
    let votes = kind == MessageType::MsgRequestVoteResponse
        || kind == MessageType::MsgRequestPreVoteResponse;
    message.term > 0 || kind == MessageType::MsgReadIndex || (votes && message.reject)
}

/// Returns whether a message is an append of a leader.
fn appends(message: &Message) -> bool {
    message.get_msg_type() == MessageType::MsgAppend
}

/// Returns whether members send messages of this type to each other and the fields fit the type. `last` is the
/// argument of [`check`].
fn fits_its_kind(message: &Message, last: Option<u64>) -> bool {
    match message.get_msg_type() {
        MessageType::MsgAppend => {
            has_contiguous_entries(message) && AppendContext::of(message).is_some()
        }
        // A follower acknowledges only entries that the leader has.
        MessageType::MsgAppendResponse => {
            last.is_none_or(|last| message.index <= last && message.request_snapshot <= last)
        }
        MessageType::MsgReadIndex => message.term == 0 && message.entries.len() == 1,
        // A member sends these messages only to itself. Proposals are forwarded in other messages.
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

/// Returns whether the entries' indexes are consecutive and no term decreases or exceeds the message's term.
fn has_contiguous_entries(message: &Message) -> bool {
    let mut before = (message.index, message.log_term);
    message.entries.iter().all(|entry| {
        let follows = entry.index == before.0 + 1 && entry.term >= before.1;
        before = (entry.index, entry.term);
        follows && entry.term <= message.term
    })
}

/// Rejects entries that this member cannot decode, which would halt it at every startup. Accepts entries from a later release
/// if `admits_later` returns true or an earlier entry in `entries` raises the cluster's version or level above this release.
fn check_entries(
    entries: &[Entry],
    own: Level,
    admits_later: impl Fn() -> bool,
) -> Result<(), MessageFault> {
    let mut later = false;
    for entry in entries {
        let index = entry.index;
        match wire::decode_raft_entry(entry) {
            Ok((entry, _)) => later |= is_later(&entry, own),
            Err(EntryError::Unknown) => {
                later = later || admits_later();
                if !later {
                    return Err(MessageFault::UnknownEntry { index });
                }
            }
            Err(EntryError::Corrupt(_)) => return Err(MessageFault::CorruptEntry { index }),
        }
    }
    Ok(())
}

impl Replica {
    /// Returns whether entries from a later release may follow in this member's log. This is the case if the cluster version is
    /// above this release, or if an unapplied entry raises the version or level above this release.
    pub(super) fn admits_later_entries(&self) -> bool {
        let log = &self.raft.raft.raft_log;
        let applied = self.raft.store().position().index;
        let context = GetEntriesContext::empty(false);
        let unapplied = log.slice(applied + 1, log.last_index() + 1, None, context);
        let own = self.config.level;
        let raises =
            |entry: &Entry| wire::decode_raft_entry(entry).is_ok_and(|(it, _)| is_later(&it, own));
        release(&self.machine.members.cluster_version) > Some(LATEST)
            || unapplied.is_ok_and(|entries| entries.iter().any(raises))
    }

    /// Halts this member after the turn and returns `true` if the leader's state has a higher feature level than this release.
    /// Returns `false` if there is no `state`.
    pub(super) fn halt_below_level_of(&mut self, state: Option<&View>) -> bool {
        let own = self.config.level;
        let level = state.map(|state| state.machine.members.level());
        let Some(level) = level.filter(|level| *level > own) else {
            return false;
        };
        self.halt = Some(Halt::LaterLevel { level, own });
        true
    }
}

/// Returns whether an entry raises the cluster's version or level above this release, which has the level `own`.
fn is_later(entry: &command::Entry, own: Level) -> bool {
    match &entry.command {
        Some(Command::ClusterVersion(decided)) => {
            release(&decided.version) > Some(LATEST) || decided.level > own
        }
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::EntryType;
    use witan_machine::{command::ClusterVersion, levels::OWN};

    use super::*;

    fn check(message: &Message, last: Option<u64>) -> Result<(), MessageFault> {
        super::check(message, last, OWN, || false)
    }

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
    fn entries_are_consecutive_and_terms_do_not_decrease() {
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
        assert_eq!(
            with(b"", EntryType::EntryNormal),
            Ok(()),
            "raft appends empty entries"
        );
        let later = with(b"\x02later", EntryType::EntryNormal);
        assert_eq!(later, Err(MessageFault::UnknownEntry { index: 11 }));
        assert_eq!(with(b"\x01\xff", EntryType::EntryNormal), corrupt);
        assert_eq!(with(b"\xff", EntryType::EntryConfChange), corrupt);
        assert_eq!(with(b"", EntryType::EntryConfChangeV2), corrupt);
    }

    #[test]
    fn later_entries_are_accepted_after_an_entry_that_raises_the_version() {
        for (level, accepted) in [(OWN, false), (OWN + 1, true)] {
            let decided = ClusterVersion { level, ..ClusterVersion::default() };
            let raise = Command::ClusterVersion(decided);
            let raise = wire::encode_entry(&command::Entry::unstamped(raise, None));
            let mut message = append(&[(11, 3), (12, 3)]);
            message.entries[0].data = raise.into();
            message.entries[1].data = (&b"\x02later"[..]).into();
            assert_eq!(check(&message, None).is_ok(), accepted, "{level}");
        }
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
        (vote.term, vote.log_term) = (0, 0);
        assert_eq!(check(&vote, None), Err(MessageFault::Unsound));
        vote.reject = true;
        assert_eq!(check(&vote, None), Ok(()), "the sender has no term yet");
        let mut read = message(MessageType::MsgReadIndex);
        (read.term, read.log_term) = (0, 0);
        read.entries = vec![Entry::default()].into();
        assert!(check(&read, None).is_ok());
        let mut heartbeat = message(MessageType::MsgHeartbeat);
        assert!(check(&heartbeat, Some(5)).is_ok());
        heartbeat.log_term = heartbeat.term + 1;
        assert!(
            check(&heartbeat, Some(5)).is_err(),
            "a log of terms to come"
        );
        (heartbeat.term, heartbeat.log_term) = (u64::MAX, 2);
        assert!(check(&heartbeat, Some(5)).is_err());
        let acknowledged = message(MessageType::MsgAppendResponse);
        assert!(check(&acknowledged, None).is_ok() && check(&acknowledged, Some(10)).is_ok());
        let more_than_the_leader_has = check(&acknowledged, Some(9));
        assert!(more_than_the_leader_has.is_err());
    }
}

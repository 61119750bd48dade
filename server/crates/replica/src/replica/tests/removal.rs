//! How a removed member learns of its removal, and whose messages a member accepts while a removal is unapplied.

use raft::eraftpb::MessageType;

use super::{
    super::{Halt, MessageFault, PeerEvent, Role},
    first_state, from_leader, started,
};
use crate::{
    host::{Answer, Applied, Envelope, Host, LogBatch, Recovered, Ticket},
    wire::{self, PeerMessage},
};
use witan_machine::{
    command::{ChangeMembers, Command, Entry, Stamp},
    levels::OWN,
    member::MemberId,
    view::View,
};

/// The host of member 2. Creates answers of member 1, which agree to every vote request and append. Checks that member 1 learns
/// the commit index before a membership change is answered.
#[derive(Default)]
struct Agreeing {
    answers: Vec<Envelope>,
    heard_commit: u64,
    answered: bool,
}

impl Host for Agreeing {
    fn install(&mut self, _snapshot: &View) {}
    fn persist(&mut self, _batch: &LogBatch) {}
    /// Queues an agreeing answer to each vote request and append.
    fn send(&mut self, envelopes: Vec<Envelope>) {
        for envelope in envelopes {
            let Ok(PeerMessage::Raft(asked)) = PeerMessage::decode(&envelope.message) else {
                continue;
            };
            self.heard_commit = self.heard_commit.max(asked.commit);
            let kinds = [
                (
                    MessageType::MsgRequestPreVote,
                    MessageType::MsgRequestPreVoteResponse,
                ),
                (
                    MessageType::MsgRequestVote,
                    MessageType::MsgRequestVoteResponse,
                ),
                (MessageType::MsgAppend, MessageType::MsgAppendResponse),
            ];
            let mut kinds = kinds.into_iter();
            let Some((_, kind)) = kinds.find(|(kind, _)| *kind == asked.get_msg_type()) else {
                continue;
            };
            self.answers.push(super::from_leader(kind, |answer| {
                answer.term = asked.term;
                answer.index = asked.index + asked.entries.len() as u64;
            }));
        }
    }
    /// Checks that member 1 has been sent the commit index of each applied membership change.
    fn applied(&mut self, applied: Vec<Applied>, _view: &View) {
        for change in applied.iter().filter(|applied| applied.members.is_some()) {
            assert!(
                self.heard_commit >= change.index,
                "the removed member is told before its stream closes"
            );
            self.answered = true;
        }
    }
    fn readable(&mut self, _tickets: &[Ticket], _view: &View) {}
    fn answered(&mut self, _: Vec<(Ticket, Answer)>) {}

    fn cut_log(&mut self, _: u64) {}

    fn message_dropped(&mut self, _: MemberId, _: MessageFault) {}
}

#[test]
fn a_removed_member_gets_the_commit_index_before_the_removal_is_answered() {
    let (mut replica, mut host) = (
        super::member_two_of(super::state_of(&[1, 2])),
        Agreeing::default(),
    );
    let remove =
        || Command::Members(ChangeMembers { remove: 1, voters: true, ..ChangeMembers::default() });
    let mut proposed = false;
    for tick in 1..100 {
        replica.tick(tick);
        assert_eq!(replica.turn(&mut host), Ok(()));
        for answer in std::mem::take(&mut host.answers) {
            assert_eq!(replica.dispatch(answer), Ok(()));
            assert_eq!(replica.turn(&mut host), Ok(()));
        }
        if replica.status().role == Role::Leader && !proposed {
            proposed = super::propose(&mut replica, remove()).is_ok();
        }
    }
    assert!(host.answered && replica.view().position.voters == [2]);
}

/// A removal that members proposed may be rejected when it is applied. A forced removal takes effect before it is applied.
#[test]
fn messages_of_a_leader_are_accepted_until_its_removal_is_applied_or_forced() {
    for (stamp, leader) in [
        (Some(Stamp::default()), MemberId(1)),
        (None, MemberId::NONE),
    ] {
        let change = ChangeMembers { remove: 1, voters: true, ..ChangeMembers::default() };
        let command = Some(Command::Members(change));
        let removal = wire::log_record(2, 1, &Entry { stamp, command, caller: None });
        let mut replica = started(Recovered {
            checkpoint: Some(first_state()),
            records: vec![removal],
            hard_state: Some(wire::hard_state(1, 0, 2)),
        });
        replica.receive(from_leader(MessageType::MsgHeartbeat, |_| {}));
        assert_eq!(replica.status().leader, leader);
    }
}

/// A member that committed its removal as leader and restarts follows the remaining voter, which might not know of the removal
/// yet.
#[test]
fn a_removed_member_halts_when_the_remaining_voter_sends_the_commit_index() {
    for (told, outcome) in [(1, Ok(())), (2, Err(Halt::Removed))] {
        let change = ChangeMembers { remove: 2, voters: true, ..ChangeMembers::default() };
        let command = Some(Command::Members(change));
        let stamp = Some(Stamp::default());
        let removal = wire::log_record(2, 1, &Entry { stamp, command, caller: None });
        let mut replica = started(Recovered {
            checkpoint: Some(super::state_of(&[1, 2])),
            records: vec![removal],
            hard_state: Some(wire::hard_state(1, 0, 2)),
        });
        let mut host = Agreeing { heard_commit: 2, ..Agreeing::default() };
        replica.receive(from_leader(MessageType::MsgHeartbeat, |m| m.commit = told));
        assert_eq!(replica.turn(&mut host), outcome, "told of {told}");
        assert_eq!(replica.view().position.voters, [1]);
        if outcome.is_ok() {
            replica.peer_event(MemberId(1), PeerEvent::RemovedHere);
            assert_eq!(replica.turn(&mut host), Err(Halt::Removed));
        }
    }
}

#[test]
fn a_member_that_most_others_know_with_another_directory_halts() {
    let halts = |store_id: u64| {
        let mut state = super::state_of(&[1, 2, 3]);
        let own = state.machine.members.by_id.get_mut(&MemberId(2));
        own.expect("the member exists").store_id = store_id;
        let mut replica = started(Recovered { checkpoint: Some(state), ..Recovered::default() });
        let mut host = Agreeing::default();
        [1, 1, 3].map(|other| {
            replica.peer_event(MemberId(other), PeerEvent::ReplacedHere);
            replica.turn(&mut host).is_err()
        })
    };
    assert_eq!(halts(7), [false, false, true]);
    assert!(
        halts(0)[0],
        "one rejection suffices for an emptied directory"
    );
}

/// The entry that raises the level may be missing from the log of a member that was stopped.
#[test]
fn a_member_that_most_others_reject_for_its_level_halts() {
    let state = super::state_of(&[1, 2, 3]);
    let mut replica = started(Recovered { checkpoint: Some(state), ..Recovered::default() });
    let mut host = Agreeing::default();
    replica.peer_event(MemberId(1), PeerEvent::LevelTooLowHere);
    assert_eq!(replica.turn(&mut host), Ok(()));
    replica.peer_event(MemberId(3), PeerEvent::LevelTooLowHere);
    let halt = Halt::LaterLevel { level: OWN + 1, own: OWN };
    assert_eq!(replica.turn(&mut host), Err(halt));
}

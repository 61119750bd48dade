//! A member whose data directory was emptied or replaced.

use raft::eraftpb::{Entry as RaftEntry, MessageType};

use super::*;

/// Creates a heartbeat from the leader with a commit index beyond the log of member 2.
fn beyond() -> Envelope {
    from_leader(MessageType::MsgHeartbeat, |m| m.commit = 70)
}

const LOG_LOST: Halt = Halt::LogLost { committed: 70, last: 1 };

/// Returns the leader's answers to member 2's ReadIndex requests.
fn confirmations(host: &mut Noted) -> Vec<Envelope> {
    let asked = host.sent.drain(..).filter_map(|sent| {
        let Ok(PeerMessage::Raft(question)) = PeerMessage::decode(&sent.message) else {
            return None;
        };
        assert_eq!(
            (sent.to.0, question.get_msg_type()),
            (1, MessageType::MsgReadIndex)
        );
        Some(from_leader(MessageType::MsgReadIndexResp, |m| {
            (m.index, m.entries) = (71, question.entries);
        }))
    });
    asked.collect()
}

/// If the leader is not among the voters, member 2's disk is older than the leader's membership.
#[test]
fn a_member_without_its_log_does_not_vote_and_halts_once_the_loss_is_confirmed() {
    for (voters, confirmed) in [(&[1, 2, 3][..], true), (&[2, 3], true), (&[2, 3], false)] {
        let (mut replica, mut host) = (member_two_of(state_of(voters)), Noted::default());
        for tick in 0..10 {
            replica.receive(beyond());
            replica.receive(asks_for_vote(6));
            replica.tick(tick);
            assert_eq!(replica.turn(&mut host), Ok(()), "tick {tick}");
            assert_eq!(
                replica.status().term,
                1,
                "the member neither follows nor votes"
            );
            for confirmation in confirmations(&mut host) {
                if confirmed {
                    replica.receive(confirmation);
                }
            }
        }
        replica.receive(beyond());
        let expected = if confirmed { Err(LOG_LOST) } else { Ok(()) };
        assert_eq!(replica.turn(&mut host), expected);
    }
}

/// A faulty member, or an impostor of the leader, does not receive the requests to the leader.
#[test]
fn a_member_does_not_halt_before_a_leader_confirms_that_its_log_is_lost() {
    let (mut replica, mut host) = (follower(), Noted::default());
    for tick in 0..100 {
        replica.receive(beyond());
        replica.tick(tick);
        assert_eq!(replica.turn(&mut host), Ok(()), "tick {tick}");
        for mut confirmation in confirmations(&mut host) {
            confirmation.from = MemberId(3);
            replica.receive(confirmation);
        }
        let guess = from_leader(MessageType::MsgReadIndexResp, |m| {
            let entry = RaftEntry { data: Bytes::from_static(&[1; 24]), ..RaftEntry::default() };
            (m.index, m.entries) = (71, vec![entry].into());
        });
        replica.receive(guess);
    }
    // With one other voter, no quorum can confirm the loss, so the repeated claim alone halts the member.
    let mut replica = member_two_of(state_of(&[1, 2]));
    let ticks = (0..20).take_while(|tick| {
        replica.receive(beyond());
        replica.tick(*tick);
        replica.turn(&mut host).is_ok()
    });
    assert_eq!(ticks.count(), 10);
}

#[test]
fn an_active_leader_refutes_forged_messages() {
    let (mut replica, mut host) = (follower(), Noted::default());
    let of_three = |term: u64, commit: u64| {
        let mut envelope = from_leader(MessageType::MsgHeartbeat, |m| {
            (m.from, m.term, m.commit) = (3, term, commit);
        });
        envelope.from = MemberId(3);
        envelope
    };
    for tick in 0..100 {
        replica.receive(from_leader(MessageType::MsgHeartbeat, |m| m.commit = 1));
        // The forged messages belong to a term that another member leads, belong to a later term, or name the leader as their
        // sender.
        for lie in [of_three(5, 70), of_three(6, 70), beyond()] {
            replica.receive(lie);
        }
        replica.tick(tick);
        assert_eq!(replica.turn(&mut host), Ok(()), "tick {tick}");
        // The leader answers the requests that the impostor caused.
        host.sent.retain(|sent| {
            sent.to.0 == 1 && Replica::describe(&sent.message).starts_with("MsgReadIndex ")
        });
        for confirmation in confirmations(&mut host) {
            replica.receive(confirmation);
        }
    }
    assert_eq!((replica.status().term, replica.status().leader.0), (5, 1));
}

#[test]
fn a_single_message_of_a_faulty_member_halts_no_other_member() {
    let (mut replica, mut host) = (follower(), Noted::default());
    for tick in 0..100 {
        if tick % 15 == 0 {
            replica.receive(from_leader(MessageType::MsgHeartbeat, |m| m.commit = 70));
        } else {
            replica.receive(from_leader(MessageType::MsgHeartbeat, |m| m.commit = 1));
        }
        replica.tick(tick);
        assert_eq!(replica.turn(&mut host), Ok(()), "tick {tick}");
    }
    assert_eq!((replica.status().term, replica.status().leader.0), (5, 1));
    replica.receive(asks_for_vote(6));
    assert_eq!(replica.turn(&mut host), Ok(()));
}

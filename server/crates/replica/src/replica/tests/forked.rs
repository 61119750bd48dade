//! A member whose committed entries differ from the leader's log.

use raft::eraftpb::{Entry as RaftEntry, MessageType};

use super::*;

/// Starts member 2, which has committed entry 2 of term 5 from member 1.
fn committed() -> (Replica, Noted) {
    let (mut replica, mut host) = (follower(), Noted::default());
    replica.receive(from_leader(MessageType::MsgAppend, |m| {
        (m.index, m.log_term, m.commit) = (1, 1, 2);
        m.entries = vec![RaftEntry { index: 2, term: 5, ..RaftEntry::default() }].into();
    }));
    replica.turn(&mut host).expect("no halt");
    assert_eq!(replica.status().committed, 2);
    host.sent.clear();
    (replica, host)
}

/// Creates a message from member 3, which leads term 7.
fn of_three(kind: MessageType, fill: impl FnOnce(&mut Message)) -> Envelope {
    let message = from_leader(kind, |m| {
        (m.from, m.term) = (3, 7);
        fill(m);
    });
    Envelope { from: MemberId(3), ..message }
}

/// Returns messages from a leader with a different entry 2, each with the entry's term. The messages are an append after the
/// entry, an append of the entry, a snapshot, and two appends with equal terms but different data.
fn contradictions() -> [(Envelope, u64); 5] {
    let follows = of_three(MessageType::MsgAppend, |m| (m.index, m.log_term) = (2, 6));
    let appends = of_three(MessageType::MsgAppend, |m| {
        (m.index, m.log_term) = (1, 1);
        m.entries = vec![RaftEntry { index: 2, term: 6, ..RaftEntry::default() }].into();
    });
    let mut snapshot = snapshot(3, 7, 2);
    let mut message = match PeerMessage::decode(&snapshot.message) {
        Ok(PeerMessage::Raft(message)) => message,
        other => panic!("{other:?}"),
    };
    let state = snapshot.snapshot.as_mut().expect("the message has a state");
    state.position.term = 6;
    fill_metadata(message.mut_snapshot(), &state.position);
    snapshot.message = wire::encode_message(&message);
    let same_term = of_three(MessageType::MsgAppend, |m| {
        (m.index, m.log_term) = (2, 5);
        m.context = [&[0; 8][..], &crc32fast::hash(b"data").to_be_bytes()]
            .concat()
            .into();
    });
    let with_data = of_three(MessageType::MsgAppend, |m| {
        (m.index, m.log_term) = (1, 1);
        let data = wire::encode_entry(&Entry::default()).into();
        m.entries = vec![RaftEntry { index: 2, term: 5, data, ..RaftEntry::default() }].into();
    });
    [
        (follows, 6),
        (appends, 6),
        (snapshot, 6),
        (same_term, 5),
        (with_data, 5),
    ]
}

/// Takes the messages sent to member 3. Returns the responses of member 3 to ReadIndex requests, and whether member 2
/// acknowledged entries.
fn taken(host: &mut Noted) -> (Vec<Envelope>, bool) {
    let (mut answers, mut acknowledged) = (Vec::new(), false);
    for sent in host.sent.drain(..).filter(|sent| sent.to.0 == 3) {
        let Ok(PeerMessage::Raft(message)) = PeerMessage::decode(&sent.message) else {
            continue;
        };
        acknowledged |= message.get_msg_type() == MessageType::MsgAppendResponse;
        if message.get_msg_type() == MessageType::MsgReadIndex {
            answers.push(of_three(MessageType::MsgReadIndexResp, |m| {
                (m.index, m.entries) = (2, message.entries);
            }));
        }
    }
    (answers, acknowledged)
}

#[test]
fn a_forked_member_acknowledges_nothing_and_halts_once_the_fork_is_confirmed() {
    for (contradiction, leader_term) in contradictions() {
        for confirmed in [true, false] {
            let (mut replica, mut host) = committed();
            for tick in 0..10 {
                replica.receive(contradiction.clone());
                replica.receive(of_three(MessageType::MsgHeartbeat, |_| {}));
                replica.receive(asks_for_vote(8));
                replica.tick(tick);
                assert_eq!(replica.turn(&mut host), Ok(()), "tick {tick}");
                assert!(replica.status().term <= 7, "the member does not vote");
                let (answers, acknowledged) = taken(&mut host);
                assert!(
                    !acknowledged,
                    "{}",
                    Replica::describe(&contradiction.message)
                );
                for answer in answers.into_iter().filter(|_| confirmed) {
                    replica.receive(answer);
                }
            }
            replica.receive(contradiction.clone());
            let forked = Halt::Forked { index: 2, own_term: 5, leader_term };
            let expected = if confirmed { Err(forked) } else { Ok(()) };
            assert_eq!(replica.turn(&mut host), expected);
        }
    }
}

/// The messages are late. This log no longer contains their entries, so the member cannot compare them.
#[test]
fn a_member_acknowledges_no_index_beyond_the_end_of_the_message() {
    let append = from_leader(MessageType::MsgAppend, |m| {
        (m.index, m.log_term) = (15, 5);
        let data = wire::encode_entry(&Entry::default()).into();
        m.entries = vec![RaftEntry { index: 16, term: 5, data, ..RaftEntry::default() }].into();
    });
    for message in [append, snapshot(1, 5, 16)] {
        let (mut replica, mut host) = (follower(), Noted::default());
        replica.receive(snapshot(1, 5, 20));
        replica.turn(&mut host).expect("no halt");
        host.sent.clear();
        // Raft drops committed entries, so they must not wait for disk space.
        replica.set_log_room(0);
        // In one tick, a second acknowledgment with a lower index is not sent.
        replica.tick(1);
        replica.receive(message);
        replica.turn(&mut host).expect("no halt");
        let acknowledged = host
            .sent
            .iter()
            .map(|sent| match PeerMessage::decode(&sent.message) {
                Ok(PeerMessage::Raft(message)) => (message.get_msg_type(), message.index),
                other => panic!("{other:?}"),
            });
        let expected = [(MessageType::MsgAppendResponse, 16)];
        assert_eq!(acknowledged.collect::<Vec<_>>(), expected);
    }
}

/// This log no longer contains the entry in the message, and its first known entry has an earlier term.
#[test]
fn an_entry_before_the_log_with_a_later_term_is_a_fork() {
    let append = of_three(MessageType::MsgAppend, |m| {
        (m.index, m.log_term) = (15, 5);
        m.entries = vec![RaftEntry { index: 16, term: 7, ..RaftEntry::default() }].into();
    });
    for contradiction in [append, snapshot(3, 7, 16)] {
        let (mut replica, mut host) = (follower(), Noted::default());
        replica.receive(snapshot(1, 5, 20));
        replica.turn(&mut host).expect("no halt");
        for tick in 0..10 {
            replica.receive(contradiction.clone());
            replica.tick(tick);
            assert_eq!(replica.turn(&mut host), Ok(()), "tick {tick}");
            let (answers, acknowledged) = taken(&mut host);
            assert!(
                !acknowledged,
                "{}",
                Replica::describe(&contradiction.message)
            );
            for answer in answers {
                replica.receive(answer);
            }
        }
        replica.receive(contradiction);
        let forked = Halt::Forked { index: 16, own_term: 5, leader_term: 7 };
        assert_eq!(replica.turn(&mut host), Err(forked));
    }
}

/// An impostor sends messages in the name of the leader on a connection without TLS, and the real leader confirms that it
/// leads.
#[test]
fn the_real_leader_refutes_the_claim_of_an_impostor() {
    let heartbeat = of_three(MessageType::MsgHeartbeat, |m| m.commit = 2);
    let append = of_three(MessageType::MsgAppend, |m| (m.index, m.log_term) = (2, 5));
    for truth in [heartbeat, append] {
        let (mut replica, mut host) = committed();
        for tick in 0..100 {
            for (lie, _) in contradictions() {
                replica.receive(lie);
            }
            replica.tick(tick);
            assert_eq!(replica.turn(&mut host), Ok(()), "tick {tick}");
            let (answers, _) = taken(&mut host);
            answers.into_iter().for_each(|answer| {
                replica.receive(answer);
            });
            replica.receive(truth.clone());
        }
        assert_eq!((replica.status().term, replica.status().leader.0), (7, 3));
    }
}

/// Leaders of earlier terms may have entries that were never committed.
#[test]
fn a_message_of_an_earlier_leader_is_no_fork() {
    let (mut replica, mut host) = committed();
    replica.receive(of_three(MessageType::MsgHeartbeat, |m| m.term = 8));
    for tick in 0..100 {
        contradictions().into_iter().for_each(|(late, _)| {
            replica.receive(late);
        });
        replica.tick(tick);
        assert_eq!(replica.turn(&mut host), Ok(()));
        assert!(taken(&mut host).0.is_empty(), "the member sends no request");
    }
}

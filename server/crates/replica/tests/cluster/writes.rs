//! Writes to any member.

use super::*;
use witan_machine::{
    Reply,
    kv::{KvReply, OpReply},
};

#[test]
fn any_member_accepts_writes() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    for at in [1, 2, 3] {
        let ticket = cluster.propose(at, put("k"));
        cluster.settle();
        assert!(cluster.answer(at, ticket).is_some(), "at {at}");
    }
    assert_eq!(cluster.count(1, "k"), 3);
}

#[test]
fn a_write_waits_for_a_leader_and_is_answered_once_there_is_one() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let follower = cluster.follower();
    let leader = cluster.leader().expect("a leader");
    cluster.kill(leader, &[]);
    cluster.ticks(ELECTION_TICKS * 2);
    cluster.cut_off(follower);
    cluster.until(|cluster| cluster.members[&follower].0.status().leader.0 == 0);
    let ticket = cluster.propose(follower, put("k"));
    cluster.ticks(5);
    assert!(cluster.answer(follower, ticket).is_none());
    cluster.cut.clear();
    cluster.until(|cluster| cluster.answer(follower, ticket).is_some());
    assert_eq!(cluster.count(follower, "k"), 1);
}

/// The leader may accept the write, but it stops before it answers.
#[test]
fn a_write_in_flight_when_the_leader_dies_is_applied_once() {
    for reaches_another in [false, true] {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        let leader = cluster.leader().expect("a leader");
        let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
        let (asked, third) = (others[0], others[1]);
        // The leader's entries reach the third member or no member, and no answer arrives.
        cluster.cut.insert((leader, asked));
        cluster.cut.insert((asked, leader));
        cluster.cut.insert((third, leader));
        if !reaches_another {
            cluster.cut.insert((leader, third));
        }
        let at_leader = cluster.propose(leader, put("lost with its client"));
        cluster.cut.remove(&(asked, leader));
        let ticket = cluster.propose(asked, put("k"));
        cluster.settle();
        assert!(cluster.answer(asked, ticket).is_none());
        assert!(cluster.answer(leader, at_leader).is_none());
        cluster.kill(leader, &others);
        cluster.until(|cluster| cluster.answer(asked, ticket).is_some());
        assert_eq!(cluster.count(asked, "k"), 1, "{reaches_another}");
    }
}

/// The write is proposed again to the next leader, because no log contains it then.
#[test]
fn a_write_that_no_other_member_has_outlives_its_leader() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().expect("a leader");
    cluster.cut_off(leader);
    let ticket = cluster.propose(leader, put("k"));
    cluster.ticks(ELECTION_TICKS * 3);
    assert_ne!(cluster.leader(), Some(leader));
    assert!(cluster.answer(leader, ticket).is_none());
    cluster.cut.clear();
    cluster.until(|cluster| cluster.answer(leader, ticket).is_some());
    assert_eq!(cluster.count(leader, "k"), 1);
}

#[test]
fn a_write_lost_in_a_broken_stream_is_forwarded_again() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (asked, leader) = (cluster.follower(), cluster.leader().expect("a leader"));
    cluster.cut.insert((asked, leader));
    let lost = cluster.propose(asked, put("lost"));
    cluster.settle();
    cluster.cut.clear();
    let behind = cluster.propose(asked, put("behind"));
    cluster.settle();
    assert!(cluster.answer(asked, behind).is_some());
    assert!(cluster.answer(asked, lost).is_none());
    cluster.stream_opens(asked, leader);
    assert!(
        cluster.answer(asked, lost).is_some(),
        "the write is answered at once"
    );
    for key in ["lost", "behind"] {
        assert_eq!(cluster.count(leader, key), 1, "{key}");
    }
}

#[test]
fn a_write_that_arrived_is_not_applied_again() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (asked, leader) = (cluster.follower(), cluster.leader().expect("a leader"));
    // The leader has the entry, but the proposer gets no confirmation.
    cluster.cut.insert((leader, asked));
    let ticket = cluster.propose(asked, put("k"));
    cluster.settle();
    for _ in 0..3 {
        cluster.stream_opens(asked, leader);
    }
    cluster.cut.clear();
    cluster.until(|cluster| cluster.answer(asked, ticket).is_some());
    assert_eq!(cluster.count(leader, "k"), 1);
}

/// The follower believed that the leader's process had ended. The stream opens before the leader's next message arrives.
#[test]
fn a_lost_write_is_forwarded_again_to_a_leader_that_is_not_followed_yet() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (asked, leader) = (cluster.follower(), cluster.leader().expect("a leader"));
    cluster.cut.insert((asked, leader));
    let lost = cluster.propose(asked, put("k"));
    cluster.settle();
    cluster.event(asked, leader, PeerEvent::ProcessGone);
    cluster.settle();
    cluster.cut.clear();
    assert_eq!(cluster.replica(asked).status().leader.0, 0);
    cluster.stream_opens(asked, leader);
    cluster.until(|cluster| cluster.answer(asked, lost).is_some());
    assert_eq!(
        cluster.leader(),
        Some(leader),
        "no other member was elected"
    );
    assert_eq!(cluster.count(leader, "k"), 1);
}

/// Proposes a write on a follower. Returns its ticket and the message that forwards the write.
fn forwarded(cluster: &mut Cluster, asked: u64) -> (u64, Envelope) {
    let ticket = cluster.propose(asked, put("k"));
    let mut sent = cluster.turn(asked).into_iter();
    let forwards = |sent: &Envelope| Replica::describe(&sent.message).starts_with("Proposals");
    (
        ticket,
        sent.find(forwards).expect("the member forwards the write"),
    )
}

/// After a restart within the term that it led, a member has forgotten which messages it accepted.
#[test]
fn a_member_that_does_not_lead_ignores_a_forwarded_write() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (asked, leader) = (cluster.follower(), cluster.leader().expect("a leader"));
    let (_, message) = forwarded(&mut cluster, asked);
    let third = 6 - asked - leader;
    cluster.replica(third).take(Input::Message(message));
    assert!(cluster.turn(third).is_empty());
}

#[test]
fn a_write_sent_to_an_old_leader_does_not_wait_for_a_tick() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (asked, leader) = (cluster.follower(), cluster.leader().expect("a leader"));
    let (ticket, message) = forwarded(&mut cluster, asked);
    let next = 6 - asked - leader;
    cluster.hand_over(leader, next);
    cluster.settle();
    cluster.deliver(message);
    cluster.settle();
    assert!(cluster.answer(asked, ticket).is_some());
    assert_eq!(cluster.count(next, "k"), 1);
}

#[test]
fn a_snapshot_that_skips_entries_leaves_a_write_without_an_answer() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let asked = cluster.follower();
    let leader = cluster.leader().expect("a leader");
    // The other members apply the follower's forwarded write, but their messages do not reach the follower.
    for other in [1, 2, 3] {
        cluster.cut.insert((other, asked));
    }
    let ticket = cluster.propose(asked, put("k"));
    cluster.settle();
    assert_eq!(cluster.count(leader, "k"), 1);
    // After these ticks, the leader keeps no entries for members that do not answer.
    cluster.ticks(ELECTION_TICKS * 2 + 2);
    for _ in 0..11_000 {
        cluster.propose(leader, put("other"));
        cluster.settle();
    }
    cluster.cut.clear();
    cluster.until(|cluster| cluster.world(asked).installs > 0);
    cluster.ticks(3);
    assert_eq!(cluster.snapshots_sent, 1);
    let lost = [(Ticket(ticket), Unanswered::LeaderChanged)];
    assert_eq!(cluster.world(asked).unanswered, lost);
    assert_eq!(cluster.count(asked, "k"), 1);
}

#[test]
fn an_entry_with_the_stamp_of_another_member_is_not_appended() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (asked, leader) = (cluster.follower(), cluster.leader().expect("a leader"));
    cluster.propose(asked, put("k"));
    for envelope in cluster.turn(asked) {
        let from = MemberId(6 - asked - leader);
        cluster.deliver(Envelope { from, ..envelope });
    }
    cluster.settle();
    assert_eq!(cluster.count(leader, "k"), 0);
}

/// The writes of one turn reach each other member in one append message.
#[test]
fn the_writes_of_a_turn_are_sent_together() {
    const WRITES: i64 = 100;
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.settle();
    let leader = cluster.leader().expect("a leader");
    let tickets: Vec<u64> = (0..WRITES)
        .map(|_| cluster.propose(leader, put("k")))
        .collect();
    let sent = cluster.turn(leader);
    let described = sent.iter().map(|sent| Replica::describe(&sent.message));
    let appends: Vec<String> = described
        .filter(|it| it.starts_with("MsgAppend "))
        .collect();
    assert_eq!(appends.len(), 2, "{appends:?}");
    let entries = format!(" entries={WRITES} ");
    assert!(
        appends.iter().all(|it| it.contains(&entries)),
        "{appends:?}"
    );
    sent.into_iter()
        .for_each(|envelope| cluster.deliver(envelope));
    cluster.settle();
    for ticket in tickets {
        assert!(cluster.answer(leader, ticket).is_some());
    }
    assert_eq!(cluster.count(leader, "k"), WRITES);
}

/// Each broadcast sends a member at most one append message. Raft sends further entries only after a response.
#[test]
fn large_writes_of_a_turn_reach_each_member_without_an_answer() {
    const WRITES: usize = 4;
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.settle();
    let leader = cluster.leader().expect("a leader");
    for _ in 0..WRITES {
        let value = vec![0; 400 << 10].into();
        let put = kv::Put { key: "k".into(), value, ..kv::Put::default() };
        cluster.propose(leader, kv::KvOperation::Put(put));
    }
    let sent = cluster.turn(leader);
    let described = sent.iter().map(|sent| Replica::describe(&sent.message));
    let appends = described.filter(|it| it.contains(" entries=1 "));
    assert_eq!(appends.count(), 2 * WRITES);
}

/// Other members do not compute the write's answer, even if one of their requests has the same ticket.
#[test]
fn only_the_requesting_member_reads_for_the_answer() {
    const TICKET: u64 = 9;
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (asked, leader) = (cluster.follower(), cluster.leader().expect("a leader"));
    cluster.propose(leader, put("k"));
    for at in [leader, asked] {
        let put = kv::Put { key: "k".into(), prev_kv: true, ..kv::Put::default() };
        let command = Command::from(kv::KvOperation::Put(put));
        cluster.propose_as(at, Ticket(TICKET), command);
    }
    cluster.settle();
    for id in [1, 2, 3] {
        let read = cluster.world(id).applied.iter().filter(|applied| {
            let reply = &applied.outcome.reply;
            matches!(reply, Reply::Kv(Ok(KvReply::Op(OpReply::Put(put)))) if put.prev_kv.is_some())
        });
        let tickets: Vec<_> = read.map(|applied| applied.ticket).collect();
        let expected = [leader, asked]
            .contains(&id)
            .then_some(Some(Ticket(TICKET)));
        assert_eq!(tickets, Vec::from_iter(expected), "member {id}");
    }
}

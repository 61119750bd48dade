//! Forged messages from a faulty member or an impostor. The permanent effects of such messages must be bounded.

use protobuf::Message as _;
use raft::eraftpb::{Entry, Message, MessageType};
use witan_machine::command::ClusterVersion;
use witan_replica::{host::Lane, limits::TERM_RISE_MAX, replica::MessageFault, wire};

use super::*;

/// The highest term that a message may have.
const LAST_TERM: u64 = (1 << 60) - 1;

/// Message types whose term raft compares with the member's term.
const KINDS: [MessageType; 9] = [
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
    MessageType::MsgTimeoutNow,
];

/// Creates a raft message that contains only its sender, receiver and term and is marked as a rejection.
fn message(kind: MessageType, (from, to): (u64, u64), term: u64) -> Message {
    let mut message = Message { from, to, term, reject: true, ..Message::default() };
    message.set_msg_type(kind);
    message
}

/// Encodes a raft message and wraps it in an envelope without a snapshot.
fn envelope(message: &Message) -> Envelope {
    let mut bytes = vec![0];
    bytes.extend(
        message
            .write_to_bytes()
            .expect("the message has all required fields"),
    );
    Envelope {
        to: MemberId(message.to),
        from: MemberId(message.from),
        lane: Lane::Control,
        message: bytes.into(),
        snapshot: None,
    }
}

impl Cluster {
    /// Delivers a forged message. Returns the reason why the receiver dropped it, or `None` if the receiver reported no fault.
    fn lie(&mut self, message: &Message) -> Option<MessageFault> {
        self.replica(message.to)
            .take(Input::Message(envelope(message)));
        self.settle();
        let (_, world) = self.members.get_mut(&message.to)?;
        world.faults.pop()
    }

    /// Checks that each member answers a write.
    fn serves(&mut self) {
        // An election between distant terms takes longer than a proposal may wait.
        self.until(|cluster| {
            let mut members = cluster.members.values();
            members.all(|(replica, _)| replica.status().leader.0 != 0)
        });
        for id in self.members.keys().copied().collect::<Vec<_>>() {
            let ticket = self.propose(id, put("served"));
            self.until(|cluster| cluster.answer(id, ticket).is_some());
        }
    }

    fn highest_term(&self) -> u64 {
        let terms = self
            .members
            .values()
            .map(|(replica, _)| replica.status().term);
        terms.max().expect("there are members")
    }
}

#[test]
fn a_message_with_the_highest_term_does_not_stop_a_cluster() {
    for kind in KINDS {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        for to in [1, 2, 3] {
            let from = to % 3 + 1;
            cluster.lie(&message(kind, (from, to), LAST_TERM));
        }
        cluster.serves();
        let term = cluster.highest_term();
        assert!(term < 4 * TERM_RISE_MAX, "{kind:?}: {term}");
    }
}

/// A copy campaigns in a later term than the voters have reported.
#[test]
fn a_forged_report_raises_the_term_of_copies_by_a_bounded_number() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    for id in [1, 2, 3] {
        let state = cluster.end(id);
        cluster.start_copy(id, state);
    }
    for _ in 0..10 * ELECTION_TICKS {
        if cluster.leader().is_some() {
            break;
        }
        for to in [1, 2, 3] {
            let from = to % 3 + 1;
            cluster.lie(&message(
                MessageType::MsgRequestPreVote,
                (from, to),
                LAST_TERM,
            ));
        }
        cluster.tick();
    }
    let rises = cluster.now_ns / TICK_NS / ELECTION_TICKS + 1;
    assert!(cluster.highest_term() <= rises * TERM_RISE_MAX);
    cluster.serves();
}

/// A hundred forged messages raise the term no more than a single message does. After an election timeout, the term may rise
/// again.
#[test]
fn messages_raise_a_term_by_a_bounded_number_per_election_timeout() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let before = cluster.replica(1).status().term;
    for round in 1..=5 {
        for term in LAST_TERM - 100..LAST_TERM {
            cluster.lie(&message(MessageType::MsgAppendResponse, (2, 1), term));
        }
        let after = cluster.replica(1).status().term;
        assert!(after > before, "the member enters a higher term");
        assert!(after <= before + round * (TERM_RISE_MAX + 2 * ELECTION_TICKS));
        cluster.ticks(ELECTION_TICKS);
    }
    cluster.serves();
}

/// Members converge at any distance of their terms, whether the distance comes from campaigns or from forged messages.
#[test]
fn a_member_that_is_many_terms_behind_or_ahead_rejoins() {
    for (ahead, behind) in [(&[1, 2][..], 3), (&[3], 1)] {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        cluster.cut_off(3);
        for _ in 0..5 {
            for id in ahead {
                cluster.lie(&message(
                    MessageType::MsgAppendResponse,
                    (behind, *id),
                    LAST_TERM,
                ));
            }
            cluster.ticks(ELECTION_TICKS);
        }
        let far = cluster.highest_term();
        let near = cluster.replica(behind).status().term;
        assert!(far > near + 4 * TERM_RISE_MAX, "{far} is far above {near}");
        cluster.cut.clear();
        cluster.serves();
    }
}

/// Creates an append message that follows the log of `to`.
fn append(cluster: &mut Cluster, (from, to): (u64, u64), entries: &[Bytes]) -> Message {
    let status = cluster.replica(to).status();
    let mut append = message(MessageType::MsgAppend, (from, to), status.term + 1);
    append.reject = false;
    (append.index, append.log_term) = (status.committed, status.term);
    append.commit = status.committed + entries.len() as u64;
    let entries = entries
        .iter()
        .zip(status.committed + 1..)
        .map(|(data, index)| Entry {
            index,
            term: status.term + 1,
            data: data.clone(),
            ..Entry::default()
        });
    append.set_entries(entries.collect::<Vec<_>>().into());
    append
}

const LATER: Bytes = Bytes::from_static(b"\x02later");

#[test]
fn an_entry_that_the_cluster_version_excludes_halts_no_member() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.ticks(2);
    let (leader, follower) = (cluster.leader().expect("a leader"), cluster.follower());
    for to in [leader, 6 - leader - follower] {
        let append = append(&mut cluster, (follower, to), &[LATER]);
        let index = append.entries[0].index;
        let fault = cluster.lie(&append);
        assert_eq!(fault, Some(MessageFault::UnknownEntry { index }));
    }
    cluster.ticks(ELECTION_TICKS);
    cluster.serves();
    assert_eq!(cluster.ended, BTreeMap::new());
}

fn version(version: &str) -> Command {
    Command::ClusterVersion(ClusterVersion::of(version))
}

/// The members ran a later release before. This release must stop at an entry that it does not support.
#[test]
fn an_entry_of_a_later_release_halts_members_if_the_cluster_had_that_release() {
    let raised = |version: Command| {
        let entry = witan_machine::command::Entry { command: Some(version), ..Default::default() };
        Bytes::from(wire::encode_entry(&entry))
    };
    // The entry that raises the version is already applied or is in the same message.
    for before in [None, Some(raised(version("3.8.0")))] {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        cluster.ticks(2);
        let (leader, follower) = (cluster.leader().expect("a leader"), cluster.follower());
        if before.is_none() {
            let ticket = cluster.propose(leader, version("3.8.0"));
            cluster.until(|cluster| cluster.answer(leader, ticket).is_some());
            cluster.ticks(2);
        }
        let entries: Vec<Bytes> = before.into_iter().chain([LATER]).collect();
        let append = append(&mut cluster, (leader, follower), &entries);
        let index = append.commit;
        assert_eq!(cluster.lie(&append), None);
        assert_eq!(
            cluster.ended.get(&follower),
            Some(&Halt::UnknownCommand { index })
        );
    }
}

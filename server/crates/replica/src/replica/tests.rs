//! Tests of [`Replica`] with messages that arrive in an unusual order.

mod forked;
mod log_lost;
mod removal;

use bytes::Bytes;
use raft::eraftpb::{Entry as RaftEntry, EntryType, Message, MessageType};

use super::{Config, Halt, LeaderTasks, MessageFault, PeerEvent, Replica, Role, Tuning, genesis};
use crate::{
    forward::{RefusedProposal, RefusedProposals},
    host::{
        Answer, Applied, Connection, Envelope, Host, Lane, LogBatch, ProposalRejected, Recovered,
        Ticket,
    },
    limits::LEAVING_TICKS,
    log::fill_metadata,
    wire::{self, PeerMessage},
};
use witan_machine::{
    command::{ChangeMembers, Command, Entry, UnstampedEntry},
    kv::KvCommand,
    levels,
    member::{Member, MemberId, MemberRegistry, PublishAttributes},
    view::View,
};

/// A host that records the effects of turns.
#[derive(Default)]
struct Noted {
    installs: Vec<u64>,
    sent: Vec<Envelope>,
    last_batch: LogBatch,
    /// The applied membership changes, each with its index and the last batch persisted before it.
    changes: Vec<(u64, LogBatch)>,
}

impl Host for Noted {
    fn install(&mut self, snapshot: &View) {
        self.installs.push(snapshot.position.index);
    }
    fn persist(&mut self, batch: &LogBatch) {
        self.last_batch = batch.clone();
    }
    fn send(&mut self, envelopes: Vec<Envelope>) {
        self.sent.extend(envelopes);
    }
    fn applied(&mut self, applied: Vec<Applied>, _view: &View) {
        for change in applied.iter().filter(|applied| applied.members.is_some()) {
            self.changes.push((change.index, self.last_batch.clone()));
        }
    }
    fn readable(&mut self, _tickets: &[Ticket], _view: &View) {}
    fn answered(&mut self, _: Vec<(Ticket, Answer)>) {}

    fn cut_log(&mut self, _: u64) {}

    fn message_dropped(&mut self, _: MemberId, _: MessageFault) {}
}

pub(super) fn first_state() -> View {
    state_of(&[1, 2, 3])
}

fn state_of(voters: &[u64]) -> View {
    let member = |&id| Member { id, ..Member::default() };
    genesis(1, voters.iter().map(member).collect())
}

fn follower() -> Replica {
    member_two_of(first_state())
}

fn member_two_of(state: View) -> Replica {
    started(Recovered { checkpoint: Some(state), ..Recovered::default() })
}

fn started(disk: Recovered) -> Replica {
    Replica::new(config(), disk).expect("the disk is valid")
}

/// Returns the configuration of member 2.
pub(super) fn config() -> Config {
    Config {
        id: 2,
        election_ticks: 10,
        heartbeat_ticks: 1,
        election_ns: 1_000_000_000,
        seed: 1,
        pre_vote: true,
        compaction: None,
        request_ticks: 70,
        copied: false,
        level: levels::OWN,
        tuning: Tuning::default(),
    }
}

fn propose(replica: &mut Replica, command: Command) -> Result<(), ProposalRejected> {
    let entry = UnstampedEntry::new(command, None);
    replica.propose(Ticket(1), Connection::default(), 0, entry)
}

/// Wraps a message from member `from` to member 2.
fn envelope(from: u64, message: Bytes) -> Envelope {
    Envelope {
        to: MemberId(2),
        from: MemberId(from),
        lane: Lane::Control,
        message,
        snapshot: None,
    }
}

/// Creates a snapshot message to member 2. `term` is the term of the message and of the snapshot.
fn snapshot(from: u64, term: u64, index: u64) -> Envelope {
    let mut view = first_state();
    (view.position.index, view.position.term) = (index, term);
    let mut message = Message::default();
    message.set_msg_type(MessageType::MsgSnapshot);
    (message.from, message.to, message.term) = (from, 2, term);
    fill_metadata(message.mut_snapshot(), &view.position);
    Envelope {
        lane: Lane::Bulk,
        snapshot: Some(Box::new(view)),
        ..envelope(from, wire::encode_message(&message))
    }
}

#[test]
fn a_refused_snapshot_does_not_replace_the_accepted_one() {
    let (mut replica, mut host) = (follower(), Noted::default());
    replica.receive(snapshot(1, 5, 60));
    replica.receive(snapshot(3, 4, 50));
    replica.turn(&mut host).expect("no halt");
    assert_eq!(host.installs, [60]);
    assert_eq!(replica.view().position.index, 60);
}

#[test]
fn a_snapshot_without_its_state_counts_as_lost() {
    let (mut replica, mut host) = (follower(), Noted::default());
    replica.receive(Envelope { snapshot: None, ..snapshot(1, 5, 60) });
    let other = snapshot(1, 5, 61).snapshot;
    replica.receive(Envelope { snapshot: other, ..snapshot(1, 5, 60) });
    replica.receive(envelope(1, Bytes::from_static(b"?")));
    replica.turn(&mut host).expect("no halt");
    assert!(host.installs.is_empty());
    assert_eq!(replica.view().position.index, 1);
}

#[test]
fn only_a_sole_voter_that_has_applied_its_term_reads_without_a_round() {
    let mut replica = member_two_of(state_of(&[2]));
    let ticks = 1..100;
    let leads = |replica: &Replica| replica.status().role == Role::Leader;
    for now_ns in ticks.clone() {
        assert!(!replica.is_linearizable());
        if leads(&replica) {
            break;
        }
        replica.tick(now_ns);
    }
    assert!(leads(&replica) && !replica.is_linearizable());
    replica.turn(&mut Noted::default()).expect("no halt");
    assert!(replica.is_linearizable());
    let mut replica = follower();
    for now_ns in ticks {
        replica.tick(now_ns);
        replica.turn(&mut Noted::default()).expect("no halt");
        assert!(!replica.is_linearizable());
    }
}

/// Creates a message from member 1, the leader of term 5, to member 2.
fn from_leader(kind: MessageType, fill: impl FnOnce(&mut Message)) -> Envelope {
    let mut message = Message::default();
    message.set_msg_type(kind);
    (message.from, message.to, message.term) = (1, 2, 5);
    fill(&mut message);
    envelope(1, wire::encode_message(&message))
}

/// The next leader may need this member's acknowledgment before it can send the requested state.
#[test]
fn a_snapshot_request_ends_with_the_first_append_of_the_next_leader() {
    let (mut replica, mut host) = (follower(), Noted::default());
    let first_of_term = |term: u64, index: u64, log_term: u64| {
        from_leader(MessageType::MsgAppend, |m| {
            (m.term, m.index, m.log_term, m.commit) = (term, index - 1, log_term, index);
            m.entries = vec![RaftEntry { index, term, ..RaftEntry::default() }].into();
        })
    };
    replica.receive(first_of_term(5, 2, 1));
    replica.turn(&mut host).expect("no halt");
    replica.rebuild();
    for (message, answer) in [
        (
            from_leader(MessageType::MsgHeartbeat, |_| {}),
            "MsgAppendResponse term=5 log=2/5 commit=0 entries=0 reject=true",
        ),
        (
            first_of_term(7, 3, 5),
            "MsgAppendResponse term=7 log=3/0 commit=3 entries=0 reject=false",
        ),
    ] {
        host.sent.clear();
        replica.receive(message);
        replica.turn(&mut host).expect("no halt");
        assert_eq!(Replica::describe(&host.sent[0].message), answer);
    }
}

/// The next leader has the lineage of this member, so this member keeps its state.
#[test]
fn a_snapshot_request_ends_with_the_vote_for_the_next_leader() {
    let mut state = first_state();
    state.position.lineage = 2;
    let (mut replica, mut host) = (member_two_of(state), Noted::default());
    let append = |from: u64, lineage: u64, (term, index, log_term): (u64, u64, u64)| {
        let message = from_leader(MessageType::MsgAppend, |m| {
            (m.from, m.term, m.index, m.log_term, m.commit) = (from, term, index, log_term, 2);
            m.context = lineage.to_be_bytes().to_vec().into();
            m.entries = vec![RaftEntry { index: index + 1, term, ..RaftEntry::default() }].into();
        });
        Envelope { from: MemberId(from), ..message }
    };
    replica.receive(append(1, 1, (5, 1, 1)));
    replica.turn(&mut host).expect("no halt");
    assert_eq!(replica.raft.raft.pending_request_snapshot, 2);
    // Member 1 transfers leadership to member 3.
    let vote = from_leader(MessageType::MsgRequestVote, |m| {
        (m.from, m.term, m.index, m.log_term) = (3, 6, 2, 5);
        m.context = raft::CAMPAIGN_TRANSFER.into();
    });
    replica.receive(Envelope { from: MemberId(3), ..vote });
    replica.turn(&mut host).expect("no halt");
    host.sent.clear();
    replica.receive(append(3, 2, (6, 2, 5)));
    replica.turn(&mut host).expect("no halt");
    let answers: Vec<String> = host
        .sent
        .iter()
        .map(|sent| Replica::describe(&sent.message))
        .collect();
    let expected = "MsgAppendResponse term=6 log=3/0 commit=2 entries=0 reject=false";
    assert_eq!(answers, [expected]);
}

fn asks_for_vote(term: u64) -> Envelope {
    from_leader(MessageType::MsgRequestVote, |m| {
        (m.term, m.index, m.log_term) = (term, 1, 1);
    })
}

/// Without a response, the candidate's term could stay below the term of a member whose messages do not reach it.
#[test]
fn a_candidate_of_an_earlier_term_learns_the_current_term() {
    let (mut replica, mut host) = (follower(), Noted::default());
    replica.receive(from_leader(MessageType::MsgHeartbeat, |_| {}));
    replica.turn(&mut host).expect("no halt");
    host.sent.clear();
    replica.receive(asks_for_vote(3));
    replica.turn(&mut host).expect("no halt");
    let [answer] = &host.sent[..] else {
        panic!("expected one answer, not {:?}", host.sent);
    };
    let Ok(PeerMessage::Raft(message)) = PeerMessage::decode(&answer.message) else {
        panic!("expected a raft message");
    };
    let kind = message.get_msg_type();
    assert_eq!(kind, MessageType::MsgRequestVoteResponse);
    assert_eq!((answer.to.0, message.term, message.reject), (1, 5, true));
}

fn entry(index: u64, kind: EntryType, data: Bytes) -> RaftEntry {
    let mut entry = RaftEntry { index, term: 5, data, ..RaftEntry::default() };
    entry.set_entry_type(kind);
    entry
}

#[test]
fn the_only_remaining_voter_persists_received_entries_before_it_campaigns() {
    let (mut replica, mut host) = (member_two_of(state_of(&[1, 2])), Noted::default());
    let removal = Entry {
        command: Some(Command::Members(ChangeMembers {
            remove: 1,
            voters: true,
            ..ChangeMembers::default()
        })),
        ..Entry::default()
    };
    let change = wire::conf_change(&removal, &wire::encode_entry(&removal).into());
    let change = wire::encode_conf_change(&change.expect("the entry changes the configuration"));
    let from_third = |index: u64, log_term, entry| {
        let mut envelope = from_leader(MessageType::MsgAppend, |m| {
            (m.from, m.index, m.log_term, m.commit) = (3, index - 1, log_term, 2);
            m.set_entries(vec![entry].into());
        });
        envelope.from = MemberId(3);
        envelope
    };
    replica.receive(from_third(
        2,
        1,
        entry(2, EntryType::EntryConfChange, change),
    ));
    assert_eq!(replica.turn(&mut host), Ok(()));
    assert_eq!(replica.view().position.voters, [2]);
    replica.receive(from_third(
        3,
        5,
        entry(3, EntryType::EntryNormal, Bytes::new()),
    ));
    replica.tick(1);
    assert_eq!(replica.status().role, Role::Follower);
    assert_eq!(replica.turn(&mut host), Ok(()));
    replica.tick(2);
    assert_eq!(replica.turn(&mut host), Ok(()));
    assert_eq!(replica.status().role, Role::Leader);
}

/// The checkpoint of a copy may have fewer voters than the configuration at the end of its log.
#[test]
fn a_copy_waits_for_a_leader_if_its_log_adds_voters() {
    let change = entry(2, EntryType::EntryConfChange, Bytes::new());
    for (entries, waits) in [(vec![], false), (vec![change], true)] {
        let mut replica = member_two_of(state_of(&[1, 2]));
        replica.copied = Some(super::CopiedDisk::new(&entries));
        replica.settle_copy();
        assert_eq!(replica.is_copied(), waits);
    }
}

/// Before that, a candidate of a later term may still win with the vote of the copy's original.
#[test]
fn a_copy_asks_a_leader_after_three_election_timeouts() {
    let (mut replica, mut host) = (follower(), Noted::default());
    replica.copied = Some(super::CopiedDisk::new(&[]));
    for tick in 1..=31 {
        replica.tick(tick);
        replica.receive(from_leader(MessageType::MsgHeartbeat, |_| {}));
        replica.turn(&mut host).expect("no halt");
        let asks = |sent: Envelope| Replica::describe(&sent.message).starts_with("MsgReadIndex ");
        assert_eq!(host.sent.drain(..).any(asks), tick >= 30, "tick {tick}");
    }
}

/// Returns member 2, which runs on a copy, after `last` ticks. Member 3 reports its log and term 8 in tick `reported`.
fn copy_with_report(reported: i64, last: i64) -> Replica {
    let (mut replica, mut host) = (follower(), Noted::default());
    replica.copied = Some(super::CopiedDisk::new(&[]));
    for tick in 1..=last {
        replica.tick(tick);
        if tick == reported {
            let report = from_leader(MessageType::MsgRequestPreVote, |m| {
                (m.from, m.term, m.index, m.log_term) = (3, 9, 1, 1);
            });
            replica.receive(Envelope { from: MemberId(3), ..report });
        }
        replica.turn(&mut host).expect("no halt");
    }
    replica
}

/// An earlier report may be older than the last vote of the copy's original.
#[test]
fn a_copy_ignores_reports_of_the_first_three_election_timeouts() {
    for (reported, votes) in [(29, false), (30, true)] {
        let mut replica = copy_with_report(reported, 31);
        replica.receive(asks_for_vote(9));
        assert_eq!(replica.status().term == 9, votes, "tick {reported}");
    }
}

/// The copy's original may have voted for another candidate in the reported term.
#[test]
fn a_copy_votes_in_no_term_that_another_voter_has_reported() {
    for (term, votes) in [(8, false), (9, true)] {
        let mut replica = copy_with_report(30, 30);
        replica.receive(asks_for_vote(term));
        assert_eq!(replica.status().term == term, votes, "term {term}");
    }
}

/// Members accept streams by these registrations. A member with an emptied directory must not vote for a member that has not
/// applied its registration.
#[test]
fn the_members_in_the_log_have_the_registrations_of_unapplied_entries() {
    let (mut replica, mut host) = (follower(), Noted::default());
    let attributes = PublishAttributes { id: 3, store_id: 7, ..PublishAttributes::default() };
    let publish = Entry::unstamped(Command::Publish(attributes), None);
    replica.receive(from_leader(MessageType::MsgAppend, |m| {
        (m.index, m.log_term) = (1, 1);
        let data = wire::encode_entry(&publish).into();
        m.entries = vec![entry(2, EntryType::EntryNormal, data)].into();
    }));
    replica.turn(&mut host).expect("no halt");
    let applied = replica.view().machine.members;
    let store = |members: &MemberRegistry| members.by_id[&MemberId(3)].store_id;
    assert_eq!((store(&applied), store(&replica.members_in_log())), (0, 7));
}

#[test]
fn a_leader_syncs_the_commit_index_of_a_membership_change() {
    let (mut replica, mut host) = (member_two_of(state_of(&[2])), Noted::default());
    assert_eq!(replica.turn(&mut host), Ok(()));
    assert_eq!(replica.status().role, Role::Leader);
    let learner = Member { id: 3, learner: true, ..Member::default() };
    let add = Command::Members(ChangeMembers {
        add: Some(learner),
        learners_max: 1,
        ..ChangeMembers::default()
    });
    assert_eq!(propose(&mut replica, add), Ok(()));
    assert_eq!(replica.turn(&mut host), Ok(()));
    assert_eq!(replica.view().position.learners, [3]);
    let [(index, batch)] = &host.changes[..] else {
        panic!("expected one change, not {:?}", host.changes);
    };
    let state = batch
        .hard_state
        .as_ref()
        .expect("the hard state was persisted");
    let state = wire::decode_hard_state(state).expect("the bytes decode");
    assert!(batch.must_sync && state.commit >= *index);
}

#[test]
fn a_duplicate_refusal_does_not_apply_to_the_next_attempt() {
    let (mut replica, mut host) = (follower(), Noted::default());
    replica.receive(from_leader(MessageType::MsgHeartbeat, |_| {}));
    let command = Command::Kv(KvCommand::default());
    assert_eq!(propose(&mut replica, command), Ok(()));
    let mut forwarded = |replica: &mut Replica| {
        assert_eq!(replica.turn(&mut host), Ok(()));
        let sent = host.sent.drain(..).map(|sent| sent.message);
        let proposals = sent.filter_map(|sent| match PeerMessage::decode(&sent) {
            Ok(PeerMessage::Proposals(proposals)) => Some(proposals),
            _ => None,
        });
        proposals.collect::<Vec<_>>()
    };
    let first = forwarded(&mut replica)
        .pop()
        .expect("the proposal is forwarded");
    let entry = wire::decode_entry(&first.entries[0]).expect("the bytes decode");
    let stamp = entry.stamp.expect("the entry has a stamp");
    let refused = RefusedProposals {
        term: first.term,
        refused: vec![RefusedProposal {
            ticket: stamp.ticket,
            incarnation: stamp.incarnation,
            reason: None,
        }],
        number: first.number,
    };
    let refusal = || envelope(1, PeerMessage::Refused(refused.clone()).encode());
    replica.receive(refusal());
    replica.tick(1);
    assert_eq!(forwarded(&mut replica).len(), 1, "the proposal is retried");
    replica.receive(refusal());
    replica.tick(2);
    assert_eq!(
        forwarded(&mut replica),
        [],
        "the leader may have the second message"
    );
}

#[test]
fn a_restarted_removed_member_runs_until_the_only_remaining_voter_rejects_it() {
    let mut removed = state_of(&[1]);
    removed.machine.members.removed_ids.insert(MemberId(2));
    let mut left_alone = removed.clone();
    (left_alone.position.index, left_alone.position.term) = (9, 5);
    let (mut replica, mut host) = (member_two_of(left_alone), Noted::default());
    assert_eq!(replica.turn(&mut host), Ok(()));
    replica.receive(asks_for_vote(6));
    assert_eq!(replica.turn(&mut host), Ok(()));
    let answer = host.sent.pop().expect("the member answers");
    let answer = Replica::describe(&answer.message);
    let expected = "MsgRequestVoteResponse term=6 log=0/0 commit=9 entries=0 reject=true";
    assert_eq!(answer, expected, "the voter gets the commit index");
    replica.peer_event(MemberId(1), PeerEvent::RemovedHere);
    assert_eq!(replica.turn(&mut host), Err(Halt::Removed));
    let mut replica = member_two_of(removed);
    let ticks = (1..=LEAVING_TICKS).take_while(|tick| {
        replica.tick(i64::try_from(*tick).expect("the tick fits into an i64"));
        replica.turn(&mut host).is_ok()
    });
    assert_eq!(ticks.count() as u64, LEAVING_TICKS - 1);
}

#[test]
fn a_message_that_no_member_sends_is_dropped_with_a_reason() {
    let mut replica = follower();
    let append = |data: &'static [u8]| {
        from_leader(MessageType::MsgAppend, |m| {
            (m.index, m.log_term) = (1, 1);
            let data = Bytes::from_static(data);
            m.set_entries(vec![entry(2, EntryType::EntryNormal, data)].into());
        })
    };
    let of_another = Envelope { from: MemberId(3), ..append(b"") };
    let unreadable = Envelope { message: Bytes::from_static(b"?"), ..append(b"") };
    for (message, fault) in [
        (
            append(b"\x01\xff"),
            Some(MessageFault::CorruptEntry { index: 2 }),
        ),
        (unreadable, Some(MessageFault::Malformed)),
        (of_another, Some(MessageFault::Unsound)),
        (append(b""), None),
    ] {
        assert_eq!(replica.dispatch(message).err(), fault);
    }
}

#[test]
fn an_unknown_command_halts_the_member_and_changes_nothing() {
    for (data, index) in [
        (&[9, 9][..], 2),                // a version
        (&[1, 0x82, 0x06, 0][..], 2),    // a command
        (&[1, 0x12, 2, 0x3a, 0][..], 2), // an operation of v3's key space
        (&[1, 0x32, 2, 0x08, 9][..], 2), // an action of alarms
    ] {
        let append = || {
            from_leader(MessageType::MsgAppend, |m| {
                (m.index, m.log_term, m.commit) = (1, 1, 2);
                let data = Bytes::copy_from_slice(data);
                m.set_entries(vec![entry(2, EntryType::EntryNormal, data)].into());
            })
        };
        let too_early = follower().dispatch(append());
        assert_eq!(too_early, Err(MessageFault::UnknownEntry { index }));
        let mut state = first_state();
        state.machine.members.cluster_version = "3.8.0".into();
        let (mut replica, mut host) = (member_two_of(state), Noted::default());
        let before = replica.view();
        assert_eq!(replica.dispatch(append()), Ok(()));
        assert_eq!(replica.turn(&mut host), Err(Halt::UnknownCommand { index }));
        assert_eq!(replica.view().position, before.position);
    }
}

#[test]
fn one_snapshot_at_a_time_goes_to_a_member_until_its_end_is_reported() {
    let mut leader_tasks = LeaderTasks::new(None, None);
    assert!(leader_tasks.begin_snapshot(3, 10));
    assert!(!leader_tasks.begin_snapshot(3, 1000));
    assert!(leader_tasks.begin_snapshot(4, 1000));
    leader_tasks.snapshot_ended(3);
    assert!(leader_tasks.begin_snapshot(3, 1001));
}

#[test]
fn an_idle_leader_persists_its_commit_index() {
    let (mut replica, mut host) = (member_two_of(state_of(&[2])), Noted::default());
    replica.turn(&mut host).expect("no halt");
    let committed = replica.status().committed;
    for _ in 0..10 {
        host.last_batch = LogBatch::default();
        replica.tick(0);
        replica.turn(&mut host).expect("no halt");
    }
    let stored = host
        .last_batch
        .hard_state
        .as_ref()
        .map(wire::decode_hard_state);
    let stored = stored
        .expect("there is a hard state")
        .expect("the bytes decode");
    assert_eq!(
        (stored.commit, host.last_batch.must_sync),
        (committed, true)
    );
    assert!(host.last_batch.records.is_empty());
}

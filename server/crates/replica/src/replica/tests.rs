//! What the seams of [`Replica`] promise when messages come in an unlucky order.

use bytes::Bytes;
use raft::eraftpb::{Entry as RaftEntry, Message, MessageType};

use super::{Config, Halt, LeaderTasks, Replica, Role, genesis};
use crate::{
    host::{Applied, Envelope, Host, Lane, LeaseAnswer, LogBatch, Recovered, Ticket, Unanswered},
    log::fill_metadata,
    machine::{member::Member, view::View},
    wire,
};

/// Remembers which snapshots were installed.
#[derive(Default)]
struct Installed(Vec<u64>);

impl Host for Installed {
    fn install(&mut self, snapshot: &View) {
        self.0.push(snapshot.position.index);
    }
    fn persist(&mut self, _batch: &LogBatch) {}
    fn send(&mut self, _envelopes: Vec<Envelope>) {}
    fn applied(&mut self, _applied: Vec<Applied>, _view: &View) {}
    fn readable(&mut self, _tickets: &[Ticket], _view: &View) {}
    fn unanswered(&mut self, _requests: &[(Ticket, Unanswered)]) {}
    fn lease_answered(&mut self, _ticket: Ticket, _answer: LeaseAnswer) {}
}

fn first_state() -> View {
    state_of(&[1, 2, 3])
}

fn state_of(voters: &[u64]) -> View {
    let member = |&id| Member {
        id,
        ..Member::default()
    };
    genesis(1, voters.iter().map(member).collect())
}

fn follower() -> Replica {
    member_two_of(first_state())
}

fn member_two_of(state: View) -> Replica {
    let config = Config {
        id: 2,
        election_ticks: 10,
        heartbeat_ticks: 1,
        election_ns: 1_000_000_000,
        seed: 1,
        pre_vote: true,
        compaction: None,
        request_ticks: 70,
    };
    let recovered = Recovered {
        checkpoint: Some(state),
        ..Recovered::default()
    };
    Replica::new(config, recovered).expect("a fresh member starts")
}

fn snapshot(from: u64, term: u64, index: u64) -> Envelope {
    let mut view = first_state();
    (view.position.index, view.position.term) = (index, term);
    let mut message = Message::default();
    message.set_msg_type(MessageType::MsgSnapshot);
    (message.from, message.to, message.term) = (from, 2, term);
    fill_metadata(message.mut_snapshot(), &view.position);
    let message = wire::encode_message(&message);
    Envelope {
        to: 2,
        from,
        lane: Lane::Bulk,
        message,
        snapshot: Some(Box::new(view)),
    }
}

#[test]
fn a_refused_snapshot_does_not_replace_the_accepted_one() {
    let (mut replica, mut host) = (follower(), Installed::default());
    replica.receive(snapshot(1, 5, 60));
    replica.receive(snapshot(3, 4, 50));
    replica.turn(&mut host).expect("it goes on");
    assert_eq!(host.0, [60]);
    assert_eq!(replica.view().position.index, 60);
}

#[test]
fn a_snapshot_without_its_state_counts_as_lost() {
    let (mut replica, mut host) = (follower(), Installed::default());
    replica.receive(Envelope {
        snapshot: None,
        ..snapshot(1, 5, 60)
    });
    let other = snapshot(1, 5, 61).snapshot;
    replica.receive(Envelope {
        snapshot: other,
        ..snapshot(1, 5, 60)
    });
    replica.receive(Envelope {
        to: 2,
        from: 1,
        lane: Lane::Control,
        message: Bytes::from_static(b"?"),
        snapshot: None,
    });
    replica.turn(&mut host).expect("it goes on");
    assert!(host.0.is_empty());
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
    replica.turn(&mut Installed::default()).expect("it goes on");
    assert!(replica.is_linearizable());
    let mut replica = follower();
    for now_ns in ticks {
        replica.tick(now_ns);
        replica.turn(&mut Installed::default()).expect("it goes on");
        assert!(!replica.is_linearizable());
    }
}

/// What a leader of term 5 sends to member 2.
fn from_leader(kind: MessageType, fill: impl FnOnce(&mut Message)) -> Envelope {
    let mut message = Message::default();
    message.set_msg_type(kind);
    (message.from, message.to, message.term) = (1, 2, 5);
    fill(&mut message);
    Envelope {
        to: 2,
        from: 1,
        lane: Lane::Control,
        message: wire::encode_message(&message),
        snapshot: None,
    }
}

#[test]
fn a_member_that_lost_its_log_ends_with_a_reason() {
    let (mut replica, mut host) = (follower(), Installed::default());
    replica.receive(from_leader(MessageType::MsgHeartbeat, |m| m.commit = 1));
    assert_eq!(replica.turn(&mut host), Ok(()));
    replica.receive(from_leader(MessageType::MsgHeartbeat, |m| m.commit = 70));
    let halt = Halt::LogLost {
        committed: 70,
        last: 1,
    };
    assert_eq!(replica.turn(&mut host), Err(halt));
}

#[test]
fn an_unknown_command_ends_the_member_and_changes_nothing() {
    for (data, index) in [
        (&[9, 9][..], 2),                // a version
        (&[1, 0x82, 0x06, 0][..], 2),    // a command
        (&[1, 0x12, 2, 0x3a, 0][..], 2), // a verb of v3's key space
        (&[1, 0x32, 2, 0x08, 9][..], 2), // an action of alarms
    ] {
        let (mut replica, mut host) = (follower(), Installed::default());
        let before = replica.view();
        replica.receive(from_leader(MessageType::MsgAppend, |m| {
            (m.index, m.log_term, m.commit) = (1, 1, 2);
            let entry = RaftEntry {
                index: 2,
                term: 5,
                data: Bytes::copy_from_slice(data),
                ..RaftEntry::default()
            };
            m.set_entries(vec![entry].into());
        }));
        assert_eq!(replica.turn(&mut host), Err(Halt::UnknownCommand { index }));
        assert_eq!(replica.view().position, before.position);
    }
}

#[test]
fn one_snapshot_at_a_time_goes_to_a_member_until_its_end_is_reported() {
    let mut leader_tasks = LeaderTasks::new(None);
    assert!(leader_tasks.begin_snapshot(3, 10));
    assert!(!leader_tasks.begin_snapshot(3, 1000));
    assert!(leader_tasks.begin_snapshot(4, 1000));
    leader_tasks.snapshot_ended(3);
    assert!(leader_tasks.begin_snapshot(3, 1001));
}

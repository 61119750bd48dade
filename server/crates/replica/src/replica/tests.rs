//! What the seams of [`Replica`] promise when messages come in an unlucky order.

use bytes::Bytes;
use raft::eraftpb::{Message, MessageType};

use super::{Config, Replica, Role, genesis};
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

//! One replica with a recording host: the order of its calls, and the state that survives a restart.

mod bounds_kv;

use bytes::Bytes;
use witan_machine::{
    Reply,
    alarm::{AlarmAction, AlarmCommand, AlarmType},
    command::{ChangeMembers, Command, PublishAttributes, UnstampedEntry},
    kv::{Compact, KvOperation, Put},
    levels,
    member::{self, Member, MemberId},
    view::View,
};
use witan_replica::{
    host::{Answer, Applied, Connection, Envelope, Host, LogBatch, Recovered, Ticket},
    input::Input,
    replica::{Config, MessageFault, Replica, Role, Tuning, genesis},
};

const ID: u64 = 7;

#[derive(Default)]
struct Recorder {
    verbs: Vec<&'static str>,
    disk: Recovered,
    /// Whether the process ends as soon as data is on disk.
    crashes: bool,
    applied: Vec<Applied>,
    readable: Vec<Ticket>,
}

impl Host for Recorder {
    fn install(&mut self, _: &View) {
        self.verbs.push("install");
    }
    /// Stores the batch and then panics if `crashes` is set.
    fn persist(&mut self, batch: &LogBatch) {
        self.verbs.push("persist");
        self.disk.records.extend(batch.records.iter().cloned());
        if let Some(state) = &batch.hard_state {
            self.disk.hard_state = Some(state.clone());
        }
        assert!(!self.crashes, "the process ends here");
    }
    fn send(&mut self, _: Vec<Envelope>) {
        self.verbs.push("send");
    }
    fn applied(&mut self, applied: Vec<Applied>, _: &View) {
        self.verbs.push("applied");
        self.applied.extend(applied);
    }
    fn readable(&mut self, tickets: &[Ticket], _: &View) {
        self.verbs.push("readable");
        self.readable.extend(tickets);
    }
    fn answered(&mut self, _: Vec<(Ticket, Answer)>) {}
    fn cut_log(&mut self, _: u64) {}
    fn message_dropped(&mut self, _: MemberId, _: MessageFault) {}
}

/// Returns the configuration of member [`ID`].
fn config(seed: u64) -> Config {
    Config {
        id: ID,
        election_ticks: 10,
        heartbeat_ticks: 1,
        election_ns: 1_000_000_000,
        seed,
        pre_vote: true,
        compaction: None,
        request_ticks: 70,
        copied: false,
        level: levels::OWN,
        tuning: Tuning::default(),
    }
}

/// Creates a sole voter, which leads after its first turn, and its host.
fn fresh() -> (Replica, Recorder) {
    let member = Member { id: ID, ..Member::default() };
    let mut host = Recorder::default();
    host.disk.checkpoint = Some(genesis(1, vec![member]));
    let mut replica = Replica::new(config(1), host.disk.clone()).expect("a fresh disk is valid");
    replica.turn(&mut host).expect("no halt");
    (replica, host)
}

fn set(path: &'static str) -> Command {
    let set = witan_tree::Set {
        path: Bytes::from_static(path.as_bytes()),
        ..witan_tree::Set::default()
    };
    witan_tree::TreeOperation::Set(set).into()
}

/// Queues a proposal, which the next turn submits.
fn propose(replica: &mut Replica, ticket: u64, command: Command) {
    replica.take(Input::Propose {
        ticket: Ticket(ticket),
        connection: Connection::default(),
        now_ns: 0,
        entry: UnstampedEntry::new(command, None),
    });
}

#[test]
fn a_sole_voter_leads_at_once_and_answers_after_the_fsync() {
    let (mut replica, mut host) = fresh();
    assert_eq!(replica.status().role, Role::Leader);
    assert_eq!((replica.status().term, replica.status().applied), (2, 2));
    host.verbs.clear();
    propose(&mut replica, 5, set("/a"));
    replica.take(Input::Read { ticket: Ticket(6) });
    replica.turn(&mut host).expect("no halt");
    assert_eq!(host.verbs, ["persist", "applied", "readable"]);
    let last = host.applied.last().expect("applied");
    assert_eq!((last.index, last.ticket), (3, Some(Ticket(5))));
    assert!(matches!(last.outcome.reply, Reply::Tree(_)));
    assert_eq!(host.readable, [Ticket(6)]);
}

#[test]
fn no_sweep_is_proposed_while_the_corrupt_alarm_refuses_it() {
    let (mut replica, mut host) = fresh();
    let value = Bytes::from(vec![b'v'; 2 << 10]);
    let put = || KvOperation::Put(Put { key: "k".into(), value: value.clone(), ..Put::default() });
    let mut commands: Vec<Command> = (0..3000).map(|_| put().into()).collect();
    commands.push(KvOperation::Compact(Compact { revision: 3000 }).into());
    let alarm = AlarmCommand {
        action: AlarmAction::Activate as i32,
        member: ID,
        kind: AlarmType::Corrupt as i32,
    };
    commands.push(alarm.into());
    for (ticket, command) in (1..).zip(commands) {
        propose(&mut replica, ticket, command);
        replica.turn(&mut host).expect("no halt");
        replica.take(Input::Turned { monotonic_ns: ticket, sync_ns: 1 });
    }
    assert!(
        replica.view().machine.kv.is_sweeping(),
        "the sweep has ended"
    );
    let last = replica.last_index();
    for _ in 0..3 {
        replica.take(Input::Tick { now_ns: 0 });
        replica.turn(&mut host).expect("no halt");
    }
    assert_eq!(replica.last_index(), last);
}

#[test]
fn a_restart_applies_what_was_persisted_and_answers_no_old_ticket() {
    let (mut replica, mut host) = fresh();
    let publish = PublishAttributes { id: ID, name: "m".into(), ..PublishAttributes::default() };
    propose(&mut replica, 1, Command::Publish(publish));
    replica.turn(&mut host).expect("no halt");
    let before = replica.view();
    let mut again = Replica::new(config(2), host.disk.clone()).expect("the disk is valid");
    host.applied.clear();
    again.turn(&mut host).expect("no halt");
    assert_eq!(again.view().machine.members, before.machine.members);
    assert!(host.applied.iter().all(|a| a.ticket.is_none()));
}

#[test]
fn a_log_that_ends_below_the_commit_is_refused() {
    let (mut replica, mut host) = fresh();
    for ticket in 1..=3 {
        propose(&mut replica, ticket, set("/a"));
        replica.turn(&mut host).expect("no halt");
    }
    host.disk.records.truncate(1);
    let error = Replica::new(config(2), host.disk).expect_err("entries are missing");
    assert!(
        error
            .to_string()
            .contains("were committed, but the log ends at"),
        "{error}"
    );
}

/// Returns the change that adds a learner if the cluster has no learner yet.
fn learner(id: u64) -> ChangeMembers {
    ChangeMembers {
        add: Some(Member {
            id,
            peer_urls: vec![format!("http://m{id}:2380")],
            learner: true,
            ..Member::default()
        }),
        learners_max: 1,
        ..ChangeMembers::default()
    }
}

/// Proposes a membership change and runs a turn. Returns the reply, or `None` if the change was not applied.
fn changed(replica: &mut Replica, host: &mut Recorder, change: ChangeMembers) -> Option<Reply> {
    let ticket = host.applied.len() as u64 + 100;
    propose(replica, ticket, Command::Members(change));
    replica.turn(host).expect("no halt");
    let answers = host.applied.iter().rev();
    let mut answers = answers.filter(|applied| applied.ticket == Some(Ticket(ticket)));
    answers.next().map(|applied| applied.outcome.reply.clone())
}

#[test]
fn an_absent_learner_blocks_nothing_and_survives_a_restart() {
    let (mut replica, mut host) = fresh();
    let taken = Some(Reply::MembershipChanged(Ok(())));
    assert_eq!(changed(&mut replica, &mut host, learner(8)), taken);
    assert_eq!(replica.view().position.learners, [8]);
    let refused = Some(Reply::MembershipChanged(Err(
        member::MembershipError::TooManyLearners,
    )));
    assert_eq!(changed(&mut replica, &mut host, learner(9)), refused);
    assert_eq!(
        replica.view().position.learners,
        [8],
        "the configuration follows the registry"
    );
    let checkpoint = replica.view();
    let half = host.disk.clone();
    for ticket in 0..3 {
        replica.take(Input::Tick { now_ns: 0 });
        propose(&mut replica, ticket, set("/a"));
        replica.take(Input::Read { ticket: Ticket(ticket + 10) });
        replica.turn(&mut host).expect("no halt");
    }
    assert_eq!(
        host.readable.len(),
        3,
        "a learner does not count in a quorum"
    );
    let mut from_checkpoint = Recovered { checkpoint: Some(checkpoint), ..half };
    from_checkpoint.records.clone_from(&host.disk.records);
    from_checkpoint.hard_state.clone_from(&host.disk.hard_state);
    for disk in [host.disk.clone(), from_checkpoint] {
        let mut again = Replica::new(config(2), disk).expect("the member starts from its disk");
        again.turn(&mut Recorder::default()).expect("no halt");
        again.take(Input::Tick { now_ns: 0 });
        again.turn(&mut Recorder::default()).expect("no halt");
        assert_eq!(again.status().role, Role::Leader);
        assert_eq!(again.view().position.learners, [8]);
        assert_eq!(again.view().machine.members.by_id.len(), 2);
    }
    let remove = ChangeMembers { remove: 8, ..ChangeMembers::default() };
    assert_eq!(changed(&mut replica, &mut host, remove), taken);
    assert!(replica.view().position.learners.is_empty());
    assert_eq!(changed(&mut replica, &mut host, learner(10)), taken);
}

#[test]
fn one_membership_change_at_a_time() {
    let (mut replica, mut host) = fresh();
    propose(&mut replica, 1, Command::Members(learner(8)));
    // Raft would silently drop the second change, so it waits for the first change.
    propose(&mut replica, 2, Command::Members(learner(9)));
    let member = |host: &Recorder, ticket| {
        let mut applied = host.applied.iter();
        applied.any(|applied| applied.ticket == Some(Ticket(ticket)))
    };
    replica.turn(&mut host).expect("no halt");
    assert!(member(&host, 1) && !member(&host, 2));
    replica.take(Input::Tick { now_ns: 0 });
    replica.turn(&mut host).expect("no halt");
    assert!(member(&host, 2));
}

//! The bytes of the format: a file that this release has written must be read by each later one that does not refuse it.

use std::{fs, path::PathBuf};

use prost::Message as _;
use witan_replica::{message_head::MessageHead, wire};

use super::*;
use crate::format::{
    AnswerGiven, AppliedEntry, DecisionTaken, Effect, EffectKind, Frozen, Head, Input, InputKind,
    LeaseAsked, LogEntry, Now, Outcome, PeerReport, Persisted, Place, Proposal, ReadReleased,
    Received, Record, Sent, Start, State, Turn, Turned,
};

fn state() -> State {
    let record = Record { key: b"k".to_vec(), value: b"v".to_vec() };
    State {
        records: vec![record],
        revision: 7,
        tree_index: 8,
        whole: true,
    }
}

fn inputs() -> Vec<InputKind> {
    vec![
        InputKind::Tick(-1),
        InputKind::AdvanceClock(300),
        InputKind::Receive(Received {
            from: 2,
            to: 1,
            message: "message".into(),
            snapshot: Some(state()),
        }),
        InputKind::PeerEvent(PeerReport { member: 2, event: 3 }),
        InputKind::Durable(4),
        InputKind::Executed(5),
        InputKind::LogRoom(6),
        InputKind::Turned(Turned { monotonic_ns: 7, sync_ns: 8 }),
        InputKind::Rebuild(true),
        InputKind::Transfer(9),
        InputKind::Propose(Proposal {
            ticket: 10,
            connection_high: 11,
            connection_low: 12,
            now_ns: 13,
            entry: "entry".into(),
        }),
        InputKind::Decide(DecisionTaken {
            members: Some(state()),
            now_ns: 14,
            entry: "entry".into(),
        }),
        InputKind::Read(15),
        InputKind::AskAboutLease(LeaseAsked { ticket: 16, lease: -17, renews: true }),
        InputKind::DropHeld(true),
        InputKind::Omitted(18),
    ]
}

fn effects() -> Vec<Effect> {
    let head = MessageHead {
        kind: 3,
        term: 1,
        index: 2,
        log_term: 3,
        commit: 4,
        entries: 5,
        reject: true,
    };
    let outcome = Outcome { reply: 1, revision: -6, hashed: true };
    let kinds = vec![
        EffectKind::Install(Place { index: 7, term: 8 }),
        EffectKind::Persist(Persisted {
            first: 9,
            entries: 10,
            term: 11,
            bytes: 12,
            hard_state: Some(wire::hard_state(2, 1, 3)),
            synced: true,
        }),
        EffectKind::Send(Sent {
            to: 2,
            bytes: 13,
            head: Some(head),
            other: String::new(),
            state: Some(Place { index: 14, term: 15 }),
        }),
        EffectKind::Send(Sent { other: "Proposals".into(), ..Sent::default() }),
        EffectKind::ExecuteHere(16),
        EffectKind::ExecuteElsewhere(17),
        EffectKind::Apply(AppliedEntry { index: 18, ticket: Some(19), outcome: Some(outcome) }),
        EffectKind::Readable(ReadReleased { ticket: 20, index: 21 }),
        EffectKind::Answer(AnswerGiven { ticket: 22, unanswered: true, text: "Expired".into() }),
        EffectKind::Now(Now { role: 3, term: 23, leader: 1, committed: 24, applied: 25 }),
        EffectKind::End("removed".into()),
    ];
    kinds
        .into_iter()
        .map(|kind| Effect { kind: Some(kind) })
        .collect()
}

#[test]
fn effects_are_shown_in_words() {
    let shown: Vec<String> = effects()
        .iter()
        .map(|effect| match effect.outcome().as_str() {
            "" => effect.text(),
            outcome => format!("{}: {outcome}", effect.text()),
        })
        .collect();
    assert_eq!(
        shown,
        [
            "install snapshot 7/8",
            "persist entries 9..=18 of term 11, 12 bytes, hard state term 2 vote 1 commit 3, synced",
            "send to 2: MsgAppend term=1 log=2/3 commit=4 entries=5 reject=true, 13 bytes with \
             state 14/15",
            "send to 0: Proposals, 0 bytes",
            "execute 16 here",
            "execute 17 elsewhere",
            "apply 18 for request 19: v3 keys: done, revision -6, to be hashed",
            "read for request 20 at 21",
            "no reply for request 22: Expired",
            "now Leader of term 23, leader 1, committed 24, applied 25",
            "end: removed",
        ]
    );
}

fn parts() -> Vec<Part> {
    let entry = LogEntry { index: 1, term: 2, payload: "record".into() };
    let inputs = inputs().into_iter().map(|kind| Input { kind: Some(kind) });
    vec![
        Part::Head(Head {
            began_ns: 1_795_649_066_000_000_000,
            member: 0x474f_8fd6,
            version: "0.1.0".into(),
            values_in_clear: false,
        }),
        Part::Start(Start {
            config: "{}".into(),
            state: Some(state()),
            hard_state: Some("hard".into()),
            log: vec![entry],
        }),
        Part::Turn(Turn {
            number: 1,
            at_ns: 1_795_649_066_000_000_001,
            inputs: inputs.collect(),
            effects: effects(),
        }),
        Part::Gap(Gap { from: 2, to: 3 }),
        Part::Frozen(Frozen {
            config: "{}".into(),
            state: Some(state()),
            replica: "{}".into(),
            after: 3,
        }),
    ]
}

#[test]
fn the_format_is_that_of_earlier_releases() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/format.rec");
    let mut written = MAGIC.to_vec();
    for part in parts() {
        assert!(frame::put(&mut written, part, FRAME_BYTES_MAX));
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &written).unwrap();
    }
    let golden = fs::read(&path).unwrap();
    assert_eq!(golden, written, "UPDATE=1 cargo test -p witan-recorder");
    let mut rest = &golden[..];
    assert!(matches!(frame::take(&mut rest), Ok(Next::Begin)));
    for part in parts() {
        let Next::Part(read) = frame::take(&mut rest).unwrap() else {
            panic!("{part:?}")
        };
        assert_eq!(read, part);
    }
    assert!(matches!(frame::take(&mut rest), Ok(Next::End)));
}

#[test]
fn a_turn_that_is_noted_is_read_as_it_was() {
    let mut turn = NotedTurn::new(Hider::new(false));
    turn.next();
    // a message is encoded later and keeps its place
    let envelope = Envelope {
        to: MemberId(1),
        from: MemberId(2),
        lane: Lane::Control,
        message: "no message".into(),
        snapshot: None,
    };
    turn.receive(&envelope);
    inputs().into_iter().for_each(|kind| turn.input(kind));
    turn.receive(&envelope);
    effects()
        .into_iter()
        .flat_map(|it| it.kind)
        .for_each(|kind| turn.effect(kind));
    let received = Received { from: 2, to: 1, ..Received::default() };
    let mut expected = vec![InputKind::Receive(received.clone())];
    expected.extend(inputs());
    expected.push(InputKind::Receive(received));
    let expected = expected.into_iter().map(|kind| Input { kind: Some(kind) });
    let turn = turn.read().unwrap();
    assert_eq!((turn.number, turn.at_ns), (1, 0));
    assert_eq!(turn.inputs, expected.collect::<Vec<Input>>());
    assert_eq!(turn.effects, effects());
}

#[test]
fn a_command_is_noted_without_its_values_and_stays_as_it_was() {
    let hider = Hider::new(false);
    for command in commands() {
        let mut turn = NotedTurn::new(hider.clone());
        let mut entry = Entry::unstamped(command, None);
        let before = entry.clone();
        turn.propose(Ticket(7), Connection(1 << 64), 8, &mut entry);
        assert_eq!(entry, before);
        hider.hide(&mut entry);
        assert_ne!(entry, before);
        let connection = hider.hide_connection(Connection(1 << 64));
        let proposal = Proposal {
            ticket: 7,
            connection_high: 0,
            connection_low: connection.0 as u64,
            now_ns: 8,
            entry: entry.encode_to_vec().into(),
        };
        let kind = Some(InputKind::Propose(proposal));
        assert_eq!(turn.read().unwrap().inputs, [Input { kind }]);
    }
}

#[test]
fn a_turn_that_is_too_large_is_omitted() {
    let mut turn = NotedTurn::new(Hider::new(false));
    let large = Received {
        message: vec![0; FRAME_BYTES_MAX].into(),
        ..Received::default()
    };
    turn.input(InputKind::Receive(large));
    // nothing more is noted
    let bytes = turn.bytes();
    inputs().into_iter().for_each(|kind| turn.input(kind));
    effects()
        .into_iter()
        .flat_map(|it| it.kind)
        .for_each(|kind| turn.effect(kind));
    assert_eq!(turn.bytes(), bytes);
    assert!(turn.read().is_none());
    turn.next();
    assert!(turn.bytes() == 0 && turn.read().unwrap().inputs.is_empty());
}

//! Golden bytes of the format: later releases must read or refuse a file that this release has written.

use std::{fs, path::PathBuf};

use witan_machine::command::Entry;
use witan_replica::{message_head::MessageHead, wire};

use super::*;
use crate::format::{
    AnswerText, AppliedEntry, Compaction, Decision, Effect, EffectKind, Head, Input, InputKind,
    LeaseRequest, LogEntry, Now, Outcome, PeerReport, Persisted, Place, Proposal, Received, Record,
    ReleasedRead, Sent, Settings, Start, State, TransferRequest, Turn, Turned,
};
use crate::{encode, state};

fn state() -> State {
    let record = Record { key: b"k".to_vec(), value: b"v".to_vec() };
    State {
        records: vec![record],
        revision: 7,
        tree_index: 8,
        whole: true,
    }
}

fn settings() -> Settings {
    Settings {
        id: 1,
        election_ticks: 2,
        heartbeat_ticks: 3,
        election_ns: 4,
        seed: 5,
        pre_vote: true,
        compaction: Some(Compaction { period: 6, hour: 7, keep: 0, check_interval_ticks: 0 }),
        request_ticks: 8,
        copied: true,
        long_command_keys: 9,
        catch_up_entries: 10,
        lease_checkpoint_s: Some(11),
        level: 0,
        memory_bytes: 0,
    }
}

fn inputs() -> Vec<InputKind> {
    vec![
        InputKind::Tick(-1),
        InputKind::Clock(300),
        InputKind::Message(Received {
            from: 2,
            to: 1,
            message: "message".into(),
            snapshot: Some(state()),
        }),
        InputKind::Peer(PeerReport { member: 2, event: 3 }),
        InputKind::Durable(4),
        InputKind::Executed(5),
        InputKind::LogRoom(6),
        InputKind::Turned(Turned { monotonic_ns: 7, sync_ns: 8 }),
        InputKind::Rebuild(true),
        InputKind::Transfer(TransferRequest { ticket: 9, to: 2 }),
        InputKind::Propose(Proposal {
            ticket: 10,
            connection: 12,
            now_ns: 13,
            entry: "entry".into(),
        }),
        InputKind::Decide(Decision {
            ticket: 11,
            members: Some(state()),
            now_ns: 14,
            entry: "entry".into(),
        }),
        InputKind::Read(15),
        InputKind::Lease(LeaseRequest { ticket: 16, lease: -17, renews: true }),
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
        EffectKind::Readable(ReleasedRead { ticket: 20, index: 21 }),
        EffectKind::Answer(AnswerText { ticket: 22, text: "Decided(true)".into() }),
        EffectKind::Now(Now { role: 3, term: 23, leader: 1, committed: 24, applied: 25 }),
        EffectKind::End("removed".into()),
        EffectKind::CutLog(26),
        EffectKind::Dropped("from 2: the message does not decode".into()),
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
            "answer request 22: Decided(true)",
            "now Leader of term 23, leader 1, committed 24, applied 25",
            "end: removed",
            "cut the log below 26",
            "drop a message from 2: the message does not decode",
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
            settings: Some(settings()),
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
    ]
}

#[test]
fn the_format_is_that_of_earlier_releases() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/format.rec");
    let mut written = MAGIC.to_vec();
    for part in parts() {
        assert!(frame::put(&mut written, part));
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
        assert_eq!(*read, part);
    }
    assert!(matches!(frame::take(&mut rest), Ok(Next::End)));
}

#[test]
fn settings_are_restored() {
    let config = encode::restore_settings(&settings());
    assert_eq!(encode::store_settings(&config), settings());
    let revisions = Compaction { period: 0, hour: 0, keep: 6, check_interval_ticks: 7 };
    let settings = Settings {
        compaction: Some(revisions),
        level: 2,
        memory_bytes: 12,
        ..settings()
    };
    let config = encode::restore_settings(&settings);
    assert_eq!(encode::store_settings(&config), settings);
}

#[test]
fn inputs_are_restored() {
    let entry = || {
        Entry::unstamped(Command::PeerUrls(Default::default()), None)
            .encode_to_vec()
            .into()
    };
    let proposal = Proposal { ticket: 1, connection: 2, now_ns: 3, entry: entry() };
    let members = Some(state::store(&View::default()));
    let decision = Decision { ticket: 4, members, now_ns: 5, entry: entry() };
    let has_parts = |kind: &InputKind| {
        matches!(
            kind,
            InputKind::Message(_)
                | InputKind::Propose(_)
                | InputKind::Decide(_)
                | InputKind::Executed(_)
                | InputKind::Omitted(_)
        )
    };
    let whole = inputs().into_iter().filter(|kind| !has_parts(kind));
    let parts = [
        InputKind::Propose(proposal),
        InputKind::Decide(decision),
        InputKind::MemoryExhausted(true),
        InputKind::ValuesOnDisk(true),
    ];
    for kind in whole.chain(parts) {
        let restored = crate::input::restore(&kind).unwrap();
        let redaction = Redaction { values_in_clear: true };
        assert_eq!(crate::input::record(&restored, redaction), kind);
    }
}

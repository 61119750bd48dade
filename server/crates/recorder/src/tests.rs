//! A sole member, recorded and executed again; and files that were cut, altered, or have lost their start.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use witan_machine::{
    StateMachine,
    auth::{AuthOperation, Authenticate, UserAdd},
    command::{Command, Entry},
    kv::{Compare, CompareTarget, KvOperation, Put, TargetValue, Txn, TxnOp, TxnOpKind},
    member::{Member, MemberId},
    view::View,
};
use witan_replica::{
    host::{
        Applied, Connection, Envelope, Host, Lane, LeaseAnswer, LogBatch, Recovered, Ticket,
        Unanswered,
    },
    replica::{Config, genesis},
};
use witan_tree::{Set, TreeCommand, TreeOperation};

use crate::{
    RecordedReplica, Recording, Ring, RingSettings, Verdict,
    format::{self, Gap, MAGIC, Part},
    read,
    read::ReadError,
    replay::replay,
};

/// A value that nobody may read in a file.
const SECRET: &str = "a-secret-value-that-is-long";
/// The same of a password's hash.
const PASSWORD: &str = "$2a$10$hash-of-a-password";
/// The same of the random part of a token.
const TOKEN: &str = "random-part-of-a-token";

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("witan-recorder-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Self(folder)
    }

    fn ring(&self, bytes: u64, values: bool) -> Ring {
        let (folder, version) = (self.0.clone(), "test".into());
        Ring::open(RingSettings { folder, bytes, member: 1, version, values }).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn holds(&self, text: &str) -> bool {
        let bytes: Vec<u8> = self
            .files()
            .iter()
            .flat_map(|file| fs::read(file).unwrap())
            .collect();
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A host without a world.
struct Nowhere;

impl Host for Nowhere {
    fn install(&mut self, _: &View) {}
    fn persist(&mut self, _: &LogBatch) {}
    fn send(&mut self, _: Vec<Envelope>) {}
    fn discard(&mut self, _: StateMachine) {}
    fn applied(&mut self, _: Vec<Applied>, _: &View) {}
    fn readable(&mut self, _: &[Ticket], _: &View) {}
    fn unanswered(&mut self, _: &[(Ticket, Unanswered)]) {}
    fn lease_answered(&mut self, _: Ticket, _: LeaseAnswer) {}
}

fn started(sink: Ring) -> RecordedReplica {
    let config = Config {
        id: 1,
        election_ticks: 10,
        heartbeat_ticks: 1,
        election_ns: 1_000_000_000,
        seed: 7,
        pre_vote: true,
        compaction: None,
        request_ticks: 50,
    };
    let member = Member { id: 1, name: "m1".into(), ..Member::default() };
    let recovered = Recovered {
        checkpoint: Some(genesis(9, vec![member])),
        ..Recovered::default()
    };
    RecordedReplica::new(config, recovered, Some(Box::new(sink))).unwrap()
}

fn put(value: &str) -> Put {
    let (key, value) = ("key".into(), Bytes::from(value.to_owned()));
    Put { key, value, ..Put::default() }
}

/// Commands with the secret in each place where a value can be.
fn commands() -> Vec<Command> {
    let value = || Bytes::from(SECRET);
    let swap = Txn {
        compare: vec![Compare {
            target: CompareTarget::Value as i32,
            key: "key".into(),
            value: Some(TargetValue::Value(value())),
            ..Compare::default()
        }],
        success: vec![TxnOp { kind: Some(TxnOpKind::Put(put(&SECRET.repeat(2)))) }],
        failure: vec![TxnOp { kind: Some(TxnOpKind::Put(put(SECRET))) }; 2],
        ..Txn::default()
    };
    let set = Set { path: "/v2".into(), value: value(), ..Set::default() };
    let user = UserAdd {
        name: "user".into(),
        password: PASSWORD.into(),
        ..UserAdd::default()
    };
    let login = Authenticate { user: "user".into(), prefix: TOKEN.into() };
    vec![
        KvOperation::Put(put(SECRET)).into(),
        KvOperation::Txn(swap).into(),
        Command::Tree(TreeCommand { operation: Some(TreeOperation::Set(set)) }),
        AuthOperation::UserAdd(user).into(),
        AuthOperation::Authenticate(login).into(),
    ]
}

/// Runs a member for some turns, in which it executes the commands.
fn run(sink: Ring, turns: u64) {
    let mut replica = started(sink);
    let mut commands = commands().into_iter();
    for turn in 1..=turns {
        replica.advance_clock(turn * 100_000_000);
        if let Some(command) = commands.next() {
            let entry: Box<Entry> = Entry::unstamped(command, None);
            replica
                .propose(Ticket(2 * turn), Connection(1), 5, entry)
                .unwrap();
            replica.read(Ticket(2 * turn + 1)).unwrap();
        }
        replica.tick(5);
        replica.turn(&mut Nowhere).unwrap();
        replica.turned(turn * 100_000_000 + 1, 1000);
    }
}

fn only(path: &Path) -> Recording {
    let mut recordings = read(path).unwrap();
    assert_eq!(recordings.len(), 1);
    recordings.remove(0)
}

#[test]
fn a_recording_is_reproduced_without_its_values() {
    let folder = Folder::new("reproduced");
    run(folder.ring(8 << 20, false), 30);
    let mut applied = Vec::new();
    let replayed = replay(&only(&folder.0), &mut |turn| {
        let effects = turn.effects.iter();
        applied.extend(
            effects
                .map(|effect| effect.outcome.clone())
                .filter(|it| !it.is_empty()),
        );
    });
    assert_eq!(replayed.verdict, Verdict::Reproduced);
    assert_eq!(
        (replayed.read, replayed.equal, replayed.faults.len()),
        (30, 30, 0)
    );
    // the transaction found the value equal: its failure puts a key twice, which is refused
    let done = |kind: &str| applied.iter().filter(|it| it.starts_with(kind)).count();
    assert_eq!(
        (
            done("v3 keys: done"),
            done("v2 keys: done"),
            done("users: done")
        ),
        (2, 1, 1),
        "{applied:?}"
    );
    assert!(!folder.holds(SECRET) && !folder.holds(PASSWORD) && !folder.holds(TOKEN));
    assert!(folder.holds("key"));
}

#[test]
fn values_are_kept_if_asked_for_and_passwords_and_tokens_never() {
    let folder = Folder::new("values");
    run(folder.ring(8 << 20, true), 10);
    assert_eq!(
        replay(&only(&folder.0), &mut |_| {}).verdict,
        Verdict::Reproduced
    );
    assert!(folder.holds(SECRET) && !folder.holds(PASSWORD) && !folder.holds(TOKEN));
}

#[test]
fn a_file_that_was_cut_is_used_up_to_there() {
    let folder = Folder::new("cut");
    run(folder.ring(8 << 20, false), 30);
    let file = folder.files().remove(0);
    let whole = fs::read(&file).unwrap();
    let (mut before, mut cuts) = (0, 0);
    for length in (0..=whole.len()).step_by(97) {
        fs::write(&file, &whole[..length]).unwrap();
        let recordings = match read(&folder.0) {
            Ok(recordings) => recordings,
            Err(error) => {
                assert!(matches!(error, ReadError::Foreign(_)), "{error}");
                continue;
            }
        };
        let replayed = replay(&recordings[0], &mut |_| {});
        assert!(
            replayed.equal == replayed.read && replayed.read >= before,
            "{length}"
        );
        assert_eq!(replayed.faults.len(), 0);
        cuts += usize::from(replayed.cut.is_some());
        before = replayed.read;
    }
    assert!(before >= 28 && cuts > 10, "{before}, {cuts}");
}

#[test]
fn a_flipped_bit_is_found_and_what_is_before_is_used() {
    let folder = Folder::new("flipped");
    run(folder.ring(8 << 20, false), 30);
    let file = folder.files().remove(0);
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    fs::write(&file, bytes).unwrap();
    let replayed = replay(&only(&folder.0), &mut |_| {});
    assert!((1..30).contains(&replayed.equal), "{replayed:?}");
    let [fault] = &replayed.faults[..] else {
        panic!("{replayed:?}")
    };
    assert!(fault.contains("00000001.rec is damaged"), "{fault}");
}

#[test]
fn other_effects_are_found_at_their_turn() {
    let folder = Folder::new("other");
    run(folder.ring(8 << 20, false), 30);
    let file = folder.files().remove(0);
    let mut rest = Bytes::from(fs::read(&file).unwrap()).slice(MAGIC.len()..);
    let mut altered = MAGIC.to_vec();
    while let Some(part) = format::take(&mut rest) {
        let mut part = part.unwrap();
        if let Part::Turn(turn) = &mut part
            && turn.number == 3
        {
            turn.effects.pop();
        }
        assert!(format::put(&mut altered, part));
    }
    fs::write(&file, altered).unwrap();
    let replayed = replay(&only(&folder.0), &mut |_| {});
    let Verdict::Differs { turn: 3, expected, got, whole: true } = &replayed.verdict else {
        panic!("{replayed:?}")
    };
    assert_eq!(
        (expected.len() + 1, replayed.read, replayed.equal),
        (got.len(), 30, 2)
    );
}

#[test]
fn the_ring_is_bounded_and_shows_what_it_holds_without_the_start() {
    let folder = Folder::new("bounded");
    let bytes = 16 << 10;
    run(folder.ring(bytes, false), 3000);
    let files = folder.files();
    assert_eq!(files.len(), 8);
    let held: u64 = files
        .iter()
        .map(|file| fs::metadata(file).unwrap().len())
        .sum();
    // turns come to the thread in handfuls, each of which ends in one file
    assert!(held < 8 * bytes, "{held}");
    let replayed = replay(&only(&folder.0), &mut |turn| assert_eq!(turn.equal, None));
    let Verdict::Shown { why } = &replayed.verdict else {
        panic!("{replayed:?}")
    };
    assert!(
        why.contains("the start of the process is not in it"),
        "{why}"
    );
    assert!(replayed.read > 0 && replayed.equal == 0);
}

#[test]
fn each_process_has_a_recording_of_its_own() {
    let folder = Folder::new("processes");
    run(folder.ring(8 << 20, false), 10);
    run(folder.ring(8 << 20, false), 20);
    let recordings = read(&folder.0).unwrap();
    let turns = recordings.iter().map(|it| replay(it, &mut |_| {}).equal);
    assert_eq!(turns.collect::<Vec<_>>(), [10, 20]);
}

#[test]
fn turns_behind_a_gap_are_only_shown() {
    let folder = Folder::new("gap");
    run(folder.ring(8 << 20, false), 30);
    let file = folder.files().remove(0);
    let mut rest = Bytes::from(fs::read(&file).unwrap()).slice(MAGIC.len()..);
    let mut altered = MAGIC.to_vec();
    while let Some(part) = format::take(&mut rest) {
        let part = match part.unwrap() {
            Part::Turn(turn) if turn.number == 11 => Part::Gap(Gap { from: 11, to: 11 }),
            part @ (Part::Head(_) | Part::Start(_) | Part::Turn(_) | Part::Gap(_)) => part,
        };
        assert!(format::put(&mut altered, part));
    }
    fs::write(&file, altered).unwrap();
    let replayed = replay(&only(&folder.0), &mut |_| {});
    let Verdict::Shown { why } = &replayed.verdict else {
        panic!("{replayed:?}")
    };
    assert!(why.contains("turns 11 to 11 were left out"), "{why}");
    assert_eq!((replayed.read, replayed.equal), (29, 10));
}

#[test]
fn a_turn_that_the_queue_has_no_room_for_is_left_out() {
    let folder = Folder::new("full");
    let mut replica = started(folder.ring(8 << 20, false));
    replica.turn(&mut Nowhere).unwrap();
    replica.receive(Envelope {
        to: MemberId(1),
        from: MemberId(2),
        lane: Lane::Bulk,
        message: vec![0xff; 17 << 20].into(),
        snapshot: None,
    });
    replica.turn(&mut Nowhere).unwrap();
    drop(replica);
    let replayed = replay(&only(&folder.0), &mut |_| {});
    let Verdict::Shown { why } = &replayed.verdict else {
        panic!("{replayed:?}")
    };
    assert!(why.contains("turns 2 to 2 were left out"), "{why}");
    assert_eq!(replayed.equal, 1);
}

#[test]
fn what_is_no_recording_is_refused() {
    let folder = Folder::new("foreign");
    assert!(matches!(read(&folder.0), Err(ReadError::Io { .. })));
    fs::create_dir(&folder.0).unwrap();
    assert!(matches!(read(&folder.0), Err(ReadError::Empty(_))));
    fs::write(folder.0.join("00000009.rec"), "text").unwrap();
    assert!(matches!(read(&folder.0), Err(ReadError::Foreign(_))));
}

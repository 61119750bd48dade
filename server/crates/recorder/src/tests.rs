//! Records a sole member and replays the recording, including from files that were truncated or altered.

mod folder;
mod golden;

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use prost::Message as _;
use witan_machine::{
    StateMachine,
    auth::{AuthOperation, Authenticate, UserAdd},
    command::{Command, UnstampedEntry},
    kv::{Compare, CompareTarget, KvOperation, Put, TargetValue, Txn, TxnOp, TxnOpKind},
    levels,
    member::{Member, MemberId},
    view::View,
};
use witan_replica::{
    host::{Answer, Applied, Connection, Envelope, Host, Lane, LogBatch, Recovered, Ticket},
    input,
    replica::{Config, MessageFault, Tuning, genesis},
};
use witan_tree::{Create, Set, TreeOperation};

use crate::{
    RecordedReplica, Replayed, Ring, ShownTurn, Sink, Verdict,
    files::Files,
    format::{Gap, Head, Input, InputKind, MAGIC, Part, Start, Turn},
    frame::{self, Next},
    read::ReadError,
    redact::Redaction,
    replay::replay,
    state,
};

/// A value that must not be readable in a redacted file.
const SECRET: &str = "a-secret-value-that-is-long";
/// A password hash, which must not be readable.
const PASSWORD: &str = "$2a$10$hash-of-a-password";
/// The random part of a token. It must not be readable.
const TOKEN: &str = "random-part-of-a-token";
const CLUSTER: &str = "e77afb997af5a84983baa98fd42cf12f";

struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("witan-recorder-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Self(folder)
    }

    fn ring(&self, bytes: u64, values_in_clear: bool) -> Ring {
        let head = head(values_in_clear);
        Ring::open(self.0.clone(), bytes, head, Box::new(|| false)).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// Returns whether the concatenated files contain `text`.
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

fn head(values_in_clear: bool) -> Head {
    let version = "test".into();
    Head { member: 1, version, values_in_clear, ..Head::default() }
}

struct Nowhere;

impl Host for Nowhere {
    fn install(&mut self, _: &View) {}
    fn persist(&mut self, _: &LogBatch) {}
    fn send(&mut self, _: Vec<Envelope>) {}
    fn discard(&mut self, _: StateMachine) {}
    fn applied(&mut self, _: Vec<Applied>, _: &View) {}
    fn readable(&mut self, _: &[Ticket], _: &View) {}
    fn answered(&mut self, _: Vec<(Ticket, Answer)>) {}
    fn cut_log(&mut self, _: u64) {}
    fn message_dropped(&mut self, _: MemberId, _: MessageFault) {}
}

/// Starts a sole member that is recorded.
fn started(sink: impl Sink + 'static) -> RecordedReplica {
    let config = Config {
        id: 1,
        election_ticks: 10,
        heartbeat_ticks: 1,
        election_ns: 1_000_000_000,
        seed: 7,
        pre_vote: true,
        compaction: None,
        request_ticks: 50,
        copied: false,
        level: levels::OWN,
        tuning: Tuning::default(),
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

/// Returns commands with the secret wherever a command can contain a value.
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
    let register = Create {
        path: format!("/_etcd/registry/{CLUSTER}/1").into(),
        value: value(),
        ..Create::default()
    };
    let user = UserAdd {
        name: "user".into(),
        password: PASSWORD.into(),
        ..UserAdd::default()
    };
    let login = Authenticate { user: "user".into(), prefix: TOKEN.into() };
    vec![
        KvOperation::Put(put(SECRET)).into(),
        KvOperation::Txn(swap).into(),
        TreeOperation::Set(set).into(),
        TreeOperation::Create(register).into(),
        AuthOperation::UserAdd(user).into(),
        AuthOperation::Authenticate(login).into(),
    ]
}

/// Runs a member for some turns that execute the commands.
fn run(sink: impl Sink + 'static, turns: u64) {
    let mut replica = started(sink);
    (1..=turns).for_each(|turn| step(&mut replica, turn));
}

/// Runs a turn with a tick. If there is a command with the turn's number, first proposes it and requests a read.
fn step(replica: &mut RecordedReplica, turn: u64) {
    let monotonic_ns = turn * 100_000_000;
    replica.take(input::Input::Clock { monotonic_ns });
    if let Some(command) = commands().into_iter().nth(turn as usize - 1) {
        replica.take(input::Input::Propose {
            ticket: Ticket(2 * turn),
            connection: Connection(1),
            now_ns: 5,
            entry: UnstampedEntry::new(command, None),
        });
        let ticket = Ticket(2 * turn + 1);
        replica.take(input::Input::Read { ticket });
    }
    replica.take(input::Input::Tick { now_ns: 5 });
    replica.turn(&mut Nowhere).unwrap();
    replica.take(input::Input::Turned { monotonic_ns: monotonic_ns + 1, sync_ns: 1000 });
}

/// Replays a directory that contains one process's recording.
fn played(path: &Path, show: &mut dyn FnMut(&ShownTurn<'_>)) -> Replayed {
    let mut replayed = replay(path, levels::OWN, show).unwrap();
    assert_eq!(replayed.len(), 1);
    replayed.remove(0)
}

fn quietly(path: &Path) -> Replayed {
    played(path, &mut |_| {})
}

/// Returns the reason why the replay only showed the turns. Panics if the replay compared the turns.
fn why(replayed: &Replayed) -> &str {
    match &replayed.verdict {
        Verdict::Shown { why } => why,
        Verdict::Reproduced | Verdict::Differs { .. } => panic!("{replayed:?}"),
    }
}

/// Rewrites a file with changed parts.
fn alter(file: &Path, mut change: impl FnMut(Part) -> Part) {
    let bytes = fs::read(file).unwrap();
    let (mut rest, mut altered) = (&bytes[MAGIC.len()..], MAGIC.to_vec());
    while let Next::Part(part) = frame::take(&mut rest).unwrap() {
        assert!(frame::put(&mut altered, change(*part)));
    }
    fs::write(file, altered).unwrap();
}

#[test]
fn a_recording_is_reproduced_without_its_values() {
    let folder = Folder::new("reproduced");
    run(folder.ring(8 << 20, false), 30);
    let mut applied = Vec::new();
    let replayed = played(&folder.0, &mut |turn| {
        let effects = turn.effects.iter();
        applied.extend(
            effects
                .map(|effect| effect.outcome())
                .filter(|it| !it.is_empty()),
        );
    });
    assert_eq!(replayed.verdict, Verdict::Reproduced);
    assert_eq!(
        (replayed.read, replayed.equal, replayed.faults.len()),
        (30, 30, 0)
    );
    // The transaction's comparison succeeds. The failure branch puts a key twice, which is refused.
    let done = |kind: &str| applied.iter().filter(|it| it.starts_with(kind)).count();
    assert_eq!(
        (
            done("v3 keys: done"),
            done("v2 keys: done"),
            done("users: done")
        ),
        (2, 2, 1),
        "{applied:?}"
    );
    assert!(!folder.holds(SECRET) && !folder.holds(PASSWORD) && !folder.holds(TOKEN));
    assert!(!folder.holds(CLUSTER) && folder.holds("/_etcd/registry/"));
    assert!(folder.holds("key"));
}

#[test]
fn values_are_kept_on_request_but_passwords_and_tokens_never() {
    let folder = Folder::new("values");
    run(folder.ring(8 << 20, true), 10);
    assert_eq!(quietly(&folder.0).verdict, Verdict::Reproduced);
    assert!(folder.holds(SECRET) && !folder.holds(PASSWORD) && !folder.holds(TOKEN));
}

#[test]
fn a_truncated_file_is_replayed_up_to_its_end() {
    let folder = Folder::new("cut");
    run(folder.ring(8 << 20, false), 30);
    let file = folder.files().remove(0);
    let whole = fs::read(&file).unwrap();
    let (mut before, mut cuts) = (0, 0);
    for length in (0..=whole.len()).step_by(97) {
        fs::write(&file, &whole[..length]).unwrap();
        let replayed = match replay(&folder.0, levels::OWN, &mut |_| {}) {
            Ok(mut replayed) => replayed.remove(0),
            Err(error) => {
                assert!(matches!(error, ReadError::Foreign(_)), "{error}");
                continue;
            }
        };
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
fn a_file_is_replayed_up_to_a_flipped_bit() {
    let folder = Folder::new("flipped");
    run(folder.ring(8 << 20, false), 30);
    let file = folder.files().remove(0);
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    fs::write(&file, bytes).unwrap();
    let replayed = quietly(&folder.0);
    assert!((1..30).contains(&replayed.equal), "{replayed:?}");
    let [fault] = &replayed.faults[..] else {
        panic!("{replayed:?}")
    };
    assert!(fault.contains("00000001.rec is damaged"), "{fault}");
}

#[test]
fn different_effects_are_reported_with_their_turn() {
    let folder = Folder::new("other");
    run(folder.ring(8 << 20, false), 30);
    alter(&folder.files()[0], |mut part| {
        if let Part::Turn(turn) = &mut part
            && turn.number == 3
        {
            turn.effects.pop();
        }
        part
    });
    let replayed = quietly(&folder.0);
    let Verdict::Differs { turn: 3, expected, got, whole: false } = &replayed.verdict else {
        panic!("{replayed:?}")
    };
    assert_eq!(
        (expected.len() + 1, replayed.read, replayed.equal),
        (got.len(), 30, 2)
    );
}

#[test]
fn turns_after_a_gap_are_only_shown() {
    let folder = Folder::new("gap");
    run(folder.ring(8 << 20, false), 30);
    alter(&folder.files()[0], |part| match part {
        Part::Turn(turn) if turn.number == 11 => Part::Gap(Gap { from: 11, to: 11 }),
        part @ (Part::Head(_) | Part::Start(_) | Part::Turn(_) | Part::Gap(_)) => part,
    });
    let replayed = quietly(&folder.0);
    assert!(why(&replayed).contains("turns 11 to 11 were left out"));
    assert_eq!((replayed.read, replayed.equal), (29, 10));
}

#[test]
fn turns_out_of_order_are_only_shown() {
    for number in [4, 10] {
        let folder = Folder::new(&format!("order-{number}"));
        run(folder.ring(8 << 20, false), 30);
        alter(&folder.files()[0], |mut part| {
            if let Part::Turn(turn) = &mut part
                && turn.number == 11
            {
                turn.number = number;
            }
            part
        });
        let replayed = quietly(&folder.0);
        let why = why(&replayed);
        assert!(
            why.contains(&format!("turn {number} follows turn 10")),
            "{why}"
        );
        assert_eq!((replayed.read, replayed.equal), (30, 10));
    }
}

/// This release would execute the inputs by the rules of a lower level and report false differences.
#[test]
fn a_recording_of_a_later_level_is_only_shown() {
    for (level, equal) in [(levels::OWN, 30), (levels::OWN + 1, 0)] {
        let folder = Folder::new(&format!("level-{level}"));
        run(folder.ring(8 << 20, false), 30);
        alter(&folder.files()[0], |mut part| {
            if let Part::Start(Start { settings: Some(settings), .. }) = &mut part {
                settings.level = level;
            }
            part
        });
        let replayed = quietly(&folder.0);
        assert_eq!((replayed.read, replayed.equal), (30, equal));
        if equal == 0 {
            let expected = format!("is of feature level {level}, and this release has");
            let why = why(&replayed);
            assert!(
                why.contains(&expected) && why.contains("witan test"),
                "{why}"
            );
        }
    }
}

/// The replay applies entries by the rules of this level.
#[test]
fn a_recorded_state_has_the_level_of_its_cluster() {
    let mut view = genesis(9, vec![Member { id: 1, ..Member::default() }]);
    for level in [levels::FIRST, levels::OWN, levels::OWN + 1] {
        view.machine.members.raised_level = level;
        let restored = state::restore(&state::store(&view)).unwrap();
        assert_eq!(restored.machine.members.level(), level);
    }
}

#[test]
fn a_part_of_a_later_release_is_not_damage() {
    let folder = Folder::new("part");
    run(folder.ring(8 << 20, false), 30);
    let file = folder.files().remove(0);
    let mut bytes = fs::read(&file).unwrap();
    // An unknown field with the number 100.
    let payload = [0xa0, 0x06, 0x01];
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
    fs::write(&file, bytes).unwrap();
    let replayed = quietly(&folder.0);
    assert_eq!(replayed.equal, 30);
    let [fault] = &replayed.faults[..] else {
        panic!("{replayed:?}")
    };
    assert!(
        fault.contains("contains data written by a later release"),
        "{fault}"
    );
}

#[derive(Clone, PartialEq, prost::Message)]
struct ForwardedProposals {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    entries: Vec<Bytes>,
}

#[test]
fn only_the_size_of_a_turn_that_is_too_large_is_recorded() {
    let folder = Folder::new("full");
    let mut replica = started(folder.ring(8 << 20, false));
    replica.turn(&mut Nowhere).unwrap();
    let proposals = ForwardedProposals { entries: vec![vec![9; 17 << 20].into()] };
    replica.take(input::Input::Message(Envelope {
        to: MemberId(1),
        from: MemberId(2),
        lane: Lane::Bulk,
        message: [&[1], &proposals.encode_to_vec()[..]].concat().into(),
        snapshot: None,
    }));
    replica.turn(&mut Nowhere).unwrap();
    drop(replica);
    let replayed = quietly(&folder.0);
    assert!(why(&replayed).contains("were not kept"), "{replayed:?}");
    assert_eq!(replayed.equal, 1);
}

#[test]
fn many_restarts_do_not_remove_the_first_recording() {
    let folder = Folder::new("restarts");
    for _ in 0..20 {
        run(folder.ring(2 << 20, false), 3);
    }
    let replayed = replay(&folder.0, levels::OWN, &mut |_| {}).unwrap();
    assert!(replayed.iter().all(|it| it.equal == 3), "{replayed:?}");
    assert_eq!((replayed.len(), folder.files().len()), (20, 20));
    assert!(folder.files()[0].ends_with("00000001.rec"));
}

#[test]
fn a_ring_has_a_bounded_number_of_files() {
    let folder = Folder::new("many");
    for _ in 0..40 {
        run(folder.ring(1 << 20, false), 3);
    }
    // Each file is counted as 64 KiB, and the last one as a full file of 128 KiB.
    assert_eq!(folder.files().len(), 15);
    assert!(folder.files()[14].ends_with("00000040.rec"));
}

/// Returns a turn with `inputs` inputs.
fn turn(number: u64, inputs: usize) -> Turn {
    let input = Input { kind: Some(InputKind::Durable(number)) };
    Turn { number, inputs: vec![input; inputs], ..Turn::default() }
}

#[test]
fn files_keep_their_size_if_many_frames_are_queued() {
    let folder = Folder::new("together");
    let mut files = Files::open(folder.0.clone(), 256 << 10, head(false)).unwrap();
    let mut frames = Vec::new();
    (1..=6000).for_each(|number| turn(number, 1).append(&mut frames));
    let all = frames.len();
    files.write(&frames).unwrap();
    let sizes = folder
        .files()
        .into_iter()
        .map(|file| fs::metadata(file).unwrap().len());
    let sizes: Vec<u64> = sizes.collect();
    assert!(
        all > 100 << 10 && sizes.iter().all(|size| *size <= 32 << 10),
        "{all} {sizes:?}"
    );
    let replayed = quietly(&folder.0);
    assert_eq!((replayed.read, replayed.faults.len()), (6000, 0));
}

#[test]
fn the_directory_keeps_its_size_if_turns_are_larger_than_a_file() {
    const RING_BYTES: u64 = 256 << 10;
    let folder = Folder::new("large");
    let mut files = Files::open(folder.0.clone(), RING_BYTES, head(false)).unwrap();
    let mut largest = 0;
    for round in 0..40 {
        // Every third turn is larger than a file of 32 KiB.
        let inputs = if round % 3 == 0 { 12_000 } else { 1000 };
        let mut frames = Vec::new();
        turn(round + 1, inputs).append(&mut frames);
        largest = largest.max(frames.len());
        files.write(&frames).unwrap();
        let sizes = folder.files().into_iter();
        let sizes: Vec<u64> = sizes
            .map(|file| fs::metadata(file).unwrap().len())
            .collect();
        assert!(
            sizes.iter().sum::<u64>() <= RING_BYTES,
            "{round}: {sizes:?}"
        );
    }
    assert!(largest > 40 << 10, "{largest}");
}

#[test]
fn files_other_than_recordings_are_refused() {
    let folder = Folder::new("foreign");
    let read = |folder: &Folder| replay(&folder.0, levels::OWN, &mut |_| {});
    assert!(matches!(read(&folder), Err(ReadError::Io { .. })));
    fs::create_dir(&folder.0).unwrap();
    assert!(matches!(read(&folder), Err(ReadError::Empty(_))));
    fs::write(folder.0.join("00000009.rec"), "text").unwrap();
    assert!(matches!(read(&folder), Err(ReadError::Foreign(_))));
}

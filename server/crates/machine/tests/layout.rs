//! Checks that the layout of a state follows from the log. A member that starts from a checkpoint and applies the later entries
//! has the same records as a member that applied all entries.

use witan_machine::{
    alarm::{AlarmAction, AlarmCommand},
    auth::{AuthOperation, UserAdd},
    command::{Command, Entry, PublishAttributes, Stamp},
    kv::{Compact, DeleteRange, KvOperation, Put, ReadResults, Sweep},
    lease::{LeaseCheckpoint, LeaseGrant, LeaseOperation, LeaseRevoke, RemainingTtl},
    record::{CorruptRecord, RecordChange},
    values::test_support::records,
    view::{Position, View},
};
use witan_tree::{Delete, Set, TreeOperation};

/// Number of rounds. Two rounds compact, and their sweeps take several commands.
const ROUNDS: i64 = 145;

/// Number of rounds between compactions.
const ROUNDS_PER_COMPACTION: i64 = 70;

/// Length of a value that fills a block.
const LARGE_BYTES: usize = 28_000;

/// Number of v2 sets in a round. The sets of all rounds evict events from the history.
const SETS: i64 = 8;

/// Returns a put of one of 37 keys, whose value contains the lowest byte of `byte` `size` times.
fn put(key: i64, byte: i64, size: usize, lease: i64) -> Command {
    let value = vec![byte.to_le_bytes()[0]; size];
    KvOperation::Put(Put {
        key: format!("k{}", key % 37).into(),
        value: value.into(),
        lease,
        ..Put::default()
    })
    .into()
}

/// Returns the commands of a round. The command about a lease depends on earlier rounds.
fn round(round: i64) -> Vec<Command> {
    let lease: Command = match round % 4 {
        0 => LeaseOperation::Grant(LeaseGrant { id: round + 1, ttl_s: 60 }).into(),
        1 => put(round, round, 10, round),
        2 => LeaseOperation::Checkpoint(LeaseCheckpoint {
            remaining: vec![RemainingTtl { id: round - 1, seconds: 7 }],
        })
        .into(),
        _ => LeaseOperation::Revoke(LeaseRevoke { id: round - 2 }).into(),
    };
    let other: Command = match round % 5 {
        0 => Command::Alarm(AlarmCommand {
            action: AlarmAction::Activate as i32,
            member: round.cast_unsigned(),
            // An alarm of an unknown type blocks no command.
            kind: 3,
        }),
        1 => AuthOperation::UserAdd(UserAdd {
            name: format!("u{round}"),
            password: "hash".into(),
            no_password: false,
        })
        .into(),
        2 => Command::Publish(PublishAttributes { id: 7, ..PublishAttributes::default() }),
        3 => TreeOperation::Delete(Delete {
            path: format!("/d/{}", round % 13).into(),
            ..Delete::default()
        })
        .into(),
        _ => KvOperation::Sweep(Sweep {}).into(),
    };
    let key = format!("k{}", round * 7 % 37).into();
    let mut commands: Vec<Command> = vec![
        KvOperation::Delete(DeleteRange { key, ..DeleteRange::default() }).into(),
        lease,
        other,
    ];
    commands.extend((0..4).map(|at| put(round * 5 + at, round + at, LARGE_BYTES, 0)));
    commands.push(put(round * 5 + 4, round, 20, 0));
    commands.extend((0..SETS).map(|at| {
        TreeOperation::Set(Set {
            path: format!("/d/{}", (round + at) % 13).into(),
            value: format!("{round}").into(),
            ..Set::default()
        })
        .into()
    }));
    if round % ROUNDS_PER_COMPACTION == ROUNDS_PER_COMPACTION - 1 {
        commands.push(KvOperation::Compact(Compact { revision: round * 4 }).into());
    }
    commands
}

/// Applies a command as the entry at `index`, and drops the states that were saved for watchers.
fn apply(view: &mut View, index: u64, command: &Command, answers: ReadResults) {
    let entry = Entry {
        stamp: Some(Stamp { now_ns: 7, ..Stamp::default() }),
        command: Some(command.clone()),
        caller: None,
    };
    view.machine.apply_with(&entry, answers);
    view.machine.kv.clear_states_before_compaction();
    view.position.index = index;
}

fn restored(view: &View) -> View {
    let records = records(view).into_iter().map(Ok::<_, CorruptRecord>);
    View::restore(records).expect("the records are sound")
}

#[test]
fn a_restored_state_keeps_the_layout_while_it_applies_the_same_entries() {
    let mut whole = View::default();
    let mut copies: Vec<View> = Vec::new();
    let (mut swept, mut sweeps_before) = (0, false);
    for (index, command) in (1..).zip((0..ROUNDS).flat_map(round)) {
        apply(&mut whole, index, &command, ReadResults::Return);
        for copy in &mut copies {
            apply(copy, index, &command, ReadResults::Discard);
        }
        let sweeps = whole.machine.kv.is_sweeping();
        swept += usize::from(sweeps);
        if sweeps || index.is_multiple_of(500) {
            let expected = whole.full_fingerprint();
            for (at, copy) in copies.iter().enumerate() {
                assert_eq!(
                    copy.full_fingerprint(),
                    expected,
                    "copy {at}, entry {index}"
                );
            }
        }
        if (sweeps && !sweeps_before) || index.is_multiple_of(900) {
            copies.push(restored(&whole));
        }
        sweeps_before = sweeps;
    }
    assert!(swept > 4, "sweeps take several commands: {swept}");
    assert!(copies.len() > 2, "{} copies", copies.len());
    let last = records(&whole);
    assert!(copies.iter().all(|copy| records(copy) == last));
}

/// Lineages on disk are hashes of these bytes.
#[test]
fn the_full_encoding_has_every_record_with_its_lengths() {
    let mut view = View::default();
    for (index, command) in (1..).zip(round(0)) {
        apply(&mut view, index, &command, ReadResults::Return);
    }
    view.position.voters = vec![1, 2, 3];
    let mut expected = Vec::new();
    view.changes(None, &mut |change| match change {
        RecordChange::Put { key, value } => {
            for part in [key, value] {
                expected.extend_from_slice(&(part.len() as u64).to_be_bytes());
                expected.extend_from_slice(&part);
            }
        }
        RecordChange::Delete { key } => panic!("{key:?} was never written"),
    });
    let mut found = Vec::new();
    view.full_encoding(&mut |part| found.extend_from_slice(part));
    assert!(found == expected);
}

#[test]
fn the_full_fingerprint_ignores_only_the_order_of_members() {
    let of = |position: Position| View { position, ..View::default() }.full_fingerprint();
    let position = |voters: &[u64], learners: &[u64]| Position {
        index: 9,
        voters: voters.to_vec(),
        learners: learners.to_vec(),
        ..Position::default()
    };
    let first = of(position(&[1, 2, 3], &[4, 5]));
    assert_eq!(of(position(&[3, 1, 2], &[5, 4])), first);
    assert_ne!(of(position(&[1, 2], &[3, 4, 5])), first);
    assert_ne!(
        of(Position { index: 8, ..position(&[1, 2, 3], &[4, 5]) }),
        first
    );
    assert_ne!(
        of(Position { lineage: 7, ..position(&[1, 2, 3], &[4, 5]) }),
        first
    );
}

//! Creates corpus files in the core's formats: log entries, log files, checkpoints.

use bytes::Bytes;
use prost::Message;
use witan_fuzz::{
    input::push_chunk,
    targets::{Disk, checkpoint_input, log_file, sole_member},
};
use witan_machine::{
    StateMachine,
    command::{ClusterVersion, Command, Entry, PublishAttributes, Stamp, UnstampedEntry},
    kv,
    member::Member,
    view::View,
};
use witan_replica::{
    host::{Connection, Ticket},
    input::Input,
    replica::{Replica, genesis},
};

use super::Corpus;

/// Id of the member, as in the target.
const ID: u64 = 7;
const NOW_NS: i64 = 1_800_000_000_000_000_000;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str) -> kv::KvOperation {
    kv::KvOperation::Put(kv::Put {
        key: bytes(key),
        value: bytes(value),
        prev_kv: true,
        ..kv::Put::default()
    })
}

fn delete(key: &str, end: &str) -> kv::KvOperation {
    kv::KvOperation::Delete(kv::DeleteRange {
        key: bytes(key),
        range_end: bytes(end),
        prev_kv: true,
        bounded: false,
    })
}

fn op(verb: kv::KvOperation) -> kv::TxnOp {
    let kind = match verb {
        kv::KvOperation::Put(put) => kv::TxnOpKind::Put(put),
        kv::KvOperation::Delete(delete) => kv::TxnOpKind::Delete(delete),
        kv::KvOperation::Txn(txn) => kv::TxnOpKind::Txn(txn),
        kv::KvOperation::Compact(_) | kv::KvOperation::Sweep(_) => return kv::TxnOp { kind: None },
    };
    kv::TxnOp { kind: Some(kind) }
}

fn txn() -> kv::KvOperation {
    let compare = |target, value| kv::Compare {
        result: 0,
        target,
        key: bytes("a"),
        range_end: bytes("b"),
        value: Some(value),
    };
    let range = kv::Range {
        key: bytes("a"),
        range_end: bytes("\0"),
        limit: 2,
        sort_order: 2,
        sort_target: 3,
        ..kv::Range::default()
    };
    kv::KvOperation::Txn(kv::Txn {
        compare: vec![
            compare(0, kv::TargetValue::Version(1)),
            compare(3, kv::TargetValue::Value(bytes("one"))),
        ],
        success: vec![
            op(put("t", "s")),
            op(delete("a", "")),
            kv::TxnOp { kind: Some(kv::TxnOpKind::Range(range)) },
        ],
        failure: vec![op(kv::KvOperation::Txn(kv::Txn {
            success: vec![op(put("n", "f")), op(put("m", "f"))],
            ..kv::Txn::default()
        }))],
        ..kv::Txn::default()
    })
}

fn v3() -> Vec<Command> {
    let compact = |revision| kv::KvOperation::Compact(kv::Compact { revision });
    let verbs = [
        put("a", "one"),
        put("ab", "two"),
        put("a", "three"),
        txn(),
        delete("a", "b"),
        compact(4),
        put("a", "again"),
        txn(),
        compact(6),
        delete("x", "\0"),
    ];
    let command = |verb| Command::Kv(kv::KvCommand { operation: Some(verb) });
    verbs.into_iter().map(command).collect()
}

fn v2() -> Vec<Command> {
    let set = |path: &str, value: &str, ttl: Option<i64>| {
        witan_tree::TreeOperation::Set(witan_tree::Set {
            path: bytes(path),
            value: bytes(value),
            expires_ns: ttl.map(|seconds| NOW_NS + seconds * 1_000_000_000),
            ..witan_tree::Set::default()
        })
    };
    let create = |path: &str, dir, in_order| {
        witan_tree::TreeOperation::Create(witan_tree::Create {
            path: bytes(path),
            dir,
            in_order,
            ..witan_tree::Create::default()
        })
    };
    let swap = witan_tree::CompareAndSwap {
        path: bytes("/a/b"),
        value: bytes("swapped"),
        prev_value: Some(bytes("one")),
        ..witan_tree::CompareAndSwap::default()
    };
    let update = witan_tree::Update {
        path: bytes("/ttl"),
        value: bytes("u"),
        expires_ns: Some(NOW_NS + 5),
        refresh: true,
    };
    let delete_if = witan_tree::CompareAndDelete {
        path: bytes("/a/b"),
        prev_index: Some(3),
        ..witan_tree::CompareAndDelete::default()
    };
    let delete = witan_tree::Delete { path: bytes("/a"), dir: true, recursive: true };
    let verbs = [
        set("/a/b", "one", None),
        set("/_hidden", "h", None),
        set("/ttl", "t", Some(1)),
        create("/dir", true, false),
        create("/queue", false, true),
        create("/queue", false, true),
        witan_tree::TreeOperation::CompareAndSwap(swap),
        witan_tree::TreeOperation::Update(update),
        witan_tree::TreeOperation::CompareAndDelete(delete_if),
        witan_tree::TreeOperation::Expire(witan_tree::ExpireNodes {}),
        witan_tree::TreeOperation::Delete(delete),
        set("/last", "l", Some(100)),
    ];
    let command = |verb| Command::Tree(witan_tree::TreeCommand { operation: Some(verb) });
    verbs.into_iter().map(command).collect()
}

fn cluster() -> Vec<Command> {
    vec![
        Command::Publish(PublishAttributes {
            id: ID,
            name: "m1".into(),
            client_urls: vec!["http://127.0.0.1:2379".into()],
            store_id: 9,
            store_ancestors: vec![8],
        }),
        Command::ClusterVersion(ClusterVersion::of("3.6.0")),
    ]
}

fn stamped(command: Command, at: usize) -> Entry {
    let stamp = Stamp {
        now_ns: NOW_NS + i64::try_from(at).expect("few") * 1_000_000_000,
        member: ID,
        ticket: 1,
        incarnation: 1,
    };
    Entry { stamp: Some(stamp), command: Some(command), caller: None }
}

/// Returns the log of a single-member cluster after these commands, as an input of the target `log-entry`.
fn log_of(commands: &[Command]) -> Vec<u8> {
    let (config, start) = sole_member();
    let mut disk = Disk::default();
    let mut replica = Replica::new(config, start).expect("a fresh disk");
    replica.turn(&mut disk).expect("it goes on");
    for (at, command) in commands.iter().enumerate() {
        let stamp = stamped(command.clone(), at).stamp.unwrap_or_default();
        replica.take(Input::Propose {
            ticket: Ticket(at as u64),
            connection: Connection::default(),
            now_ns: stamp.now_ns,
            entry: UnstampedEntry::new(command.clone(), None),
        });
        replica.turn(&mut disk).expect("it goes on");
    }
    let mut out = Vec::new();
    push_chunk(&mut out, &disk.0.hard_state.unwrap_or_default());
    let mut term = 1;
    for record in &disk.0.records {
        push_chunk(&mut out, &record.payload);
        out.push(if record.term > term { 0x40 } else { 0 });
        term = record.term;
    }
    out
}

pub(super) fn add(corpus: &mut Corpus) {
    let all = [("v3", v3()), ("v2", v2()), ("cluster", cluster())];
    for (name, commands) in &all {
        let mut entries = Vec::new();
        let mut view = genesis(1, vec![Member { id: ID, ..Member::default() }]);
        for (at, command) in commands.iter().enumerate() {
            let entry = stamped(command.clone(), at);
            view.machine.apply(&entry);
            push_chunk(&mut entries, &entry.encode_to_vec());
            if at == commands.len() / 2 {
                let half = checkpoint_input(&view);
                corpus.insert(("checkpoint", format!("{name}-half")), half);
            }
        }
        corpus.insert(("apply", (*name).to_owned()), entries);
        corpus.insert(("checkpoint", (*name).to_owned()), checkpoint_input(&view));
        corpus.insert(("log-entry", (*name).to_owned()), log_of(commands));
    }
    corpus.insert(
        ("checkpoint", "empty".into()),
        checkpoint_input(&View::default()),
    );
    corpus.insert(("checkpoint", "blocks".into()), checkpoint_input(&blocks()));
    corpus.insert(("apply", "one-key".into()), one_key());
    corpus.insert(("log-entry", "none".into()), log_of(&[]));
    let records: [&[u8]; 3] = [b"", b"a footer only", &[7; 100]];
    for (name, records) in [
        ("none", &records[..0]),
        ("one", &records[1..2]),
        ("three", &records),
    ] {
        corpus.insert(("log-file", name.to_owned()), log_file(1, records));
        let mut built = vec![2, 1, 70, 0, 1];
        records
            .iter()
            .for_each(|record| push_chunk(&mut built, record));
        corpus.insert(("log-file", format!("{name}-damaged")), built);
    }
    let mut zeros = log_file(1, &records);
    zeros.extend_from_slice(&[0; 64]);
    corpus.insert(("log-file", "reserved-space".into()), zeros.clone());
    zeros.truncate(zeros.len() - 70);
    corpus.insert(("log-file", "torn".into()), zeros);
}

/// Returns a state with closed blocks, some of them compacted.
fn blocks() -> View {
    let mut machine = StateMachine::default();
    let value = "v".repeat(3000);
    for at in 0..24 {
        let command =
            Command::Kv(kv::KvCommand { operation: Some(put(["a", "b", "c"][at % 3], &value)) });
        machine.apply(&stamped(command, at));
    }
    let compact = kv::KvOperation::Compact(kv::Compact { revision: 20 });
    for verb in [compact, put("a", "end"), put("d", "end")] {
        let command = Command::Kv(kv::KvCommand { operation: Some(verb) });
        machine.apply(&stamped(command, 0));
    }
    View { machine, ..View::default() }
}

/// Returns an input in which one key has many versions with links far back.
fn one_key() -> Vec<u8> {
    let mut entries = Vec::new();
    for at in 0..40 {
        let command = Command::Kv(kv::KvCommand { operation: Some(put("k", &at.to_string())) });
        push_chunk(&mut entries, &stamped(command, at).encode_to_vec());
    }
    entries
}

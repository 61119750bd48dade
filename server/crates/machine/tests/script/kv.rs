//! The v3 key space in scripts.
//!
//! `put KEY VALUE [lease=N] [prev] [ignore_value] [ignore_lease]`, `del KEY [END] [prev]`,
//! `get KEY [END] [rev= limit= order= by= keys count min_mod= max_mod= min_create= max_create=]`,
//! `compact N`, `state`, and `txn` with indented lines `if TARGET KEY [END] OP VALUE`,
//! `then COMMAND`, `else COMMAND`, where the command may be a `txn` indented further.
//! `''` is the empty string, `\0` and `\xNN` are bytes.

use std::fmt::Write as _;

use bytes::Bytes;
use witan_machine::{
    Reply, StateMachine,
    auth::Caller,
    command::Entry,
    kv::{
        Compact, Compare, CompareResult, CompareTarget, DeleteRange, KeyValue, Kv, KvError,
        KvOperation, KvReply, OpReply, Put, Range, RangeReply, SortOrder, SortTarget, TargetValue,
        Txn, TxnOp, TxnOpKind, ValueSource,
    },
    lease::LeaseId,
    revision::Revision,
};

/// Executes a command and returns its output. Reads (`get` and `state`) ignore the caller. Panics for an unknown command.
pub(crate) fn run(machine: &mut StateMachine, command: &str, caller: Option<Caller>) -> String {
    let line = command.lines().next().unwrap();
    match line.split_whitespace().next().unwrap() {
        "get" => read(&machine.kv, line),
        "state" => format!(
            "rev={} compacted={} keys={}\n",
            machine.kv.revision(),
            machine.kv.compacted(),
            machine.kv.len()
        ),
        _ => {
            let command = Some(verb(command).into());
            let Reply::Kv(reply) = machine.apply(&Entry { stamp: None, command, caller }).reply
            else {
                panic!("the reply belongs to a command of the key space")
            };
            shown_reply(&reply, machine.kv.revision())
        }
    }
}

fn read(kv: &Kv, line: &str) -> String {
    match kv.range(&range(&words(line)), ValueSource::Disk) {
        Ok(reply) => shown_range(&reply, ""),
        Err(error) => shown_error(&error),
    }
}

/// Parses any command except a read.
fn verb(command: &str) -> KvOperation {
    let lines: Vec<&str> = command.lines().collect();
    if let ["compact", revision] = words(lines[0])[..] {
        let revision = revision.parse().unwrap();
        return KvOperation::Compact(Compact { revision });
    }
    match op(&lines).kind.unwrap() {
        TxnOpKind::Put(put) => KvOperation::Put(put),
        TxnOpKind::Delete(delete) => KvOperation::Delete(delete),
        TxnOpKind::Txn(txn) => KvOperation::Txn(txn),
        TxnOpKind::Range(_) => panic!("a get is not a write: {command:?}"),
    }
}

/// Prints a reply and the revision, or only the error.
fn shown_reply(reply: &Result<KvReply, KvError>, revision: Revision) -> String {
    match reply {
        Ok(reply) => {
            let mut out = match reply {
                KvReply::Op(reply) => shown(reply, ""),
                KvReply::Compact => "compacted\n".to_owned(),
            };
            writeln!(out, "rev={revision}").unwrap();
            out
        }
        Err(error) => shown_error(error),
    }
}

fn shown_error(error: &KvError) -> String {
    match error {
        KvError::Compacted { compacted } => format!("error: {error} ({compacted})\n"),
        KvError::FutureRevision { current } => format!("error: {error} ({current})\n"),
        KvError::KeyNotFound
        | KvError::LeaseNotFound
        | KvError::NoSpace
        | KvError::Corrupt
        | KvError::KeptValueGrew
        | KvError::ResponseTooLarge
        | KvError::NotResident => format!("error: {error}\n"),
        KvError::Denied(error) => format!("denied: {error}\n"),
    }
}

fn shown(reply: &OpReply, indent: &str) -> String {
    let mut out = String::new();
    match reply {
        OpReply::Put(put) => {
            writeln!(out, "{indent}ok").unwrap();
            put.prev_kv
                .iter()
                .for_each(|kv| writeln!(out, "{indent}  was {}", shown_kv(kv)).unwrap());
        }
        OpReply::Delete(delete) => {
            writeln!(out, "{indent}deleted {}", delete.deleted).unwrap();
            delete
                .prev_kvs
                .iter()
                .for_each(|kv| writeln!(out, "{indent}  was {}", shown_kv(kv)).unwrap());
        }
        OpReply::Range(reply) => out.push_str(&shown_range(reply, indent)),
        OpReply::Txn(txn) => {
            writeln!(
                out,
                "{indent}{}",
                if txn.succeeded { "success" } else { "failure" }
            )
            .unwrap();
            for (reply, revision) in &txn.replies {
                writeln!(out, "{indent}  @{revision}").unwrap();
                out.push_str(&shown(reply, &format!("{indent}    ")));
            }
        }
    }
    out
}

fn shown_range(reply: &RangeReply, indent: &str) -> String {
    let mut out = String::new();
    for kv in &reply.kvs {
        writeln!(out, "{indent}{}", shown_kv(kv)).unwrap();
    }
    writeln!(
        out,
        "{indent}count={}{}",
        reply.count,
        if reply.more { " more" } else { "" }
    )
    .unwrap();
    out
}

fn shown_kv(kv: &KeyValue) -> String {
    let mut out = format!(
        "{} = {} create={} mod={} version={}",
        shown_bytes(&kv.key),
        shown_bytes(&kv.value),
        kv.create_revision,
        kv.mod_revision,
        kv.version
    );
    if kv.lease != LeaseId::NONE {
        write!(out, " lease={}", kv.lease.0).unwrap();
    }
    out
}

fn shown_bytes(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        "''".to_owned()
    } else {
        bytes.escape_ascii().to_string()
    }
}

/// Decodes the escapes in a word. `''` is the empty string. Panics for an unknown escape.
fn bytes(word: &str) -> Bytes {
    if word == "''" {
        return Bytes::new();
    }
    let mut out = Vec::new();
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('0') => out.push(0),
                Some('x') => {
                    let digits: String = chars.by_ref().take(2).collect();
                    out.push(u8::from_str_radix(&digits, 16).unwrap());
                }
                other => panic!("unknown escape {other:?} in {word:?}"),
            },
            c => out.extend(c.to_string().bytes()),
        }
    }
    Bytes::from(out)
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Splits the words after the first into positional words and options: flags and `name=value` words whose name is in `flags`.
fn parts<'a>(words: &[&'a str], flags: &[&str]) -> (Vec<&'a str>, Vec<(&'a str, &'a str)>) {
    let mut positional = Vec::new();
    let mut options = Vec::new();
    for word in &words[1..] {
        match word.split_once('=') {
            Some((name, value)) if flags.contains(&name) => options.push((name, value)),
            _ if flags.contains(word) => options.push((*word, "")),
            _ => positional.push(*word),
        }
    }
    (positional, options)
}

/// Parses the words of a `get`. Panics for a third positional word.
fn range(words: &[&str]) -> Range {
    let names = [
        "rev",
        "limit",
        "order",
        "by",
        "keys",
        "count",
        "min_mod",
        "max_mod",
        "min_create",
        "max_create",
    ];
    let (positional, options) = parts(words, &names);
    let mut range = Range { key: bytes(positional[0]), ..Range::default() };
    range.range_end = positional.get(1).map(|end| bytes(end)).unwrap_or_default();
    assert!(positional.len() < 3, "{words:?}");
    for (name, value) in options {
        match name {
            "rev" => range.revision = value.parse().unwrap(),
            "limit" => range.limit = value.parse().unwrap(),
            "order" => range.sort_order = order(value) as i32,
            "by" => range.sort_target = by(value) as i32,
            "keys" => range.keys_only = true,
            "count" => range.count_only = true,
            "min_mod" => range.min_mod_revision = value.parse().unwrap(),
            "max_mod" => range.max_mod_revision = value.parse().unwrap(),
            "min_create" => range.min_create_revision = value.parse().unwrap(),
            "max_create" => range.max_create_revision = value.parse().unwrap(),
            other => unreachable!("{other}"),
        }
    }
    range
}

fn order(word: &str) -> SortOrder {
    match word {
        "none" => SortOrder::None,
        "ascend" => SortOrder::Ascend,
        "descend" => SortOrder::Descend,
        other => panic!("unknown order {other:?}"),
    }
}

fn by(word: &str) -> SortTarget {
    match word {
        "key" => SortTarget::Key,
        "version" => SortTarget::Version,
        "create" => SortTarget::Create,
        "mod" => SortTarget::Mod,
        "value" => SortTarget::Value,
        other => panic!("unknown sort target {other:?}"),
    }
}

/// Parses one operation from its first line. A transaction also includes the lines below.
fn op(lines: &[&str]) -> TxnOp {
    let words = words(lines[0]);
    let kind = match words[0] {
        "put" => TxnOpKind::Put(put(&words)),
        "del" => {
            let (positional, options) = parts(&words, &["prev"]);
            TxnOpKind::Delete(DeleteRange {
                key: bytes(positional[0]),
                range_end: positional.get(1).map(|end| bytes(end)).unwrap_or_default(),
                prev_kv: !options.is_empty(),
                bounded: true,
            })
        }
        "get" => TxnOpKind::Range(range(&words)),
        "txn" => TxnOpKind::Txn(txn(&lines[1..])),
        other => panic!("unknown command {other:?}"),
    };
    TxnOp { kind: Some(kind) }
}

/// Parses the words of a `put`. Without a value, the value is empty.
fn put(words: &[&str]) -> Put {
    let (positional, options) = parts(words, &["lease", "prev", "ignore_value", "ignore_lease"]);
    let mut put = Put { key: bytes(positional[0]), ..Put::default() };
    put.value = positional
        .get(1)
        .map(|value| bytes(value))
        .unwrap_or_default();
    for (name, value) in options {
        match name {
            "lease" => put.lease = value.parse().unwrap(),
            "prev" => put.prev_kv = true,
            "ignore_value" => put.ignore_value = true,
            "ignore_lease" => put.ignore_lease = true,
            other => unreachable!("{other}"),
        }
    }
    put
}

/// Parses the lines below `txn`: comparisons and operations, each with the lines that are indented further.
fn txn(lines: &[&str]) -> Txn {
    let mut txn = Txn::default();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut rest = lines;
    while let Some(first) = rest.first() {
        let below = rest[1..]
            .iter()
            .take_while(|line| indent(line) > indent(first))
            .count();
        let (mine, others) = rest.split_at(1 + below);
        rest = others;
        let (word, command) = first.trim_start().split_once(' ').unwrap();
        let command: Vec<&str> = [command]
            .into_iter()
            .chain(mine[1..].iter().copied())
            .collect();
        match word {
            "if" => txn.compare.push(compare(command[0])),
            "then" => txn.success.push(op(&command)),
            "else" => txn.failure.push(op(&command)),
            other => panic!("unknown part of a transaction: {other:?}"),
        }
    }
    txn
}

/// Parses `TARGET KEY [END] OP VALUE`. Panics if the line is invalid.
fn compare(line: &str) -> Compare {
    let words = words(line);
    let (range_end, op, value) = match words[..] {
        [_, _, op, value] => (Bytes::new(), op, value),
        [_, _, end, op, value] => (bytes(end), op, value),
        _ => panic!("invalid comparison: {line:?}"),
    };
    let number = || value.parse::<i64>().unwrap();
    let (target, value) = match words[0] {
        "version" => (CompareTarget::Version, TargetValue::Version(number())),
        "create" => (CompareTarget::Create, TargetValue::Create(number())),
        "mod" => (CompareTarget::Mod, TargetValue::Mod(number())),
        "value" => (CompareTarget::Value, TargetValue::Value(bytes(value))),
        "lease" => (CompareTarget::Lease, TargetValue::Lease(number())),
        other => panic!("unknown target {other:?}"),
    };
    let result = match op {
        "=" => CompareResult::Equal,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        "!=" => CompareResult::NotEqual,
        other => panic!("unknown relation {other:?}"),
    };
    Compare {
        result: result as i32,
        target: target as i32,
        key: bytes(words[1]),
        range_end,
        value: Some(value),
    }
}

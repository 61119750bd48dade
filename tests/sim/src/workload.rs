//! The requests of clients: v3 and v2 writes on few keys, so that they conflict, and linearizable reads.
//!
//! Every value names the operation that wrote it, so that a reader can identify the write.

use bytes::Bytes;
use witan_machine::{
    Outcome, Reply,
    alarm::{AlarmAction, AlarmCommand, AlarmType},
    command::{ClusterVersion, Command, PublishAttributes},
    kv::{self, OpReply},
    lease::{self, LeaseId},
};

use crate::{
    oracle::{Ask, Floor},
    rng::Rng,
};

/// Number of v3 keys.
const KEYS: usize = 6;
/// Longest v2 TTL in virtual nanoseconds.
const TTL_NS_MAX: u64 = 8_000_000_000;
/// Longest TTL of a lease in seconds.
const LEASE_S_MAX: u64 = 12;
/// Lengths of padded values in bytes. Some values fill a block and several pieces of a snapshot.
const LARGE_BYTES: [usize; 8] = [300, 700, 700, 700, 700, 5_000, 5_000, 40_000];

/// Lengths in bytes of values that commands read while they are applied. A few of them fill a block.
const READ_VALUE_BYTES: [usize; 4] = [200, 1_000, 4_000, 12_000];

/// A linearizable read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// A v3 key.
    pub(crate) key: Bytes,
}

/// The shares of kinds of requests in a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    /// Percentage of requests about leases and their keys, in addition to those in every run.
    pub(crate) leases_percent: u64,
    /// Percentage of requests that keep a lease alive.
    pub(crate) keep_alive_percent: u64,
    /// Shortest TTL of a lease in seconds.
    pub(crate) lease_s_min: u64,
    /// Percentage of requests that read values while they are applied.
    pub(crate) values_percent: u64,
}

/// The information that a client has when it sends a request.
#[derive(Debug)]
pub(crate) struct Hint<'a> {
    /// The operation number.
    pub(crate) id: u64,
    /// The client's time as Unix time in nanoseconds.
    pub(crate) now_ns: i64,
    pub(crate) floor: &'a Floor,
    pub(crate) mix: Mix,
}

/// Draws the next request of a client to `member`.
pub(crate) fn draw(rng: &mut Rng, member: u64, hint: &Hint<'_>) -> Ask {
    let Hint { id, floor, mix, .. } = *hint;
    if mix.values_percent > 0 && rng.chance(mix.values_percent) {
        return Ask::Write(valued(rng, id));
    }
    if rng.chance(mix.leases_percent) {
        return Ask::Write(leased(rng, hint));
    }
    let command = match rng.range(0, 99) {
        0..=27 => return Ask::Read(Read { key: key(rng) }),
        28..=49 => put(rng, hint).into(),
        50..=56 => delete(rng).into(),
        57..=66 => txn(rng, hint).into(),
        67..=68 => compact(rng, floor).into(),
        69..=73 => leased(rng, hint),
        74..=97 => verb(rng, hint).into(),
        98 => about_alarms(rng, member),
        _ => about_members(rng, member, id),
    };
    Ask::Write(command)
}

/// Draws a lease to renew now, or `None` in most cases.
pub(crate) fn keep_alive(rng: &mut Rng, floor: &Floor, mix: Mix) -> Option<LeaseId> {
    let any = !floor.leases.is_empty() && rng.chance(mix.keep_alive_percent);
    any.then(|| *rng.pick(&floor.leases))
}

pub(crate) fn clear_remaining_ttl(lease: LeaseId) -> Command {
    let remaining = vec![lease::RemainingTtl { id: lease.0, seconds: 0 }];
    lease::LeaseCheckpoint { remaining }.into()
}

/// Returns the lease that an answered operation has granted, if any.
pub(crate) fn granted(ask: &Ask, outcome: &Outcome) -> Option<LeaseId> {
    match (ask, &outcome.reply) {
        (Ask::Write(Command::Lease(command)), Reply::Lease(Ok(lease::LeaseReply::Granted(_)))) => {
            match &command.operation {
                Some(lease::LeaseOperation::Grant(grant)) => Some(grant.lease_id()),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Draws a grant of a new lease, a write of keys attached to a lease, or a revocation. Clients never read keys with a lease; a
/// separate invariant checks them.
fn leased(rng: &mut Rng, hint: &Hint<'_>) -> Command {
    let known = &hint.floor.leases;
    match rng.range(0, 99) {
        0..=34 => lease::LeaseGrant {
            id: hint.id as i64 + 1,
            ttl_s: rng.range(hint.mix.lease_s_min, LEASE_S_MAX) as i64,
        }
        .into(),
        35..=89 if !known.is_empty() => kv::Put {
            key: Bytes::from(format!("l{}", rng.below(KEYS))),
            value: Bytes::from(format!("op{} ", hint.id)),
            lease: rng.pick(known).0,
            ..kv::Put::default()
        }
        .into(),
        90..=99 if !known.is_empty() => lease::LeaseRevoke { id: rng.pick(known).0 }.into(),
        _ => delete(rng).into(),
    }
}

/// Draws a command that keeps, compares or returns a value while it is applied, or a command that writes a value for such
/// commands. Clients never read keys with these values, but all members must have the same ones.
fn valued(rng: &mut Rng, id: u64) -> Command {
    let key = Bytes::from(format!("v{}", rng.below(KEYS)));
    match rng.range(0, 99) {
        0..=39 => large_put(rng, key, id).into(),
        40..=64 => kv::Put {
            key,
            prev_kv: rng.chance(50),
            ignore_value: true,
            ..kv::Put::default()
        }
        .into(),
        65..=89 => compare_value(rng, key, id).into(),
        _ => kv::DeleteRange { key, range_end: Bytes::new(), prev_kv: true, bounded: true }.into(),
    }
}

/// Draws a put of a value with one of [`READ_VALUE_BYTES`] lengths.
fn large_put(rng: &mut Rng, key: Bytes, id: u64) -> kv::Put {
    let length = *rng.pick(&READ_VALUE_BYTES);
    let mut value = format!("op{id} ");
    value.extend(std::iter::repeat_n('.', length));
    kv::Put {
        key,
        value: Bytes::from(value),
        prev_kv: rng.chance(30),
        ..kv::Put::default()
    }
}

/// Draws a transaction that compares the value of `key` with the beginning of an earlier operation's value.
fn compare_value(rng: &mut Rng, key: Bytes, id: u64) -> kv::Txn {
    let results = [
        kv::CompareResult::Greater,
        kv::CompareResult::Less,
        kv::CompareResult::NotEqual,
    ];
    let other = Bytes::from(format!("op{} ", rng.range(0, id)));
    let compare = kv::Compare {
        result: *rng.pick(&results) as i32,
        target: kv::CompareTarget::Value as i32,
        key: key.clone(),
        range_end: Bytes::new(),
        value: Some(kv::TargetValue::Value(other)),
    };
    let op = |kind| kv::TxnOp { kind: Some(kind) };
    let range = kv::Range { key: key.clone(), ..kv::Range::default() };
    kv::Txn {
        compare: vec![compare],
        success: vec![op(kv::TxnOpKind::Put(large_put(rng, key, id)))],
        failure: vec![op(kv::TxnOpKind::Range(range))],
        bounded: true,
    }
}

fn key(rng: &mut Rng) -> Bytes {
    Bytes::from(format!("k{}", rng.below(KEYS)))
}

fn value(rng: &mut Rng, id: u64) -> Bytes {
    let mut value = format!("op{id} ");
    if rng.chance(4) {
        let length = *rng.pick(&LARGE_BYTES);
        value.extend(std::iter::repeat_n('.', length));
    }
    Bytes::from(value)
}

/// Returns the number of the operation that wrote `value`, or `None` if no operation of a client did.
pub(crate) fn writer(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    text.strip_prefix("op")?.split_once(' ')?.0.parse().ok()
}

fn put(rng: &mut Rng, hint: &Hint<'_>) -> kv::Put {
    kv::Put {
        key: key(rng),
        value: value(rng, hint.id),
        prev_kv: rng.chance(20),
        ..kv::Put::default()
    }
}

fn delete(rng: &mut Rng) -> kv::DeleteRange {
    let from = key(rng);
    let range_end = match rng.range(0, 3) {
        0 => key(rng),
        1 => Bytes::from_static(b"\0"),
        _ => Bytes::new(),
    };
    kv::DeleteRange { key: from, range_end, prev_kv: rng.chance(30), bounded: true }
}

/// Draws a transaction that puts a key if a comparison of its mod revision holds, and otherwise reads the key.
fn txn(rng: &mut Rng, hint: &Hint<'_>) -> kv::Txn {
    let target = key(rng);
    let seen = hint
        .floor
        .keys
        .get(target.as_ref())
        .copied()
        .unwrap_or_default();
    let wanted = if rng.chance(70) { seen.0 } else { 0 };
    let compare = kv::Compare {
        result: if rng.chance(80) {
            kv::CompareResult::Equal
        } else {
            kv::CompareResult::Less
        } as i32,
        target: kv::CompareTarget::Mod as i32,
        key: target.clone(),
        range_end: Bytes::new(),
        value: Some(kv::TargetValue::Mod(wanted)),
    };
    let op = |kind| kv::TxnOp { kind: Some(kind) };
    let range = kv::Range { key: target.clone(), ..kv::Range::default() };
    let mut success = vec![op(kv::TxnOpKind::Put(kv::Put {
        key: target,
        ..put(rng, hint)
    }))];
    if rng.chance(30) {
        success.push(op(kv::TxnOpKind::Range(range.clone())));
    }
    kv::Txn {
        compare: vec![compare],
        success,
        failure: vec![op(kv::TxnOpKind::Range(range))],
        bounded: true,
    }
}

fn compact(rng: &mut Rng, floor: &Floor) -> kv::Compact {
    let back = rng.range(0, 20) as i64;
    kv::Compact { revision: (floor.revision.0 - back).max(1) }
}

fn path(rng: &mut Rng) -> Bytes {
    const PATHS: [&str; 8] = [
        "/a", "/b", "/d/a", "/d/b", "/d/e/a", "/d/_h", "/q/x", "/d/e",
    ];
    Bytes::from_static(rng.pick(&PATHS).as_bytes())
}

/// Draws the Unix time in nanoseconds at which a v2 node expires, or `None`.
fn expires(rng: &mut Rng, now_ns: i64) -> Option<i64> {
    rng.chance(25)
        .then(|| now_ns + rng.range(1, TTL_NS_MAX) as i64)
}

/// Draws a v2 operation.
fn verb(rng: &mut Rng, hint: &Hint<'_>) -> witan_tree::TreeOperation {
    let Hint { id, now_ns, floor, .. } = hint;
    let prev_index = floor.tree_index.saturating_sub(rng.range(0, 4)).max(1);
    let path = path(rng);
    let expires_ns = expires(rng, *now_ns);
    match rng.range(0, 99) {
        0..=34 => {
            let dir = rng.chance(10);
            let value = if dir { Bytes::new() } else { value(rng, *id) };
            witan_tree::TreeOperation::Set(witan_tree::Set {
                path,
                value,
                dir,
                expires_ns,
                refresh: false,
            })
        }
        35..=49 => witan_tree::TreeOperation::Create(witan_tree::Create {
            path,
            value: value(rng, *id),
            dir: false,
            expires_ns,
            in_order: false,
        }),
        50..=64 => witan_tree::TreeOperation::Create(witan_tree::Create {
            path: Bytes::from_static(b"/q"),
            value: value(rng, *id),
            dir: false,
            expires_ns,
            in_order: true,
        }),
        65..=74 => witan_tree::TreeOperation::Update(witan_tree::Update {
            path,
            value: value(rng, *id),
            expires_ns,
            refresh: rng.chance(20),
        }),
        75..=84 => witan_tree::TreeOperation::CompareAndSwap(witan_tree::CompareAndSwap {
            path,
            value: value(rng, *id),
            expires_ns,
            refresh: false,
            prev_value: None,
            prev_index: Some(prev_index),
        }),
        85..=89 => witan_tree::TreeOperation::CompareAndDelete(witan_tree::CompareAndDelete {
            path,
            prev_value: None,
            prev_index: Some(prev_index),
        }),
        _ => {
            let recursive = rng.chance(40);
            witan_tree::TreeOperation::Delete(witan_tree::Delete {
                path,
                dir: recursive || rng.chance(30),
                recursive,
            })
        }
    }
}

/// Draws a command that raises an alarm or, more often, disarms one, so that writes are refused only for a while.
fn about_alarms(rng: &mut Rng, member: u64) -> Command {
    let action = match rng.range(0, 3) {
        0 => AlarmAction::Activate,
        _ => AlarmAction::Deactivate,
    };
    Command::Alarm(AlarmCommand {
        action: action as i32,
        member,
        kind: AlarmType::NoSpace as i32,
    })
}

/// Draws a command that publishes a member's attributes or sets the cluster version.
fn about_members(rng: &mut Rng, member: u64, id: u64) -> Command {
    if rng.chance(70) {
        Command::Publish(PublishAttributes {
            id: member,
            name: format!("m{member}"),
            client_urls: vec![format!("http://m{member}:{id}")],
            store_id: member,
            store_ancestors: Vec::new(),
        })
    } else {
        Command::ClusterVersion(ClusterVersion::of(format!("3.{}.0", id % 7)))
    }
}

/// Returns the v3 keys that an answered command put or deleted by name, at the outcome's revision. Omits range deletions,
/// because the keys are used only as a floor, which may be too low.
pub(crate) fn keys_written(command: &Command, outcome: &Outcome) -> Vec<Vec<u8>> {
    match effect(command, outcome) {
        Effect::Put { key, .. } => vec![key.to_vec()],
        Effect::Gone { key, range_end } if range_end.is_empty() => vec![key.to_vec()],
        Effect::Gone { .. } | Effect::Event(_) | Effect::Nothing | Effect::Mismatch => Vec::new(),
    }
}

/// The effect that the answer to a command promises.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect<'a> {
    /// The key has this value at the outcome's revision.
    Put { key: &'a Bytes, value: &'a Bytes },
    /// The range is empty at the outcome's revision.
    Gone {
        key: &'a Bytes,
        range_end: &'a Bytes,
    },
    /// The event is in the v2 history.
    Event(&'a witan_tree::Event),
    /// There is no lasting visible effect.
    Nothing,
    /// The answer does not match the command.
    Mismatch,
}

/// Returns the effect that `outcome` promises to the sender of `command`.
pub(crate) fn effect<'a>(command: &'a Command, outcome: &'a Outcome) -> Effect<'a> {
    match (command, &outcome.reply) {
        (Command::Kv(kv::KvCommand { operation: Some(verb) }), Reply::Kv(reply)) => {
            v3_effect(verb, reply)
        }
        (Command::Tree(_), Reply::Tree(Ok(witan_tree::TreeReply::Event(event)))) => {
            Effect::Event(event)
        }
        (Command::Tree(_), Reply::Tree(Err(_)))
        | (Command::Publish(_), Reply::Published)
        | (Command::ClusterVersion(_), Reply::ClusterVersionSet)
        | (Command::Downgrade(_), Reply::DowngradeSet)
        | (Command::PeerUrls(_) | Command::Members(_), Reply::MembershipChanged(_))
        | (Command::Alarm(_), Reply::Alarm(_))
        | (Command::Lease(_), Reply::Lease(_))
        | (Command::Auth(_), Reply::Auth(_))
        | (Command::Follow(_), Reply::Followed(_)) => Effect::Nothing,
        _ => Effect::Mismatch,
    }
}

/// Returns the effect of a v3 command. Of a successful transaction, only the first put has an effect.
fn v3_effect<'a>(
    verb: &'a kv::KvOperation,
    reply: &'a Result<kv::KvReply, kv::KvError>,
) -> Effect<'a> {
    let reply = match (verb, reply) {
        (_, Err(_)) | (kv::KvOperation::Compact(_), Ok(kv::KvReply::Compact)) => {
            return Effect::Nothing;
        }
        (_, Ok(kv::KvReply::Compact)) => return Effect::Mismatch,
        (_, Ok(kv::KvReply::Op(reply))) => reply,
    };
    match (verb, reply) {
        // The client does not know the value that it keeps.
        (kv::KvOperation::Put(put), OpReply::Put(_)) if put.ignore_value => Effect::Nothing,
        (kv::KvOperation::Put(put), OpReply::Put(_)) => {
            Effect::Put { key: &put.key, value: &put.value }
        }
        (kv::KvOperation::Delete(range), OpReply::Delete(done)) if done.deleted > 0 => {
            Effect::Gone { key: &range.key, range_end: &range.range_end }
        }
        (kv::KvOperation::Delete(_), OpReply::Delete(_)) => Effect::Nothing,
        (kv::KvOperation::Txn(txn), OpReply::Txn(done)) if done.succeeded => txn
            .success
            .iter()
            .find_map(|op| match &op.kind {
                Some(kv::TxnOpKind::Put(put)) => {
                    Some(Effect::Put { key: &put.key, value: &put.value })
                }
                Some(
                    kv::TxnOpKind::Range(_) | kv::TxnOpKind::Delete(_) | kv::TxnOpKind::Txn(_),
                )
                | None => None,
            })
            .unwrap_or(Effect::Nothing),
        (kv::KvOperation::Txn(_), OpReply::Txn(_)) => Effect::Nothing,
        _ => Effect::Mismatch,
    }
}

/// Returns whether the command is a deletion of a range that contains `key`.
pub(crate) fn may_delete(command: &Command, key: &[u8]) -> bool {
    let Command::Kv(kv::KvCommand { operation: Some(kv::KvOperation::Delete(range)) }) = command
    else {
        return false;
    };
    let end = range.range_end.as_ref();
    match end {
        [] => range.key == key,
        [0] => key >= range.key.as_ref(),
        _ => key >= range.key.as_ref() && key < end,
    }
}

/// Returns whether the command, or the success branch of its transaction, puts `value` for `key`.
pub(crate) fn may_put(command: &Command, key: &[u8], value: &[u8]) -> bool {
    let is = |put: &kv::Put| put.key == key && put.value == value;
    let Command::Kv(kv::KvCommand { operation: Some(operation) }) = command else {
        return false;
    };
    match operation {
        kv::KvOperation::Put(put) => is(put),
        kv::KvOperation::Txn(txn) => txn
            .success
            .iter()
            .any(|op| matches!(&op.kind, Some(kv::TxnOpKind::Put(put)) if is(put))),
        kv::KvOperation::Delete(_) | kv::KvOperation::Compact(_) | kv::KvOperation::Sweep(_) => {
            false
        }
    }
}

//! Watches of v2: long polls of the directory of all keys. Each poll starts after the last received change, on one member until
//! it times out, then on the next. A watcher must receive every change once and in order.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use witan_e2e::{
    http::Connection,
    linear::{Call, Input, Output},
    wait,
};

use crate::{load::Load, stage::RECOVERY_MAX, tree::FOLDER};

/// Time after which an unanswered poll is repeated on another member.
const POLL_TIMEOUT: Duration = Duration::from_millis(1500);

const POLL_AGAIN: Duration = Duration::from_millis(50);

/// Number of changes that a member keeps, as in etcd. A poll for an older change is refused.
const HISTORY: u64 = 1000;

/// v2's error code "the event in requested index is outdated and cleared".
const CLEARED: u64 = 401;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeChange {
    pub(crate) index: u64,
    pub(crate) pair: usize,
    pub(crate) value: u64,
    /// Value and index of the key before the change.
    pub(crate) before: Option<(u64, u64)>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct TreeWatch {
    pub(crate) changes: Vec<TreeChange>,
    /// Cleared indexes at which the watcher polled, each with the index of its next poll.
    pub(crate) cleared: Vec<(u64, u64)>,
}

impl TreeWatch {
    fn next_index(&self) -> u64 {
        let told = self.changes.last().map_or(0, |change| change.index);
        let skipped = self.cleared.last().map_or(0, |(_, next)| *next);
        (told + 1).max(skipped)
    }

    /// Returns whether a cleared history prevented the watcher from receiving this index.
    fn has_skipped(&self, index: u64) -> bool {
        let mut skipped = self.cleared.iter();
        skipped.any(|(from, to)| (*from..*to).contains(&index))
    }
}

/// Polls until the last v2 write has been received. Records a violation if no member sends it in time.
pub(crate) fn observe(load: &Arc<Load>, mut at: usize) -> TreeWatch {
    let mut watch = TreeWatch::default();
    let done = |watch: &TreeWatch| {
        let last = load.last_tree_index();
        last.is_some_and(|last| watch.next_index() > last)
    };
    let mut waits_since = None;
    while !done(&watch) {
        if load.last_tree_index().is_some()
            && waits_since.get_or_insert_with(Instant::now).elapsed() > RECOVERY_MAX
        {
            let next = watch.next_index();
            load.wrong(format!("no member sends index {next} to a v2 watcher"));
            break;
        }
        let address = &load.addresses[at % load.addresses.len()];
        let connection = Connection::open(address);
        // The connection ends with the first response that is not a change.
        let _ = connection.and_then(|mut connection| {
            connection.patience(POLL_TIMEOUT)?;
            while !done(&watch) {
                poll(load, &mut connection, &mut watch)?;
            }
            Ok(())
        });
        at += 1;
        wait::wall_time(POLL_AGAIN);
    }
    watch
}

/// Polls once and records the change, or that the index was cleared. Fails for any other response.
fn poll(load: &Load, connection: &mut Connection, watch: &mut TreeWatch) -> io::Result<()> {
    let from = watch.next_index();
    let target = format!("{FOLDER}?wait=true&recursive=true&waitIndex={from}");
    let answer = connection.request("GET", &target, &[], b"")?;
    let none = || io::Error::other("no event");
    let body: Value = serde_json::from_slice(&answer.body).map_err(|_| none())?;
    if body["errorCode"].as_u64() == Some(CLEARED) {
        let now = body["index"].as_u64().ok_or_else(none)?;
        watch.cleared.push((from, now + 1));
        return Ok(());
    }
    if answer.status != 200 {
        return Err(none());
    }
    match change(&body) {
        Some(change) => watch.changes.push(change),
        None => load.wrong(format!("a v2 watch received {body}")),
    }
    Ok(())
}

fn change(body: &Value) -> Option<TreeChange> {
    let node = |node: &Value| {
        let value: u64 = node["value"].as_str()?.parse().ok()?;
        Some((value, node["modifiedIndex"].as_u64()?))
    };
    let (value, index) = node(&body["node"])?;
    let key = body["node"]["key"].as_str()?;
    let pair = key.rsplit_once('/')?.1.parse().ok()?;
    Some(TreeChange { index, pair, value, before: node(&body["prevNode"]) })
}

pub(crate) fn judge(calls: &[Call], watches: &[TreeWatch]) -> Result<(), String> {
    let mut all: BTreeMap<u64, TreeChange> = BTreeMap::new();
    for (at, watch) in watches.iter().enumerate() {
        orderly(watch).map_err(|wrong| format!("v2 watch {at}: {wrong}"))?;
        for change in &watch.changes {
            let first = all.entry(change.index).or_insert(*change);
            if first != change {
                return Err(format!(
                    "v2 watch {at} received {change:?}, others {first:?}"
                ));
            }
        }
    }
    for (at, watch) in watches.iter().enumerate() {
        complete(watch, &all).map_err(|wrong| format!("v2 watch {at}: {wrong}"))?;
    }
    chained(&all)?;
    asked_for(calls, &all)?;
    acknowledged(calls, watches, &all)
}

/// Checks that a watcher's changes ascend, and that no index was cleared while the history had to contain it.
fn orderly(watch: &TreeWatch) -> Result<(), String> {
    if let Some(pair) = watch
        .changes
        .windows(2)
        .find(|pair| pair[0].index >= pair[1].index)
    {
        return Err(format!("{:?} after {:?}", pair[1], pair[0]));
    }
    match watch
        .cleared
        .iter()
        .find(|(from, next)| *next <= from + HISTORY)
    {
        Some((from, next)) => Err(format!(
            "index {from} was cleared, although the next index was {next}"
        )),
        None => Ok(()),
    }
}

/// Checks that a watcher received every change that any watcher received, up to its own last change.
fn complete(watch: &TreeWatch, all: &BTreeMap<u64, TreeChange>) -> Result<(), String> {
    let last = watch.changes.last().map_or(0, |change| change.index);
    let told: HashSet<u64> = watch.changes.iter().map(|change| change.index).collect();
    let missing = all
        .range(..=last)
        .find(|(index, _)| !told.contains(index) && !watch.has_skipped(**index));
    missing.map_or(Ok(()), |(_, change)| Err(format!("{change:?} is missing")))
}

/// Checks that each change contains the previous change of the same key. The first change of a key is not checked.
fn chained(all: &BTreeMap<u64, TreeChange>) -> Result<(), String> {
    let mut held: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    for change in all.values() {
        let before = held.insert(change.pair, (change.value, change.index));
        if before.is_some() && before != change.before {
            return Err(format!(
                "{change:?} of a v2 watch follows a change to {before:?}"
            ));
        }
    }
    Ok(())
}

/// Checks that each change was requested exactly once.
fn asked_for(calls: &[Call], all: &BTreeMap<u64, TreeChange>) -> Result<(), String> {
    let asked = calls.iter().filter_map(|call| match call.input {
        Input::Put(_, new) | Input::Cas { new, .. } => Some((call.pair, new)),
        Input::CasBoth { .. } | Input::Delete(_) | Input::Get(_) | Input::GetBoth => None,
    });
    let mut asked: HashSet<(usize, u64)> = asked.collect();
    let mut changes = all.values();
    let strange = changes.find(|change| !asked.remove(&(change.pair, change.value)));
    strange.map_or(Ok(()), |change| {
        Err(format!(
            "{change:?} of a v2 watch was not requested, or arrived twice"
        ))
    })
}

/// Checks that each acknowledged write was received at its index, unless it was cleared for all watchers.
fn acknowledged(
    calls: &[Call],
    watches: &[TreeWatch],
    all: &BTreeMap<u64, TreeChange>,
) -> Result<(), String> {
    for call in calls {
        let (Some(told), Input::Put(_, new) | Input::Cas { new, .. }) = (call.told, call.input)
        else {
            continue;
        };
        let index = u64::try_from(told.revision).unwrap_or_default();
        let seen = all.get(&index);
        if told.output != Output::Written || watches.iter().all(|watch| watch.has_skipped(index)) {
            continue;
        }
        if seen.is_none_or(|change| (change.pair, change.value) != (call.pair, new)) {
            return Err(format!("v2 watches received {call:?} as {seen:?}"));
        }
    }
    Ok(())
}

//! Tests the checks: the records of a correct store pass. With each planted violation, the check of that guarantee fails.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::json;
use witan_e2e::linear::{Call, Change, Input, Output, Told as Answer, model::Slot};

use crate::{
    honest::{self, CALLS, UNANSWERED},
    leases::Lease,
    load::Load,
    probes::Acknowledged,
    upgrade::Row,
    verdict::{CHECKS, States, Told, none_lost},
};

/// Returns the first call from `from` that `fits`, with its response.
fn find(
    calls: &mut [Call],
    from: usize,
    fits: impl Fn(Input, Output) -> bool,
) -> (usize, &mut Call) {
    let mut calls = calls.iter_mut().enumerate().skip(from);
    let fits = |call: &Call| call.told.is_some_and(|told| fits(call.input, told.output));
    calls
        .find(|(_, call)| fits(call))
        .expect("there is such a call")
}

fn answer(call: &mut Call) -> &mut Answer {
    call.told.as_mut().expect("it was answered")
}

/// Creates a read after all calls that returns this value and revision.
fn last_read(calls: &[Call], pair: usize, slot: Slot, value: u64, revision: i64) -> Call {
    let ends = calls.iter().filter_map(|call| call.told);
    let begun = ends.map(|told| told.ended).max().unwrap_or_default() + 1;
    Call {
        pair,
        input: Input::Get(slot),
        begun,
        told: Some(Answer { ended: begun + 1, output: Output::Value(value), revision }),
    }
}

/// Appends a read that returns the first acknowledged value, although the key was written again.
fn stale_read(calls: &mut Vec<Call>) {
    let first = find(calls, 0, |input, _| matches!(input, Input::Put(0, _))).1;
    let (pair, Input::Put(slot, value)) = (first.pair, first.input) else {
        return;
    };
    let told = *answer(first);
    let again = calls
        .iter()
        .filter(|call| call.begun > told.ended && call.pair == pair);
    let again = again.filter(|call| matches!(call.input, Input::Put(0, _)));
    assert!(again.filter(|call| call.told.is_some()).count() > 0);
    calls.push(last_read(calls, pair, slot, value, told.revision));
}

/// Makes a comparison succeed with a value that the key did not have.
fn wrong_comparison(calls: &mut [Call]) {
    let succeeded = |input, output| matches!(input, Input::Cas { .. }) && output == Output::Written;
    if let Input::Cas { old, .. } = &mut find(calls, 0, succeeded).1.input {
        *old += 1_000_000;
    }
}

/// Appends a read that finds no value where a write was acknowledged.
fn lost_write(calls: &mut Vec<Call>) {
    let written = |input, output| matches!(input, Input::Put(..)) && output == Output::Written;
    let (at, put) = find(calls, CALLS / 2, written);
    let Input::Put(slot, _) = put.input else {
        return;
    };
    let pair = put.pair;
    calls.truncate(at + 1);
    calls.push(last_read(calls, pair, slot, 0, 0));
}

/// Returns the position of the first batch with two changes, which come from one transaction.
fn swap(told: &Told) -> usize {
    let mut batches = told.fresh.iter();
    let found = batches.position(|batch| batch.len() == 2);
    found.expect("a pair is swapped")
}

/// A violation: its name, the check that must detect it, and the function that plants it.
type Plant = (&'static str, &'static str, fn(&mut Told));

const PLANTS: [Plant; 17] = [
    ("v3", "a read of a follower that lags", |told| {
        stale_read(&mut told.calls)
    }),
    ("record", "the same, by its revision", |told| {
        stale_read(&mut told.calls)
    }),
    ("v3", "an acknowledged write that no read finds", |told| {
        lost_write(&mut told.calls)
    }),
    ("record", "a write that the history lacks", |told| {
        for watch in told.watches.iter_mut().chain([&mut told.fresh]) {
            watch.remove(20);
        }
    }),
    ("record", "a write that is executed twice", |told| {
        let twice = told.fresh[20].clone();
        let revision = told.fresh.last().expect("there are changes")[0].revision + 1;
        let twice: Vec<Change> = twice
            .into_iter()
            .map(|change| Change { revision, ..change })
            .collect();
        for watch in told.watches.iter_mut().chain([&mut told.fresh]) {
            watch.push(twice.clone());
        }
    }),
    ("v3", "a comparison with a wrong value", |told| {
        wrong_comparison(&mut told.calls);
    }),
    ("v3", "a deletion that reports no removed key", |told| {
        let removed = |_, output| output == Output::Deleted(true);
        answer(find(&mut told.calls, 0, removed).1).output = Output::Deleted(false);
    }),
    ("watches", "a watch without a change", |told| {
        drop(told.watches[0].remove(20))
    }),
    ("watches", "a watch that repeats a change", |told| {
        let twice = told.watches[1][20].clone();
        told.watches[1].insert(21, twice);
    }),
    ("watches", "a watch that splits a transaction", |told| {
        let at = swap(told);
        let half = told.watches[0][at].pop().expect("it has two");
        told.watches[0].insert(at + 1, vec![half]);
    }),
    ("v2", "a v2 read that returns an old value", |told| {
        stale_read(&mut told.tree_calls)
    }),
    ("indices", "two v2 writes with the same index", |told| {
        let written = |_, output| output == Output::Written;
        let (at, call) = find(&mut told.tree_calls, 0, written);
        let index = answer(call).revision;
        answer(find(&mut told.tree_calls, at + 1, written).1).revision = index;
    }),
    ("v2 watches", "a watch that lacks a change", |told| {
        told.tree_watches[0].changes.remove(20);
    }),
    ("v2 watches", "a change that no watch has", |told| {
        let acknowledged = |_, output| output == Output::Written;
        let index = answer(find(&mut told.tree_calls, 0, acknowledged).1)
            .revision
            .cast_unsigned();
        for watch in &mut told.tree_watches {
            watch.changes.retain(|change| change.index != index);
        }
    }),
    ("v2 watches", "a watch that repeats a change", |told| {
        let twice = told.tree_watches[1].changes[20];
        told.tree_watches[1].changes.insert(21, twice);
    }),
    ("v2 watches", "watches with different changes", |told| {
        told.tree_watches[1].changes[20].value += 1_000_000;
    }),
    ("v2 watches", "a history that is cleared too soon", |told| {
        let watch = &mut told.tree_watches[0];
        let next = watch.changes[40].index;
        watch.cleared.push((watch.changes[20].index, next));
        watch.changes.drain(20..40);
    }),
];

fn judged(told: &Told, by: &str) -> Result<(), String> {
    let mut checks = CHECKS.iter();
    let (_, check) = checks.find(|(name, _)| *name == by).expect("a check");
    check(told)
}

#[test]
fn the_records_of_a_correct_store_pass() {
    let told = honest::told();
    told.judge().unwrap_or_else(|wrong| panic!("{wrong}"));
    let unanswered = |calls: &[Call]| calls.iter().filter(|call| call.told.is_none()).count();
    assert_eq!(unanswered(&told.calls), CALLS / UNANSWERED);
    assert_eq!(unanswered(&told.tree_calls), CALLS / UNANSWERED);
    assert!(told.fresh.len() > 60 && told.tree_watches[0].changes.len() > 60);
}

#[test]
fn each_planted_violation_is_found_by_its_check() {
    let honest = honest::told();
    let missed = PLANTS.iter().filter(|(by, _, plant)| {
        let mut told = honest.clone();
        plant(&mut told);
        judged(&told, by).is_ok() || told.judge().is_ok()
    });
    let missed: Vec<_> = missed.map(|(by, what, _)| (by, what)).collect();
    assert!(missed.is_empty(), "{missed:?}");
    let checks: BTreeSet<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
    let tried: BTreeSet<&str> = PLANTS.iter().map(|(by, _, _)| *by).collect();
    assert_eq!(checks, tried, "each check has a fault to find");
}

#[test]
fn a_lease_that_ends_before_its_time_is_found() {
    let load = Load::new(Vec::new());
    let ago = |seconds| Instant::now() - Duration::from_secs(seconds);
    let mut lease = Lease::granted(1, ago(60), 3);
    lease.has_ended(&load, "read");
    lease.renew(ago(4), 3);
    lease.has_ended(&load, "read");
    assert!(load.all_wrong().is_empty(), "each was due");
    lease.renew(ago(2), 3);
    lease.has_ended(&load, "read");
    assert_eq!(load.all_wrong().len(), 1);
}

#[test]
fn a_lost_probe_is_found() {
    let acknowledged = |key: &str| Acknowledged { at: Instant::now(), member: 0, key: key.into() };
    let probes = ["probe/0/1", "probe/0/2"].map(acknowledged);
    let there = |keys: &[&str]| keys.iter().map(|key| key.as_bytes().to_vec()).collect();
    let all: BTreeSet<_> = there(&["probe/0/1", "probe/0/2", "probe/1/1"]);
    none_lost(&probes, &all).expect("an unacknowledged probe may exist");
    let wrong = none_lost(&probes, &there(&["probe/0/1"])).expect_err("one is lost");
    let named = wrong.contains("probe/0/2") && !wrong.contains("probe/0/1");
    assert!(named, "{wrong}");
}

#[test]
fn states_that_differ_are_found() {
    let right = States {
        hashes: vec![Some("7 12".into()); 3],
        leased: vec![0; 3],
        trees: vec![Some(json!({ "node": { "key": "/faults" } })); 3],
        v2: true,
    };
    right.judge().expect("the states are equal");
    type Plant = fn(&mut States);
    let plants: [(&str, Plant); 6] = [
        ("hashes", |states| states.hashes[2] = Some("7 13".into())),
        ("hashes", |states| states.hashes[1] = None),
        ("hashes", |states| states.hashes = vec![None; 3]),
        ("leases", |states| states.leased[1] = 1),
        ("v2 keys", |states| {
            states.trees[2] = Some(json!({ "node": {} }))
        }),
        ("v2 keys", |states| states.trees[0] = None),
    ];
    for (what, plant) in plants {
        let mut states = right.clone();
        plant(&mut states);
        let wrong = states.judge().expect_err(what);
        assert!(wrong.contains(what), "{wrong}");
    }
}

#[test]
fn a_step_of_an_upgrade_that_clients_notice_is_found() {
    let right = Row {
        step: "forward".into(),
        acknowledged: 9,
        lost: 0,
        gap: Duration::from_secs(2),
        hashes: vec![7; 3],
    };
    right.judge().expect("all is right");
    type Plant = fn(&mut Row);
    let plants: [(&str, Plant); 3] = [
        ("lost", |row| row.lost = 1),
        ("hashes", |row| row.hashes[2] = 8),
        ("no write", |row| row.gap = Duration::from_secs(60)),
    ];
    for (what, plant) in plants {
        let mut row = right.clone();
        plant(&mut row);
        let wrong = row.judge().expect_err(what);
        assert!(wrong.contains(what), "{wrong}");
    }
}

//! Linearizability of one member through kill -9: the answers to concurrent clients have one order, and every watcher receives
//! all changes in that order through all restarts.
//!
//! Reading order: `witan_e2e::linear` → `refusals` (wrong histories that its checker must refuse) → this file.

mod refusals;

use std::{
    env,
    sync::{Arc, atomic::Ordering},
};

use tokio::{sync::watch, task::JoinSet};
use witan_e2e::{
    Launch, grpc,
    linear::{
        Batch, Call, Change, Input, checker,
        client::{self, PAIRS, PREFIX, PREFIX_END, Shared, key},
        record,
    },
    wait,
};

const CLIENTS: u64 = 10;

/// Number of rounds of `WITAN_E2E_ROUNDS` (20 by default) per kill.
const ROUNDS_PER_KILL: u64 = 4;

/// Number of answered calls between two kills.
const ANSWERED_PER_KILL: u64 = 700;

#[test]
fn histories_of_clients_and_watchers_are_linearizable_through_kill_9() {
    let rounds = env::var("WITAN_E2E_ROUNDS").map_or(20, |text| text.parse().expect("number"));
    let kills = (rounds / ROUNDS_PER_KILL).max(2);
    let runtime = grpc::runtime();
    let mut server = Launch::witan().start();
    let address = server.address();
    let shared = Arc::new(Shared::default());
    let (open, gate) = watch::channel(Some(runtime.block_on(grpc::connect(&address))));
    let (tell_end, end) = watch::channel(None);

    let mut clients = JoinSet::new();
    for seed in 0..CLIENTS {
        let (shared, gate) = (Arc::clone(&shared), gate.clone());
        let work = async move { client::work(&shared, gate, seed).await };
        clients.spawn_on(work, runtime.handle());
    }
    let watching = |from: String, to: &str, end: &watch::Receiver<Option<i64>>| {
        runtime.spawn(client::observe(gate.clone(), from, to.into(), end.clone()))
    };
    let all = watching(PREFIX.into(), PREFIX_END, &end);
    let pairs: Vec<_> = (0..PAIRS)
        .map(|pair| watching(key(pair, 0), &key(pair, 2), &end))
        .collect();

    for kill in 1..=kills {
        wait::until_true("answered calls", || {
            shared.answered.load(Ordering::Relaxed) >= kill * ANSWERED_PER_KILL
        });
        server.kill9();
        server.start_again();
        let channel = runtime.block_on(grpc::connect(&address));
        open.send_replace(Some(channel));
    }
    wait::until_true("answered calls", || {
        shared.answered.load(Ordering::Relaxed) >= (kills + 1) * ANSWERED_PER_KILL
    });
    let channel = open.send_replace(None).expect("the server runs");
    let mut history: Vec<Call> = runtime.block_on(clients.join_all()).concat();
    // Change each pair a last time, so that every watcher reaches its end.
    open.send_replace(Some(channel.clone()));
    let last = runtime.block_on(client::last_puts(&shared, channel));
    let revisions: Vec<i64> = last.iter().filter_map(Call::revision).collect();
    history.extend(last);
    tell_end.send_replace(Some(revisions[0]));

    let (_kept, end) = watch::channel(revisions.last().copied());
    let fresh = watching(PREFIX.into(), PREFIX_END, &end);
    let fresh = runtime.block_on(fresh).expect("watchers do not panic");
    let record = record::orderly(&fresh).unwrap_or_else(|wrong| panic!("a watch: {wrong}"));
    let seen = runtime.block_on(all).expect("watchers do not panic");
    judge_watch(&record, &seen, |_| true);
    for (pair, seen) in pairs.into_iter().enumerate() {
        let seen = runtime.block_on(seen).expect("watchers do not panic");
        judge_watch(&record, &seen, |change| change.pair == pair);
    }
    judge(&record, &history);
}

fn judge_watch(record: &[Change], seen: &[Batch], watched: impl Fn(&Change) -> bool) {
    let seen = record::orderly(seen).unwrap_or_else(|wrong| panic!("a watch: {wrong}"));
    record::complete(record, &seen, watched).unwrap_or_else(|wrong| panic!("a watch: {wrong}"));
}

fn judge(record: &[Change], history: &[Call]) {
    let unanswered = history.iter().filter(|call| call.told.is_none()).count();
    assert!(unanswered > 0, "no kill came between a call and its answer");
    for input in [Input::Get(0), Input::Delete(0)] {
        assert!(history.iter().any(|call| call.input == input));
    }
    checker::check(history).unwrap_or_else(|refusal| panic!("{refusal}"));
    record::agree(record, history).unwrap_or_else(|wrong| panic!("not as recorded: {wrong}"));
}

//! The same requests to ours and to etcd 3.6: every answer the same, in the same order. Watchers with any options from any
//! revision are compared by `tests/differ`.

use std::future::Future;

use tonic::transport::Channel;
use witan_api::v3::etcdserverpb::{WatchCreateRequest, WatchResponse};
use witan_e2e::{
    Kind, Launch, grpc,
    watching::{Watching, cancel, compact, create, delete, from, key, progress, put},
};

/// Plays a scene on both; what it gives must be the same.
fn same<T: PartialEq + std::fmt::Debug, F: Future<Output = Vec<T>>>(scene: impl Fn(Channel) -> F) {
    let [ours, theirs] = [Kind::Witan, Kind::Etcd37].map(|kind| {
        let server = Launch::new(kind).same_ids().without_fsync().start();
        let runtime = grpc::runtime();
        runtime.block_on(async { scene(grpc::connect(&server.address()).await).await })
    });
    for (at, (got, want)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(got, want, "answer {at}: ours (left) and etcd's (right)");
    }
    assert_eq!(ours.len(), theirs.len());
}

/// Sends a request and reads so many answers.
async fn ask(
    stream: &mut Watching,
    answers: &mut Vec<WatchResponse>,
    request: witan_api::v3::etcdserverpb::WatchRequest,
    count: usize,
) {
    stream.send(request).await;
    read(stream, answers, count).await;
}

async fn read(stream: &mut Watching, answers: &mut Vec<WatchResponse>, count: usize) {
    for _ in 0..count {
        answers.push(stream.next().await);
    }
}

/// `a` to `a9`, twice each, one deletion.
async fn history(channel: &Channel) {
    for round in 0..2 {
        for n in 0..10 {
            put(channel, &format!("a{n}"), format!("{round}-{n}")).await;
        }
    }
    delete(channel, "a3", "").await;
    delete(channel, "a5", "a8").await;
}

#[test]
fn refused_and_ignored_requests() {
    same(|channel| async move {
        let mut answers = Vec::new();
        let mut stream = Watching::open(&channel, create(from("b", "a", 0))).await;
        read(&mut stream, &mut answers, 1).await;
        let own = |watch_id| create(WatchCreateRequest { watch_id, ..key("k") });
        for (request, count) in [
            (create(from("b", "b", 0)), 1),
            (create(from("", "a", 0)), 1),
            (own(1), 1),
            (own(1), 1),
            (own(2), 1),
            (create(key("k")), 1),
            (create(key("k")), 1),
            (own(-5), 1),
            (own(-1), 1),
            (cancel(99), 0),
            (cancel(1), 1),
            (cancel(1), 0),
            (own(1), 1),
            (create(key("k")), 1),
            (union_none(), 0),
            (cancel(-5), 1),
            (cancel(-1), 1),
            // a filter that nobody knows
            (
                create(WatchCreateRequest { filters: vec![7], ..key("x") }),
                1,
            ),
        ] {
            ask(&mut stream, &mut answers, request, count).await;
        }
        put(&channel, "k", "v").await;
        read(&mut stream, &mut answers, 5).await;
        let events = answers.len() - 5;
        answers[events..].sort_by_key(|answer| answer.watch_id);
        answers
    });
}

fn union_none() -> witan_api::v3::etcdserverpb::WatchRequest {
    witan_api::v3::etcdserverpb::WatchRequest { request_union: None }
}

#[test]
fn compacted_watchers() {
    same(|channel| async move {
        let mut answers = Vec::new();
        history(&channel).await;
        compact(&channel, 15).await;
        let mut stream = Watching::open(&channel, create(from("a", "b", 14))).await;
        read(&mut stream, &mut answers, 2).await;
        for (request, count) in [
            (create(from("a", "b", 1)), 2),
            (create(from("a", "b", 15)), 2),
            (create(from("a1", "", 15)), 1),
            (create(from("a", "b", -3)), 1),
            (create(from("b", "a", -3)), 1),
            // the id is still taken until it is cancelled
            (create(WatchCreateRequest { watch_id: 1, ..key("x") }), 1),
            (cancel(1), 1),
            (create(WatchCreateRequest { watch_id: 1, ..key("x") }), 1),
            // and until then nobody can say how far the stream has come
            (progress(), 0),
            (cancel(0), 1),
        ] {
            ask(&mut stream, &mut answers, request, count).await;
        }
        // by then the others have caught up
        put(&channel, "a1", "1").await;
        let mut both = Vec::new();
        read(&mut stream, &mut both, 2).await;
        both.sort_by_key(|answer| answer.watch_id);
        answers.extend(both);
        ask(&mut stream, &mut answers, progress(), 1).await;
        answers
    });
}

#[test]
fn progress_is_sent_when_all_watchers_are_synced() {
    same(|channel| async move {
        let mut answers = Vec::new();
        put(&channel, "a", "0").await;
        let refused = create(from("b", "a", 0));
        let mut stream = Watching::open(&channel, refused).await;
        read(&mut stream, &mut answers, 1).await;
        ask(&mut stream, &mut answers, progress(), 0).await;
        ask(&mut stream, &mut answers, create(key("a")), 1).await;
        ask(&mut stream, &mut answers, progress(), 1).await;
        put(&channel, "b", "0").await;
        ask(&mut stream, &mut answers, progress(), 1).await;
        ask(&mut stream, &mut answers, create(from("a", "", 5)), 1).await;
        // nobody knows what the second watcher will have missed: no answer
        ask(&mut stream, &mut answers, progress(), 0).await;
        put(&channel, "a", "1").await;
        read(&mut stream, &mut answers, 1).await;
        put(&channel, "c", "1").await;
        ask(&mut stream, &mut answers, progress(), 1).await;
        answers
    });
}

#[test]
fn a_long_past_comes_in_parts() {
    same(|channel| async move {
        for n in 0..1200 {
            put(&channel, "a", format!("{n}")).await;
        }
        let mut shapes = Vec::new();
        for (range_end, start) in [("", 1), ("b", 1), ("", 203), ("b", 202)] {
            let first = create(from("a", range_end, start));
            let mut stream = Watching::open(&channel, first).await;
            stream.next().await;
            let mut last = 0;
            while last < 1201 {
                let answer = stream.next().await;
                let event = answer.events.last().and_then(|event| event.kv.as_ref());
                last = event.map_or(0, |kv| kv.mod_revision);
                shapes.push((answer.header.map(|h| h.revision), answer.events.len(), last));
            }
        }
        shapes
    });
}

#[test]
fn large_answers_are_split_when_that_is_asked_for() {
    const VALUE: usize = 300 << 10;
    same(|channel| async move {
        for n in 0..10 {
            put(&channel, &format!("a{n}"), vec![b'x'; VALUE]).await;
        }
        let mut stream = Watching::open(&channel, create(from("x", "", 0))).await;
        stream.next().await;
        for (fragment, prev_kv) in [(false, false), (true, true)] {
            let request = WatchCreateRequest { fragment, prev_kv, ..from("a", "b", 0) };
            stream.send(create(request)).await;
            stream.next().await;
        }
        delete(&channel, "a", "b").await;
        let mut shapes = Vec::new();
        while shapes.len() < 3 {
            let answer = stream.next().await;
            let previous = answer.events.iter().filter(|e| e.prev_kv.is_some()).count();
            shapes.push((
                answer.watch_id,
                answer.events.len(),
                previous,
                answer.fragment,
            ));
        }
        shapes.sort_by_key(|shape| shape.0);
        shapes
    });
}

#[test]
fn a_client_that_asks_for_nothing_more_hears_on() {
    same(|channel| async move {
        let mut stream = Watching::open(&channel, create(key("a"))).await;
        let mut answers = vec![stream.next().await];
        let mut rest = stream.finish();
        for n in 0..3 {
            put(&channel, "a", format!("{n}")).await;
            answers.push(rest.message().await.expect("an answer").expect("no end"));
        }
        answers
    });
}

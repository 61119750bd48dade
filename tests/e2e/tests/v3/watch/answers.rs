//! Sends the same requests to Witan and to etcd. Both must send the same answers in the same order. `tests/differ` compares
//! watchers with any options from any revision, and refused requests.

use witan_api::v3::etcdserverpb::WatchCreateRequest;
use witan_e2e::watching::{Watching, create, delete, from, key, put};

use crate::both;

#[test]
fn large_responses_are_split_on_request() {
    const VALUE: usize = 300 << 10;
    both(|channel| async move {
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
fn a_client_that_has_ended_its_requests_still_gets_events() {
    both(|channel| async move {
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

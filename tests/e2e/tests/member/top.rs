//! `/debug/top`: the keys that a member's clients read, write and watch. `access` tests its permissions.

use std::thread;

use tonic::transport::Channel;
use witan_api::{
    top::{KeySpace, PATH, TopCounts, TopPage},
    v3::etcdserverpb::{Compare, TxnRequest, compare, kv_client::KvClient, request_op::Request},
};
use witan_e2e::{
    Launch, Server, grpc,
    http::Connection,
    requests::{self, op, put, range},
    wait,
    watching::{Watching, cancel, create, from},
};

/// Maximum number of rounds that a sample counts only in part, at its beginning and its end.
const PARTS: u64 = 2;

fn ask(server: &Server, seconds: u64) -> TopPage {
    let answer = server.http("GET", &target(seconds), "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("a page")
}

fn target(seconds: u64) -> String {
    format!("{PATH}?seconds={seconds}")
}

fn counts(page: &TopPage, key_space: KeySpace, prefix: &str) -> TopCounts {
    let mut rows = page.rows.iter();
    let row = rows.find(|row| (row.key_space, &*row.prefix) == (key_space, prefix));
    row.map(|row| row.counts).unwrap_or_default()
}

async fn round(server: &Server, client: &mut KvClient<Channel>) {
    client.put(put("/top/a/1", "")).await.expect("a put");
    client.range(range("/top/a/1", "")).await.expect("a range");
    let below = requests::range("/top/a/", "/top/a0");
    client.range(below).await.expect("a range");
    let read = requests::txn([Request::RequestRange(range("/top/b/2", ""))]);
    let done = [
        Request::RequestPut(put("/top/b/1", "")),
        Request::RequestTxn(read),
    ];
    let both = TxnRequest {
        failure: vec![op(Request::RequestPut(put("/top/never/1", "")))],
        ..requests::txn(done)
    };
    client.txn(both).await.expect("a transaction");
    let exists_not = Compare {
        key: "/top/b/1".into(),
        target: compare::CompareTarget::Version.into(),
        target_union: Some(compare::TargetUnion::Version(0)),
        ..Compare::default()
    };
    let failing = TxnRequest {
        compare: vec![exists_not],
        success: vec![op(Request::RequestPut(put("/top/never/1", "")))],
        failure: vec![op(Request::RequestRange(range("/top/d/1", "")))],
    };
    client.txn(failing).await.expect("a transaction");
    let deleted = client.delete_range(requests::delete("/top/b/3", "")).await;
    deleted.expect("a deletion");
    for (method, path, body) in [
        ("PUT", "/v2/keys/top/c/1", "value=1"),
        ("GET", "/v2/keys/top/c/1", ""),
        ("GET", "/v1/keys/top/c/1", ""),
        ("POST", "/v3/kv/range", r#"{"key":"L3RvcC9lLzE="}"#),
    ] {
        let answer = server.http(method, path, body);
        assert!(answer.status < 300, "{path}: {}", answer.text());
    }
}

#[test]
fn requests_are_counted_by_prefix_while_a_client_reads_the_counts() {
    let server = Launch::witan().start();
    let runtime = grpc::runtime();
    let channel = runtime.block_on(grpc::connect(&server.address()));
    let mut client = KvClient::new(channel);
    runtime
        .block_on(client.put(put("/top/before/1", "")))
        .expect("a put");
    let (page, rounds) = thread::scope(|scope| {
        let asks = scope.spawn(|| ask(&server, 2));
        let mut rounds = 0;
        while !asks.is_finished() {
            runtime.block_on(round(&server, &mut client));
            rounds += 1;
        }
        (asks.join().expect("a page"), rounds)
    });
    runtime
        .block_on(client.put(put("/top/after/1", "")))
        .expect("a put");
    assert!(page.seconds >= 2.0, "{page:?}");
    assert_eq!(page.others, TopCounts::default());
    let counted = counts(&page, KeySpace::V3, "/top/a/").writes;
    assert!((1..=rounds).contains(&counted), "{counted} of {rounds}");
    for (key_space, prefix, reads, writes) in [
        (KeySpace::V3, "/top/a/", 2, 1),
        (KeySpace::V3, "/top/b/", 1, 2),
        (KeySpace::V3, "/top/d/", 1, 0),
        (KeySpace::V3, "/top/e/", 1, 0),
        (KeySpace::V2, "/top/c/", 2, 1),
    ] {
        let found = counts(&page, key_space, prefix);
        for (found, each) in [(found.reads, reads), (found.writes, writes)] {
            let wrong = found.abs_diff(each * counted);
            assert!(wrong <= each * PARTS, "{prefix}: {found}, {counted} rounds");
        }
        assert_eq!(found.watchers, 0, "{prefix}");
    }
    let rows = page.rows.iter();
    let prefixes = rows.filter(|row| row.prefix.starts_with("/top/"));
    assert_eq!(prefixes.count(), 5, "{page:?}");
}

async fn watch(channel: &Channel, ranges: &[(&str, &str)]) -> Watching {
    let mut requests = ranges.iter().map(|(key, end)| create(from(key, end, 0)));
    let mut stream = Watching::open(channel, requests.next().expect("a range")).await;
    for request in requests {
        stream.send(request).await;
    }
    for _ in ranges {
        assert!(stream.next().await.created);
    }
    stream
}

async fn end(stream: &mut Watching, watch_id: i64) {
    stream.send(cancel(watch_id)).await;
    assert!(stream.next().await.canceled);
}

#[test]
fn watchers_are_counted_in_all_dialects() {
    let server = Launch::witan().start();
    let runtime = grpc::runtime();
    let below = ("/watch/a/", "/watch/a0");
    let (mut one, two) = runtime.block_on(async {
        let channel = grpc::connect(&server.address()).await;
        let key = ("/watch/b/1", "");
        let one = watch(&channel, &[below, below, key, below]).await;
        (one, watch(&channel, &[below]).await)
    });
    let waits: Vec<Connection> = ["/v2/keys/watch/c/1?wait=true", "/v1/watch/watch/c/1"]
        .map(|target| server.send("GET", target, ""))
        .into();
    let watchers = |expect: &[(KeySpace, &str, u64)]| {
        wait::until_true("the watchers are counted", || {
            let page = ask(&server, 1);
            let all: u64 = page.rows.iter().map(|row| row.counts.watchers).sum();
            let as_expected = expect.iter().all(|(key_space, prefix, watchers)| {
                counts(&page, *key_space, prefix).watchers == *watchers
            });
            as_expected && all == expect.iter().map(|(.., watchers)| watchers).sum::<u64>()
        });
    };
    let below = |watchers| (KeySpace::V3, "/watch/a/", watchers);
    let key = (KeySpace::V3, "/watch/b/", 1);
    watchers(&[below(4), key, (KeySpace::V2, "/watch/c/", 2)]);
    runtime.block_on(end(&mut one, 1));
    drop(waits);
    watchers(&[below(3), key]);
    runtime.block_on(end(&mut one, 0));
    drop(two);
    watchers(&[below(1), key]);
    runtime.block_on(end(&mut one, 3));
    watchers(&[key]);
}
